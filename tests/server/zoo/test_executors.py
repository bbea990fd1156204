"""One interface, three places to run: the same results, and errors of ours come through."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tests.patience import PATIENCE_SECONDS

from wg_core.errors import ConfigError, DataError, PeerError
from wg_core.settings import parse
from wg_server.cli.zoo import zoo as group
from wg_server.site.home import ServerHome
from wg_server.zoo import build as building
from wg_server.zoo import devices, executors
from wg_server.zoo.plan import ZooPlan, tasks
from wg_server.zoo.store import Zoo
from wg_server.zoo.task_spec import TaskSpec

RAY = importlib.util.find_spec("ray") is not None
PLAN = b"""
seed: 3
encoder: {pixels: 64, dimension: 8, images: 64}
sources: [{kind: procedural, families: 2, sites: 2, per_class: 8, only: digits}]
"""


def _missing(tmp_path: Path) -> list[tuple[Sequence[TaskSpec], int, str, Mapping[str, str]]]:
    """Jobs of which the fourth cannot be done."""
    good = tasks(parse(PLAN, ZooPlan, "plan"))[:1]
    bad = [dataclasses.replace(good[0], kind="npz", path=str(tmp_path / "no.npz"))]
    return [(bad if number == 3 else good, 2, "images", {"pixels": "64"}) for number in range(6)]


# Functions of a test module cannot be found by another process; those of the library can.
@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(workers: int) -> None:
    jobs = [bytes([n]) for n in range(30)]
    with executors.opened(workers) as executor:
        found = dict(executor.run(bytes.count, bytes(range(20)), jobs))
    assert found == {n: int(n < 20) for n in range(30)}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_comes_through(workers: int, tmp_path: Path) -> None:
    with (
        executors.opened(workers) as executor,
        pytest.raises(DataError, match=r"no\.npz"),
    ):
        list(executor.run(building._raw, b"", _missing(tmp_path)))


def _built(root: Path, workers: int, ray: str | None = None) -> dict[str, str]:
    plan = parse(PLAN, ZooPlan, "plan")
    home = ServerHome(root)
    building.build(home, plan, workers=workers, progress=lambda *_: None, ray=ray)
    return {entry.key: entry.sha256 for entry in Zoo(home.zoo).entries()}


def test_a_zoo_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (_built(tmp_path / str(n), n) for n in (1, 2))
    assert one == two and len(one) == 4
    names = [(tmp_path / str(n) / "zoo" / "encoder.safetensors").read_bytes() for n in (1, 2)]
    assert names[0] == names[1]


@pytest.mark.skipif(RAY, reason="ray is installed")
def test_without_the_extra_the_message_names_it(tmp_path: Path) -> None:
    plan = tmp_path / "zoo.yaml"
    plan.write_bytes(PLAN)
    words = ["build", "--home", str(tmp_path), "--plan", str(plan), "--ray", "127.0.0.1:1"]
    found = CliRunner().invoke(group, words).exception
    assert isinstance(found, ConfigError)
    assert "extra 'ray'" in str(found)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of one node on loopback."""
    if not RAY:
        pytest.skip("ray is not installed: pip install 'weightgate[ray]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    words += ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    words += ["--object-store-memory=100000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "started" in line:
            break
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)


def test_a_cluster_builds_the_same_zoo(cluster: str, tmp_path: Path) -> None:
    assert _built(tmp_path / "ray", 1, cluster) == _built(tmp_path / "here", 1)


def test_an_error_on_a_node_comes_through(cluster: str, tmp_path: Path) -> None:
    with (
        executors.opened(1, cluster) as executor,
        pytest.raises(DataError, match=r"no\.npz"),
    ):
        list(executor.run(building._raw, b"", _missing(tmp_path)))


@pytest.mark.skipif(not RAY, reason="ray is not installed")
def test_no_cluster_is_a_peer_error() -> None:
    with pytest.raises(PeerError, match="no cluster"), executors.opened(1, "127.0.0.1:1"):
        pass


def test_a_card_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [devices.choose(name) for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]


def test_a_card_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose("auto") == devices.choose("cpu") == "cpu"
    with pytest.raises(ConfigError, match="torch finds none"):
        devices.choose("cuda")
    with pytest.raises(ConfigError, match="expected one of"):
        devices.choose("tpu")
