"""Statistics file (``.wgs``): one release of a site, with proofs that it was charged.

Two containers (``wg_core.wire.container``), one inside the other:

* the *release*: a canonical manifest, the site's signature of it, and the noisy integers. These
  bytes are made once and stored in the ledger's outbox, their SHA-256 in its RELEASE entry.
* the *bundle*, which is sent: the release, its two ledger entries, and for each entry a
  C2SP ``tlog-proof`` of inclusion in a checkpoint that the witness has cosigned.

Decoding a release verifies its signature, and that its noise matches its schema and (epsilon,
delta). The server verifies the bundle's entries and proofs (``wg_server.fleet``).
"""

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from wg_core import __version__, number_parsers, text_grammars
from wg_core.errors import DecodeError, WgError
from wg_core.privacy.mechanism import BoundedSensitivity, noise_scale
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import MACHINE_STATISTICS, StatisticsSchema
from wg_core.wire import canonical, container, protocol, signing
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.signing import PrivateKey, PublicKey

VERSION = 1
MANIFEST_BYTES_LIMIT = 4 << 20
SOFTWARE_VERSION = f"weightgate/{__version__}"

_MANIFEST_NAME = "statistics manifest"
_SECTION_NAMES = ("manifest", "signature", "integers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseManifest:
    """Fields that the manifests of statistics and of private heads have in common: noise and cost.

    Attributes:
        dataset: Public name of the data set.
        request_id: Id of the request that was charged.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
        sigma: Standard deviation of the noise, grid units, as ``float.hex`` (exact).
        sensitivity_squared: Squared add/remove sensitivity, squared grid units, decimal string.
    """

    site: text_grammars.SiteName
    dataset: text_grammars.Name
    request_id: text_grammars.Identifier
    epsilon: text_grammars.Number
    delta: text_grammars.Number
    sigma: text_grammars.Number
    sensitivity_squared: text_grammars.Number
    purpose: text_grammars.Sentence
    software: text_grammars.Software = SOFTWARE_VERSION

    def check_noise(self, schema: BoundedSensitivity, manifest_name: str) -> None:
        """Check that stated sigma and sensitivity are those of schema, epsilon and delta.

        Raises:
            DecodeError: One of them is another value, or a number is malformed.
        """
        try:
            sigma = number_parsers.parse_hex_float(self.sigma)
            epsilon, delta = (
                number_parsers.parse_decimal(self.epsilon),
                number_parsers.parse_decimal(self.delta),
            )
            least = noise_scale(schema, epsilon, delta)
        except WgError as error:
            raise DecodeError(f"{manifest_name}: epsilon, delta or sigma: {error}") from error
        sensitivity = str(schema.sensitivity_squared())
        # Another libm may calibrate to another last digit; more would weaken the guarantee.
        if abs(sigma - least) > 1e-9 * least or self.sensitivity_squared != sensitivity:
            raise DecodeError(
                f"{manifest_name}: sigma is {self.sigma}, sensitivity_squared"
                f" {self.sensitivity_squared}, expected {least.hex()} and {sensitivity} for epsilon"
                f" {self.epsilon} and delta {self.delta}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsManifest(ReleaseManifest):
    """Manifest of a release of statistics: layout, noise and privacy cost.

    Attributes:
        release_id: Random identifier of the release, hex.
        data_sheet: Public data sheet of the machine that the records come from; None: not stated.
        labels: Public label domain in a release of machine statistics, whose schema has no labels;
            absent in a release of class statistics.
    """

    version: int = VERSION
    schema: StatisticsSchema
    release_id: text_grammars.Identifier
    integers_sha256: text_grammars.Digest
    data_sheet: DataSheet | None = None
    labels: tuple[text_grammars.Name, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        protocol.check_release_id(self.release_id)
        for name in ("epsilon", "delta"):
            protocol.check_number_length(getattr(self, name), f"{_MANIFEST_NAME}: {name}")
        self.check_noise(self.schema, _MANIFEST_NAME)
        self._check_machine_statistics()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Public label domain of the site that made the release."""
        return self.schema.labels if self.labels is UNSET else self.labels

    def _check_machine_statistics(self) -> None:
        """Check that machine statistics have unique class names and a data sheet."""
        of_machine = self.schema.release_kind == MACHINE_STATISTICS
        names = () if self.labels is UNSET else self.labels
        for name in names:
            text_grammars.check_name(name)
        good = 0 < len(names) == len(set(names)) if of_machine else not names
        expected = "unique names in machine statistics, and none beside those of a schema"
        are_stated = self.labels is not UNSET
        _check_field(good and are_stated == of_machine, "labels", names[:3], expected)
        if of_machine and self.data_sheet is None:
            _check_field(False, "data_sheet", None, "the machine of machine statistics")


def integers_to_bytes(integers: NDArray[np.int64]) -> bytes:
    """Return released integers as little-endian 64-bit two's complement, in order."""
    return np.ascontiguousarray(integers, dtype="<i8").tobytes()


def encode_release(
    manifest: StatisticsManifest, integers: NDArray[np.int64], key: PrivateKey
) -> bytes:
    """Sign and pack a release of statistics.

    Raises:
        VerificationError: ``integers`` do not match the manifest's hash.
        DecodeError: The number of integers is not the schema's.
    """
    body = integers_to_bytes(integers)
    _check_integers(manifest, body)
    text = canonical.encode(manifest)
    parts = text, signing.sign(key, signing.STATISTICS_CONTEXT, text), body
    sections = dict(zip(_SECTION_NAMES, parts, strict=True))
    return container.encode(protocol.STATISTICS_FILE_KIND, VERSION, sections)


def decode_release(
    data: bytes, public_key: PublicKey
) -> tuple[StatisticsManifest, NoisyStatistics]:
    """Verify and unpack a release of statistics.

    Raises:
        DecodeError: The bytes are not a release, or the manifest is inconsistent.
        VerificationError: The signature is not valid, or the integers do not match their hash.
    """
    sections = _unpack_sections(data)
    signing.verify(
        public_key, signing.STATISTICS_CONTEXT, sections["manifest"], sections["signature"]
    )
    manifest, integers = read_unverified_release(data)
    sigma = number_parsers.parse_hex_float(manifest.sigma)
    return manifest, NoisyStatistics(manifest.schema, integers, sigma)


def read_unverified_release(data: bytes) -> tuple[StatisticsManifest, NDArray[np.int64]]:
    """Return a release's manifest and noisy integers without verifying its signature.

    Raises:
        DecodeError: The bytes are not a release, or the manifest is inconsistent.
        VerificationError: The integers do not match their hash.
    """
    manifest, body = read_manifest(data), _unpack_sections(data)["integers"]
    _check_integers(manifest, body)
    integers = np.frombuffer(body, dtype="<i8").astype(np.int64)
    integers.setflags(write=False)
    return manifest, integers


def read_manifest(data: bytes) -> StatisticsManifest:
    """Return the manifest of a release without verifying its signature.

    Raises:
        DecodeError: The bytes are not a release, or the manifest is inconsistent.
    """
    text = _unpack_sections(data)["manifest"]
    return canonical.decode(
        StatisticsManifest, text, input_name=_MANIFEST_NAME, max_bytes=MANIFEST_BYTES_LIMIT
    )


def _unpack_sections(data: bytes) -> dict[str, bytes]:
    return container.decode(
        data,
        kind=protocol.STATISTICS_FILE_KIND,
        version=VERSION,
        section_names=_SECTION_NAMES,
        max_bytes=protocol.STATISTICS_BYTES_LIMIT,
    )


def _check_field(is_valid: bool, field: str, value: object, expected: str) -> None:
    if not is_valid:
        raise DecodeError(f"{_MANIFEST_NAME}: {field} is {value!r}, expected {expected}")


def _check_integers(manifest: StatisticsManifest, body: bytes) -> None:
    length = 8 * manifest.schema.vector_length
    if len(body) != length:
        raise DecodeError(f"statistics file: {len(body)} bytes of integers, expected {length}")
    container.check_section_hash("statistics file: integers", body, manifest.integers_sha256)
