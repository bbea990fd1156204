"""Key options of the commands ``backup`` and ``restore`` of ``wg-server`` and ``wg-client``.

Secrets come from files or standard input, never from the command line, which everybody can read.
"""

import codecs
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wg_core import atomic
from wg_core.errors import DecodeError, UsageError

_STDIN = "-"
_SECRET_BYTES_LIMIT = 64 << 10
_SECRET_FILE_TYPE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_passphrase_option = click.option(
    "--passphrase-file",
    type=_SECRET_FILE_TYPE,
    help="File with the passphrase; '-' is standard input.",
)


def encryption_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add encryption options to a command, whose parameter ``seal`` is an ``EncryptionTarget``."""

    @click.option(
        "--recipient",
        "recipients",
        multiple=True,
        metavar="AGE1…",
        help="Reader of the backup: an age recipient, from 'age-keygen'. Repeat it for several.",
    )
    @_passphrase_option
    @functools.wraps(command)
    def choose_seal(
        *words: Any, recipients: tuple[str, ...], passphrase_file: Path | None, **options: Any
    ) -> Any:
        from wg_common.backup.archive import EncryptionTarget

        if bool(recipients) == (passphrase_file is not None):
            raise UsageError("a backup is encrypted: give --recipient or --passphrase-file")
        passphrase = _read_secret(passphrase_file) if passphrase_file else ""
        return command(
            *words, seal=EncryptionTarget(recipients=recipients, passphrase=passphrase), **options
        )

    return choose_seal


def decryption_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add decryption options to a command, whose parameter ``key`` is a ``DecryptionKey``."""

    @click.option(
        "--identity",
        type=_SECRET_FILE_TYPE,
        help="File with the age identity; '-' is standard input.",
    )
    @_passphrase_option
    @functools.wraps(command)
    def choose_opening(
        *words: Any, identity: Path | None, passphrase_file: Path | None, **options: Any
    ) -> Any:
        from wg_common.backup.archive import DecryptionKey

        if (identity is None) == (passphrase_file is None):
            raise UsageError("a backup is encrypted: give --identity or --passphrase-file")
        key = (
            DecryptionKey(identity=_read_secret(identity))
            if identity
            else DecryptionKey(passphrase=_read_secret(passphrase_file or Path(_STDIN)))
        )
        return command(*words, key=key, **options)

    return choose_opening


def _read_secret(path: Path) -> str:
    """Read a passphrase or key from a file or standard input, without its line end.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The input is empty, not text, or too long.
    """
    if str(path) == _STDIN:
        data = sys.stdin.buffer.read(_SECRET_BYTES_LIMIT + 1)
    else:
        data = atomic.read_bytes(path, limit=_SECRET_BYTES_LIMIT)
    try:
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as Windows writes a file
        text = data.decode("utf-16" if data.startswith(marks) else "utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{path}: not UTF-8 text") from error
    if not text or len(data) > _SECRET_BYTES_LIMIT:
        raise DecodeError(f"{path}: {len(data)} bytes, expected 1 to {_SECRET_BYTES_LIMIT}")
    return text
