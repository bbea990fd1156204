"""A build that is killed goes on, and ends with the entries of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.killing import files, kill_at, kill_often

from wg_core.yaml_settings import parse_yaml
from wg_server.site.home import ServerHome
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import ZooPlan, list_tasks
from wg_server.zoo.store import ZooStore

PLAN = """
seed: 5
encoder: {pixels: 64, dimension: 8, records: 64}
sources:
  - {kind: procedural, families: 6, sites: 4, per_class: 8}
"""


def _hashes(home: ServerHome) -> dict[str, str]:
    found = {entry.key: entry.sha256 for entry in ZooStore(home.zoo_folder).read_entries()}
    for entry in ZooStore(home.zoo_folder).read_entries():
        ZooStore(home.zoo_folder).read_encoded_task(entry)
    return found


def _words(root: Path, workers: int) -> list[str]:
    plan = root.with_suffix(".yaml")
    plan.write_text(PLAN)
    words = ["zoo", "build", "--home", str(root), "--plan", str(plan)]
    return [*words, "--workers", str(workers)]


def test_a_build_killed_at_any_moment_goes_on(tmp_path: Path) -> None:
    home = ServerHome(tmp_path / "server")
    entries = files(home.zoo_folder / "entries", "*.json")
    assert kill_at(_words(home.root, 1), entries, 1, 0.0)
    before = _hashes(home)
    plan = parse_yaml(PLAN.encode(), ZooPlan, "plan")
    done = build_zoo(home, plan, workers=1, progress=lambda _done, _detail: None)
    assert done.earlier_entries == len(before) > 0
    assert done.new_entries + done.earlier_entries == len(list_tasks(plan))
    assert before.items() <= _hashes(home).items()


@pytest.mark.slow
def test_a_build_killed_many_times_ends_with_the_entries_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    whole, killed = ServerHome(tmp_path / "whole"), ServerHome(tmp_path / "killed")
    plan = parse_yaml(PLAN.encode(), ZooPlan, "plan")
    build_zoo(whole, plan, workers=1, progress=lambda _done, _detail: None)
    entries = files(killed.zoo_folder / "entries", "*.json")
    assert kill_often(_words(killed.root, 2), entries, 5, seed=1) >= 3
    assert _hashes(killed) == _hashes(whole)
    assert killed.encoder_file.read_bytes() == whole.encoder_file.read_bytes()
    assert not list(killed.zoo_folder.rglob("*.tmp"))
