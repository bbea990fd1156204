"""Record that a server exports for auditors: the ledgers (logs) of each site that it has seen.

``wg-server export`` writes a folder, ``wg-audit verify --server`` reads it::

    sites.json              this record, canonical JSON
    SITE/checkpoint.note    newest checkpoint of the site's log that the server cosigned
    SITE/*.wgs              files received from the site, byte for byte
    SITE/*.wgl              exported logs that the site replaced, as sent when it enrolled again
    SITE/*.member.json      proof that a release is among those used for a package of the site
    SITE/forks/*.note       contradictory checkpoints signed by one log: N.earlier.note was
                            cosigned, N.later.note came after it
    SITE/forks/*.wgs        files of a log that does not continue the cosigned one

The record is only the server's statement: an auditor who takes keys from it trusts the server for
them. The checkpoints are signed by the site's log, so the server cannot invent one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from wg_core import atomic, text_grammars
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.wire import canonical, signing
from wg_core.wire.canonical import UnixSeconds
from wg_core.wire.handover import Handover

VERSION = 1
SITES_FILE = "sites.json"
CHECKPOINT_FILE = "checkpoint.note"
LOG_SUFFIX = ".wgl"
MEMBERSHIP_SUFFIX = ".member.json"
FORK_FOLDER = "forks"
EARLIER_CHECKPOINT_SUFFIX = ".earlier.note"
LATER_CHECKPOINT_SUFFIX = ".later.note"
RECORD_BYTES_LIMIT = 16 << 20
MEMBERSHIP_BYTES_LIMIT = 16 << 10

FIRST_LOG: Final = "first"
PREDECESSOR_NAMED: Final = "names its predecessor"
BUDGET_UNKNOWN: Final = "budget unknown"

Succession = Literal["first", "names its predecessor", "budget unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """Record of one ledger (log) of a site, as the server has seen it.

    Attributes:
        origin: Name of the log: the first line of its checkpoints.
        key: Latest known signing key, raw, hex; empty if the server did not keep it (a log replaced
            before servers kept their keys).
        checkpoint: Newest checkpoint that the server cosigned, with signatures, as text; empty if
            the server cosigned none.
        first_seen: Unix time in seconds at which the site enrolled with this log.
        succession: ``first``: the site's first log. ``names its predecessor``: the log carries the
            last checkpoint of the site's previous log, or a later one. ``budget unknown``: the log
            carries neither, so the spending of the previous log is not accounted for.
    """

    origin: text_grammars.Origin
    key: text_grammars.Hex
    checkpoint: text_grammars.NoteText
    first_seen: UnixSeconds
    succession: Succession

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        if self.key:
            signing.public_from_hex(self.key, input_name="server record: key")
        if self.checkpoint:
            head, _ = checkpoints.decode(
                self.checkpoint.encode(), input_name="server record: checkpoint"
            )
            if head.origin != self.origin:
                raise DecodeError(
                    f"server record: checkpoint of log {head.origin!r}, expected {self.origin!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRecord:
    """Part of a server's record about one site: all of its logs that the server has seen.

    Attributes:
        site: Name of the site.
        state: Status of the site at the server: a word such as ``enrolled`` or ``revoked``.
        logs: Every log of the site that the server saw, oldest first; the last is in use.
    """

    site: text_grammars.SiteName
    state: text_grammars.Identifier
    logs: tuple[LogRecord, ...]

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        origins = [log.origin for log in self.logs]
        if len(set(origins)) != len(origins):
            raise DecodeError(f"server record: site {self.site} has one log twice")

    def find_log(self, origin: str) -> LogRecord | None:
        """Return the site's log with a given origin; None if the server did not see it."""
        return next((log for log in self.logs if log.origin == origin), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """Record that a server exports for auditors: its sites, their logs, and changes of its keys.

    Attributes:
        server: Name of the server.
        made: Time at which the record was made, Unix seconds, by the server's clock.
        witness_name: Key name of the server as a witness.
        witness_key: Cosigning key of the server, raw, hex.
        sites: Sites, sorted by name.
        handovers: Hand-overs from earlier package and witness keys to later ones.
    """

    version: int = VERSION
    server: text_grammars.Name
    made: UnixSeconds
    witness_name: text_grammars.Origin
    witness_key: text_grammars.Hex
    sites: tuple[SiteRecord, ...]
    handovers: tuple[Handover, ...] = ()

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        signing.public_from_hex(self.witness_key, input_name="server record: witness key")
        names = [site.site for site in self.sites]
        if names != sorted(set(names)):
            raise DecodeError("server record: sites are not in order of their names, each once")

    def find_site(self, name: str) -> SiteRecord | None:
        """Return the record of a site by name; None if the server does not know the site."""
        return next((site for site in self.sites if site.site == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipProof(text_grammars.TextRecord):
    """Proof that a site's release is in the Merkle tree of the releases used for a weights package.

    Attributes:
        site: Name of the site.
        package_id: Id of the package, which is for the same site.
        release_id: Id of the release, a leaf of the tree.
        root: Root of the tree (RFC 6962, section 2.1), as stated in the package, hex.
        size: Number of leaves of the tree.
        index: Index of the release among the leaves.
        path: Inclusion proof (section 2.1.1), hex.
    """

    site: text_grammars.SiteName
    package_id: text_grammars.Identifier
    release_id: text_grammars.Identifier
    root: text_grammars.Digest
    size: canonical.Count
    index: canonical.Count
    path: tuple[text_grammars.Digest, ...]

    def verify(self) -> None:
        """Raise ``VerificationError`` unless the proof leads from the release to the root."""
        try:
            path, root = [bytes.fromhex(x) for x in self.path], bytes.fromhex(self.root)
        except ValueError as error:
            raise VerificationError(f"package {self.package_id}: a hash is no hash") from error
        leaf = merkle.leaf_hash(self.release_id.encode())
        merkle.verify_inclusion(leaf, self.index, self.size, path, root)


def read_membership_proof(path: Path) -> MembershipProof:
    """Read a proof of membership from its file; raise ``DecodeError`` if it is malformed."""
    data = atomic.read_bytes(path, limit=MEMBERSHIP_BYTES_LIMIT)
    return canonical.decode(MembershipProof, data, input_name=path.name)


def encode_server_record(record: ServerRecord) -> bytes:
    """Return a server's record for auditors as the bytes of ``sites.json``."""
    return canonical.encode(record)


def decode_server_record(data: bytes) -> ServerRecord:
    """Decode a server's record for auditors; raise ``DecodeError`` if it is malformed."""
    return canonical.decode(ServerRecord, data, input_name=SITES_FILE, max_bytes=RECORD_BYTES_LIMIT)


def read_auditor_record(folder: Path) -> ServerRecord:
    """Read the server's record in a folder that ``wg-server export`` wrote.

    Raises:
        ConfigError: The folder or the record does not exist.
        DecodeError: The record is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected the folder that `wg-server export --out` wrote")
    return decode_server_record(atomic.read_bytes(folder / SITES_FILE, limit=RECORD_BYTES_LIMIT))
