"""Networks from data sheets: the simulator, the decoder, training, generation and the card."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from tests.bearings import BEARING

from wg_common.machines import bearing
from wg_common.machines.base import HALF_BINS, WINDOW
from wg_common.nets import network, tensor_set
from wg_common.nets.spectrum_lines import spectra
from wg_core.errors import DecodeError
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import sheet_card, sheet_generation, training
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.sheet_networks import SheetModel, Sizes, run
from wg_server.generator.weights.sheet_training import Draws, SheetObjective, draw
from wg_server.generator.weights.training import Schedule

SHEET = DataSheet(rotating_machine=replace(BEARING, shaft_speed_rpm=Decimal(1797)))
LABELS = ("normal", "B007", "inner race", "OR")
SIZES = Sizes(width=16, features=64, latent=3, rank=2, hidden=16)


@pytest.fixture(scope="module")
def generator() -> sheet_generation.SheetGenerator:
    model = SheetModel(Sizes(latent=3, rank=2, hidden=16)).eval()
    model.draw(torch.Generator().manual_seed(0))
    return sheet_card.fitted(model, simulation.Workshop(0).machines(40))


def of(made: tuple[GeneratedCandidate, ...], name: str) -> dict[str, Any]:
    """Tensors of a candidate."""
    return next(one.tensors for one in made if one.name == name)


def test_a_simulated_damage_has_its_line() -> None:
    workshop = simulation.Workshop(3)
    machines = workshop.machines(60)
    loud = replace(
        machines,
        severity=torch.full_like(machines.severity, 25.0),
        character=torch.tensor([0.0, 0.9, 0.0, 0.0, 0.1]).expand(60, 5),
    )
    windows = workshop.windows(loud, 4)
    inputs = spectra(windows.flatten(0, 2)).reshape(60, 4, 4, -1)[..., :HALF_BINS].mean(dim=2)
    outer = (2 * machines.rates[:, 4]).round().long()
    rows = torch.arange(60)
    clear = (outer > 8) & (outer < HALF_BINS - 30)
    line = torch.stack([inputs[rows, :, outer + away] for away in (-1, 0, 1)]).amax(dim=0)
    beside = inputs[rows, :, outer + 5]
    height = (line - beside)[clear].mean(dim=0)
    assert height[3] > 2.0 > 0.8 > height[0]


def test_machines_are_drawn_by_their_seed_and_bearings_can_exist() -> None:
    one, two, other = (simulation.Workshop(seed).machines(200) for seed in (1, 1, 2))
    assert torch.equal(one.hidden, two.hidden) and not torch.equal(one.hidden, other.hidden)
    assert one.hidden.shape == (200, simulation.HIDDEN) and one.hidden.isfinite().all()
    _, _, elements, element, pitch, _, _ = one.figures.unbind(dim=1)
    assert (element <= pitch * torch.sin(torch.pi / elements)).all()


def test_generated_tensors_are_the_networks_that_were_trained(
    generator: sheet_generation.SheetGenerator,
) -> None:
    windows = np.random.default_rng(0).normal(size=(3, 1, WINDOW))
    batch = network.prepared("spectrum-lines", list(windows))
    made = generator.generate(SHEET, LABELS, samples=2, seed=5)
    assert [one.name for one in made] == ["sheet-mean", "sheet-0", "sheet-1"]
    for one in made:
        tensor_set.check_tensors("spectrum-lines", of(made, one.name), len(LABELS), 64)
    mean = of(made, "sheet-mean")
    sheets = bearing.figures(SHEET)
    with torch.inference_mode():
        expected = run(
            generator.model.decoder(sheets, torch.zeros(1, 3)), torch.from_numpy(batch)[None]
        )
    features = network.features(network.load_trunk("spectrum-lines", mean), batch)
    logits = features @ mean["head.weight"].T + mean["head.bias"]
    np.testing.assert_allclose(logits, expected[0].numpy(), atol=1e-4)


def test_generation_depends_on_sheet_and_seed_alone(
    generator: sheet_generation.SheetGenerator,
) -> None:
    one, again, other = (generator.generate(SHEET, LABELS, 2, seed) for seed in (1, 1, 2))

    def first(made: tuple[GeneratedCandidate, ...], name: str) -> Any:
        return of(made, name)["trunk.first.weight"]

    assert np.array_equal(first(one, "sheet-1"), first(again, "sheet-1"))
    assert not np.array_equal(first(one, "sheet-1"), first(other, "sheet-1"))
    faster = DataSheet(rotating_machine=replace(BEARING, shaft_speed_rpm=Decimal(1500)))
    other_machine = generator.generate(faster, LABELS, 2, 1)
    assert not np.array_equal(first(one, "sheet-mean"), first(other_machine, "sheet-mean"))


def test_rows_follow_class_names_and_names_of_one_condition_share_it(
    generator: sheet_generation.SheetGenerator,
) -> None:
    made = of(generator.generate(SHEET, ("OR021", "OR014", "正常"), 1), "sheet-mean")
    other = of(generator.generate(SHEET, ("healthy", "outer ring"), 1), "sheet-mean")
    assert np.array_equal(made["head.weight"][[2, 0]], other["head.weight"])
    shared = np.log(2) * np.array([0, 1], np.float32)
    np.testing.assert_allclose(made["head.bias"][[2, 0]] + shared, other["head.bias"], atol=1e-6)


def test_sampling_follows_the_straight_line_of_the_flow_to_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each state that the network sees is a mixture of its clean answer and the noise."""
    model, sheets = SheetModel(SIZES), torch.zeros(2, 7)
    clean, noise, seen = torch.linspace(-1, 1, 6).reshape(2, 3), torch.full((2, 3), 5.0), []

    def denoised(noisy: torch.Tensor, time: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(noisy, (1 - time[0]) * clean + time[0] * noise)
        seen.append(float(time[0]))
        return clean

    monkeypatch.setattr(model, "denoised", denoised)
    for steps in (1, 4):
        assert torch.equal(model.sample(sheets, noise, steps), clean)
    assert seen == [1.0, 1.0, 0.75, 0.5, 0.25]


def test_a_package_makes_the_same_networks(generator: sheet_generation.SheetGenerator) -> None:
    for prior in ("flow", "gaussian"):
        data = sheet_generation.pack(replace(generator, prior=prior))
        again = sheet_generation.unpack(data)
        assert again.prior == prior
        one = replace(generator, prior=prior).generate(SHEET, LABELS, 1)
        other = again.generate(SHEET, LABELS, 1)
        expected = of(other, "sheet-0")
        for name, value in of(one, "sheet-0").items():  # But for tensors' alignment in memory
            np.testing.assert_allclose(value, expected[name], atol=1e-5)


@pytest.mark.parametrize("damage", [b"", b"x" * 100])
def test_what_is_no_package_is_refused(damage: bytes) -> None:
    with pytest.raises(DecodeError):
        sheet_generation.unpack(damage)


def test_a_short_training_learns_what_sheets_say() -> None:
    schedule = Schedule(steps=60, learning_rate=4e-3, average=0.9, evaluate_every=30)
    objective = SheetObjective(SIZES, Draws(step=8, windows=2, validation=24), seed=1)
    training.train(objective, schedule, lambda *_: None)
    batch = draw(simulation.Workshop(11), 24, 4)
    zoo = simulation.Workshop(12).machines(60)
    made, card = sheet_card.judged(objective.model, zoo, batch, seed=1)
    accuracy = card["accuracy"][made.prior]
    assert accuracy["mean"] > max(accuracy["fixed"], accuracy["mean of another sheet"]) + 0.05
    assert {check["name"] for check in card["checks"]} >= {"spread of samples over the zoo's"}
    assert any("mean" in line for line in sheet_card.table(card))


def test_collapsed_samples_fail_the_card() -> None:
    worth = {"gain": 0.5, "error": 0.0}
    names = ("generated over the best fixed", "the sheet over another machine's")
    card = {"worth": dict.fromkeys(names, worth), "spread": 0.01}
    assert [check.passed for check in sheet_card.checks(card)] == [True, True, False]
