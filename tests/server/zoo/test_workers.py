"""One interface, two places to run: the same results, and errors of ours come through."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from wg_common.nets.encoder.trunk import find_trunk
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.errors import DataError
from wg_core.yaml_settings import parse_yaml
from wg_server.site.home import ServerHome
from wg_server.zoo import build as building
from wg_server.zoo.plan import ZooPlan, list_tasks
from wg_server.zoo.store import ZooStore
from wg_server.zoo.task_spec import TaskSpec
from wg_server.zoo.workers import open_workers

PLAN = b"""
seed: 3
encoder: {pixels: 64, dimension: 8, records: 64}
sources: [{kind: procedural, families: 2, sites: 2, per_class: 8, only: digits}]
"""


def _missing(
    tmp_path: Path,
) -> list[tuple[Sequence[TaskSpec], int, str, TrunkChoice, Mapping[str, str]]]:
    """Jobs of which the second cannot be done."""
    good = list_tasks(parse_yaml(PLAN, ZooPlan, "plan"))[:1]
    bad = [dataclasses.replace(good[0], kind="npz", path=str(tmp_path / "no.npz"))]
    choice, settings = find_trunk("images").choice(), {"pixels": "64"}
    return [(tasks, 2, "images", choice, settings) for tasks in (good, bad, good)]


# Functions of a test module cannot be found by another process; those of the library can.
@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_and_an_error_of_one_comes_through(
    workers: int, tmp_path: Path
) -> None:
    jobs = [bytes([n]) for n in range(30)]
    with open_workers(workers) as pool:
        found = dict(pool.run_jobs(bytes.count, bytes(range(20)), jobs))
        assert found == {n: int(n < 20) for n in range(30)}
        with pytest.raises(DataError, match=r"no\.npz"):
            list(pool.run_jobs(building._raw_features_and_labels, b"", _missing(tmp_path)))


def _built(root: Path, workers: int) -> dict[str, str]:
    plan = parse_yaml(PLAN, ZooPlan, "plan")
    home = ServerHome(root)
    building.build_zoo(home, plan, workers=workers, progress=lambda *_: None)
    return {entry.key: entry.sha256 for entry in ZooStore(home.zoo_folder).read_entries()}


def test_a_zoo_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (_built(tmp_path / str(n), n) for n in (1, 2))
    assert one == two and len(one) == 4
    names = [(tmp_path / str(n) / "zoo" / "encoder.safetensors").read_bytes() for n in (1, 2)]
    assert names[0] == names[1]
