from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.server.generator.one_device import META, OneDevice
from tests.server.generator.weights.conftest import untrained

from wg_core.errors import ConfigError
from wg_server.generator.evaluation import head_checks, network_card
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.training import compute, loop
from wg_server.generator.training.compute import Compute
from wg_server.generator.weights import network_objective as objectives
from wg_server.generator.weights import sampler
from wg_server.generator.weights.network_denoiser import Weights, collate
from wg_server.generator.weights.network_episodes import NetworkZoo, draw
from wg_server.generator.weights.network_plan import NetworkTraining

PLAN = NetworkTraining(
    steps=6,
    batch=3,
    width=16,
    depth=1,
    latent=4,
    functional_episodes=1,
    evaluate_every=2,
    patience=9,
    episodes=2,
)
FAMILIES = frozenset(f"family-{i}" for i in range(8)), frozenset(["family-8", "family-9"])


class Interrupted(Exception):
    """Raised in the middle of a training."""


def _fit(
    zoos: dict[str, NetworkZoo], plants: Plants, path: Path, stop: int = -1
) -> dict[str, np.ndarray]:
    def progress(step: int, _words: str) -> None:
        if step == stop:
            raise Interrupted

    objective = objectives.NetworkObjective(zoos, (plants, plants), FAMILIES, PLAN, 1)
    loop.train(objective, PLAN, path, "mine", progress)
    return {name: value.numpy() for name, value in objective.model.state_dict().items()}


def test_interrupted_training_ends_with_the_same_weights(
    zoos: dict[str, NetworkZoo], plants: Plants, tmp_path: Path
) -> None:
    straight = _fit(zoos, plants, tmp_path / "one")
    with pytest.raises(Interrupted):
        _fit(zoos, plants, tmp_path / "two", stop=4)
    assert (tmp_path / "two").is_file()
    again = _fit(zoos, plants, tmp_path / "two")
    assert all(np.array_equal(straight[name], again[name]) for name in straight)


def test_functional_loss_reaches_every_output(zoos: dict[str, NetworkZoo], plants: Plants) -> None:
    rng = np.random.default_rng(1)
    episode = draw(plants, zoos, FAMILIES[0], rng, Scenario())
    model = untrained().train()
    number = sorted(zoos).index(episode.architecture)
    batch = collate([episode.condition], [number], model.config)
    k = len(episode.plant.labels)
    nothing = Weights(torch.zeros(1, k, 65), torch.zeros(1, 11, 4))
    found = model(nothing, torch.ones(1), batch)
    objectives.functional(zoos, episode, found, 0).backward()  # type: ignore[no-untyped-call]
    for layer in (model.row_out, model.row_share, model.latent_out):
        assert layer.bias.grad is not None
        assert layer.bias.grad.abs().max() > 0


def test_card_scores_every_method_and_checks_bind(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    document = network_card.evaluate(untrained(), zoos, plants, FAMILIES[1], episodes=2, seed=1)
    assert set(document["scenarios"]) == set(network_card.SCENARIOS)
    methods = set(next(iter(document["scenarios"].values())))
    assert {"network", "closed-form", "retrieval-5nn", "shuffled-condition"} <= methods
    name = "network minus the closed form plus its error, mean of scenarios"
    for gain, error, fails in ((-0.5, 0.02, True), (-0.02, 0.0, True), (-0.02, 0.02, False)):
        for rows in document["scenarios"].values():
            rows["closed-form"] |= {"network_minus": gain, "network_minus_error": error}
        failed = [check.name for check in network_card.checks(document) if not check.passed]
        assert (name in failed) == fails


def test_collapsed_samples_are_an_alarm() -> None:
    assert not head_checks.alarms({"diversity": {"between_samples_median": 0.5}})
    for distance in (0.0, float("nan")):
        assert head_checks.alarms({"diversity": {"between_samples_median": distance}})


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("width", 30), ("average", 1.0), ("learning_rate", 0.0)]
)
def test_plans_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        NetworkTraining(**{field: value})  # type: ignore[arg-type]


def test_bf16_changes_the_loss_by_rounding_alone(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    model, losses = untrained(), []
    for precision in ("fp32", "bf16"):
        how = Compute(torch.device("cpu"), precision)
        rngs = [np.random.default_rng((8, n)) for n in range(PLAN.batch)]
        episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
        with torch.no_grad():
            model.row_out.bias.fill_(0.1)
            value = objectives.loss(model, zoos, episodes, PLAN, rngs, how)
        assert value.dtype == torch.float32
        losses.append(float(value))
    assert 0 < abs(losses[0] - losses[1]) < 0.02 * losses[0]


def test_every_tensor_of_a_step_is_on_its_device(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    moved = objectives.moved(zoos, META)
    rngs = [np.random.default_rng((8, n)) for n in range(PLAN.batch)]
    episodes = [draw(plants, zoos, FAMILIES[0], rng, Scenario()) for rng in rngs]
    model = untrained().train().to(META.device)
    with OneDevice():  # type: ignore[no-untyped-call]
        objectives.loss(model, moved, episodes, PLAN, rngs, META).backward()  # type: ignore[no-untyped-call]
        condition = collate([episodes[0].condition], [0], model.config)
        found = sampler.deterministic(model, compute.on(condition, META.device))
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    assert found.rows.is_meta and found.latents.is_meta
