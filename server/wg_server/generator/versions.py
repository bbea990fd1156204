"""Generator versions on disk, each complete and immutable, and the record of the installed one.

::

    generator/versions/ID/heads.safetensors     package of the generator of heads
    generator/versions/ID/sheets.safetensors    package of networks from data sheets, if trained
    generator/versions/ID/card.json             model card; ID is the SHA-256 of this file
    generator/installed.json                    ids of the installed version and the previous one

A card states the SHA-256 of its packages, and the encoder and the zoo that they were made for. It
is written last: a folder without a card is left over from an interrupted training. Installing a
version is one atomic write of ``installed.json``. The packages of a campaign are made with the
version that was installed when the campaign was queued, whatever is installed later.

A version whose card fails a check is installed only on the operator's decision. Nothing here
protects against an operator who edits a card. The module imports no torch, and does not decode
packages.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from wg_common.catalogue import SPECTRUM_LINES_NETWORK
from wg_core import atomic, locks, typed_records
from wg_core.errors import (
    ConfigError,
    DecodeError,
    StorageError,
    VerificationError,
    reraise_os_errors,
)
from wg_core.wire import canonical
from wg_server.generator.card_checks import CardCheck, read_checks
from wg_server.site.home import ServerHome

CARD_LIMIT = 4 << 20
SHORT_ID_LENGTH = 16  # Number of hex digits of an id in output
_CARD_FILE = "card.json"
_HEADS_FILE = "heads.safetensors"
_SHEETS_FILE = "sheets.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledVersions:
    """Record of the installed generator version and the previous one; an empty id means none.

    Attributes:
        version: Id of the installed version, which new campaigns use.
        before: Id of the version that was installed before it.
    """

    version: str = ""
    before: str = ""


class _SheetsCard(msgspec.Struct, frozen=True):
    """Fields that the model card of networks from data sheets must have."""

    generator: str


class _GeneratorCard(msgspec.Struct, frozen=True):
    """Fields that the model card of a version must have."""

    generator: str
    encoder: str
    architecture: str
    created: int
    sheets: _SheetsCard | None = None


@dataclass(frozen=True, slots=True)
class GeneratorVersion:
    """One version of the generator on disk, with its model card.

    Attributes:
        id: SHA-256 of the card's file, hex.
        folder: Folder with the files of the version.
        card: Whole model card, as JSON values.
        summary: Fields of the card that the program needs, checked for their types.
    """

    id: str
    folder: Path
    card: Mapping[str, Any]
    summary: _GeneratorCard

    @property
    def heads_path(self) -> Path:
        """Path of the package of the generator of heads."""
        return self.folder / _HEADS_FILE

    @property
    def sheets_path(self) -> Path:
        """Path of the package of networks from data sheets; the file may not exist."""
        return self.folder / _SHEETS_FILE

    @property
    def architectures(self) -> tuple[str, ...]:
        """Architectures whose weights the generator makes."""
        return (
            self.summary.architecture,
            *([SPECTRUM_LINES_NETWORK] if self.summary.sheets else []),
        )

    def failed_checks(self) -> list[CardCheck]:
        """Return the failed checks of the model card, on heads and on networks.

        Raises:
            DecodeError: The card has no readable checks.
        """
        return self.failed_head_checks() + self.failed_network_checks()

    def failed_head_checks(self) -> list[CardCheck]:
        """Return the failed checks of the version's heads; errors as in ``failed_checks``."""
        return [check for check in read_checks(self.card) if not check.passed]

    def failed_network_checks(self) -> list[CardCheck]:
        """Return the failed checks of the version's networks; errors as in ``failed_checks``."""
        if not self.summary.sheets:
            return []
        return [check for check in read_checks(self.card["sheets"]) if not check.passed]

    @property
    def is_usable(self) -> bool:
        """True if the heads, or the networks for machines, pass all of their checks."""
        return not self.failed_head_checks() or self._networks_pass

    @property
    def uses_heads(self) -> bool:
        """True if packages get heads: these pass their checks, or neither heads nor networks do."""
        return not self.failed_head_checks() or not self._networks_pass

    @property
    def uses_networks(self) -> bool:
        """True if packages get networks: these pass their checks, or neither they nor heads do."""
        return self.summary.sheets is not None and (
            self._networks_pass or bool(self.failed_head_checks())
        )

    @property
    def _networks_pass(self) -> bool:
        return self.summary.sheets is not None and not self.failed_network_checks()

    def verify_packages(self) -> None:
        """Compare the hashes of the version's packages with those on its model card.

        Raises:
            ConfigError: A package is missing.
            VerificationError: A package differs from the card.
        """
        digests = {self.heads_path: self.summary.generator}
        if self.summary.sheets:
            digests[self.sheets_path] = self.summary.sheets.generator
        for path, digest in digests.items():
            if _file_sha256(path) != digest:
                raise VerificationError(
                    f"{path}: not the package that its model card names; restore it from a backup,"
                    " or use another generator"
                )


def write_version(
    home: ServerHome,
    card: Mapping[str, Any],
    heads_package: bytes,
    sheets_package: bytes | None = None,
) -> GeneratorVersion:
    """Write a new version without installing it.

    Args:
        home: Home of the server.
        card: Model card; its entry ``sheets`` is the card of networks from data sheets, if there
            are any.
        heads_package: Package of the generator of heads.
        sheets_package: Package of networks from data sheets, or None.

    Raises:
        StorageError: The disk cannot be written.
    """
    document = {**card, "created": int(time.time())}
    data = json.dumps(document, indent=2, sort_keys=True).encode()
    identity = canonical.sha256_hex(data)
    folder = home.generator_versions_folder / identity
    with lock_versions(home):
        atomic.write_bytes(folder / _HEADS_FILE, heads_package)
        if sheets_package is not None:
            atomic.write_bytes(folder / _SHEETS_FILE, sheets_package)
        atomic.write_bytes(folder / _CARD_FILE, data)
    return read_version(home, identity)


def read_version(home: ServerHome, version_id: str) -> GeneratorVersion:
    """Return a version by its full id.

    Raises:
        ConfigError: There is no such version.
        DecodeError: The card cannot be read.
        VerificationError: The card was changed: its SHA-256 is not the id.
    """
    folder = home.generator_versions_folder / version_id
    path = folder / _CARD_FILE
    if not version_id or not path.is_file():
        raise ConfigError(
            f"generator {version_id[:SHORT_ID_LENGTH]}: not in {home.generator_versions_folder};"
            " see 'wg-server generator'"
        )
    card, named_files = _read_card(path, version_id, path.stat().st_mtime_ns)
    return GeneratorVersion(version_id, folder, card, named_files)


def list_versions(home: ServerHome) -> list[GeneratorVersion]:
    """Return all versions with a readable card, newest first."""
    versions = []
    for identity in _complete_version_ids(home):
        try:
            versions.append(read_version(home, identity))
        except (DecodeError, VerificationError):
            continue  # `wg-server train` deletes it
    return sorted(versions, key=lambda version: (-version.summary.created, version.id))


def find_version(home: ServerHome, id_prefix: str) -> GeneratorVersion:
    """Return the version whose id starts with ``id_prefix``.

    Raises:
        ConfigError: No version matches, several do, or the prefix has fewer than eight digits.
        DecodeError: The card cannot be read.
        VerificationError: The card was changed.
    """
    names = [
        name
        for name in _complete_version_ids(home)
        if len(id_prefix) >= 8 and name.startswith(id_prefix)
    ]
    if len(names) != 1:
        raise ConfigError(
            f"generator {id_prefix!r}: no id begins so; see 'wg-server generator --home"
            f" {home.root}'"
        )
    return read_version(home, names[0])


def read_installed_versions(home: ServerHome) -> InstalledVersions:
    """Read the ids of the installed and the previous version; empty if nothing was installed.

    Raises:
        ConfigError: ``installed.json`` cannot be read.
        DecodeError: ``installed.json`` is damaged.
    """
    path = home.installed_generator_file
    if not path.is_file():
        return InstalledVersions()
    return canonical.read_record(InstalledVersions, path)


def installed_version(home: ServerHome) -> GeneratorVersion:
    """Return the generator version that is installed in a home.

    Raises:
        ConfigError: No version is installed, or its files are missing.
        DecodeError: The card cannot be read.
        VerificationError: The card was changed.
    """
    identity = read_installed_versions(home).version
    if identity:
        return read_version(home, identity)
    candidates = list_versions(home)
    if not candidates:
        raise ConfigError(f"no generator yet; run 'wg-server train --home {home.root}'")
    newest = candidates[0]
    why = "; ".join(str(check) for check in newest.failed_checks()) or "nobody has installed it"
    raise ConfigError(
        f"no generator is installed; of {newest.id[:SHORT_ID_LENGTH]}: {why}. Train on a larger"
        f" zoo, or run 'wg-server generator --home {home.root} --use {newest.id[:SHORT_ID_LENGTH]}'"
    )


def usable_version(home: ServerHome) -> GeneratorVersion:
    """Return the installed version, after a check that new campaigns can use it.

    Raises:
        ConfigError: No version is installed, or it is for another encoder than the home's.
        DecodeError: The card cannot be read.
        VerificationError: The version is damaged.
    """
    version = installed_version(home)
    _check_encoder(home, version)
    version.verify_packages()
    return version


def verified_version(home: ServerHome, version_id: str) -> GeneratorVersion:
    """Return a version by its full id, after a comparison of its packages with its card.

    Raises:
        ConfigError: There is no such version, or a package is missing.
        DecodeError: The card cannot be read.
        VerificationError: The version is damaged.
    """
    version = read_version(home, version_id)
    version.verify_packages()
    return version


def install_version(home: ServerHome, version: GeneratorVersion) -> None:
    """Install a version, whether or not its card passes, and record the previous one.

    Raises:
        ConfigError: The version is for another encoder than the home's, or a package is missing.
        VerificationError: The version is damaged.
        StorageError: The disk cannot be written; the previous version stays installed.
    """
    _check_encoder(home, version)
    with lock_versions(home):
        version.verify_packages()
        try:
            current = read_installed_versions(home)
        except DecodeError:
            current = InstalledVersions()
        if current.version != version.id:
            pointer_now = InstalledVersions(version=version.id, before=current.version)
            atomic.write_bytes(home.installed_generator_file, canonical.encode(pointer_now))


def prune_versions(home: ServerHome, needed_ids: Collection[str]) -> list[str]:
    """Delete all versions except the installed one, the previous one, and the needed ones.

    Args:
        home: Home of the server.
        needed_ids: Ids of further versions to keep: those of open campaigns and of a new training.

    Returns:
        Ids of the deleted versions that had a card.

    Raises:
        StorageError: A version cannot be deleted.
    """
    with lock_versions(home):
        current = read_installed_versions(home)
        keep = {current.version, current.before, *needed_ids}
        removed_names = [name for name in _complete_version_ids(home) if name not in keep]
        for folder in _version_folders(home):
            if folder.name not in keep:
                with reraise_os_errors(StorageError, f"{folder}: cannot be deleted"):
                    (folder / _CARD_FILE).unlink(missing_ok=True)  # first: the rest is no version
                    shutil.rmtree(folder)
    return removed_names


@contextmanager
def lock_versions(home: ServerHome) -> Iterator[None]:
    """Hold, in a ``with`` block, the lock for writing, installing, deleting or copying versions."""
    with reraise_os_errors(StorageError, f"{home.generator_versions_folder}: cannot be written"):
        home.generator_versions_folder.mkdir(parents=True, exist_ok=True)
    with locks.hold_lock(home.generator_versions_folder / ".lock"):
        yield


def _check_encoder(home: ServerHome, version: GeneratorVersion) -> None:
    if version.summary.encoder != home.encoder_sha256():
        raise ConfigError(
            f"generator {version.id[:SHORT_ID_LENGTH]}: for another encoder than"
            f" {home.encoder_file}; run 'wg-server train --home {home.root}'"
        )


def _version_folders(home: ServerHome) -> Sequence[Path]:
    root = home.generator_versions_folder
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _complete_version_ids(home: ServerHome) -> list[str]:
    return [folder.name for folder in _version_folders(home) if (folder / _CARD_FILE).is_file()]


@lru_cache(16)
def _read_card(
    path: Path, version_id: str, change_time_ns: int
) -> tuple[Mapping[str, Any], _GeneratorCard]:
    """Return a model card, and its required fields; cached by the file's time of change."""
    data = atomic.read_bytes(path, limit=CARD_LIMIT)
    if canonical.sha256_hex(data) != version_id:
        raise VerificationError(f"{path}: its SHA-256 is not the name of its folder")
    try:
        card = json.loads(data)
        return card, typed_records.convert_to_record(card, _GeneratorCard)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise DecodeError(f"{path}: not a model card: {error}") from error


def _file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex; cached by its time of change, size and inode."""
    with reraise_os_errors(ConfigError, f"{path}: cannot be read"):
        status = path.stat()
    return _file_sha256_cached(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(16)
def _file_sha256_cached(path: Path, change_time_ns: int, size: int, inode: int) -> str:
    with reraise_os_errors(ConfigError, f"{path}: cannot be read"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
