"""Scenario S6k in one command: each part is called by words that its own parser knows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from bench import generator, known_kinds, networks, s6k, window_networks

PARTS = (known_kinds, networks, window_networks)


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
    monkeypatch.setattr(s6k, "_has_networks", lambda _: True)
    generator.main()
    names = [name.removeprefix("bench.") for name, _ in called]
    assert names == ["known_kinds", "networks", "known_kinds", "window_networks"]
    homes = [str(getattr(o, "family_home", None) or o.home) for _, o in called]
    assert homes == ["A", "A", "B", "B"]
    assert len({options.table for _, options in called}) == len(called)
    assert all(options.table.parent == Path("t") for _, options in called)
    for _, options in called:
        assert options.seeds == 4


def test_cells_that_the_parts_are_asked_for_are_theirs() -> None:
    for cells, asked in (
        (list(known_kinds.cells("images")), s6k.NEW_CAMERA),
        (list(known_kinds.cells("windows")), s6k.NEW_SENSORS),
        (networks.CELLS, s6k.NEW_CAMERA),
        (window_networks.CELLS, s6k._OTHER_SENSORS),
    ):
        chosen = [cell for cell in cells if asked in cell.name]
        assert chosen
        assert all(cell.same_family and cell.camera for cell in chosen)


def test_without_sets_of_the_operators_nothing_is_judged(
    called: list[tuple[str, argparse.Namespace]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["generator", "--scenario", "S6k", "--home", "A"])
    with pytest.raises(SystemExit, match="--family-sets"):
        generator.main()
    assert not called


def test_a_home_without_whole_networks_is_left_out_of_their_parts(
    called: list[tuple[str, argparse.Namespace]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    words = f"--scenario S6k --home {tmp_path} --windows-home {tmp_path} --family-sets C"
    monkeypatch.setattr(sys, "argv", ["generator", *words.split()])
    generator.main()
    names = [name.removeprefix("bench.") for name, _ in called]
    assert names == ["known_kinds", "known_kinds"]
