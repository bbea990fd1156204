"""Commands of a page, run as they stand there, one after the other.

A page leaves some words to its reader (``DIR``, ``ID``), and between two commands something happens
elsewhere: an operator asks, a file comes. A walk has a *step* for each such command; all others run
as they are. A step that no command of the page calls is an error, so that none outlives its page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
import pytest

from wg_audit.cli import group as auditor
from wg_client.cli.main import group as client
from wg_common import cli
from wg_server.cli.main import main_group as operator

DOCS = Path(__file__).parents[1] / "docs"
PROGRAMS: Mapping[str, click.Command] = {
    "wg-client": client,
    "wg-server": operator,
    "wg-audit": auditor,
}
_PROGRAM = r"wg-(?:client|server|audit)"
_LINES = re.compile(rf"^(?:\$ |    )({_PROGRAM} [a-z-][^\n]*)$", re.MULTILINE)
_INLINE = re.compile(
    rf"^(?:\$ |    )({_PROGRAM} [^\n]*)$|`({_PROGRAM} [a-z][^`\n]*)`", re.MULTILINE
)

Words = list[str]
Step = Callable[[Words], Words | None]
"""Takes the words of a command, and returns those to run; None: it ran the command itself."""


def text_of(page: str) -> str:
    """The Markdown of a page of ``docs``."""
    return (DOCS / f"{page}.md").read_text("utf-8")


def commands(page: str, *, inline: bool = False) -> list[str]:
    """Our commands in blocks of a page, in their order; ``inline``: those in sentences too."""
    if not inline:
        return _LINES.findall(text_of(page))
    return [line or within for line, within in _INLINE.findall(text_of(page))]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


Shell = Callable[..., str]


def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    """Runs words in this process, and returns what was printed.

    Args of what is returned: the words, and ``codes`` that are a success.
    """

    def run(words: Iterable[object], codes: tuple[int, ...] = (0,)) -> str:
        program, *rest = map(str, words)
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.run_program(PROGRAMS[program], rest)
        said = capfd.readouterr()
        assert caught.value.code in codes, f"{program} {shlex.join(rest)}\n{said.out}{said.err}"
        return said.out

    return run


def walk(
    lines: Iterable[str],
    run: Shell,
    steps: Mapping[str, Step],
    codes: Mapping[str, tuple[int, ...]] | None = None,
) -> list[str]:
    """Run commands in their order; returns what each printed.

    Args:
        lines: From ``commands``.
        run: From ``shell``.
        steps: By the words that a command begins with; of several the one of most words counts.
        codes: Exit codes that are a success, by words as of ``steps``; else 0 alone.
    """
    said, used = [], set()
    for line in lines:
        words: Words | None = shlex.split(line, comments=True)
        key = _longest(line, steps)
        if key is not None and words is not None:
            used.add(key)
            words = steps[key](words)
        if words is not None:
            allowed = _longest(line, codes or {})
            said.append(run(words, (codes or {}).get(allowed or "", (0,))))
    assert set(steps) == used, sorted(set(steps) - used)
    return said


def _longest(line: str, keys: Iterable[str]) -> str | None:
    found = [key for key in keys if line == key or line.startswith(f"{key} ")]
    return max(found, key=len, default=None)
