"""Every benchmark can be run as the pages say, and its page says what it answers."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
MODULES = sorted(path.stem for path in BENCH.glob("*.py"))
PARTS = sorted(path.parent.name for path in BENCH.glob("*/__init__.py"))
NAMING = [
    path
    for folder in ("docs", "bench", "common", "server", "client")
    for kind in ("*.md", "*.py")
    for path in sorted((ROOT / folder).rglob(kind))
] + [ROOT / "README.md", ROOT / "Makefile"]
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in NAMING}
NAMED = [name for name, text in TEXTS.items() if re.search(r"\bbench\.\w", text)]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
RUN = "python -m bench."

Parsers = Callable[[str], argparse.ArgumentParser]


def test_the_page_lists_every_command_once_and_no_other() -> None:
    page = (BENCH / "README.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    listed = Counter(name for cell in cells for name in re.findall(r"`(\w+)`", cell))
    commands = [name for name in MODULES if RUN + name in TEXTS[f"bench/{name}.py"]]
    assert listed == Counter([*commands, *PARTS])


def test_a_module_with_a_command_says_which() -> None:
    for name in MODULES:
        text = TEXTS[f"bench/{name}.py"]
        if '__name__ == "__main__"' in text:
            assert f"bench.{name}" in text or f"make bench-{name}" in text, name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_still_finds_what_it_uses(name: str) -> None:
    """Each name that a module takes from the product is there."""
    importlib.import_module(f"bench.{name}")


@pytest.mark.parametrize("page", NAMED)
def test_a_command_that_is_written_down_can_be_typed(page: str, parser: Parsers) -> None:
    for name, words, runs in _commands(TEXTS[page]):
        assert name in MODULES, f"bench.{name} is gone"
        options = parser(name)._option_string_actions
        named = set(OPTION.findall(words))
        assert named <= set(options), f"bench.{name} has no {named - set(options)}"
        needed = {word for word, action in options.items() if action.required}
        assert not runs or needed <= named, f"bench.{name} is said without {needed - named}"


@pytest.mark.parametrize("page", [name for name in NAMED if name.endswith(".md")])
def test_a_command_in_a_block_of_a_page_is_whole(page: str, parser: Parsers) -> None:
    for block in re.findall(r"^```.*?^```", TEXTS[page], re.MULTILINE | re.DOTALL):
        for name, words in re.findall(rf"^(?:\$ )?{re.escape(RUN)}(\w+)(.*)$", block, re.MULTILINE):
            parser(name).parse_args(shlex.split(words, comments=True))


@pytest.mark.parametrize("name", MODULES)
def test_an_option_that_a_docstring_names_is_one_of_its_module(name: str, parser: Parsers) -> None:
    says = ast.get_docstring(ast.parse(TEXTS[f"bench/{name}.py"])) or ""
    assert set(re.findall(r"``(--[a-z-]+)[^`]*``", says)) <= set(
        parser(name)._option_string_actions
    )


class _Found(Exception):
    """The parser of a module, on the way out of its command."""


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Parsers:
    """The parser of a module's command, made by the command itself; an empty one for none."""

    def stop(self: argparse.ArgumentParser, args: Sequence[str] | None = None) -> NoReturn:
        raise _Found(self)

    def of(name: str) -> argparse.ArgumentParser:
        module: Any = importlib.import_module(f"bench.{name}")
        if ".parse_args(" not in TEXTS[f"bench/{name}.py"]:
            return argparse.ArgumentParser(name, add_help=False)
        with monkeypatch.context() as patched, pytest.raises(_Found) as found:
            patched.setattr(argparse.ArgumentParser, "parse_args", stop)
            module.main()
        made = found.value.args[0]
        assert isinstance(made, argparse.ArgumentParser)
        return made

    return of


def _commands(text: str) -> Iterator[tuple[str, str, bool]]:
    """Benchmarks that a text names: which one, the words behind it, and whether it says how to run.

    In a span of code the words are those up to its end, else those up to the end of the line.
    """
    spans = re.compile(rf"`({re.escape(RUN)}|bench\.)(\w+)([^`]*)`")
    for start, name, words in spans.findall(text):
        if name not in PARTS:
            yield name, words, start == RUN
    rest = spans.sub("", text).replace("\\\n", " ")
    for name, words in re.findall(rf"{re.escape(RUN)}(\w+)([^#\n]*)", rest):
        yield name, words, True
