"""Several processes train what one trains; they begin, stop and fail together. Over real gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.patience import wait_until
from tests.server.generator.conftest import World
from tests.server.generator.ranked import ended, free_port, start
from tests.server.generator.test_pipeline import _fill

from wg_core.errors import ConfigError, PeerError
from wg_server.generator import pipeline as training
from wg_server.generator import versions
from wg_server.generator.plan import read_plan
from wg_server.generator.training import distributed
from wg_server.site.home import ServerHome

# Five episodes for two ranks: their shares are not equal.
PLAN = """
seed: 7
steps: 12
batch: 5
width: 16
learning_rate: 0.01
depth: 1
latent: 8
evaluate_every: 4
episodes: 2
patience: 99
workers: 0
"""
LONG = PLAN.replace("steps: 12", "steps: 4000").replace("workers: 0", "workers: 1")


@dataclass(frozen=True)
class _Site:
    """A home to train in, and the words that do it."""

    home: ServerHome
    plan: Path

    @property
    def words(self) -> list[str]:
        return ["train", "--home", str(self.home.root), "--plan", str(self.plan), "--device", "cpu"]

    @property
    def checkpoint(self) -> Path:
        return self.home.checkpoint

    def alone(self) -> dict[str, object]:
        return training.train(self.home, read_plan(self.plan), progress=lambda _done, _detail: None)

    def tensors(self) -> dict[str, np.ndarray]:
        return safetensors.numpy.load(self.heads())

    def heads(self) -> bytes:
        return versions.present(self.home)[0].heads.read_bytes()


def _site(root: Path, plan: str = PLAN) -> _Site:
    home, world = ServerHome(root), World(3)
    _fill(home, [world.task(family, site) for family in range(10) for site in range(2)])
    path = root.with_suffix(".yaml")
    path.write_text(plan)
    return _Site(home, path)


def _wait_for(path: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    def there() -> bool:
        assert all(process.poll() is None for process in processes), "a rank ended early"
        return path.is_file()

    wait_until(there, "a checkpoint")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[_Site, dict[str, object]]:
    """Trained by two ranks, and the card that the first one printed."""
    site = _site(tmp_path_factory.mktemp("pair") / "home")
    first, second = ended(start([*site.words, "--json"], 2))
    # 6: the weights are there, and a card of twelve steps fails.
    assert {first[0], second[0]} <= {0, 6}, first[2] + second[2]
    assert not second[1] and not second[2], "the second rank spoke"
    return site, json.loads(first[1])


def test_two_ranks_train_what_one_trains(
    pair: tuple[_Site, dict[str, object]], tmp_path: Path
) -> None:
    site = _site(tmp_path / "home")
    card = site.alone()
    found, expected = pair[0].tensors(), site.tensors()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3, err_msg=name)
    losses = [each["training"]["validation_loss"] for each in (card, pair[1])]  # type: ignore[index]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert pair[1]["training"]["computed"] == {"cpu, fp32, 2 processes": 12}  # type: ignore[index]
    assert card["training"]["computed"] == {"cpu, fp32, 1 process": 12}  # type: ignore[index]


@pytest.mark.slow
def test_when_a_rank_is_killed_the_other_ends_and_two_more_go_on(
    pair: tuple[_Site, dict[str, object]], tmp_path: Path
) -> None:
    site = _site(tmp_path / "home")
    processes = start(site.words, 2)
    _wait_for(site.checkpoint, processes)
    processes[1].kill()
    (code, _, errors), _ = ended(processes)
    assert code == PeerError.exit_code
    assert "rank 0 of 2: another process of this training is gone or hangs" in errors
    assert site.checkpoint.is_file()
    assert {code for code, _, _ in ended(start(site.words, 2))} <= {0, 6}
    assert site.heads() == pair[0].heads()
    assert not site.checkpoint.exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP])
def test_no_rank_waits_for_ever(way: signal.Signals, tmp_path: Path) -> None:
    """The first rank is killed, or the second one hangs; and all of it was on loopback."""
    site = _site(tmp_path / "home", LONG)
    processes = start([*site.words, "--rank-timeout", "2"], 2)
    _wait_for(site.checkpoint, processes)
    for process in processes:
        assert set(_listens(process.pid)) <= {"0100007F"}, "127.0.0.1 as Linux writes it"
    victim, other = processes if way == signal.SIGKILL else processes[::-1]
    victim.send_signal(way)
    (code, _, errors), *_ = ended([other])
    victim.kill()
    ended([victim])
    assert code == PeerError.exit_code
    assert "gone or hangs" in errors


def _listens(pid: int) -> list[str]:
    """Addresses that a process listens on over TCP, as Linux shows them; nothing elsewhere."""
    folder = Path(f"/proc/{pid}")
    if not folder.is_dir():
        return []
    mine = set()
    for each in (folder / "fd").iterdir():
        try:
            mine.add(str(each.readlink()))
        except OSError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in (folder / "net" / table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in mine:
                found.append(words[1].partition(":")[0])
    assert found, "the ranks talk through something"
    return found


@pytest.mark.slow
def test_ranks_with_other_plans_both_refuse(tmp_path: Path) -> None:
    site = _site(tmp_path / "home")
    other = site.plan.with_name("other.yaml")
    other.write_text(PLAN.replace("seed: 7", "seed: 8"))
    words = [word if word != str(site.plan) else "{plan}" for word in site.words]
    processes = start(words, 2, {"{plan}": [str(site.plan), str(other)]})
    for code, _, errors in ended(processes):
        assert code == ConfigError.exit_code
        assert "not the same at rank 1 as at rank 0" in errors


def test_more_ranks_than_episodes_are_refused(tmp_path: Path) -> None:
    site = _site(tmp_path / "home")
    rank_info = distributed.RankInfo(
        rank=1, world=6, local_rank=1, local_world=6, host="127.0.0.1", port=1
    )
    with pytest.raises(ConfigError, match="batch: 5 episodes a step for 6 processes"):
        training.train(
            site.home,
            read_plan(site.plan),
            progress=lambda _done, _detail: None,
            rank_info=rank_info,
        )


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_whose_others_do_not_come_gives_up(rank: int) -> None:
    rank_info = distributed.RankInfo(
        rank=rank, world=2, local_rank=rank, local_world=2, host="127.0.0.1", port=free_port()
    )
    before = dict(os.environ)
    with pytest.raises(PeerError, match="gone or hangs"), distributed.joined(rank_info, "cpu", 1.0):
        pytest.fail("nobody was there")
    assert dict(os.environ) == before


TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "29500",
}


def test_a_rank_is_read_from_the_environment() -> None:
    assert (
        distributed.read_rank_info({})
        == distributed.read_rank_info({"WORLD_SIZE": "1", "RANK": "0"})
        == distributed.RankInfo()
    )
    rank_info = distributed.RankInfo(
        rank=1, world=4, local_rank=1, local_world=2, host="192.0.2.1", port=29500, hosted=False
    )
    assert distributed.read_rank_info(TORCHRUN) == rank_info
    hosted = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert distributed.read_rank_info(TORCHRUN | hosted).hosted
    assert distributed.read_rank_info(TORCHRUN | hosted).attempt == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MASTER_ADDR", ""),
        *((n, v) for n in TORCHRUN for v in ("", "-1", "1.5", "x", "9" * 12) if n != "MASTER_ADDR"),
    ],
)
def test_a_wrong_rank_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        distributed.read_rank_info(TORCHRUN | {name: value})


def test_shares_are_all_episodes_once() -> None:
    for world in (1, 2, 3, 7):
        shares = [distributed.ProcessGroup(rank, world).share(5) for rank in range(world)]
        assert sorted(number for share in shares for number in share) == list(range(5))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_alone_adds_nothing() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    distributed.ALONE.add_gradients([parameter])
    assert parameter.grad is None
    assert distributed.ALONE.from_first(b"same") == b"same"
    document = {"a": (1, 2)}
    assert distributed.ALONE.document_of_first(document) is document
    distributed.ALONE.check_same("anything", "value")
