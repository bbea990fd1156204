"""Networks for machines: shapes, conditions, generation, and the package of a generator."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from tests.bearings import BEARING

from wg_common.machines import bearing
from wg_common.machines.base import WINDOW_SAMPLES
from wg_common.nets import network, tensor_set
from wg_core.errors import ConfigError, DecodeError
from wg_core.privacy.schema import MACHINE_DIMENSION
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.data_sheet_generation import (
    DataSheetGenerator,
    MachineKindGenerator,
    ShippedNetworkKind,
)
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import NetworkSizes, WindowInputs, run_networks
from wg_server.generator.weights.machine_statistic import (
    MachineStatistic,
    absent_statistics,
    batch_of_one,
)

SHEET = DataSheet(rotating_machine=replace(BEARING, shaft_speed_rpm=Decimal(1797)))
LABELS = ("normal", "B007", "inner race", "OR")
SIZES = NetworkSizes(latent=3, rank=2, hidden=16)
STATISTIC = MachineStatistic(np.full(MACHINE_DIMENSION, 0.1), 0.01, 300.0)


def untrained(ships: ShippedNetworkKind = "conditioned") -> DataSheetGenerator:
    """A generator of bearings whose weights are as drawn."""
    simulator = simulation.BearingSimulator(0)
    model = MachineModel(simulator.kind, simulator.hidden_figure_count, SIZES).eval()
    model.initialise_parameters(torch.Generator().manual_seed(0))
    return DataSheetGenerator(
        {simulator.kind.name: MachineKindGenerator(model, dict.fromkeys(INPUT_SCALINGS, ships))}
    )


@pytest.fixture(scope="module")
def generator() -> DataSheetGenerator:
    return untrained()


def of(made: tuple[GeneratedCandidate, ...], name: str) -> dict[str, Any]:
    """Tensors of a candidate."""
    return next(one.tensors for one in made if one.name == name)


def model_of(generator: DataSheetGenerator) -> MachineModel:
    return generator.machine_generators[bearing.MACHINE_KIND.name].model


def test_networks_applied_to_readings_are_the_networks_themselves(
    generator: DataSheetGenerator,
) -> None:
    figures = simulation.BearingSimulator(1).draw_machines(3).figures
    inputs, templates = torch.randn(3, 5, network_inputs()), bearing.line_templates(figures)
    with torch.inference_mode():
        for scaling in INPUT_SCALINGS:
            networks = model_of(generator).conditioned_networks_for(scaling)
            latents = torch.randn(3, SIZES.latent)
            made = networks.decode_networks(
                networks.embed_condition(figures, absent_statistics(3)), latents
            )
            template = model_of(generator).template_network_for(scaling)(3)
            for one in (made, template):
                logits = run_networks(one.weights_over_inputs(templates), inputs)
                torch.testing.assert_close(
                    one.logits(WindowInputs.from_inputs(inputs, templates)),
                    logits,
                    atol=1e-3,
                    rtol=1e-3,
                )


def network_inputs() -> int:
    """Inputs of a network."""
    batch = network.prepare_batch("spectrum-lines", [np.zeros((1, WINDOW_SAMPLES))])
    return int(batch.shape[1])


def test_generated_tensors_are_the_networks_that_were_trained(
    generator: DataSheetGenerator,
) -> None:
    windows = np.random.default_rng(0).normal(size=(3, 1, WINDOW_SAMPLES))
    batch = network.prepare_batch("spectrum-lines", list(windows))
    made = generator.generate_networks(SHEET, LABELS, STATISTIC, sample_count=2, seed=5)
    assert [(one.name, one.input_scaling) for one in made] == [
        (f"{scaling}-{name}", scaling)
        for scaling in ("standardised", "raw")
        for name in ("mean", "0", "1")
    ]
    for one in made:
        tensor_set.check_tensors("spectrum-lines", one.tensors, len(LABELS), 64)
    mean = of(made, "raw-mean")
    figures = bearing.read_figures(SHEET)
    with torch.inference_mode():
        networks = model_of(generator).conditioned_networks_for("raw")
        condition = networks.embed_condition(figures, batch_of_one(STATISTIC))
        view = WindowInputs.from_inputs(
            torch.from_numpy(batch)[None], bearing.line_templates(figures)
        )
        expected = networks.decode_networks(condition).logits(view)[0].numpy()
    features = network.compute_trunk_features(network.load_trunk("spectrum-lines", mean), batch)
    logits = features @ mean["head.weight"].T + mean["head.bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.mark.parametrize("scaling", INPUT_SCALINGS)
def test_sheet_statistic_and_seed_each_change_what_is_made(
    generator: DataSheetGenerator, scaling: str
) -> None:
    faster = DataSheet(rotating_machine=replace(BEARING, shaft_speed_rpm=Decimal(1500)))
    noisier = replace(STATISTIC, noise_deviation=0.1)

    def second_layer(name: str, sheet: DataSheet, statistic: Any = None, seed: int = 1) -> Any:
        made = generator.generate_networks(sheet, LABELS, statistic, sample_count=1, seed=seed)
        return of(made, f"{scaling}-{name}")["trunk.second.weight"]

    mean = second_layer("mean", SHEET, STATISTIC)
    assert np.array_equal(mean, second_layer("mean", SHEET, STATISTIC, seed=2))
    assert not np.array_equal(mean, second_layer("mean", SHEET, noisier))
    assert not np.array_equal(mean, second_layer("mean", SHEET))
    assert not np.array_equal(mean, second_layer("mean", faster, STATISTIC))
    sample = second_layer("0", SHEET, STATISTIC)
    assert np.array_equal(sample, second_layer("0", SHEET, STATISTIC))
    assert not np.array_equal(sample, second_layer("0", SHEET, STATISTIC, seed=2))


def test_a_statistic_of_too_few_records_is_left_out(generator: DataSheetGenerator) -> None:
    few = replace(STATISTIC, record_count=99.0)
    assert not few.has_enough_records and replace(STATISTIC, record_count=100.0).has_enough_records
    made, bare = (
        generator.generate_networks(SHEET, LABELS, part, sample_count=1) for part in (few, None)
    )
    for one, other in zip(made, bare, strict=True):
        assert all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_where_the_template_network_ships_no_statistic_changes_it() -> None:
    generator = untrained("template")
    made = generator.generate_networks(SHEET, LABELS, STATISTIC, sample_count=2)
    assert [one.name for one in made] == ["standardised-template", "raw-template"]
    assert not generator.uses_statistic(SHEET) and untrained().uses_statistic(SHEET)
    bare = generator.generate_networks(SHEET, LABELS)
    assert np.array_equal(made[0].tensors["head.weight"], bare[0].tensors["head.weight"])


def test_a_kind_that_was_not_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match="train another"):
        DataSheetGenerator({}).generate_networks(SHEET, LABELS)


def test_rows_follow_class_names_and_names_of_one_condition_share_it(
    generator: DataSheetGenerator,
) -> None:
    made = of(
        generator.generate_networks(SHEET, ("OR021", "OR014", "正常"), sample_count=1), "raw-mean"
    )
    other = of(
        generator.generate_networks(SHEET, ("healthy", "outer ring"), sample_count=1), "raw-mean"
    )
    assert np.array_equal(made["head.weight"][[2, 0]], other["head.weight"])
    shared = np.log(2) * np.array([0, 1], np.float32)
    np.testing.assert_allclose(made["head.bias"][[2, 0]] + shared, other["head.bias"], atol=1e-6)


def test_sampling_follows_the_straight_line_of_the_flow_to_the_answer(
    generator: DataSheetGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state that the network sees is a mixture of its clean answer and the noise."""
    networks, condition = model_of(generator).conditioned_networks_for("raw"), torch.zeros(2, 1)
    clean, noise = torch.linspace(-1, 1, 6).reshape(2, 3), torch.full((2, 3), 5.0)
    times = []

    def denoise(noisy: torch.Tensor, time: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(noisy, (1 - time[0]) * clean + time[0] * noise)
        times.append(float(time[0]))
        return clean

    monkeypatch.setattr(networks, "predict_clean_latents", denoise)
    for steps in (1, 4):
        assert torch.equal(networks.sample_latents(condition, noise, steps), clean)
    assert times == [1.0, 1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("ships", ["conditioned", "template"])
def test_a_package_makes_the_same_networks(ships: ShippedNetworkKind) -> None:
    generator = untrained(ships)
    again = data_sheet_generation.unpack_sheet_generator(
        data_sheet_generation.pack_sheet_generator(generator)
    )
    assert again.machine_generators[bearing.MACHINE_KIND.name].shipped_kinds == dict.fromkeys(
        INPUT_SCALINGS, ships
    )
    made, expected = (
        one.generate_networks(SHEET, LABELS, STATISTIC, 1) for one in (generator, again)
    )
    for one, other in zip(made, expected, strict=True):
        for name, value in one.tensors.items():  # But for tensors' alignment in memory
            np.testing.assert_allclose(value, other.tensors[name], atol=1e-5)


@pytest.mark.parametrize("damage", [b"", b"x" * 100])
def test_bytes_that_are_no_package_are_refused(damage: bytes) -> None:
    with pytest.raises(DecodeError):
        data_sheet_generation.unpack_sheet_generator(damage)
