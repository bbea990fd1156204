"""Process units: balances that close, instruments that do not, networks that know both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bench import soft_sensors
from torch import Tensor

from wg_server.generator.weights import training
from wg_server.generator.weights.machine_networks import Sizes
from wg_server.generator.weights.process_simulation import (
    PROCESS_SIMULATORS,
    ProcessWorkshop,
    Units,
)
from wg_server.generator.weights.sensor_model import RAW, STANDARDISED, WHITENED, Moments
from wg_server.generator.weights.sensor_training import SensorObjective
from wg_server.generator.weights.training import Schedule

SOUND = torch.zeros(40, dtype=torch.long)


@pytest.fixture(params=PROCESS_SIMULATORS)
def shop(request: pytest.FixtureRequest) -> ProcessWorkshop:
    return PROCESS_SIMULATORS[request.param](1)


def _perfect(units: Units) -> Units:
    zero = torch.zeros_like(units.gain)
    return replace(
        units,
        offsets=torch.zeros_like(units.offsets),
        gain=zero + 1,
        bias=zero,
        drift=zero,
        wander=zero,
        noise=zero,
    )


def _balances(shop: ProcessWorkshop, units: Units) -> tuple[Tensor, Tensor]:
    windows = shop.windows(units, SOUND)
    readings = shop.unit.readings(windows.values, units.figures)
    return readings[..., shop.unit.plain_count :], shop.unit.scores(windows.truths, units.figures)


def test_the_duty_of_perfect_instruments_is_that_of_the_balances(shop: ProcessWorkshop) -> None:
    balances, truths = _balances(shop, _perfect(shop.units(50)))
    for place in (0, 1):
        errors = (balances[..., place] - truths[..., 0]).abs()
        assert errors.quantile(0.99) < 0.01
    assert truths[..., 0].std() > 0.5


def test_faulty_instruments_open_balances(shop: ProcessWorkshop) -> None:
    units = shop.units(200)
    balances, truths = _balances(shop, units)
    errors = (balances[..., 0] - truths[..., 0]).square().mean(dim=1)
    loose = units.tolerance > units.tolerance.median()
    assert errors[loose].median() > 2 * errors[~loose].median()


def test_units_and_windows_are_drawn_by_their_seed(shop: ProcessWorkshop) -> None:
    other = PROCESS_SIMULATORS[shop.unit.name](1)
    one, two = shop.units(5), other.units(5)
    conditions = torch.arange(len(shop.unit.conditions)).repeat(2)
    first, again = (s.windows(u, conditions) for s, u in ((shop, one), (other, two)))
    assert torch.equal(first.values, again.values) and first.values.isfinite().all()
    assert first.values.shape[2] == len(shop.unit.channels)
    assert one.hidden.shape == (5, shop.hidden_size)
    assert shop.unit.stated_numbers(one.figures).shape == (5, shop.unit.condition_size)


def test_scores_become_values_again(shop: ProcessWorkshop) -> None:
    units = shop.units(5)
    truths = shop.windows(units, SOUND).truths
    scores = shop.unit.scores(truths, units.figures)
    assert torch.allclose(shop.unit.values(scores, units.figures), truths, rtol=1e-4)


def test_readings_do_not_depend_on_the_size_of_a_vessel() -> None:
    shop = PROCESS_SIMULATORS["stirred_vessel"](3)
    units = shop.units(4)
    values = shop.windows(units, SOUND).values
    large, larger = units.figures.clone(), values.clone()
    large[:, [0, 1, 4, 5]] *= 7
    larger[:, :, [0, 1, 6]] *= 7
    small, same = shop.unit.readings(values, units.figures), shop.unit.readings(larger, large)
    assert torch.allclose(small, same, atol=1e-2)


def test_moments_standardise_and_whiten_readings() -> None:
    readings = torch.randn(2, 500, 6) @ torch.randn(6, 6) + 3
    views = Moments.of(readings, torch.full((2, 500), 1 / 500)).views(readings, 4)
    assert torch.equal(views[RAW], readings)
    assert views[STANDARDISED].mean(dim=1).abs().max() < 1e-4
    covariance = torch.cov(views[WHITENED][0].T)
    assert (covariance - torch.eye(4)).abs().max() < 0.3


@pytest.mark.parametrize("tells_conditions", [False, True])
def test_a_trained_model_and_its_rivals_are_judged(
    tells_conditions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_sensors, "UNITS", 12)
    sizes = Sizes(width=16, features=16, latent=2, rank=2, hidden=16)
    objective = SensorObjective("heat_exchanger", sizes, 1, tells_conditions)
    before = float(objective.loss(0).detach())
    schedule = Schedule(steps=8, learning_rate=2e-2, average=0.5, evaluate_every=8)
    training.train(objective, schedule, lambda *_: None)
    with torch.inference_mode():
        assert float(objective.loss(9)) < before
        if tells_conditions:
            by_mixture = soft_sensors.conditions(objective.model, 1)
            assert all(0.1 < float(part.mean()) < 1 for part in by_mixture["even"].values())
            assert list(soft_sensors.condition_table(objective.model, by_mixture))
        else:
            rows = soft_sensors.quantities(objective.model, 1)
            own_mean = rows["the unit's own mean"].mean()
            assert rows["ridge on 100 values"].mean() < 0.5 * own_mean
            assert list(soft_sensors.quantity_table(objective.model, rows))
