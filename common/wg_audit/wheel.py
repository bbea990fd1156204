"""Digest of the core's code in a wheel, for comparison with the digest that charges state."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from wg_core.errors import ConfigError, DecodeError
from wg_core.installed_code import CORE_PACKAGE, CodeDigest, digest_files, is_code_path

FILES_LIMIT = 4096
BYTES_LIMIT = 64 << 20
_WHEEL_PACKAGES = frozenset(
    {CORE_PACKAGE, "wg_audit", "wg_common", "wg_client", "wg_server", "wg_e5", "weightgate"}
)


def wheel_code_digest(path: Path) -> CodeDigest:
    """Return the digest of the core's code that a wheel would install.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The file is not a wheel of this program, or exceeds the size limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _read_code_files(path, archive)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DecodeError(f"{path}: not a wheel: {error}") from error
    return digest_files(files)


def _read_code_files(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    members = archive.infolist()
    if len(members) > FILES_LIMIT:
        raise DecodeError(f"{path}: {len(members)} files, at most {FILES_LIMIT} are read")
    size = sum(member.file_size for member in members)
    if size > BYTES_LIMIT:
        raise DecodeError(f"{path}: {size} bytes unpacked, at most {BYTES_LIMIT} are read")
    for member in members:
        name = member.filename
        top, inside, _ = name.partition("/")
        if not inside or not (top in _WHEEL_PACKAGES or top.endswith(".dist-info")):
            raise DecodeError(f"{path}: {name[:80]!r} would be installed outside of our packages")
        if not is_code_path(name):
            continue
        if name in files or ".." in PurePosixPath(name).parts:
            raise DecodeError(f"{path}: {name[:80]!r}: twice, or outside of its folder")
        files[name] = archive.read(member)
    if not files:
        raise DecodeError(f"{path}: does not hold {CORE_PACKAGE}")
    return files
