"""The weights package (``.wgw``): candidate weights for one site, signed by the server.

Heads and networks stand in one package: each candidate names its architecture, and how a plant
prepares what goes into it.

A container (``wg_core.wire.container``) of a canonical manifest, the server's signature of it,
one safetensors file in which tensor ``T`` of candidate ``C`` is named ``C/T``, and a checkpoint.
The manifest names each candidate, what conditioned them, and the tensors' hash.
Nothing in it is code. ``weights_file`` reads it.

The checkpoint is, in a package for a site without a network, the newest one of the site's ledger
that the server cosigned, with its own signatures; in every other package the section is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from wg_common import catalogue
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical, container, signing
from wg_core.wire import tensors as tensors_files
from wg_core.wire.container import Span
from wg_core.wire.protocol import NOTE_LIMIT, WEIGHTS_KIND, WEIGHTS_LIMIT
from wg_core.wire.signing import PrivateKey

VERSION = 2
MANIFEST_LIMIT = 4 << 20
SECTIONS = ("manifest", "signature", "tensors", "checkpoint")

Tensors = Mapping[str, NDArray[np.float32]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """Guarantee for each record that weights were trained on; empty: there is none.

    Attributes:
        epsilon: Decimal text.
        delta: Decimal text.
    """

    epsilon: str = ""
    delta: str = ""

    def __post_init__(self) -> None:
        if bool(self.epsilon) != bool(self.delta):
            raise DecodeError("privacy: epsilon and delta come together")


NO_PRIVACY = Privacy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One set of weights among which a plant chooses.

    Attributes:
        name: Unique in the package; prefix of its tensors.
        source: How it came about.
        architecture: Name in ``wg_common.catalogue``.
        inputs: Treatment of what goes into it; ``raw`` for a head on the encoder.
        privacy: Guarantee for the operator's records that it was trained on.
    """

    name: str
    source: catalogue.CandidateSource
    architecture: str
    inputs: catalogue.Inputs = "raw"
    privacy: Privacy = NO_PRIVACY


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Statement and statistic of the plant that generated networks were made for.

    Attributes:
        generator: SHA-256 of the package that made the networks, hex; empty: there are none.
        data_sheet: Field of the data sheet that states the machine; empty: none was used.
        statistic: Id of the plant's release whose statistic was used; empty: none was used.
        epsilon: Privacy parameter of this release, as decimal text; empty without one.
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
    """Description of a package: its contents, its recipient, and its origin.

    Attributes:
        package_id: Random identifier, hex.
        request_id: The request that it answers.
        site: The site that it is made for.
        encoder: SHA-256 of the encoder package, hex.
        generator: SHA-256 of the generator package that made the heads, hex.
        condition: Statement and statistic that networks were made for.
        labels: Label domain, in the order of class rows.
        own_release: Release of the site itself that conditioned it, or an empty string.
        pool_root: Merkle tree hash (RFC 6962, section 2.1), hex, over the ids of the releases in
            the sums that conditioned it, sorted; empty where there is none. The site's own release
            is among them where it is in a sum; it was taken out of the sum for this package.
        pool_releases: How many releases of other sites these are.
        candidates: In the order in which the server would try them.
        tensors_sha256: SHA-256 of the safetensors file, hex.
        created: Unix time, seconds.
        expires: Unix time, seconds.
    """

    version: int = VERSION
    package_id: str
    request_id: str
    site: str
    encoder: str
    generator: str
    condition: Condition = Condition()
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
        if any(not name or "/" in name for name in names):
            raise DecodeError("weights manifest: a candidate's name is empty or has a slash")


def pack_tensors(candidates: Mapping[str, Tensors]) -> bytes:
    """One safetensors file of all candidates' tensors."""
    return tensors_files.pack(
        {
            f"{name}/{key}": value
            for name, tensors in candidates.items()
            for key, value in tensors.items()
        }
    )


def encode(manifest: WeightsManifest, tensors: bytes, key: PrivateKey) -> bytes:
    """Sign and pack.

    Raises:
        ConfigError: It is larger than a message may be.
        VerificationError: ``tensors`` are not those the manifest names.
    """
    container.check_hash("weights package: tensors", tensors, manifest.tensors_sha256)
    text = canonical.encode(manifest)
    signature = signing.sign(key, signing.WEIGHTS, text)
    parts = dict(zip(SECTIONS, (text, signature, tensors, b""), strict=True))
    data = container.encode(WEIGHTS_KIND, VERSION, parts)
    if len(data) > WEIGHTS_LIMIT:
        raise ConfigError(f"weights package: {len(data)} bytes, at most {WEIGHTS_LIMIT} may travel")
    return data


def sections(data: bytes, version: int = VERSION) -> dict[str, bytes]:
    """Sections of a package, by ``SECTIONS``; ``DecodeError`` if it is none of this version."""
    return container.decode(
        data, kind=WEIGHTS_KIND, version=version, names=SECTIONS, limit=WEIGHTS_LIMIT
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Part of a manifest that says which releases conditioned a package, in every version of it.

    Attributes:
        package_id: As of ``WeightsManifest``, like all others.
    """

    package_id: str
    generator: str
    own_release: str
    pool_root: str


def provenance(data: bytes) -> Provenance:
    """Read which releases conditioned a package of this server's own, of any version.

    Raises:
        DecodeError: The bytes are no weights package.
    """
    try:
        text = sections(data)["manifest"]
    except DecodeError:
        text = sections(data, version=1)["manifest"]
    return canonical.decode_part(Provenance, text, subject="weights manifest")


def with_checkpoint(data: bytes, checkpoint: bytes) -> bytes:
    """A package with the newest checkpoint of the site's ledger that the server cosigned.

    Raises:
        DecodeError: ``data`` is not a package, or has a checkpoint already.
    """
    package = sections(data)
    if package["checkpoint"]:
        raise DecodeError("weights package: it has a checkpoint already, expected none")
    return container.encode(WEIGHTS_KIND, VERSION, {**package, "checkpoint": checkpoint})


def read_checkpoint(stream: BinaryIO) -> bytes:
    """The cosigned checkpoint in an open package, or nothing; whether it holds is not checked.

    Raises:
        DecodeError: The file is not a weights package, or the section is damaged.
    """
    span = layout(stream)[-1]
    return container.section(stream, span, kind=WEIGHTS_KIND, limit=NOTE_LIMIT)


def layout(stream: BinaryIO) -> tuple[Span, ...]:
    """Where the sections of an open package lie; errors as of ``container.layout``."""
    return container.layout(
        stream, kind=WEIGHTS_KIND, version=VERSION, names=SECTIONS, limit=WEIGHTS_LIMIT
    )


def by_candidate(manifest: WeightsManifest, flat: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Sort what belongs to tensor ``C/T`` under candidate ``C`` and name ``T``.

    Raises:
        DecodeError: A tensor belongs to no candidate, or a candidate has none.
    """
    groups: dict[str, dict[str, T]] = {candidate.name: {} for candidate in manifest.candidates}
    for name, value in flat.items():
        candidate, slash, key_name = name.partition("/")
        if not slash or candidate not in groups:
            raise DecodeError(f"weights package: tensor {name!r} belongs to no candidate")
        groups[candidate][key_name] = value
    empty = [name for name, tensors in groups.items() if not tensors]
    if empty:
        raise DecodeError(f"weights package: candidates without tensors: {', '.join(empty)}")
    return groups
