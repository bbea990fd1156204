"""Bundles: a release or a public statement together with the proofs that it is on the ledger.

A statistics bundle is a container (``wg_core.wire.container``) with the release as the ledger
stores it, its two ledger entries, and for each entry a C2SP ``tlog-proof`` of inclusion in a
cosigned checkpoint. A statement bundle is a ledger entry (``entries.PublicStatement``) with its
proof. This module verifies only the container's hashes; the server verifies that the entries are
those of the release (``wg_server.fleet.bundle_verification``). Messages for people call a bundle a
covered release.
"""

from dataclasses import asdict, dataclass

from wg_core.wire import container, protocol

VERSION = 1
STATISTICS_BUNDLE_KIND = f"{protocol.STATISTICS_FILE_KIND}-covered"
STATEMENT_BUNDLE_KIND = f"{protocol.STATISTICS_FILE_KIND}-statement"
STATEMENT_BYTES_LIMIT = 2 << 20  # Largest statement bundle, in bytes: one entry and its proof


@dataclass(frozen=True, slots=True)
class StatisticsBundle:
    """Bundle of a release with its ledger entries and their proofs, all as bytes."""

    release: bytes
    charge_entry: bytes
    release_entry: bytes
    charge_proof: bytes
    release_proof: bytes

    @property
    def proofs(self) -> tuple[bytes, ...]:
        """Proofs of the bundle's ledger entries."""
        return self.charge_proof, self.release_proof


@dataclass(frozen=True, slots=True)
class StatementBundle:
    """Bundle of a public statement's ledger entry with its proof, both as bytes."""

    entry: bytes
    proof: bytes

    @property
    def proofs(self) -> tuple[bytes, ...]:
        """Proof of the statement's entry, as a tuple of one."""
        return (self.proof,)


def encode(bundle: StatisticsBundle | StatementBundle) -> bytes:
    """Pack a bundle into a container with a section for each of its fields."""
    kind = STATISTICS_BUNDLE_KIND if isinstance(bundle, StatisticsBundle) else STATEMENT_BUNDLE_KIND
    return container.encode(kind, VERSION, asdict(bundle))


def decode_statistics(data: bytes) -> StatisticsBundle:
    """Unpack a statistics bundle; raise ``DecodeError`` if the bytes are malformed."""
    names, limit = StatisticsBundle.__slots__, protocol.STATISTICS_BYTES_LIMIT
    sections = container.decode(
        data, kind=STATISTICS_BUNDLE_KIND, version=VERSION, section_names=names, max_bytes=limit
    )
    return StatisticsBundle(**sections)


def decode_statement(data: bytes) -> StatementBundle:
    """Unpack a statement bundle; raise ``DecodeError`` if the bytes are malformed."""
    names, limit = StatementBundle.__slots__, STATEMENT_BYTES_LIMIT
    sections = container.decode(
        data, kind=STATEMENT_BUNDLE_KIND, version=VERSION, section_names=names, max_bytes=limit
    )
    return StatementBundle(**sections)
