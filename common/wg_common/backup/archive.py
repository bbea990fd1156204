"""Backup of a home in one file: the format that ``backup`` writes and ``restore`` reads.

The file is a ZIP archive with three members, so that a backup outlives this program:

============= ===================================================================================
about.json    kind and name of the home, and the time: readable without a key
home.tar.age  the home as a tar archive, encrypted in the age format (age-encryption.org/v1)
identity.age  with a passphrase only: the key of ``home.tar.age``, encrypted by the passphrase
============= ===================================================================================

``unzip``, ``age --decrypt --identity`` and ``tar`` open it. The last file in the tar archive is
``manifest.json``: path and size of every other. age authenticates each byte, so no hash is needed.

*Guarantee.* ``extract_backup`` writes every file of the manifest exactly as it was encrypted, or
raises. It writes nothing outside the given folder. *Not guaranteed:* the origin of the archive.
Anybody may encrypt for a recipient, so trust in a restored home rests on the keys in it, not on the
archive.
"""

import io
import os
import shutil
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

import pyrage

from wg_core import __version__, atomic
from wg_core.errors import (
    ConfigError,
    DecodeError,
    StorageError,
    VerificationError,
    reraise_os_errors,
)
from wg_core.wire import canonical

VERSION = 1
DESCRIPTION_MEMBER, ARCHIVE_MEMBER, IDENTITY_MEMBER, MANIFEST_MEMBER = (
    "about.json",
    "home.tar.age",
    "identity.age",
    "manifest.json",
)
KEY_FILE_LIMIT = 64 << 10  # Largest identity or passphrase file, in bytes
MANIFEST_LIMIT = 64 << 20  # Largest manifest, in bytes
FILES_LIMIT = 1_000_000  # Largest number of files in a backup


_TEMPORARY_PREFIX = ".backup."
_TEMPORARY_AGE_LIMIT_SECONDS = 86400.0  # Age above which a killed backup's folder is removed
_DAMAGE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""Exceptions of ``zipfile`` for a member that is damaged, encrypted or of an unknown method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDescription:
    """Description of a backup that is readable without a key, and not authenticated.

    Attributes:
        version: Version of this format.
        kind: ``server`` or ``plant``.
        name: Name of the server or site.
        created: Time at which the backup began, Unix seconds.
        program: Version of weightgate that wrote the backup.
    """

    version: int = VERSION
    kind: str
    name: str
    created: int
    program: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """File in a backup: path below the home, with ``/`` as separator, and size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest(BackupDescription):
    """Description of a backup with the list of its files, stored encrypted in the backup."""

    files: tuple[BackupFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionTarget:
    """Age recipients (``age1…``) or passphrase for which a backup is encrypted."""

    recipients: tuple[str, ...] = ()
    passphrase: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if bool(self.recipients) == bool(self.passphrase):
            raise ConfigError("backup: give recipients or a passphrase, and not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptionKey:
    """Key that opens a backup: an age identity (``AGE-SECRET-KEY-1…``), or the passphrase."""

    identity: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if bool(self.identity) == bool(self.passphrase):
            raise ConfigError("backup: give an identity or a passphrase, and not both")


BackupSource = tuple[str, Path]
"""File to back up: path below the home, with ``/`` as separator, and present location."""


def write_backup(
    out: Path,
    sources: Sequence[BackupSource],
    encryption_target: EncryptionTarget,
    description: BackupDescription,
) -> BackupManifest:
    """Write a backup of some files atomically to ``out``, readable by its owner only.

    Raises:
        ConfigError: A recipient is not an age recipient, or a file cannot be read.
        StorageError: ``out`` cannot be written.
    """
    recipients, wrapped_identity = _age_recipients_and_identity(encryption_target)
    files: list[BackupFile] = []

    def fill(pipe: BinaryIO) -> None:
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            files.extend(_add_file(tar, path, source) for path, source in sources)
            data = canonical.encode(manifest())
            entry = tarfile.TarInfo(MANIFEST_MEMBER)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

    def manifest() -> BackupManifest:
        return BackupManifest(
            kind=description.kind,
            name=description.name,
            created=description.created,
            files=tuple(files),
        )

    with (
        atomic.open_replacement(out, mode=atomic.PRIVATE_FILE_MODE) as stream,
        zipfile.ZipFile(stream, "w") as outer,
    ):
        with (
            outer.open(ARCHIVE_MEMBER, "w", force_zip64=True) as member,
            _open_pipe(fill, "wb") as pipe,
        ):
            pyrage.encrypt_io(pipe, member, recipients)
        if wrapped_identity:
            outer.writestr(IDENTITY_MEMBER, wrapped_identity)
        outer.writestr(DESCRIPTION_MEMBER, canonical.encode(description))
    return manifest()


def extract_backup(
    path: Path, target_folder: Path, key: DecryptionKey, *, home_kind: str
) -> BackupManifest:
    """Extract a backup's files into a folder, and check that all files are there.

    Args:
        target_folder: An empty folder. After an error it holds some of the files.
        home_kind: Required kind of the home: ``server`` or ``plant``.

    Raises:
        ConfigError: The file cannot be read, or the key is not an age identity.
        DecodeError: The file is not a backup, or is a backup of the other kind.
        VerificationError: The key does not open the file, or it is damaged or incomplete.
        StorageError: The folder cannot be written.
    """
    read_backup_description(path, home_kind=home_kind)
    files: list[BackupFile] = []

    def empty(pipe: BinaryIO) -> None:
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as tar:
                for entry in tar:
                    if len(files) > FILES_LIMIT:
                        raise DecodeError(f"{path}: more than {FILES_LIMIT} files")
                    files.append(_extract_file(tar, entry, target_folder))
        except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
            raise DecodeError(f"{path}: damaged: {error}") from error

    with _open_zip(path) as outer:
        identity = _age_identity(path, outer, key)
        try:
            with outer.open(ARCHIVE_MEMBER) as member, _open_pipe(empty, "rb") as pipe:
                pyrage.decrypt_io(member, pipe, [identity])
        except (pyrage.DecryptError, *_DAMAGE_ERRORS, OSError) as error:
            raise VerificationError(f"{path}: damaged, or for another key: {error}") from error
        except KeyError as error:
            raise DecodeError(f"{path}: no backup: {ARCHIVE_MEMBER} is missing") from error
    if not files or files[-1].path != MANIFEST_MEMBER:
        raise VerificationError(f"{path}: incomplete: {MANIFEST_MEMBER} is missing")
    data = atomic.read_bytes(target_folder / MANIFEST_MEMBER, limit=MANIFEST_LIMIT)
    (target_folder / MANIFEST_MEMBER).unlink()
    manifest = canonical.decode(
        BackupManifest, data, input_name=f"{path}: {MANIFEST_MEMBER}", max_bytes=MANIFEST_LIMIT
    )
    _check_files(path, manifest, files[:-1], home_kind)
    return manifest


def read_backup_description(path: Path, *, home_kind: str) -> BackupDescription:
    """Read the description of a backup, which needs no key.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The file is not a backup, or has another version or kind.
    """
    with _open_zip(path) as outer:
        data = _read_member(path, outer, DESCRIPTION_MEMBER)
    about = canonical.decode(
        BackupDescription,
        data,
        input_name=f"{path}: {DESCRIPTION_MEMBER}",
        max_bytes=KEY_FILE_LIMIT,
    )
    if about.kind != home_kind:
        raise DecodeError(f"{path}: a backup of a {about.kind}, expected of a {home_kind}")
    return about


def list_home_files(root: Path) -> Iterator[Path]:
    """Yield the files of a home to back up, sorted by path.

    Hidden files are locks and unfinished files, and are left out. So are symbolic links.
    """
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """Yield a new private folder in a home, which is removed when the ``with`` block ends.

    Folders older than a day, which backups that were killed left behind, are removed too.

    Raises:
        StorageError: The folder cannot be created.
    """
    with reraise_os_errors(StorageError, f"{root}: cannot be written"):
        for old_folder in root.glob(f"{_TEMPORARY_PREFIX}*"):
            with suppress(FileNotFoundError):  # another backup may remove its own folder now
                if old_folder.lstat().st_mtime < time.time() - _TEMPORARY_AGE_LIMIT_SECONDS:
                    shutil.rmtree(old_folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def create_home_folder(root: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``root`` when the ``with`` block ends without error.

    Raises:
        ConfigError: ``root`` exists and is not an empty folder.
        StorageError: The disk cannot be written.
    """
    with reraise_os_errors(StorageError, f"{root}: cannot be made"):
        if root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir()))):
            raise ConfigError(f"{root}: there already; name a folder that is empty or not there")
        root.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        yield folder
        atomic.rename_file(folder, root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


# --- inside


@contextmanager
def _open_pipe(
    process_stream: Callable[[BinaryIO], None], mode: Literal["rb", "wb"]
) -> Iterator[BinaryIO]:
    """Yield one end of a pipe while ``process_stream`` runs on another thread with the other end.

    An error of ``process_stream`` is raised again here, instead of the broken pipe that it causes.
    """
    ends = os.pipe()
    reader, writer = os.fdopen(ends[0], "rb"), os.fdopen(ends[1], "wb")
    theirs, ours = (reader, writer) if mode == "rb" else (writer, reader)
    failures: list[BaseException] = []

    def run() -> None:
        with suppress(BrokenPipeError), theirs:
            try:
                process_stream(theirs)
            except BaseException as error:  # noqa: BLE001 - raised again by the one that waits
                failures.append(error)

    thread = threading.Thread(target=run, name="wg-backup")
    thread.start()
    errors: list[BaseException] = []
    try:
        yield ours
    except BaseException as error:  # noqa: BLE001 - raised again below
        errors = [*failures, error]  # the broken pipe comes after its cause
    with suppress(BrokenPipeError):
        ours.close()
    thread.join()
    for failure in [*errors, *failures]:
        raise failure


def _add_file(tar: tarfile.TarFile, archive_path: str, source: Path) -> BackupFile:
    """Add one file to a backup's tar archive; return its path in the archive and its size."""
    try:
        with source.open("rb") as stream:
            status = os.fstat(stream.fileno())
            entry = tarfile.TarInfo(archive_path)
            entry.size, entry.mtime, entry.mode = status.st_size, int(status.st_mtime), 0o600
            tar.addfile(entry, stream)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror or error}") from error
    return BackupFile(path=archive_path, size=entry.size)


def _extract_file(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> BackupFile:
    """Write one file of the backup's tar archive below the target folder."""
    relative = PurePosixPath(entry.name)
    safe = str(relative) == entry.name and not relative.is_absolute() and ".." not in relative.parts
    if not entry.isreg() or not safe or any(c in entry.name for c in "\\:\0"):
        raise DecodeError(f"backup: {entry.name!r}: expected a file below the home")
    stream = tar.extractfile(entry)
    if stream is None:  # pragma: no cover - a regular file has bytes
        raise DecodeError(f"backup: {entry.name!r}: no file")
    target = folder.joinpath(*relative.parts)
    if target.exists():
        raise DecodeError(f"backup: {entry.name!r}: twice")
    with atomic.open_replacement(target, mode=atomic.PRIVATE_FILE_MODE) as out:
        shutil.copyfileobj(stream, out)
        size = out.tell()
    os.utime(target, (entry.mtime, entry.mtime))
    return BackupFile(path=entry.name, size=size)


def _check_files(
    path: Path, manifest: BackupManifest, files: Sequence[BackupFile], home_kind: str
) -> None:
    if manifest.kind != home_kind:
        raise DecodeError(
            f"{path}: {MANIFEST_MEMBER}: of a {manifest.kind}, expected of a {home_kind}"
        )
    if tuple(files) != manifest.files:
        listed_paths, have = {file.path for file in manifest.files}, {file.path for file in files}
        odd = sorted(listed_paths ^ have)[:3] or [
            file.path for file, want in zip(files, manifest.files, strict=True) if file != want
        ]
        raise VerificationError(f"{path}: not as {MANIFEST_MEMBER} says: {', '.join(odd[:3])}")


def _age_recipients_and_identity(encryption_target: EncryptionTarget) -> tuple[list[Any], bytes]:
    """Return age recipients, and a new identity encrypted by the passphrase (empty without one)."""
    if encryption_target.passphrase:
        identity = pyrage.x25519.Identity.generate()
        wrapped_identity = pyrage.passphrase.encrypt(
            f"{identity}\n".encode(), encryption_target.passphrase
        )
        return [identity.to_public()], bytes(wrapped_identity)
    try:
        return [
            pyrage.x25519.Recipient.from_str(recipient)
            for recipient in encryption_target.recipients
        ], b""
    except pyrage.RecipientError as error:
        raise ConfigError(f"backup: no age recipient (age1…): {error}") from error


def _age_identity(path: Path, outer: zipfile.ZipFile, key: DecryptionKey) -> Any:
    """Return the age identity that decrypts a backup."""
    text = key.identity
    if key.passphrase:
        if IDENTITY_MEMBER not in outer.namelist():
            raise ConfigError(f"{path}: made for a recipient: give its identity, no passphrase")
        wrapped_identity = _read_member(path, outer, IDENTITY_MEMBER)
        try:
            text = bytes(pyrage.passphrase.decrypt(wrapped_identity, key.passphrase)).decode(
                "ascii"
            )
        except (pyrage.DecryptError, UnicodeDecodeError) as error:
            raise VerificationError(f"{path}: the passphrase does not open it") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        (line,) = lines
        return pyrage.x25519.Identity.from_str(line.strip())
    except (ValueError, pyrage.IdentityError) as error:
        raise ConfigError("backup: no age identity (AGE-SECRET-KEY-1…)") from error


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the ZIP archive of a backup file; errors name the file."""
    try:
        with zipfile.ZipFile(path) as outer:
            yield outer
    except zipfile.BadZipFile as error:
        raise DecodeError(f"{path}: no backup: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_member(path: Path, outer: zipfile.ZipFile, member_name: str) -> bytes:
    """Read a small member of a backup's ZIP archive."""
    try:
        with outer.open(member_name) as stream:
            data = stream.read(KEY_FILE_LIMIT + 1)
    except (KeyError, *_DAMAGE_ERRORS) as error:
        raise DecodeError(f"{path}: no backup: {member_name}: {error}") from error
    if len(data) > KEY_FILE_LIMIT:
        raise DecodeError(f"{path}: {member_name}: larger than {KEY_FILE_LIMIT} bytes")
    return data
