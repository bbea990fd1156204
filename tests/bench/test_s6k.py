"""Scenario S6k in one command: each part is called by words that its own parser knows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from bench import generator, known_kinds, s6k

PARTS = (known_kinds,)


class _Parsed(Exception):
    """What a part's parser made of its words."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, argparse.Namespace]]:
    """Parts in the order of their calls, each with its options; none does its work."""
    found: list[tuple[str, argparse.Namespace]] = []
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, args: Sequence[str]) -> NoReturn:
        raise _Parsed(parse(self, args))

    def part(module: Any) -> Any:
        whole = module.main

        def main(words: Sequence[str]) -> None:
            with monkeypatch.context() as patched, pytest.raises(_Parsed) as parsed:
                patched.setattr(argparse.ArgumentParser, "parse_args", stop)
                whole(words)
            found.append((module.__name__, parsed.value.args[0]))

        return main

    for module in PARTS:
        monkeypatch.setattr(module, "main", part(module))
    return found


def test_all_parts_with_homes_of_both_records(
    called: list[tuple[str, argparse.Namespace]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "--scenario S6k --home A --windows-home B --family-sets C --table t/x.md --seeds 4"
    monkeypatch.setattr(sys, "argv", ["generator", *words.split()])
    generator.main()
    assert [str(options.home) for _, options in called] == ["A", "B"]
    assert len({options.table for _, options in called}) == len(called)
    assert all(options.table.parent == Path("t") for _, options in called)
    for _, options in called:
        assert options.seeds == 4


def test_cells_that_the_parts_are_asked_for_are_theirs() -> None:
    for cells, asked in (
        (list(known_kinds.cells("images")), s6k.NEW_CAMERA),
        (list(known_kinds.cells("windows")), s6k.NEW_SENSORS),
    ):
        chosen = [cell for cell in cells if asked in cell.name]
        assert chosen
        assert all(cell.camera for cell in chosen)


def test_without_sets_of_the_operators_nothing_is_judged(
    called: list[tuple[str, argparse.Namespace]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["generator", "--scenario", "S6k", "--home", "A"])
    with pytest.raises(SystemExit, match="--family-sets"):
        generator.main()
    assert not called
