"""Types of command-line options that all three programs share.

A wrong value is a usage error, raised before the command does anything: a release that cannot be
written must not be charged, and an invalid price must not be sent to forty sites.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wg_core import number_parsers
from wg_core.errors import DecodeError


class OutFile(click.ParamType[Path]):
    """Option type: path of a file that a command writes, in an existing folder."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the path of an output file, or fail with a usage error."""
        path = Path(value)
        folder = path.parent
        try:
            if path.is_dir():
                self.fail(f"{path}: a folder, expected a file to write", param, ctx)
            if path.exists() and _is_in_home(path):
                self.fail(f"{path}: a file of a home; choose another name", param, ctx)
            if not folder.is_dir():
                self.fail(f"{path}: the folder {folder} is not there; make it first", param, ctx)
        except (OSError, ValueError) as error:  # a name that is too long, or has a NUL
            self.fail(f"{str(path)[:200]!r}: no file can have this name: {error}", param, ctx)
        if not os.access(folder, os.W_OK):
            self.fail(f"{path}: the folder {folder} cannot be written", param, ctx)
        return path


def _is_in_home(path: Path) -> bool:
    """Return True if a file lies in a plant's or server's home, where no file is replaced."""
    return any(
        (folder / name).is_file()
        for folder in path.resolve().parents
        for name in ("client.yaml", "server.yaml")
    )


class PrivacyParameter(click.ParamType[str]):
    """Option type: epsilon or delta as decimal text.

    Args:
        must_be_below_one: True to require a value below 1, as for delta.
        accepted_word: A word that is accepted in place of a number; None to accept only numbers.
    """

    name = "number"

    def __init__(
        self, *, must_be_below_one: bool = False, accepted_word: str | None = None
    ) -> None:
        self._below_one = must_be_below_one
        self._also = accepted_word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an epsilon or delta and return its text, or fail with a usage error."""
        if value == self._also:
            return str(value)
        want = "a decimal number above 0" + (" and below 1" if self._below_one else "")
        try:
            number = number_parsers.parse_exact_decimal(value, input_name="number")
        except DecodeError:
            self.fail(f"{str(value)[:80]!r}, expected {want}, such as 1e-5", param, ctx)
        if number <= 0 or (self._below_one and number >= 1):
            self.fail(f"{value}, expected {want}", param, ctx)
        return str(value)


EPSILON_TYPE = PrivacyParameter()
DELTA_TYPE = PrivacyParameter(must_be_below_one=True)
OUT_FILE_TYPE = OutFile()


def out_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator of the option ``--out``, a file to write, with ``help_text`` as help."""
    return click.option("--out", type=OUT_FILE_TYPE, required=True, help=help_text)
