"""Weights package (``.wgw``): candidate weights for one site, signed by the server.

A package may hold heads and networks: each candidate names its architecture, and the scaling of
its inputs.

The package is a container (``wg_core.wire.container``) of a canonical manifest, the server's
signature on it, a safetensors file in which tensor ``T`` of candidate ``C`` is named ``C/T``, and a
checkpoint. The manifest names the candidates, their condition, and the tensors' hash. No part is
executable code. ``weights_file`` reads the package.

In a package for a site without a network connection, the checkpoint is the newest checkpoint of the
site's ledger that the server cosigned, with its own signatures; in other packages it is empty.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from wg_common import catalogue
from wg_common import tensors as tensors_files
from wg_common.inference.hostile_tensors import Tensors
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical, container, signing
from wg_core.wire.container import SectionSpan
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT, WEIGHTS_BYTES_LIMIT, WEIGHTS_FILE_KIND
from wg_core.wire.signing import PrivateKey

VERSION = 2
MANIFEST_BYTES_LIMIT = 4 << 20
CANDIDATES_LIMIT = 256
SECTIONS = ("manifest", "signature", "tensors", "checkpoint")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyGuarantee:
    """Differential privacy of some weights' training records; empty texts: no guarantee.

    Attributes:
        epsilon: Epsilon as decimal text.
        delta: Delta as decimal text.
    """

    epsilon: str = ""
    delta: str = ""

    def __post_init__(self) -> None:
        if bool(self.epsilon) != bool(self.delta):
            raise DecodeError("privacy: epsilon and delta come together")


NO_PRIVACY = PrivacyGuarantee()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Candidate of a weights package: one set of weights among which a plant selects.

    Attributes:
        name: Unique name in the package, and prefix of its tensors' names.
        source: Source of the weights.
        architecture: Name in ``wg_common.catalogue``.
        inputs: Treatment of the inputs; ``raw`` for a head on the encoder.
        privacy: Guarantee for the operator's training records.
    """

    name: str
    source: catalogue.CandidateSource
    architecture: str
    inputs: catalogue.InputScaling = "raw"
    privacy: PrivacyGuarantee = NO_PRIVACY


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorCondition:
    """Data sheet and statistic of the plant on which generated networks are conditioned.

    Attributes:
        generator: SHA-256 of the generator of the networks, hex; empty if there are no networks.
        data_sheet: Field of the data sheet that declares the machine; empty if not used.
        statistic: Id of the plant's release with the statistic; empty if not used.
        epsilon: Epsilon of this release as decimal text; empty without a release.
    """

    generator: str = ""
    data_sheet: str = ""
    statistic: str = ""
    epsilon: str = ""

    def __post_init__(self) -> None:
        if bool(self.statistic) != bool(self.epsilon):
            raise DecodeError("weights manifest: a statistic and its epsilon come together")
        if bool(self.generator) != bool(self.data_sheet or self.statistic):
            raise DecodeError("weights manifest: networks are made for a data sheet or a statistic")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsManifest:
    """Manifest of a weights package: its contents, its recipient, and its origin.

    Attributes:
        package_id: Random identifier, hex.
        request_id: Id of the request that the package answers.
        site: Name of the receiving site.
        encoder: SHA-256 of the encoder package, hex.
        generator: SHA-256 of the generator package for the heads, hex.
        condition: Condition of generated networks.
        labels: Label domain, in the order of class rows.
        own_release: Id of the site's own release that conditioned the package, or empty.
        pool_root: Merkle tree hash (RFC 6962, section 2.1), hex, over the sorted ids of the
            releases in the pools that conditioned the package; empty if there are none. The ids
            include the site's own release if a pool has it, although this package excludes it.
        pool_releases: Number of other sites' releases among those of ``pool_root``.
        candidates: Candidates in the server's order of preference.
        tensors_sha256: SHA-256 of the safetensors file, hex.
        created: Unix time in seconds.
        expires: Unix time in seconds.
    """

    version: int = VERSION
    package_id: str
    request_id: str
    site: str
    encoder: str
    generator: str
    condition: GeneratorCondition = GeneratorCondition()
    labels: tuple[str, ...]
    own_release: str
    pool_root: str
    pool_releases: canonical.Count
    candidates: tuple[Candidate, ...]
    tensors_sha256: str
    created: int
    expires: int

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        if not names or len(set(names)) != len(names):
            raise DecodeError("weights manifest: candidates must be there and have unique names")
        if len(names) > CANDIDATES_LIMIT:
            raise DecodeError(
                f"weights manifest: {len(names)} candidates, at most {CANDIDATES_LIMIT} are read"
            )
        if any(not name or "/" in name for name in names):
            raise DecodeError("weights manifest: a candidate's name is empty or has a slash")


def pack_tensors(candidates: Mapping[str, Tensors]) -> bytes:
    """Pack the tensors of a package's candidates as one safetensors file."""
    return tensors_files.pack_tensors(
        {
            f"{name}/{key}": value
            for name, tensors in candidates.items()
            for key, value in tensors.items()
        }
    )


def encode_package(manifest: WeightsManifest, tensors: bytes, key: PrivateKey) -> bytes:
    """Sign and pack a weights package.

    Raises:
        ConfigError: The package is larger than ``WEIGHTS_BYTES_LIMIT``.
        VerificationError: ``tensors`` do not have the manifest's hash.
    """
    container.check_section_hash("weights package: tensors", tensors, manifest.tensors_sha256)
    text = canonical.encode(manifest)
    signature = signing.sign(key, signing.WEIGHTS_CONTEXT, text)
    parts = dict(zip(SECTIONS, (text, signature, tensors, b""), strict=True))
    data = container.encode(WEIGHTS_FILE_KIND, VERSION, parts)
    if len(data) > WEIGHTS_BYTES_LIMIT:
        raise ConfigError(
            f"weights package: {len(data)} bytes, at most {WEIGHTS_BYTES_LIMIT} may travel"
        )
    return data


def read_sections(data: bytes, version: int = VERSION) -> dict[str, bytes]:
    """Split a weights package into sections by name; raise ``DecodeError`` if malformed."""
    return container.decode(
        data,
        kind=WEIGHTS_FILE_KIND,
        version=version,
        section_names=SECTIONS,
        max_bytes=WEIGHTS_BYTES_LIMIT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageProvenance:
    """Fields of ``WeightsManifest`` that name the generator and the releases behind a package.

    Attributes:
        package_id: Random identifier, hex.
        generator: SHA-256 of the generator package for the heads, hex.
        own_release: Id of the site's own release that conditioned the package, or empty.
        pool_root: Merkle tree hash over the ids of pooled releases, hex; empty if there are none.
    """

    package_id: str
    generator: str
    own_release: str
    pool_root: str


def read_package_provenance(data: bytes) -> PackageProvenance:
    """Read the provenance of a weights package of any version, made by this server.

    Raises:
        DecodeError: The bytes are not a weights package.
    """
    try:
        text = read_sections(data)["manifest"]
    except DecodeError:
        text = read_sections(data, version=1)["manifest"]
    return canonical.decode_known_fields(PackageProvenance, text, input_name="weights manifest")


def add_checkpoint(data: bytes, checkpoint: bytes) -> bytes:
    """Add the newest cosigned checkpoint of the site's ledger to a weights package.

    Raises:
        DecodeError: ``data`` is not a package, or has a checkpoint already.
    """
    package = read_sections(data)
    if package["checkpoint"]:
        raise DecodeError("weights package: it has a checkpoint already, expected none")
    return container.encode(WEIGHTS_FILE_KIND, VERSION, {**package, "checkpoint": checkpoint})


def read_checkpoint(stream: BinaryIO) -> bytes:
    """Read the checkpoint in an open weights package unverified; empty if there is none.

    Raises:
        DecodeError: The file is not a weights package, or the section is damaged.
    """
    span = locate_sections(stream)[-1]
    return container.read_section(
        stream, span, kind=WEIGHTS_FILE_KIND, max_bytes=NOTE_CHARACTERS_LIMIT
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CandidateList:
    """Part of a manifest that has its candidates; other fields are ignored."""

    candidates: tuple[Candidate, ...]


def states_architecture(data: bytes, architecture: str) -> bool:
    """Return True if a weights package has a candidate of an architecture; verify nothing.

    Bytes that are not a weights package give False.
    """
    stream = io.BytesIO(data)
    try:
        text = container.read_section(
            stream,
            locate_sections(stream)[0],
            kind=WEIGHTS_FILE_KIND,
            max_bytes=MANIFEST_BYTES_LIMIT,
        )
        contents = canonical.decode_known_fields(
            _CandidateList, text, input_name="weights manifest"
        )
    except DecodeError:
        return False
    return any(candidate.architecture == architecture for candidate in contents.candidates)


def locate_sections(stream: BinaryIO) -> tuple[SectionSpan, ...]:
    """Return the positions of an open weights package's sections."""
    return container.locate_sections(
        stream,
        kind=WEIGHTS_FILE_KIND,
        version=VERSION,
        section_names=SECTIONS,
        max_bytes=WEIGHTS_BYTES_LIMIT,
    )


def group_tensors_by_candidate(
    manifest: WeightsManifest, tensors_by_path: Mapping[str, T]
) -> dict[str, dict[str, T]]:
    """Group tensors named ``C/T`` by candidate ``C`` and tensor name ``T``.

    Raises:
        DecodeError: A tensor belongs to no candidate, or a candidate has no tensor.
    """
    groups: dict[str, dict[str, T]] = {candidate.name: {} for candidate in manifest.candidates}
    for name, value in tensors_by_path.items():
        candidate, slash, key_name = name.partition("/")
        if not slash or candidate not in groups:
            raise DecodeError(f"weights package: tensor {name!r} belongs to no candidate")
        groups[candidate][key_name] = value
    empty = [name for name, tensors in groups.items() if not tensors]
    if empty:
        raise DecodeError(f"weights package: candidates without tensors: {', '.join(empty)}")
    return groups
