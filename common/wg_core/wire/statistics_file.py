"""The statistics file (``.wgs``): one release of a site, and the proofs that it was charged.

Two containers (``wg_core.wire.container``), one inside the other:

* the *release*: a canonical manifest, the site's signature of it, and the noisy integers. These
  bytes are made once, stand in the ledger's outbox, and their SHA-256 in its RELEASE entry.
* the *covered release*, which is what travels: the release, its two ledger entries, and for each
  a C2SP ``tlog-proof`` of its place in a checkpoint that the witness has cosigned.

Decoding a release checks its signature and that what it claims is consistent: the noise matches
schema and (epsilon, delta). Whether the ledger covers it is checked in ``wg_core.ledger``.
"""

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from wg_core import __version__, grammar, numbers
from wg_core.errors import ConfigError, DecodeError, RefusedError
from wg_core.privacy.mechanism import sigma_for
from wg_core.privacy.schema import MACHINE, StatisticsSchema
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import canonical, container, protocol, signing
from wg_core.wire import covered as covered_files
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.signing import PrivateKey, PublicKey

VERSION = 1
MANIFEST_LIMIT = 4 << 20
SOFTWARE = f"weightgate/{__version__}"

_MANIFEST = "statistics manifest"
_SECTIONS = ("manifest", "signature", "integers")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsManifest:
    """Description of a release, and its cost.

    Attributes:
        schema: Layout, grid, weights and privacy unit.
        site: The site that released it.
        dataset: Public name of the data set.
        request_id: The request that it answers.
        release_id: Random identifier, hex.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
        sigma: Standard deviation of the noise, grid units, as ``float.hex`` (exact).
        sensitivity_squared: Squared add/remove sensitivity, squared grid units, decimal string.
        purpose: What the release is for.
        data_sheet: What the site states in public of the source of its records; None: nothing.
        labels: The site's public label domain in a release of machine statistics, whose schema has
            none; absent in one of class statistics.
        integers_sha256: SHA-256 of the integers' bytes, hex.
        software: Name and version of the software that made it.
    """

    version: int = VERSION
    schema: StatisticsSchema
    site: grammar.SiteName
    dataset: grammar.Name
    request_id: grammar.Identifier
    release_id: grammar.Identifier
    epsilon: grammar.Number
    delta: grammar.Number
    sigma: grammar.Number
    sensitivity_squared: grammar.Number
    purpose: grammar.Sentence
    integers_sha256: grammar.Digest
    data_sheet: DataSheet | None = None
    software: grammar.Software = SOFTWARE
    labels: tuple[grammar.Name, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        grammar.check(self)
        protocol.check_release_id(self.release_id)
        for name in ("epsilon", "delta"):
            protocol.check_number_length(getattr(self, name), f"{_MANIFEST}: {name}")
        self._check_noise()
        self._check_machine()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The site's public label domain."""
        return self.schema.labels if self.labels is UNSET else self.labels

    def _check_machine(self) -> None:
        """Refuse machine statistics of no machine or no class names, and class names twice."""
        of_machine = self.schema.statistics == MACHINE
        names = () if self.labels is UNSET else self.labels
        for name in names:
            grammar.check_name(name)
        good = 0 < len(names) == len(set(names)) if of_machine else not names
        _require(
            good and (self.labels is not UNSET) == of_machine,
            "labels",
            names[:3],
            "unique names in machine statistics, and none beside those of a schema",
        )
        if of_machine and self.data_sheet is None:
            _require(False, "data_sheet", None, "the machine of machine statistics")

    def _check_noise(self, *, tolerance: float = 1e-9) -> None:
        """Refuse noise that is not that of (epsilon, delta) and schema: ``DecodeError``."""
        try:
            sigma = numbers.hex_float(self.sigma)
            epsilon, delta = numbers.decimal(self.epsilon), numbers.decimal(self.delta)
            least = sigma_for(self.schema, epsilon, delta)
        except (ConfigError, DecodeError, RefusedError) as error:
            raise DecodeError(f"{_MANIFEST}: epsilon, delta or sigma: {error}") from error
        # Another libm may calibrate to another last digit; a weaker guarantee is no last digit.
        _require(
            least * (1 - tolerance) <= sigma <= least * (1 + tolerance),
            "sigma",
            self.sigma,
            f"{least.hex()} for epsilon {self.epsilon} and delta {self.delta}",
        )
        sensitivity = str(self.schema.sensitivity_squared())
        _require(
            self.sensitivity_squared == sensitivity,
            "sensitivity_squared",
            self.sensitivity_squared,
            f"{sensitivity} from its layout",
        )


def integers_to_bytes(integers: NDArray[np.int64]) -> bytes:
    """Little-endian 64-bit two's complement, in order."""
    return np.ascontiguousarray(integers, dtype="<i8").tobytes()


def encode_release(
    manifest: StatisticsManifest, integers: NDArray[np.int64], key: PrivateKey
) -> bytes:
    """Sign and pack a release.

    Raises:
        VerificationError: ``integers`` are not those the manifest names.
        DecodeError: Their number is not the schema's.
    """
    body = integers_to_bytes(integers)
    _check_integers(manifest, body)
    text = canonical.encode(manifest)
    parts = text, signing.sign(key, signing.STATISTICS, text), body
    sections = dict(zip(_SECTIONS, parts, strict=True))
    return container.encode(protocol.STATISTICS_KIND, VERSION, sections)


def decode_release(
    data: bytes, public_key: PublicKey
) -> tuple[StatisticsManifest, NoisyStatistics]:
    """Verify and unpack a release.

    Raises:
        DecodeError: The bytes are not a release, or it contradicts itself.
        VerificationError: The signature or the integers' hash does not hold.
    """
    sections = _sections(data)
    signing.verify(public_key, signing.STATISTICS, sections["manifest"], sections["signature"])
    manifest, integers = read_unverified(data)
    return manifest, NoisyStatistics(manifest.schema, integers, numbers.hex_float(manifest.sigma))


def read_unverified(data: bytes) -> tuple[StatisticsManifest, NDArray[np.int64]]:
    """Manifest and integers of a release whose signature is checked elsewhere.

    Raises:
        DecodeError: The bytes are not a release, or it contradicts itself.
        VerificationError: The integers' hash does not hold.
    """
    manifest, body = read_manifest(data), _sections(data)["integers"]
    _check_integers(manifest, body)
    integers = np.frombuffer(body, dtype="<i8").astype(np.int64)
    integers.setflags(write=False)
    return manifest, integers


def read_manifest(data: bytes) -> StatisticsManifest:
    """The manifest of a release as it stands there; its signature is checked elsewhere.

    Raises:
        DecodeError: The bytes are not a release, or the manifest contradicts itself.
    """
    text = _sections(data)["manifest"]
    return canonical.decode(StatisticsManifest, text, subject=_MANIFEST, limit=MANIFEST_LIMIT)


def encode_covered(statistics: CoveredStatistics) -> bytes:
    """Pack what travels."""
    return covered_files.encode(statistics)


def decode_covered(data: bytes) -> CoveredStatistics:
    """Unpack what travels; nothing is verified yet but the container's own hashes."""
    return covered_files.decode(data)


def _sections(data: bytes) -> dict[str, bytes]:
    return container.decode(
        data,
        kind=protocol.STATISTICS_KIND,
        version=VERSION,
        names=_SECTIONS,
        limit=protocol.STATISTICS_LIMIT,
    )


def _require(good: bool, field: str, value: object, expected: str) -> None:
    if not good:
        raise DecodeError(f"{_MANIFEST}: {field} is {value!r}, expected {expected}")


def _check_integers(manifest: StatisticsManifest, body: bytes) -> None:
    length = 8 * manifest.schema.length
    if len(body) != length:
        raise DecodeError(f"statistics file: {len(body)} bytes of integers, expected {length}")
    container.check_hash("statistics file: integers", body, manifest.integers_sha256)
