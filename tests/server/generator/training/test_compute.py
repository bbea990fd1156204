"""Device and precision: what is refused, what bf16 changes, and that no tensor stays behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.server.generator.one_device import META, OneDevice
from tests.server.generator.test_pipeline import PLAN, _fill, _plants, _silent

from wg_core.errors import ConfigError
from wg_server.generator import pipeline as training
from wg_server.generator import versions
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Episode, Scenario
from wg_server.generator.training import compute
from wg_server.generator.training.compute import CPU, Compute
from wg_server.generator.weights import flow, sampler
from wg_server.generator.weights import head_batch as batches
from wg_server.generator.weights import head_objective as objective
from wg_server.generator.weights.codec import fit_codec
from wg_server.generator.weights.head_denoiser import Denoiser, DenoiserConfig
from wg_server.site.home import ServerHome
from wg_server.zoo import devices

BF16 = Compute(torch.device("cpu"), "bf16")


def test_a_card_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose("auto") == "cpu"
    with pytest.raises(ConfigError, match="torch finds none"):
        devices.choose("cuda")
    with pytest.raises(ConfigError, match="expected one of"):
        devices.choose("tpu")


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, card = torch.device("cpu"), torch.device("cuda", 0)
    assert compute.choose_precision("auto", cpu) == "fp32"
    assert compute.choose_precision("bf16", cpu) == "bf16"
    with pytest.raises(ConfigError, match="precision: 'fp16'"):
        compute.choose_precision("fp16", cpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a card")
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **_words: able)
        assert compute.choose_precision("auto", card) == ("bf16" if able else "fp32")
        assert compute.choose_precision("fp32", card) == "fp32"
    with pytest.raises(ConfigError, match="a card has no bf16"):
        compute.choose_precision("bf16", card)


def test_a_cpu_needs_no_settings() -> None:
    before = dict(os.environ)
    with compute.reproducible(torch.device("cpu")):
        assert dict(os.environ) == before
        assert not torch.are_deterministic_algorithms_enabled()


def _episodes(tasks: list[ZooTask]) -> list[Episode]:
    plants, rng = _plants(tasks), np.random.default_rng(5)
    return [plants.draw(rng, Scenario()) for _ in range(PLAN.batch)]


def _denoiser() -> Denoiser:
    """A denoiser of which every path counts."""
    model = Denoiser(DenoiserConfig(dimension=16, latent=8, width=16, depth=2))
    model.draw(torch.Generator().manual_seed(2))
    with torch.no_grad():
        for layer in (model.last, model.last_modulation):
            layer.weight.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(3))
    return model


def _loss(model: Denoiser, episodes: list[Episode], how: Compute) -> torch.Tensor:
    rngs = [np.random.default_rng((6, n)) for n in range(len(episodes))]
    codec = fit_codec(np.random.default_rng(0).normal(0, 0.3, (200, 17)), 8).to(how.device)
    batch, targets = batches.augment(*batches.collate_episodes(episodes), rngs)
    rows = [len(episode.labels) for episode in episodes]
    noise = flow.draw(rngs, 0.4, rows, codec.latent)
    batch, targets = compute.on(batch, how.device), compute.on(targets, how.device)
    assert sampler.deterministic(model, batch)[0].device == how.device
    return objective.loss(model, codec, batch, targets, 3.0, compute.on(noise, how.device), how)


def test_bf16_changes_the_loss_by_rounding_alone(zoo_tasks: list[ZooTask]) -> None:
    losses, grads, episodes = [], [], _episodes(zoo_tasks)
    for how in (CPU, BF16):
        model = _denoiser()
        value = _loss(model, episodes, how)
        value.backward()  # type: ignore[no-untyped-call]
        found = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(each.dtype == torch.float32 for each in (value, *found, *model.parameters()))
        losses.append(float(value.detach()))
        grads.append(torch.cat([grad.flatten() for grad in found]))
    assert 0 < abs(losses[0] - losses[1]) < 0.02 * losses[0]
    assert torch.nn.functional.cosine_similarity(grads[0], grads[1], dim=0) > 0.99


@pytest.mark.slow
def test_a_bf16_training_ends_with_a_float32_package(
    zoo_tasks: list[ZooTask], tmp_path: Path
) -> None:
    homes = [ServerHome(tmp_path / name) for name in ("one", "two")]
    for home in homes:
        _fill(home, zoo_tasks)
        card = training.train(home, PLAN, progress=_silent, precision="bf16")
        assert card["training"]["computed"] == {"cpu, bf16": PLAN.steps}
    one, two = (versions.present(home)[0].heads.read_bytes() for home in homes)
    assert one == two
    floats = [t for t in safetensors.torch.load(one).values() if t.is_floating_point()]
    assert {t.dtype for t in floats} <= {torch.float32, torch.float64}


def test_every_tensor_of_a_step_is_on_its_device(zoo_tasks: list[ZooTask]) -> None:
    episodes, model = _episodes(zoo_tasks), _denoiser().to(META.device)
    with OneDevice():  # type: ignore[no-untyped-call]
        value = _loss(model, episodes, META)
        value.backward()  # type: ignore[no-untyped-call]
        with pytest.raises(AssertionError, match=r"cpu.*meta"):
            torch.ones(2, 2) @ model.last.weight
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_card_gives_the_same_bytes_twice(
    zoo_tasks: list[ZooTask], tmp_path: Path, precision: str
) -> None:
    homes = [ServerHome(tmp_path / name) for name in ("one", "two")]
    for home in homes:
        _fill(home, zoo_tasks)
        training.train(home, PLAN, progress=_silent, device="cuda", precision=precision)
    one, two = (versions.present(home)[0].heads.read_bytes() for home in homes)
    assert one == two
