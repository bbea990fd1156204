"""The statistics file (``.wgs``): one release of a site, and the proofs that it was charged.

Two containers (``wg_core.wire.container``), one inside the other:

* the *release*: a canonical manifest, the site's signature of it, and the noisy integers. These
  bytes are made once, stand in the ledger's outbox, and their SHA-256 in its RELEASE entry.
* the *covered release*, which is what travels: the release, its two ledger entries, and for each
  a C2SP ``tlog-proof`` of its place in a checkpoint that the witness has cosigned.

Decoding a release checks its signature and that what it claims is consistent: the noise matches
schema and (epsilon, delta). Whether the ledger covers it is checked in ``wg_core.ledger``.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core import __version__, numbers
from wg_core.errors import ConfigError, DecodeError, RefusedError
from wg_core.privacy.mechanism import Bounded, sigma_for
from wg_core.privacy.schema import StatisticsSchema
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import container, protocol, signing
from wg_core.wire import covered as covered_files
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.signed_file import SignedFile
from wg_core.wire.signing import PrivateKey, PublicKey

VERSION = 1
MANIFEST_LIMIT = 4 << 20
SOFTWARE = f"weightgate/{__version__}"

_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsManifest:
    """What the release is, and what it cost.

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
        integers_sha256: SHA-256 of the integers' bytes, hex.
        software: Name and version of the software that made it.
    """

    version: int = VERSION
    schema: StatisticsSchema
    site: str
    dataset: str
    request_id: str
    release_id: str
    epsilon: str
    delta: str
    sigma: str
    sensitivity_squared: str
    purpose: str
    integers_sha256: str
    data_sheet: DataSheet | None = None
    software: str = SOFTWARE

    def __post_init__(self) -> None:
        protocol.check_site_name(self.site)
        for name in ("dataset", "request_id", "release_id", "software"):
            value = getattr(self, name)
            _require(0 < len(value) <= _TEXT_LIMIT, name, value, "a text that is not empty")
        protocol.check_release_id(self.release_id)
        _require(len(self.purpose) <= _TEXT_LIMIT, "purpose", "longer", f"at most {_TEXT_LIMIT}")
        check_noise("statistics manifest", self, self.schema)


class _Priced(Protocol):
    """What a manifest says of the noise and of what it cost."""

    @property
    def epsilon(self) -> str: ...
    @property
    def delta(self) -> str: ...
    @property
    def sigma(self) -> str: ...
    @property
    def sensitivity_squared(self) -> str: ...


def check_noise(subject: str, found: _Priced, layout: Bounded, *, tolerance: float = 1e-9) -> None:
    """Whether the noise of a manifest is that of its (epsilon, delta) and layout.

    Raises:
        DecodeError: It is not, or a number is none.
    """
    require = functools.partial(container.require, subject)
    for name in ("epsilon", "delta"):
        protocol.check_number_length(getattr(found, name), f"{subject}: {name}")
    try:
        sigma = numbers.hex_float(found.sigma)
        epsilon, delta = numbers.decimal(found.epsilon), numbers.decimal(found.delta)
        least = sigma_for(layout, epsilon, delta)
    except (ConfigError, DecodeError, RefusedError) as error:
        raise DecodeError(f"{subject}: epsilon, delta or sigma: {error}") from error
    # Another libm may calibrate to another last digit; a weaker guarantee is no last digit.
    require(
        least * (1 - tolerance) <= sigma <= least * (1 + tolerance),
        "sigma",
        found.sigma,
        f"{least.hex()} for epsilon {found.epsilon} and delta {found.delta}",
    )
    sensitivity = str(layout.sensitivity_squared())
    require(
        found.sensitivity_squared == sensitivity,
        "sensitivity_squared",
        found.sensitivity_squared,
        f"{sensitivity} from its layout",
    )


def integers_to_bytes(integers: NDArray[np.int64]) -> bytes:
    """Little-endian 64-bit two's complement, in order."""
    return np.ascontiguousarray(integers, dtype="<i8").tobytes()


FILE = SignedFile(
    kind=protocol.STATISTICS_KIND,
    version=VERSION,
    body="integers",
    limit=protocol.STATISTICS_LIMIT,
    manifest=StatisticsManifest,
    manifest_limit=MANIFEST_LIMIT,
    what="statistics manifest",
    context=signing.STATISTICS,
)


def encode_release(
    manifest: StatisticsManifest, integers: NDArray[np.int64], key: PrivateKey
) -> bytes:
    """Sign and pack a release.

    Raises:
        VerificationError: ``integers`` are not those the manifest names.
        DecodeError: Their number is not the schema's.
    """
    body = integers_to_bytes(integers)
    _check_integers(body, manifest.schema.length, manifest.integers_sha256)
    return FILE.pack(manifest, body, key)


def decode_release(
    data: bytes, public_key: PublicKey
) -> tuple[StatisticsManifest, NoisyStatistics]:
    """Verify and unpack a release.

    Raises:
        DecodeError: The bytes are not a release, or it contradicts itself.
        VerificationError: The signature or the integers' hash does not hold.
    """
    manifest, body = FILE.verified(data, public_key)
    integers = _integers(manifest, body)
    return manifest, NoisyStatistics(manifest.schema, integers, numbers.hex_float(manifest.sigma))


def read_unverified(data: bytes) -> tuple[StatisticsManifest, NDArray[np.int64]]:
    """Manifest and integers of a release whose signature is checked elsewhere.

    Raises:
        DecodeError: The bytes are not a release, or it contradicts itself.
        VerificationError: The integers' hash does not hold.
    """
    manifest = FILE.read_manifest(data)
    return manifest, _integers(manifest, FILE.sections(data)["integers"])


def encode_covered(covered: CoveredStatistics) -> bytes:
    """Pack what travels."""
    return covered_files.encode(covered, covered_files.STATISTICS_KIND)


def decode_covered(data: bytes) -> CoveredStatistics:
    """Unpack what travels. Nothing is verified yet but the container's own hashes.

    Raises:
        DecodeError: The bytes are not a covered release.
    """
    return covered_files.decode(data, covered_files.STATISTICS_KIND, protocol.STATISTICS_LIMIT)


def _integers(manifest: StatisticsManifest, body: bytes) -> NDArray[np.int64]:
    _check_integers(body, manifest.schema.length, manifest.integers_sha256)
    integers = np.frombuffer(body, dtype="<i8").astype(np.int64)
    integers.setflags(write=False)
    return integers


_require = functools.partial(container.require, "statistics manifest")
_check_integers = functools.partial(container.check_integers, "statistics file")
