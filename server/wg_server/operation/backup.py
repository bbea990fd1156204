"""Backup of a server's home into one encrypted file while it serves, and restore.

The store is copied first, as of one point in time, then the files that it names. If a package is
made meanwhile, its file is in the backup too, and the restored server uses it instead of making it
again. Keys do not change meanwhile: every command that changes them needs the same lock.

*Events after the backup* are unknown to a restored server, but the plants know most of them:
ledgers that grew are cosigned again from the last checkpoint in the backup, a repeated query gets
the plant's stored release, which is charged already, and a package that was delivered is not
applied twice. Certificates issued after the backup are accepted until they expire (``RestoreGap``).
The rest is lost: enrolments, revocations and campaigns since the backup.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from wg_common.backup import archive
from wg_common.backup.archive import BackupManifest, BackupSource, DecryptionKey, EncryptionTarget
from wg_core import atomic, locks
from wg_core.errors import ConfigError
from wg_server.generator import versions
from wg_server.site.backup_records import LastBackup, RestoreGap
from wg_server.site.home import ServerHome
from wg_server.store import store_copy
from wg_server.store.operators import Actor, add_log_entry
from wg_server.store.server_store import ServerStore

BACKUP_KIND = "server"
_STORE_FILE_NAME = "store.sqlite"
_BACKED_UP_FOLDERS = ("pki", "keys", "packages", "generator/versions")
_PUBLIC_FILE_ATTRIBUTES = ("encoder_file", "installed_generator_file")


def back_up_home(
    home: ServerHome,
    backup_file: Path,
    encryption_target: EncryptionTarget,
    *,
    current_time: float | None = None,
) -> BackupManifest:
    """Back up a server's home into one encrypted file. A server may serve the home meanwhile.

    The zoo is left out, except for the public encoder: it is public and can be built again.

    Raises:
        ConfigError: The home is not initialised, or a recipient is invalid.
        StorageError: The store cannot be read, or the file cannot be written.
    """
    created = int(time.time() if current_time is None else current_time)
    config = home.read_config()
    with (
        lock_keys(home),
        versions.lock_versions(home),
        archive.temporary_folder(home.root) as scratch,
    ):
        with ServerStore.open(home) as store:
            store_copy.copy_store_to_file(store.engine, scratch / _STORE_FILE_NAME)
        sources: list[BackupSource] = [
            (_STORE_FILE_NAME, scratch / _STORE_FILE_NAME),
            _home_source(home, home.config_file),
        ]
        for folder in _BACKED_UP_FOLDERS:
            sources += [
                _home_source(home, path) for path in archive.list_home_files(home.root / folder)
            ]
        public: list[Path] = [getattr(home, name) for name in _PUBLIC_FILE_ATTRIBUTES]
        sources += [_home_source(home, path) for path in public if path.is_file()]
        about = archive.BackupDescription(kind=BACKUP_KIND, name=config.name, created=created)
        manifest = archive.write_backup(backup_file, sources, encryption_target, about)
    LastBackup(created=created).save(home)
    return manifest


def restore_home(
    backup_file: Path,
    home: ServerHome,
    decryption_key: DecryptionKey,
    actor: Actor,
    *,
    database: str = "",
    current_time: float | None = None,
) -> BackupManifest:
    """Create a server's home from a backup, completely or not at all.

    Args:
        home: New home; its folder is empty or does not exist.
        actor: User who restores the home, for the operators' log.
        database: SQLAlchemy URL of an empty database, if it differs from the backup's
            configuration; ``sqlite`` for a file in the home.
        current_time: Unix time.

    Raises:
        ConfigError: The folder of ``home`` is not empty, or the database is not empty.
        DecodeError: The file is not a backup of a server.
        VerificationError: The file is damaged, or the key does not open it.
        StorageError: The disk or the database cannot be written.
    """
    end = time.time() if current_time is None else current_time
    with archive.create_home_folder(home.root) as folder:
        restored_home = ServerHome(folder)
        manifest = archive.extract_backup(
            backup_file, folder, decryption_key, home_kind=BACKUP_KIND
        )
        config = restored_home.read_config()
        if database:
            config = replace(config, database="" if database == "sqlite" else database)
            restored_home.write_config(config)
        if not (folder / _STORE_FILE_NAME).is_file():
            raise ConfigError(f"{backup_file}: a backup without a store")
        if config.database:
            store_copy.restore_store_from_file(folder / _STORE_FILE_NAME, config.database)
            (folder / _STORE_FILE_NAME).unlink()
        else:
            atomic.rename_file(folder / _STORE_FILE_NAME, restored_home.database_file)
        with ServerStore.open(restored_home) as store:  # migrates the store, and proves it readable
            add_log_entry(store, actor, "restore", manifest.name, _format_utc(manifest.created))
        RestoreGap(since=manifest.created, until=int(end)).save(restored_home)
        LastBackup(created=manifest.created).save(restored_home)
    return manifest


@contextmanager
def lock_keys(home: ServerHome) -> Iterator[None]:
    """Hold the lock under which a home's keys are changed or copied; a second process waits."""
    with locks.hold_lock(home.root / ".keys.lock"):
        yield


def _format_utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _home_source(home: ServerHome, path: Path) -> BackupSource:
    return path.relative_to(home.root).as_posix(), path
