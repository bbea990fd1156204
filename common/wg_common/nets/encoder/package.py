"""Format of the encoder package, and the checks that a plant makes before it uses one.

The package is a safetensors file. It has the tensors of the projection, metadata with the modality
and the hashes of the trunks, the bytes of trunks that come from files, and reading maps of machines
(``reading_map``). Its SHA-256 is the encoder's id.

The package comes from a server, and the encoder reads every record of a plant. If a record could
cause an overflow, the failure would reveal the record. *Guarantee.* If ``check_overflow`` accepts
an encoder, no feature of any valid record that it projects, and no intermediate value, is infinite
or NaN. The argument: raw features have bounds that hold for every record
(``EncoderTrunk.feature_bounds``). A feature is a sum of terms ``(raw_j - mean_j) p_jk``. This sum
and each partial sum is at most ``F_k = sum_j (bound_j + |mean_j|) |p_jk|`` in any order, up to a
rounding factor of at most ``(1 + 2^-24)^(2 width)``. With ``F_k`` at most 1e12 and at most 5,000
columns, the sum of squares in the clip is below 1e28, and float32 reaches 3e38. The clip divides by
at least its radius.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_common.modalities.registry import find_modality
from wg_common.modalities.texts import Texts
from wg_common.nets.encoder.reading_map import (
    LAYER_OUTPUT_BOUND,
    ReadingMap,
    ReadingMaps,
    is_map_tensor,
    maps_from_tensors,
    maps_to_tensors,
)
from wg_common.nets.encoder.trunk import EncoderTrunk, TrunkKind, find_trunk, trunk_from_file
from wg_common.nets.encoder.trunk_choice import TrunkChoice, check_choices
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.wire import canonical

PACKAGE_VERSION = 1
PACKAGE_LIMIT = 128 << 20
FEATURE_MAGNITUDE_BOUND = (
    LAYER_OUTPUT_BOUND  # Largest magnitude of any record's feature before the clip
)

TENSOR_NAMES = ("mean", "projection", "local")  # Tensors of every package; see ``pack_encoder``

_FILE_PREFIX = (
    "file-"  # Name prefix of the tensor with a trunk file's bytes; the trunk's index follows
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderDescription:
    """Description of an encoder package, from its metadata.

    Attributes:
        encoder_sha256: SHA-256 of the package, hex.
        modality: Name of the modality that it encodes.
        source_names: Names of the public data that it was fitted on, as its maker claims.
        trunk_choices: Name or file format of each trunk; only features of the first are released.
        machine_kinds: Kinds of machines for which it has a reading map.
    """

    encoder_sha256: str
    modality: str
    source_names: tuple[str, ...]
    trunk_choices: tuple[TrunkChoice, ...]
    machine_kinds: tuple[str, ...]

    @property
    def trunk_names(self) -> tuple[str, ...]:
        """Names of the encoder's trunks for display, with the licence of one from a file."""
        return tuple(
            f"{trunk.name} ({trunk.licence})" if trunk.file else trunk.name
            for trunk in self.trunk_choices
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderContents:
    """Contents of an encoder package.

    Attributes:
        tensors: Tensors ``mean``, ``projection`` and ``local``; see ``pack_encoder``.
        metadata: Metadata of the package.
        trunk_kinds: Kinds of its trunks; features of the first are released.
        reading_maps: Reading maps by kind of machine.
    """

    tensors: dict[str, NDArray[np.float32]]
    metadata: dict[str, str]
    trunk_kinds: tuple[TrunkKind, ...]
    reading_maps: dict[str, ReadingMap]

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Sizes of the blocks of local features without a public scale, trunk by trunk."""
        return sum(block_sizes_by_trunk(self.trunk_kinds), ())

    @property
    def trunk_block_counts(self) -> tuple[int, ...]:
        """Number of local feature blocks of each trunk."""
        return tuple(len(blocks) for blocks in block_sizes_by_trunk(self.trunk_kinds))


def block_sizes_by_trunk(trunks: Sequence[TrunkKind | EncoderTrunk]) -> list[tuple[int, ...]]:
    """Return the block sizes of local features without a public scale, one tuple for each trunk.

    A trunk after the first that has no blocks counts as one block of its raw features.
    """
    other_blocks = [kind.local_block_sizes or (kind.width,) for kind in trunks[1:]]
    return [trunks[0].local_block_sizes, *other_blocks]


def choose_trunks(
    modality: str, choices: Sequence[TrunkChoice], file_contents: Mapping[str, bytes]
) -> tuple[TrunkKind, ...]:
    """Look up or wrap the trunks that an operator chose; the default trunk if none is chosen.

    Args:
        modality: Name of the modality.
        choices: Names of trunks, or formats of trunk files.
        file_contents: Contents of the trunk files, by ``TrunkChoice.file``.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: There is no such trunk, or the modality reads no trunks from files.
    """
    return tuple(
        trunk_from_file(modality, choice, file_contents[choice.file])
        if choice.file
        else find_trunk(modality, choice.name)
        for choice in choices
    ) or (find_trunk(modality),)


def stated_modality(metadata: Mapping[str, str]) -> str:
    """Return the name of the modality that an encoder's metadata state.

    Raises:
        DecodeError: The modality is unknown.
    """
    return find_modality(str(metadata.get("modality"))[:64]).name


def read_modality(data: bytes) -> str:
    """Read the name of the modality from an encoder package, without building its network.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
    """
    return stated_modality(unpack_encoder(data).metadata)


def read_description(data: bytes) -> EncoderDescription:
    """Read the description of an encoder package.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
    """
    contents = unpack_encoder(data)
    try:
        sources = json.loads(contents.metadata.get("sources", "[]"))
    except (ValueError, TypeError, RecursionError) as error:
        raise DecodeError("encoder: sources is no list of names") from error
    if not isinstance(sources, list) or not all(_is_displayable_name(source) for source in sources):
        raise DecodeError("encoder: sources is no list of names")
    trunks = _read_trunk_choices(contents.metadata) or (
        TrunkChoice(name=contents.trunk_kinds[0].label),
    )
    return EncoderDescription(
        encoder_sha256=canonical.sha256_hex(data),
        modality=stated_modality(contents.metadata),
        source_names=tuple(sources),
        trunk_choices=trunks,
        machine_kinds=tuple(contents.reading_maps),
    )


def read_text_projection(data: bytes) -> NDArray[np.float32] | None:
    """Return the projection ``[512, d]`` of a text encoder's package; None for other modalities.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
    """
    contents = unpack_encoder(data)
    texts = stated_modality(contents.metadata) == Texts.name
    return contents.tensors["projection"] if texts else None


def _is_displayable_name(value: object) -> bool:
    """Return True for a string of 1 to 200 printable characters, which can be shown to a user."""
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def pack_encoder(
    mean: NDArray[np.float64],
    projection: NDArray[np.float64],
    local_projection: NDArray[np.float64],
    metadata: dict[str, str],
    trunk_kinds: Sequence[TrunkKind] = (),
) -> bytes:
    """Pack an encoder's tensors as float32, with its metadata, into a package.

    Args:
        mean: Mean of public records' W raw features, ``[W]``.
        projection: Map from centred raw features to released features, ``[W, d]``.
        local_projection: Map from centred raw features to other local features, ``[W, P - d]``.
        metadata: Metadata from ``projection_fit.encoder_metadata``.
        trunk_kinds: Trunks of the encoder; stored unless the only one is the trunk in the metadata.
    """
    values = zip(TENSOR_NAMES, (mean, projection, local_projection), strict=True)
    tensors: dict[str, NDArray[np.generic]] = {
        name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values
    }
    choices = []
    for number, kind in enumerate(trunk_kinds):
        data, choice = kind.file_bytes, kind.choice()
        if data:
            choice = replace(choice, file=f"{_FILE_PREFIX}{number}")
            tensors[choice.file] = np.frombuffer(data, np.uint8)
        choices.append(choice)
    if len(choices) > 1 or any(choice.file for choice in choices):
        text = canonical.encode(_TrunkChoices(trunks=tuple(choices))).decode()
        metadata = metadata | {"trunks": text}
    return safetensors.numpy.save(
        tensors, metadata={"encoder": canonical.encode(metadata).decode()}
    )


def replace_reading_maps(data: bytes, maps: ReadingMaps) -> bytes:
    """Return an encoder package in which the given reading maps replace all existing ones.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
    """
    unpack_encoder(data)
    tensors = safetensors.numpy.load(data)
    other_tensors = {name: value for name, value in tensors.items() if not is_map_tensor(name)}
    return safetensors.numpy.save(
        other_tensors | maps_to_tensors(maps), metadata=_read_metadata(data)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrunkChoices:
    trunks: tuple[TrunkChoice, ...]


def _read_trunk_choices(metadata: Mapping[str, str]) -> tuple[TrunkChoice, ...]:
    """Read the trunk choices in a package's metadata; empty if it has only the default trunk."""
    text = metadata.get("trunks", "")
    if not text:
        return ()
    try:
        data = str(text).encode()
        trunk_choices = canonical.decode(_TrunkChoices, data, input_name="trunks").trunks
        check_choices(trunk_choices)
    except (ConfigError, UnicodeEncodeError) as error:
        raise DecodeError(f"encoder: {error}") from error
    if not trunk_choices or any(choice.file and not choice.width for choice in trunk_choices):
        raise DecodeError("encoder: trunks without a width, or none")
    return trunk_choices


def unpack_encoder(data: bytes) -> EncoderContents:
    """Read the contents of an encoder package, without building its networks.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
        VerificationError: A reading map could overflow on some record.
    """
    if len(data) > PACKAGE_LIMIT:
        raise DecodeError(f"encoder: {len(data)} bytes, at most {PACKAGE_LIMIT} are accepted")
    try:
        tensors = safetensors.numpy.load(data)
        metadata = json.loads(_read_metadata(data)["encoder"])
        shapes = [tensors[name].shape for name in TENSOR_NAMES]
    except (
        safetensors.SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,  # JSON in the header may be nested deeply
    ) as error:
        raise DecodeError(f"encoder: not an encoder package: {error}") from error
    if not isinstance(metadata, dict):
        raise DecodeError("encoder: format is not 'weightgate-encoder'")
    maps = maps_from_tensors(
        {name: tensors.pop(name) for name in set(tensors) if is_map_tensor(name)}
    )
    kinds = _trunk_kinds(
        metadata, {name: tensors.pop(name) for name in set(tensors) - set(TENSOR_NAMES)}
    )
    trunk = kinds[0]
    expected = {
        "format": "weightgate-encoder",
        "version": str(PACKAGE_VERSION),
        "trunk": trunk.label,
        "trunk_sha256": trunk.digest(),
        "clip_radius": repr(CLIP_RADIUS),
    }
    for field, value in expected.items():
        if metadata.get(field) != value:
            raise DecodeError(
                f"encoder: {field} is {str(metadata.get(field))[:64]!r}, this program's is"
                f" {value!r}; a home keeps the encoder that it was made with: make another home"
            )
    trunk.check_settings(metadata)
    width = trunk.width
    good = (
        shapes[0] == (width,)
        and all(len(s) == 2 and s[0] == width and 0 < s[1] <= width for s in shapes[1:])
        and all(t.dtype == np.float32 and np.isfinite(t).all() for t in tensors.values())
    )
    if not good:
        raise DecodeError("encoder: tensors are not finite projections of this trunk")
    return EncoderContents(tensors=tensors, metadata=metadata, trunk_kinds=kinds, reading_maps=maps)


def _read_metadata(data: bytes) -> dict[str, str]:
    """Read the metadata of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    header: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return header


def _trunk_kinds(
    metadata: Mapping[str, str], files: Mapping[str, NDArray[np.generic]]
) -> tuple[TrunkKind, ...]:
    """Return a package's trunk kinds; ``DecodeError`` if ``files`` or hashes do not match."""
    choices = _read_trunk_choices(metadata)
    file_names = {choice.file for choice in choices if choice.file}
    if file_names != set(files) or any(x.dtype != np.uint8 or x.ndim != 1 for x in files.values()):
        raise DecodeError("encoder: tensors are not those of its trunks")
    try:
        kinds = choose_trunks(
            stated_modality(metadata), choices, {name: x.tobytes() for name, x in files.items()}
        )
    except ConfigError as error:
        raise DecodeError(f"encoder: {error}") from error
    for kind, choice in zip(kinds, choices, strict=False):
        if kind.digest() != choice.sha256:
            raise DecodeError(f"encoder: trunk {choice.name} is another one in this program")
    return kinds


def check_overflow(
    tensors: Mapping[str, NDArray[np.float32]], raw_bounds: NDArray[np.float64] | float
) -> None:
    """Check that no record can make an encoder's features overflow; see the module's argument.

    Args:
        tensors: Tensors from ``unpack_encoder``.
        raw_bounds: Bounds on the magnitudes of raw features, ``[W]``, or one common bound.

    Raises:
        VerificationError: A feature could have a magnitude above 1e12 before the clip.
    """
    extent = raw_bounds + np.abs(tensors["mean"].astype(np.float64))
    for name in ("projection", "local"):
        # float64 holds the product of any two float32.
        largest = float((extent @ np.abs(tensors[name].astype(np.float64))).max())
        if not max(largest, float(extent.max())) <= FEATURE_MAGNITUDE_BOUND:
            raise VerificationError(
                f"encoder: {name}: features of up to {max(largest, float(extent.max())):.3g} before"
                f" the clip, at most {FEATURE_MAGNITUDE_BOUND:g} are accepted: it could overflow on"
                " a record, and tell by that whether the record is there"
            )
