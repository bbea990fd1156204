"""Backup of a plant's home to one encrypted file, while its node runs, and restore from it.

Keys, ledger, snapshots and releases are of one moment: under the release lock databases are copied,
and other files, which are only ever replaced as a whole, are linked. They are read and encrypted
once the lock is free. The whole file is encrypted: snapshots hold exact sums of records.

**A ledger that is older than the last release must not be used.** It would lack part of the spend,
and the next release would fork the ledger, which the server keeps as evidence. So a home is
restored only if the server, as witness, confirms that it has seen nothing newer: over the network,
or in a note that ``wg-server export`` wrote.
"""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from wg_common.backup import archive
from wg_common.backup.archive import BackupManifest, BackupSource, DecryptionKey, EncryptionTarget
from wg_core import atomic
from wg_core.connection import cosigning, server_link
from wg_core.errors import StorageError, VerificationError, reraise_os_errors
from wg_core.ledger import shared_budget
from wg_core.ledger.cosigned import LedgerRolledBack
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.home import ClientHome
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT

BACKUP_KIND = "plant"
NOTE_LIFETIME_SECONDS = 24 * 3600
"""Largest age of the server's note, seconds: long enough to carry it to the plant."""
_SQLITE_SUFFIX = ".sqlite"
_DATABASE_LOG_SUFFIXES = ("-wal", "-shm", "-journal")
_EXCLUDED_FILES = ("contact.json",)

RESTORE_REMEDY = (
    "Nothing was restored. Restore the newest backup. If there is none, let the server's operator"
    " make a token (wg-server enroll --replace), restore this one with --give-up-ledger and run"
    " 'wg-client keys --renew ledger --stolen': its spend counts on, and the server says that some"
    " is unknown"
)


def back_up_home(
    home: ClientHome,
    out_path: Path,
    encryption_target: EncryptionTarget,
    *,
    current_time: float | None = None,
) -> BackupManifest:
    """Back up a home; its node may run, but answers nothing until the databases are copied.

    Raises:
        ConfigError: The home is not initialised, or a recipient is not a valid key.
        StorageError: A file cannot be read, or the backup cannot be written.
    """
    created = int(time.time() if current_time is None else current_time)
    name = configuration.load(home).site
    with archive.temporary_folder(home.root) as scratch:
        sources: list[BackupSource] = []
        with locks.lock_ledger(home):
            for path in archive.list_home_files(home.root):
                relative_path = path.relative_to(home.root).as_posix()
                if relative_path in _EXCLUDED_FILES or relative_path.endswith(
                    _DATABASE_LOG_SUFFIXES
                ):
                    continue
                copy = _copy_database if path.suffix == _SQLITE_SUFFIX else _link_file
                sources.append((relative_path, copy(path, scratch / str(len(sources)))))
        about = archive.BackupDescription(kind=BACKUP_KIND, name=name, created=created)
        return archive.write_backup(out_path, sources, encryption_target, about)


def restore_home(
    backup_path: Path,
    home: ClientHome,
    decryption_key: DecryptionKey,
    *,
    note_path: Path | None = None,
    give_up_ledger: bool = False,
) -> tuple[BackupManifest, int]:
    """Restore a home from a backup, if its ledger is the newest; otherwise create nothing.

    Args:
        home: The new home; its folder is empty or missing.
        note_path: File with today's note of ``wg-server export``; None: the server is asked.
        give_up_ledger: Give up an outdated ledger: its key is not restored, so that only
            ``wg-client keys --renew ledger --stolen`` can continue from here.

    Returns:
        The backup's manifest, and the number of entries of its ledger; 0 if another home holds it.

    Raises:
        ConfigError: ``home`` is not empty.
        DecodeError: The file is not a backup of a plant.
        VerificationError: The file is damaged, the key does not open it, or the server has seen
            more entries of this ledger than the backup holds; the message has the remedy.
        PeerError: The server cannot be asked.
    """
    with archive.create_home_folder(home.root) as folder:
        new_home = ClientHome(folder)
        manifest = archive.extract_backup(
            backup_path, folder, decryption_key, home_kind=BACKUP_KIND
        )
        new_home.check_initialised()
        size = 0
        if shared_budget.read_shared_budget(folder) is None:
            size = _check_newest_ledger(new_home, note_path, give_up_ledger=give_up_ledger)
    return manifest, size


def _check_newest_ledger(home: ClientHome, note_path: Path | None, *, give_up_ledger: bool) -> int:
    """Return the ledger's number of entries; an error if the server has seen more of them."""
    config = configuration.load(home)
    if give_up_ledger:
        home.ledger_key.unlink(missing_ok=True)  # so that nothing can be charged on it
    if give_up_ledger or config.pin is None:
        return cosigning.signed_sizes(home, config)[0].entry_count
    try:
        if note_path is not None:
            data = atomic.read_bytes(note_path, limit=NOTE_CHARACTERS_LIMIT)
            return cosigning.store_recent_cosignature(
                home, data, max_age_seconds=NOTE_LIFETIME_SECONDS
            )
        with server_link.ServerLink.open(home, config.server.fleet_url) as connection:
            return cosigning.check_not_rolled_back(home, config, connection.cosign)
    except LedgerRolledBack as error:
        raise VerificationError(f"{error}. {RESTORE_REMEDY}") from error


def _link_file(path: Path, target: Path) -> Path:
    """Link to a file's present content, or copy it where the file system has no links."""
    with reraise_os_errors(StorageError, f"{path}: cannot be copied"):
        try:
            target.hardlink_to(path)
        except OSError:
            shutil.copy2(path, target)
    return target


def _copy_database(path: Path, target: Path) -> Path:
    """Copy a SQLite file, including its write-ahead log, and check the copy."""
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            copy.execute("pragma journal_mode = delete").close()
            (verdict,) = copy.execute("pragma quick_check").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"{path}: cannot be copied: {error}") from error
    if verdict != "ok":
        raise StorageError(f"{path}: damaged: {verdict}")
    return target
