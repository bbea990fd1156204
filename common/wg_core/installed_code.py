"""Digest of the core's code, computed from the installed files.

*Scope.* Every file of ``wg_core`` that Python could load: sources, and any compiled module beside
them. The process that holds a plant's keys and answers requests loads no other package of ours.
Each file has one line, in the order of paths, and the digest is the SHA-256 of these lines::

    SHA-256 in hex, two spaces, path below the package's parent folder, line feed

This is the output format of ``sha256sum``. The location of the package does not matter, so an
installation and its wheel have the same digest, and anybody can compute it without this program
(``docs/ledger-format.md``).

*Limits.* The digest is the program's own statement: a modified program can state any digest. It is
evidence if somebody else reads the files, or if the digest stated by an honest machine is compared
with that of a published version. A charge names libraries by version
(``charging.installed_implementation``) and the encoder by the hash of its package; Python's caches
and start-up files are not covered.
"""

import functools
import hashlib
import importlib.resources
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wg_core.errors import ConfigError

CORE_PACKAGE = "wg_core"
CODE_SUFFIXES = (".py", ".pyc", ".so", ".pyd", ".dylib")  # Of files that Python loads as code
_CACHE_FOLDER = "__pycache__"


@dataclass(frozen=True, slots=True)
class CodeFile:
    """Source or compiled file of the core: its path, and the SHA-256 of its bytes, hex."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CodeDigest:
    """Digest (SHA-256, hex) of the core's code, with the files it covers in the order of paths."""

    sha256: str
    files: tuple[CodeFile, ...]


@functools.cache
def installed_code_digest() -> CodeDigest:
    """Return the digest of the installed code, read once per process on the first call.

    Raises:
        ConfigError: The package cannot be read, or does not lie in plain folders.
    """
    return digest_files(_read_code_files(_package_folder()))


def digest_files(files: Mapping[str, bytes]) -> CodeDigest:
    """Return the digest of those files of the core that Python could load.

    Args:
        files: File contents by path below the package's parent folder, with ``/`` as separator.
    """
    core_files = tuple(
        CodeFile(path, hashlib.sha256(files[path]).hexdigest())
        for path in sorted(files)
        if is_code_path(path)
    )
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in core_files)
    return CodeDigest(sha256=hashlib.sha256(lines.encode("utf-8")).hexdigest(), files=core_files)


def is_code_path(path: str) -> bool:
    """Return whether a path with ``/`` as separator names a core file that Python could load."""
    pure = PurePosixPath(path)
    return (
        pure.parts[0] == CORE_PACKAGE
        and pure.suffix in CODE_SUFFIXES
        and _CACHE_FOLDER not in pure.parts
    )


def _package_folder() -> Path:
    """Return the folder of the installed ``wg_core``; it must be one plain folder."""
    place = importlib.resources.files(CORE_PACKAGE)
    if not isinstance(place, Path) or not place.is_dir():
        raise ConfigError(f"package {CORE_PACKAGE}: lies in {place}, expected one plain folder")
    return place


def _read_code_files(folder: Path) -> dict[str, bytes]:
    files_by_path: dict[str, bytes] = {}
    try:
        for place, folders, files in os.walk(folder, onerror=_raise_walk_error):
            parent = Path(place)
            folders[:] = [name for name in folders if name != _CACHE_FOLDER]
            for name in folders:
                if (parent / name).is_symlink():
                    raise ConfigError(f"{parent / name}: a link, expected plain folders")
            for name in files:
                path = f"{CORE_PACKAGE}/{(parent / name).relative_to(folder).as_posix()}"
                if is_code_path(path):
                    files_by_path[path] = (parent / name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return files_by_path


def _raise_walk_error(error: OSError) -> None:
    raise error
