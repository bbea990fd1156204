"""Folder that a server exported for auditors, as evidence in the audit of one log.

Its keys, checkpoints and list of logs are only claims of the server, and the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from wg_audit import forks, freshness, received_files
from wg_audit.forks import CheckpointPair
from wg_audit.freshness import OutsideCheckpoint
from wg_common import auditor_record
from wg_common.auditor_record import LogRecord, MembershipProof, ServerRecord, SiteRecord
from wg_common.language import Text, text
from wg_core.errors import VerificationError
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire.handover import WITNESS_USE
from wg_core.wire.signing import display_key


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """Folder that a server exported for auditors, as evidence about one log.

    Attributes:
        path: Path of the folder.
        server_record: Record that the server exported about itself and all sites.
        site_record: Part of the record on the site of the audited log.
        log_record: Part of the record on the audited log.
    """

    path: Path
    server_record: ServerRecord
    site_record: SiteRecord
    log_record: LogRecord

    @property
    def witness(self) -> TrustedWitness:
        """Server as a witness, by the oldest key from which hand-overs lead to its present key."""
        before = {x.now: x.before for x in self.server_record.handovers if x.use == WITNESS_USE}
        key = self.server_record.witness_key
        while key in before:
            key = before.pop(key)
        return TrustedWitness(self.server_record.witness_name, bytes.fromhex(key))

    @property
    def log_records(self) -> tuple[LogRecord, ...]:
        """Server's records of the site's logs up to the audited log, oldest first."""
        return self.site_record.logs[: self.site_record.logs.index(self.log_record) + 1]

    def add_server_keys(self, anchors: TrustAnchors) -> TrustAnchors:
        """Return the given anchors with the keys and hand-overs in the server's record added."""
        witnesses = anchors.witnesses
        if all(witness.name != self.witness.name for witness in witnesses):
            witnesses = (*witnesses, self.witness)
        log_key = bytes.fromhex(self.log_record.key) or None
        return replace(
            anchors,
            ledger_key=anchors.ledger_key or log_key,
            witnesses=witnesses,
            handovers=self.server_record.handovers,
        )

    def check_keys(self, history: VerifiedLog) -> None:
        """Check that the keys of the verified log agree with the server's record.

        Raises:
            VerificationError: The log never had the recorded key, or no hand-overs lead from the
                given key of the server as a witness to the recorded one.
        """
        keys = [period.public_key.hex() for period in history.state.key_periods]
        if self.log_record.key and self.log_record.key not in keys:
            raise VerificationError(
                f"the log is signed by {display_key(history.state.public_key)}, the server knows it"
                f" with {display_key(bytes.fromhex(self.log_record.key))}"
            )
        of_today = TrustedWitness(self.witness.name, bytes.fromhex(self.server_record.witness_key))
        for witness in history.anchors.witnesses:
            if witness.name == of_today.name and of_today not in history.key_and_successors(
                witness
            ):
                raise VerificationError(
                    f"witness {witness.name}: key {display_key(witness.public_key)} is given, the "
                    f"server's record says {display_key(of_today.public_key)}"
                )

    def newest_checkpoints(self) -> list[OutsideCheckpoint]:
        """Read the newest checkpoints of the audited log, from the server's record and from a file.

        Raises:
            DecodeError: A file is not a checkpoint.
        """
        histories = []
        if self.log_record.checkpoint:
            source = _display_name(auditor_record.SITES_FILE)
            histories.append(
                freshness.decode_checkpoint(self.log_record.checkpoint.encode(), source)
            )
        path = self.path / self.site_record.site / auditor_record.CHECKPOINT_FILE
        if path.exists():
            histories.append(freshness.read_checkpoint(path, _display_name(path.name)))
        return [x for x in histories if x.head.origin == self.log_record.origin]

    def read_site_evidence(self) -> SiteEvidence:
        """Read the server's evidence about the site, and list the files that are not understood."""
        folder = self.path / self.site_record.site
        files, other_files = (
            received_files.list_statistics_files(folder) if folder.is_dir() else ([], [])
        )
        logs = [x for x in other_files if x.suffix == auditor_record.LOG_SUFFIX and x.is_file()]
        fork_folder = folder / auditor_record.FORK_FOLDER
        pairs, refused_files, stray = (
            _read_fork_folder(fork_folder) if fork_folder.is_dir() else ([], [], [])
        )
        expected_paths = {
            folder / auditor_record.CHECKPOINT_FILE,
            self.path / auditor_record.SITES_FILE,
        }
        expected_paths |= {fork_folder} if fork_folder.is_dir() else set()
        expected_paths |= {
            self.path / site.site
            for site in self.server_record.sites
            if site is not self.site_record
        }
        above = [x for x in sorted(self.path.iterdir()) if x != folder]
        proofs = [x for x in other_files if x.name.endswith(auditor_record.MEMBERSHIP_SUFFIX)]
        read = {*expected_paths, *logs, *proofs}
        unread = [x for x in (*other_files, *above, *stray) if x not in read]
        return SiteEvidence(
            files,
            logs,
            unread,
            memberships=[auditor_record.read_membership_proof(x) for x in proofs],
            checkpoint_pairs=pairs,
            refused_files=refused_files,
        )


@dataclass(frozen=True, slots=True)
class SiteEvidence:
    """Server's evidence about one site, by kind of file.

    Attributes:
        statistics_files: Paths of release files that the server received.
        log_paths: Paths of earlier logs that the site showed to the server.
        unread_paths: Paths of files and folders of unknown kinds.
        memberships: Proofs that releases of the site are in the pools of its packages.
        checkpoint_pairs: Pairs of checkpoints of one log that contradict each other.
        refused_files: Paths of release files of a log that did not extend the cosigned log.
    """

    statistics_files: list[Path] = field(default_factory=list)
    log_paths: list[Path] = field(default_factory=list)
    unread_paths: list[Path] = field(default_factory=list)
    memberships: list[MembershipProof] = field(default_factory=list)
    checkpoint_pairs: list[CheckpointPair] = field(default_factory=list)
    refused_files: list[Path] = field(default_factory=list)


def _read_fork_folder(folder: Path) -> tuple[list[CheckpointPair], list[Path], list[Path]]:
    """Return a site's contradictory checkpoints, and paths of refused and of all other files.

    Raises:
        DecodeError: A file of a pair is not a checkpoint.
    """
    refused_files, notes = received_files.list_statistics_files(folder)
    earlier_suffix, later_suffix = (
        auditor_record.EARLIER_CHECKPOINT_SUFFIX,
        auditor_record.LATER_CHECKPOINT_SUFFIX,
    )
    pairs, stray = [], set(notes)
    for earlier in notes:
        later = earlier.with_name(earlier.name.removesuffix(earlier_suffix) + later_suffix)
        if earlier.name.endswith(earlier_suffix) and later in stray:
            pairs.append(forks.read_checkpoint_pair(earlier, later))
            stray -= {earlier, later}
    return pairs, refused_files, sorted(stray)


def _display_name(name: str) -> Text:
    """Return a file's name for display, with the server as its source."""
    return text("the server's {file}", file=name)


def open_server_folder(path: Path, site: str, origin: str) -> ServerFolder:
    """Read the record in a folder that a server exported, and find the audited log in it.

    Raises:
        ConfigError: The path is not an exported folder.
        DecodeError: The record is damaged.
        VerificationError: The server does not know the site, or never saw this log of the site.
    """
    record = auditor_record.read_auditor_record(path)
    site_record = record.find_site(site)
    if site_record is None:
        raise VerificationError(f"{path}: the server knows no site {site!r}")
    log = site_record.find_log(origin)
    if log is None:
        origins = ", ".join(x.origin for x in site_record.logs) or "none"
        raise VerificationError(
            f"{path}: the server never saw log {origin} of site {site}; it saw {origins}"
        )
    return ServerFolder(path, record, site_record, log)
