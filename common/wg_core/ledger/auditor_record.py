"""What a server writes down for auditors: which logs of which sites it saw, and how far.

``wg-server export`` writes a folder, ``wg-audit verify --server`` reads it::

    sites.json              this record, canonical JSON
    SITE/checkpoint.note    newest checkpoint of the site's log that the server cosigned
    SITE/*.wgs  files that the server received from the site, as they came
    SITE/*.wgl              logs that the site replaced, as it showed them when it enrolled again
    SITE/*.member.json      that a release is among those that a package for the site was made from
    SITE/forks/*.note       heads that a log signed and that contradict each other: N.earlier.note
                            was cosigned, N.later.note came after it
    SITE/forks/*.wgs        files of a log that does not lead on from what was cosigned of it

It is the server's word, and no more: an auditor who takes keys from it trusts the server for them.
Checkpoints in it are signed by the site's log, so the server cannot invent one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from wg_core import atomic, grammar
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.wire import canonical, signing
from wg_core.wire.canonical import Time
from wg_core.wire.handover import Handover

VERSION = 1
SITES_FILE = "sites.json"
CHECKPOINT_FILE = "checkpoint.note"
LOG_SUFFIX = ".wgl"
MEMBERSHIP_SUFFIX = ".member.json"
FORK_FOLDER = "forks"
EARLIER_SUFFIX = ".earlier.note"
LATER_SUFFIX = ".later.note"
RECORD_LIMIT = 16 << 20
MEMBERSHIP_LIMIT = 16 << 10

FIRST: Final = "first"
NAMES_PREDECESSOR: Final = "names its predecessor"
BUDGET_UNKNOWN: Final = "budget unknown"

Succession = Literal["first", "names its predecessor", "budget unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log of a site, as the server saw it.

    Attributes:
        origin: Origin of its checkpoints.
        key: Signing key as known last, raw, hex; empty if the server has forgotten it (a log
            that was replaced before servers kept their keys).
        checkpoint: Newest checkpoint that the server cosigned, with signatures, as text; empty if
            it cosigned none.
        first_seen: Unix time in seconds at which the site enrolled with it.
        succession: ``first``: the site's first log. ``names its predecessor``: it carries the last
            checkpoint of the site's log before, or a later one. ``budget unknown``: it does not, so
            what the earlier log spent is on no account.
    """

    origin: grammar.Origin
    key: grammar.Hex
    checkpoint: grammar.Note
    first_seen: Time
    succession: Succession

    def __post_init__(self) -> None:
        grammar.check(self)
        if self.key:
            signing.public_from_hex(self.key, subject="server record: key")
        if self.checkpoint:
            head, _ = checkpoints.decode(
                self.checkpoint.encode(), subject="server record: checkpoint"
            )
            if head.origin != self.origin:
                raise DecodeError(
                    f"server record: checkpoint of log {head.origin!r}, expected {self.origin!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRecord:
    """One site.

    Attributes:
        site: Name of the site.
        state: ``enrolled``, ``revoked``, or what the server calls it.
        logs: Every log that the server saw of it, oldest first; the last is the one in use.
    """

    site: grammar.SiteName
    state: grammar.Identifier
    logs: tuple[LogRecord, ...]

    def __post_init__(self) -> None:
        grammar.check(self)
        origins = [log.origin for log in self.logs]
        if len(set(origins)) != len(origins):
            raise DecodeError(f"server record: site {self.site} has one log twice")

    def log(self, origin: str) -> LogRecord | None:
        """The log of this origin, if the server saw it."""
        return next((log for log in self.logs if log.origin == origin), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """All of it.

    Attributes:
        server: Name of the server.
        made: Unix time in seconds, by the server's clock.
        witness_name: Key name of the server as a witness.
        witness_key: Cosigning key of the server, raw, hex.
        sites: By name.
        handovers: From earlier keys of its packages and cosignatures to later ones.
    """

    version: int = VERSION
    server: grammar.Name
    made: Time
    witness_name: grammar.Origin
    witness_key: grammar.Hex
    sites: tuple[SiteRecord, ...]
    handovers: tuple[Handover, ...] = ()

    def __post_init__(self) -> None:
        grammar.check(self)
        signing.public_from_hex(self.witness_key, subject="server record: witness key")
        names = [site.site for site in self.sites]
        if names != sorted(set(names)):
            raise DecodeError("server record: sites are not in order of their names, each once")

    def site(self, name: str) -> SiteRecord | None:
        """A site by name, if the server knows it."""
        return next((site for site in self.sites if site.site == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """That a release of a site is in the tree of releases which a package for the site names.

    Attributes:
        site: The site.
        package_id: Id of the package.
        release_id: Id of the release, a leaf of the tree.
        root: Merkle tree hash (RFC 6962, section 2.1) that the package names, hex.
        size: Leaves of the tree.
        index: Which of them the release is.
        path: Inclusion proof (section 2.1.1), hex.
    """

    site: grammar.SiteName
    package_id: grammar.Identifier
    release_id: grammar.Identifier
    root: grammar.Digest
    size: canonical.Count
    index: canonical.Count
    path: tuple[grammar.Digest, ...]

    def __post_init__(self) -> None:
        grammar.check(self)

    def verify(self) -> None:
        """Raises ``VerificationError`` where the path does not lead to the root."""
        try:
            path, root = [bytes.fromhex(x) for x in self.path], bytes.fromhex(self.root)
        except ValueError as error:
            raise VerificationError(f"package {self.package_id}: a hash is no hash") from error
        leaf = merkle.leaf_hash(self.release_id.encode())
        merkle.verify_inclusion(leaf, self.index, self.size, path, root)


def read_membership(path: Path) -> Membership:
    """Read a file of such; ``DecodeError`` if it is none."""
    data = atomic.read_bytes(path, limit=MEMBERSHIP_LIMIT)
    return canonical.decode(Membership, data, subject=path.name)


def encode(record: ServerRecord) -> bytes:
    """Bytes of ``sites.json``."""
    return canonical.encode(record)


def decode(data: bytes) -> ServerRecord:
    """Read ``sites.json``, or ``DecodeError``."""
    return canonical.decode(ServerRecord, data, subject=SITES_FILE, limit=RECORD_LIMIT)


def read(folder: Path) -> ServerRecord:
    """Read the record of a folder that ``wg-server export`` wrote.

    Raises:
        ConfigError: There is none.
        DecodeError: It is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected the folder that `wg-server export --out` wrote")
    return decode(atomic.read_bytes(folder / SITES_FILE, limit=RECORD_LIMIT))
