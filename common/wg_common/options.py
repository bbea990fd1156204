"""Types of command-line options that all three programs share. What is wrong is a wrong call.

They are checked before a command does anything: a release that cannot be written must not be
charged, and a price that is none must not be asked of forty sites.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wg_core import numbers
from wg_core.errors import DecodeError


class OutFile(click.ParamType[Path]):
    """A file that a command writes, in a folder that is there already."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the place, or fail as a usage error."""
        path = Path(value)
        folder = path.parent
        try:
            if path.is_dir():
                self.fail(f"{path}: a folder, expected a file to write", param, ctx)
            if path.exists() and _in_home(path):
                self.fail(f"{path}: a file of a home; choose another name", param, ctx)
            if not folder.is_dir():
                self.fail(f"{path}: the folder {folder} is not there; make it first", param, ctx)
        except (OSError, ValueError) as error:  # a name that is too long, or has a NUL
            self.fail(f"{str(path)[:200]!r}: no file can have this name: {error}", param, ctx)
        if not os.access(folder, os.W_OK):
            self.fail(f"{path}: the folder {folder} cannot be written", param, ctx)
        return path


def _in_home(path: Path) -> bool:
    """Return whether a file lies in a plant's or a server's home, where nothing is replaced."""
    return any(
        (folder / name).is_file()
        for folder in path.resolve().parents
        for name in ("client.yaml", "server.yaml")
    )


class Price(click.ParamType[str]):
    """Epsilon, or delta, as decimal text: above 0, and a delta below 1; or the text ``also``."""

    name = "number"

    def __init__(self, *, below_one: bool = False, also: str | None = None) -> None:
        self._below_one = below_one
        self._also = also

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it, or fail as a usage error; the digits stay as they were given."""
        if value == self._also:
            return str(value)
        want = "a decimal number above 0" + (" and below 1" if self._below_one else "")
        try:
            number = numbers.exact(value, subject="number")
        except DecodeError:
            self.fail(f"{str(value)[:80]!r}, expected {want}, such as 1e-5", param, ctx)
        if number <= 0 or (self._below_one and number >= 1):
            self.fail(f"{value}, expected {want}", param, ctx)
        return str(value)


EPSILON = Price()
DELTA = Price(below_one=True)
OUT_FILE = OutFile()


def out_option(subject: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--out``, the file that a command writes."""
    return click.option("--out", type=OUT_FILE, required=True, help=subject)
