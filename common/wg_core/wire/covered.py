"""A covered release: what travels of a release that is on a ledger.

A container (``wg_core.wire.container``) with the release as it stands in the outbox, its two
ledger entries, and for each a C2SP ``tlog-proof`` of its place in a checkpoint that the witness
has cosigned. Nothing is verified here but the container's own hashes: ``wg_core.ledger`` checks
that the entries cover the release.
"""

from dataclasses import dataclass

from wg_core.wire import container, protocol

VERSION = 1
STATISTICS_KIND = f"{protocol.STATISTICS_KIND}-covered"

_SECTIONS = ("release", "charge_entry", "release_entry", "charge_proof", "release_proof")


@dataclass(frozen=True, slots=True)
class CoveredStatistics:
    """A release with its ledger entries and proofs, as raw bytes.

    Attributes:
        release: Bytes of the release, as in the outbox.
        charge_entry: Canonical bytes of the CHARGE entry.
        release_entry: Canonical bytes of the RELEASE entry.
        charge_proof: C2SP ``tlog-proof`` of the CHARGE entry.
        release_proof: C2SP ``tlog-proof`` of the RELEASE entry.
    """

    release: bytes
    charge_entry: bytes
    release_entry: bytes
    charge_proof: bytes
    release_proof: bytes


def encode(covered: CoveredStatistics, kind: str) -> bytes:
    """Pack a covered release as a container of this kind."""
    return container.encode(kind, VERSION, {name: getattr(covered, name) for name in _SECTIONS})


def decode(data: bytes, kind: str, limit: int) -> CoveredStatistics:
    """Unpack a covered release.

    Raises:
        DecodeError: The bytes are no covered release of this kind, or more than ``limit``.
    """
    sections = container.decode(data, kind=kind, version=VERSION, names=_SECTIONS, limit=limit)
    return CoveredStatistics(**sections)
