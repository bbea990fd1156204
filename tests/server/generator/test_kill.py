"""A training that is killed goes on, and ends with the bytes of one that was not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.server.generator.conftest import World
from tests.server.generator.test_pipeline import _fill
from tests.server.killing import kill_at, kill_often

from wg_server.generator import pipeline as training
from wg_server.generator import versions
from wg_server.generator.plan import read_plan
from wg_server.site.home import ServerHome

PLAN = """
seed: 7
steps: 40
width: 16
depth: 1
evaluate_every: 4
episodes: 6
patience: 99
workers: 0
"""


def _prepared(root: Path) -> tuple[ServerHome, list[str]]:
    home = ServerHome(root)
    world = World(3)
    _fill(home, [world.task(family, site) for family in range(10) for site in range(2)])
    plan = root.with_suffix(".yaml")
    plan.write_text(PLAN)
    return home, ["train", "--home", str(root), "--plan", str(plan)]


def _checkpoints(home: ServerHome) -> Callable[[], int]:
    """Counts versions of the checkpoint that were seen, and the finished generator as many."""
    seen: set[int] = set()

    def count() -> int:
        with contextlib.suppress(FileNotFoundError):
            seen.add(home.checkpoint.stat().st_mtime_ns)
        return len(seen)

    return count


def _trained(home: ServerHome, words: list[str]) -> bytes:
    training.train(home, read_plan(Path(words[-1])), progress=lambda _done, _detail: None)
    return _heads(home)


def _heads(home: ServerHome) -> bytes:
    """The package of heads, which is the same in all versions that a home has."""
    (heads,) = {version.heads.read_bytes() for version in versions.present(home)}
    return heads


def test_a_training_killed_once_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, words = _prepared(tmp_path / "whole")
    expected = _trained(whole, words)
    killed, words = _prepared(tmp_path / "killed")
    assert kill_at(words, _checkpoints(killed), 1, 0.0)
    assert killed.checkpoint.is_file()
    assert not versions.present(killed)
    assert _trained(killed, words) == expected


@pytest.mark.slow
def test_a_training_killed_many_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, words = _prepared(tmp_path / "whole")
    expected = _trained(whole, words)
    killed, words = _prepared(tmp_path / "killed")
    assert kill_often(words, _checkpoints(killed), 5, seed=2) >= 3
    assert _heads(killed) == expected
