"""The quality file (``.wgq``): how often candidates of a package were right, as a plant counted it.

Two containers, as in ``statistics_file``: the *report* (a canonical manifest, the site's signature
of it, and the noisy integers), and the *covered report*, which travels: the report, its two ledger
entries, and their proofs.

Decoding checks the signature and that what the report claims is consistent: the noise matches
(epsilon, delta) and the number of candidates. Whether it is of the candidates that the named
package has is for whoever has the package. Whether the ledger covers it: ``wg_core.ledger``.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from numpy.typing import NDArray

from wg_core import __version__, numbers
from wg_core.privacy.quality import QualityLayout
from wg_core.wire import container, protocol, signing, statistics_file
from wg_core.wire import covered as covered_files
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.signed_file import SignedFile

NAME_LIMIT = 100  # Most characters of a candidate's name
VERSION = 1
MANIFEST_LIMIT = 256 << 10
SOFTWARE = f"weightgate/{__version__}"

_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityManifest:
    """What the report is about, and what it cost. Fields as in ``StatisticsManifest``.

    Attributes:
        layout: What is counted.
        encoder: SHA-256 of the public encoder, hex.
        package_id: Id of the package.
        package_sha256: SHA-256 of its file, hex.
        candidates: Names of the candidates that were counted, in the order of the integers.
        purpose: As on the ledger, from ``protocol.quality_purpose``.
    """

    version: int = VERSION
    layout: QualityLayout
    site: str
    dataset: str
    request_id: str
    release_id: str
    encoder: str
    package_id: str
    package_sha256: str
    candidates: tuple[str, ...]
    epsilon: str
    delta: str
    sigma: str
    sensitivity_squared: str
    purpose: str
    integers_sha256: str
    software: str = SOFTWARE

    def __post_init__(self) -> None:
        protocol.check_site_name(self.site)
        for name in ("dataset", "request_id", "software"):
            value = getattr(self, name)
            _require(0 < len(value) <= _TEXT_LIMIT, name, value[:80], "a text that is not empty")
        _require(len(self.purpose) <= _TEXT_LIMIT, "purpose", "longer", f"at most {_TEXT_LIMIT}")
        protocol.check_release_id(self.release_id)
        protocol.check_release_id(self.package_id)
        for name in ("encoder", "package_sha256"):
            value = getattr(self, name)
            _require(
                bool(protocol.SHA256.fullmatch(value)), name, value[:80], "64 lower-case hex digits"
            )
        _check_names(self.candidates)
        count = len(self.candidates)
        _require(count == self.layout.candidates, "candidates", count, "as many as its layout")
        statistics_file.check_noise("quality manifest", self, self.layout)


@dataclass(frozen=True, slots=True)
class Counts:
    """Released counts, with the noise that is known to be on them.

    Attributes:
        labelled: Labelled records, or units; with noise it may be negative.
        right: Right answers by candidate.
        std: Standard deviation of the noise on each.
    """

    labelled: float
    right: dict[str, float]
    std: float

    def rate(self, candidate: str) -> tuple[float, float] | None:
        """How often a candidate is right, and the standard error of the noise; None: unknown.

        Unknown where the noise could make up all labelled records. The error is that of a ratio of
        two noisy counts, to first order; it says nothing of the records that there are not.
        """
        if self.labelled < 3 * self.std:
            return None
        found = self.right[candidate] / self.labelled
        error = self.std * math.sqrt(1 + found * found) / self.labelled
        return min(max(found, 0.0), 1.0), error


FILE = SignedFile(
    kind=protocol.QUALITY_KIND,
    version=VERSION,
    body="integers",
    limit=protocol.QUALITY_LIMIT,
    manifest=QualityManifest,
    manifest_limit=MANIFEST_LIMIT,
    what="quality manifest",
    context=signing.QUALITY,
)


def encode_report(
    manifest: QualityManifest, integers: NDArray[np.int64], key: Ed25519PrivateKey
) -> bytes:
    """Sign and pack a report.

    Raises:
        VerificationError: ``integers`` are not those the manifest names.
        DecodeError: Their number is not the layout's.
    """
    body = statistics_file.integers_to_bytes(integers)
    _check_integers(body, manifest.layout.length, manifest.integers_sha256)
    return FILE.pack(manifest, body, key)


def decode_report(data: bytes, public_key: Ed25519PublicKey) -> tuple[QualityManifest, Counts]:
    """Verify and unpack a report.

    Raises:
        DecodeError: The bytes are not a report, or it contradicts itself.
        VerificationError: The signature or the integers' hash does not hold.
    """
    manifest, body = FILE.verified(data, public_key)
    _check_integers(body, manifest.layout.length, manifest.integers_sha256)
    values = np.frombuffer(body, dtype="<i8").astype(np.float64) / manifest.layout.weight
    return manifest, Counts(
        labelled=float(values[0]),
        right=dict(zip(manifest.candidates, values[1:].tolist(), strict=True)),
        std=numbers.hex_float(manifest.sigma) / manifest.layout.weight,
    )


def encode_covered(covered: CoveredStatistics) -> bytes:
    """Pack what travels."""
    return covered_files.encode(covered, covered_files.QUALITY_KIND)


def decode_covered(data: bytes) -> CoveredStatistics:
    """Unpack what travels; see ``statistics_file.decode_covered``.

    Raises:
        DecodeError: The bytes are not a covered report.
    """
    return covered_files.decode(data, covered_files.QUALITY_KIND, protocol.QUALITY_LIMIT)


def _check_names(names: tuple[str, ...]) -> None:
    """Names that a stranger chose: short, printable, unique."""
    _require(len(set(names)) == len(names), "candidates", len(names), "unique names")
    for name in names:
        good = 0 < len(name) <= NAME_LIMIT and name.isprintable()
        _require(good, "candidates", ascii(name[:40]), f"1 to {NAME_LIMIT} printable characters")


_require = functools.partial(container.require, "quality manifest")
_check_integers = functools.partial(container.check_integers, "quality file")
