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
from tests.server.generator.networks.conftest import LATENT, untrained
from tests.server.generator.networks.test_train import FAMILIES, PLAN
from tests.server.generator.one_device import META, OneDevice
from tests.server.generator.ranked import ended, environments

from wg_server.generator.networks import sampler
from wg_server.generator.networks import train as training
from wg_server.generator.networks.decoder import Decoder
from wg_server.generator.networks.denoiser import collate
from wg_server.generator.networks.episodes import Zoo, draw
from wg_server.generator.networks.vae import fit_vae_codec
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.training import compute, distributed
from wg_server.generator.training.compute import CPU, Compute

OUT = "WEIGHTGATE_TEST_RANK_OUT"
UNEQUAL = replace(PLAN, batch=5, functional_episodes=3, learning_rate=0.01)


def _fit(zoos: dict[str, Zoo], plants: Plants, out: Path, how: Compute) -> None:
    model, _ = training.fit(
        UNEQUAL,
        1,
        zoos,
        (plants, plants),
        FAMILIES,
        out.with_suffix(".checkpoint"),
        "mine",
        lambda _done, _detail: None,
        how,
    )
    if how.process_group.first:
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        safetensors.numpy.save_file(state, out)


@pytest.mark.skipif(OUT not in os.environ, reason="run as a rank by the test below")
def test_one_rank(zoos: dict[str, Zoo], plants: Plants) -> None:
    rank_info = distributed.read_rank_info(os.environ)
    with distributed.joined(rank_info, "cpu", 60.0) as group:
        _fit(zoos, plants, Path(os.environ[OUT]), Compute(torch.device("cpu"), "fp32", group))


@pytest.mark.slow
def test_two_ranks_train_what_one_trains(
    zoos: dict[str, Zoo], plants: Plants, tmp_path: Path
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
    for code, out, _ in ended(processes, 120):
        assert code == 0 and "1 passed" in out, out
    expected, found = (safetensors.numpy.load_file(tmp_path / name) for name in ("one", "two"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_ranks_losses_add_up(zoos: dict[str, Zoo], plants: Plants) -> None:
    """Also where some have no episode of the functional loss, and shares are not equal."""
    parts = []
    for world in (1, 5):
        total, grads = 0.0, None
        for rank in range(world):
            how = Compute(torch.device("cpu"), "fp32", distributed.ProcessGroup(rank, world))
            rngs = [np.random.default_rng((8, n)) for n in how.process_group.share(UNEQUAL.batch)]
            episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
            model = untrained().train()
            value = training.loss(model, zoos, episodes, UNEQUAL, rngs, how)
            value.backward()  # type: ignore[no-untyped-call]
            flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            total, grads = total + float(value.detach()), flat if grads is None else grads + flat
        parts.append((total, grads))
    (one, of_one), (five, of_five) = parts
    assert one == pytest.approx(five, rel=1e-5)
    assert of_one is not None and of_five is not None
    torch.testing.assert_close(of_one, of_five, rtol=1e-4, atol=1e-6)


def test_bf16_changes_the_loss_by_rounding_alone(zoos: dict[str, Zoo], plants: Plants) -> None:
    model, losses = untrained(), []
    for precision in ("fp32", "bf16"):
        how = Compute(torch.device("cpu"), precision)
        rngs = [np.random.default_rng((8, n)) for n in range(UNEQUAL.batch)]
        episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
        with torch.no_grad():
            model.row_out.bias.fill_(0.1)
            value = training.loss(model, zoos, episodes, UNEQUAL, rngs, how)
        assert value.dtype == torch.float32
        losses.append(float(value))
    assert 0 < abs(losses[0] - losses[1]) < 0.02 * losses[0]


@pytest.mark.parametrize("kind", ["pca", "vae"])
def test_every_tensor_of_a_step_is_on_its_device(
    zoos: dict[str, Zoo], plants: Plants, kind: str
) -> None:
    if kind == "vae":
        zoos = {name: replace(zoo, decoder=_vae(zoo)) for name, zoo in zoos.items()}
    moved = training.moved(zoos, META)
    rngs = [np.random.default_rng((8, n)) for n in range(UNEQUAL.batch)]
    episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
    model = untrained().train().to(META.device)
    with OneDevice():  # type: ignore[no-untyped-call]
        training.loss(model, moved, episodes, UNEQUAL, rngs, META).backward()  # type: ignore[no-untyped-call]
        condition = collate([episodes[0].condition], [0], model.config)
        found = sampler.deterministic(model, compute.on(condition, META.device))
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    assert found.rows.is_meta and found.latents.is_meta


def _vae(zoo: Zoo) -> Decoder:
    parts = zoo.decoder.codec.parts
    codec = fit_vae_codec(parts, [n.tokens for n in zoo.networks], LATENT, 1, steps=2)
    return replace(zoo.decoder, codec=codec)
