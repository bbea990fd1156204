"""Commands that are called in this process, and cut off as by a power cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from wg_core import atomic


def document_of(program: click.Command, *words: object) -> Any:
    """What a command prints with ``--json``; an error of it is raised."""
    done = CliRunner().invoke(
        program, [*map(str, words), "--json"], catch_exceptions=False, standalone_mode=False
    )
    return json.loads(done.stdout)


class CutOff(Exception):
    """Ends a command as a power cut does."""


def cut_after(monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    """Let files be moved into place so often, and then no more."""
    original, done = atomic.rename_file, 0

    def move(source: Path, target: Path) -> None:
        nonlocal done
        if done == moves:
            raise CutOff
        done += 1
        original(source, target)

    monkeypatch.setattr(atomic, "rename_file", move)
