"""Whole networks, too, are trained by several processes as by one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.server.generator.networks.conftest import untrained
from tests.server.generator.networks.test_objective import FAMILIES, PLAN
from tests.server.generator.one_device import META, OneDevice
from tests.server.generator.ranked import ended, environments

from wg_server.generator.networks import objective as objectives
from wg_server.generator.networks import sampler
from wg_server.generator.networks.denoiser import collate
from wg_server.generator.networks.episodes import NetworkZoo, draw
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.training import compute, distributed, loop
from wg_server.generator.training.compute import CPU, Compute

OUT = "WEIGHTGATE_TEST_RANK_OUT"
UNEQUAL = replace(PLAN, batch=5, functional_episodes=3, learning_rate=0.01)


def _fit(zoos: dict[str, NetworkZoo], plants: Plants, out: Path, how: Compute) -> None:
    objective = objectives.NetworkObjective(zoos, (plants, plants), FAMILIES, UNEQUAL, 1, how=how)
    path = out.with_suffix(".checkpoint")
    loop.train(objective, UNEQUAL, path, "mine", lambda _done, _detail: None, how)
    if how.process_group.first:
        state = {name: value.numpy() for name, value in objective.model.state_dict().items()}
        safetensors.numpy.save_file(state, out)


@pytest.mark.skipif(OUT not in os.environ, reason="run as a rank by the test below")
def test_one_rank(zoos: dict[str, NetworkZoo], plants: Plants) -> None:
    rank_info = distributed.read_rank_info(os.environ)
    with distributed.joined(rank_info, "cpu", 60.0) as group:
        _fit(zoos, plants, Path(os.environ[OUT]), Compute(torch.device("cpu"), "fp32", group))


@pytest.mark.slow
def test_two_ranks_train_what_one_trains(
    zoos: dict[str, NetworkZoo], plants: Plants, tmp_path: Path
) -> None:
    """The ranks are processes that run the test above, so as to make the same zoos."""
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    processes = [
        subprocess.Popen(
            [*words, f"{__file__}::{test_one_rank.__name__}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables | {OUT: str(tmp_path / "two")},
        )
        for variables in environments(2)
    ]
    _fit(zoos, plants, tmp_path / "one", CPU)
    for code, out, _ in ended(processes):
        assert code == 0 and "1 passed" in out, out
    expected, found = (safetensors.numpy.load_file(tmp_path / name) for name in ("one", "two"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_ranks_losses_add_up(zoos: dict[str, NetworkZoo], plants: Plants) -> None:
    """Also where some have no episode of the functional loss, and shares are not equal."""
    parts = []
    for world in (1, 5):
        total, grads = 0.0, None
        for rank in range(world):
            how = Compute(torch.device("cpu"), "fp32", distributed.ProcessGroup(rank, world))
            rngs = [np.random.default_rng((8, n)) for n in how.process_group.share(UNEQUAL.batch)]
            episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
            model = untrained().train()
            value = objectives.loss(model, zoos, episodes, UNEQUAL, rngs, how)
            value.backward()  # type: ignore[no-untyped-call]
            flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            total, grads = total + float(value.detach()), flat if grads is None else grads + flat
        parts.append((total, grads))
    (one, of_one), (five, of_five) = parts
    assert one == pytest.approx(five, rel=1e-5)
    assert of_one is not None and of_five is not None
    torch.testing.assert_close(of_one, of_five, rtol=1e-4, atol=1e-6)


def test_bf16_changes_the_loss_by_rounding_alone(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    model, losses = untrained(), []
    for precision in ("fp32", "bf16"):
        how = Compute(torch.device("cpu"), precision)
        rngs = [np.random.default_rng((8, n)) for n in range(UNEQUAL.batch)]
        episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
        with torch.no_grad():
            model.row_out.bias.fill_(0.1)
            value = objectives.loss(model, zoos, episodes, UNEQUAL, rngs, how)
        assert value.dtype == torch.float32
        losses.append(float(value))
    assert 0 < abs(losses[0] - losses[1]) < 0.02 * losses[0]


def test_every_tensor_of_a_step_is_on_its_device(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    moved = objectives.moved(zoos, META)
    rngs = [np.random.default_rng((8, n)) for n in range(UNEQUAL.batch)]
    episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
    model = untrained().train().to(META.device)
    with OneDevice():  # type: ignore[no-untyped-call]
        objectives.loss(model, moved, episodes, UNEQUAL, rngs, META).backward()  # type: ignore[no-untyped-call]
        condition = collate([episodes[0].condition], [0], model.config)
        found = sampler.deterministic(model, compute.on(condition, META.device))
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    assert found.rows.is_meta and found.latents.is_meta
