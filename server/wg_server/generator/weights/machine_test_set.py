"""Test machines for a model card, which no training uses, and their plants.

Each machine has test windows, a few labelled windows for selecting among sampled networks, and two
plants, with different mixtures of conditions among their records. The noise of a release is that
for ``PLANT_RECORD_COUNT`` records. In the mostly healthy mixture, fewer healthy windows are
simulated and weighted to represent all of them, so that the mean of their machine features is
slightly less exact than at a real plant.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wg_common.catalogue import InputScaling
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder.reading_map import ReadingMap, window_readings
from wg_server.generator.weights import machine_statistic
from wg_server.generator.weights.machine_networks import WindowInputs
from wg_server.generator.weights.machine_statistic import StatisticBatch
from wg_server.generator.weights.simulators import MachineSimulator

PLANT_RECORD_COUNT = 300
"""Number of a plant's records."""
LABELLED_WINDOWS, TEST_WINDOWS = 5, 20
"""Numbers of labelled windows and of test windows per condition."""
MOSTLY_SOUND, EVEN_MIXTURE = "nine in ten sound", "even"
_MOSTLY_SOUND_SHARE = 0.9  # Share of healthy records in the mostly healthy mixture
_RENDER_BATCH = 4  # Machines that are simulated at a time


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedTestPlants:
    """Plants of m simulated machines, all with one mixture of conditions.

    Attributes:
        feature_means: Exact means of their records' machine features, ``[m, MACHINE_DIMENSION]``.
        input_means: Means of their records' inputs, ``[m, INPUT_COUNT]``.
        input_spreads: Standard deviations of their records' inputs, ``[m, INPUT_COUNT]``.
    """

    feature_means: Tensor
    input_means: Tensor
    input_spreads: Tensor

    def view_inputs(self, inputs: Tensor, scaling: InputScaling, templates: Tensor) -> WindowInputs:
        """Return inputs ``[m, n, INPUT_COUNT]`` in one scaling, and their readings at templates."""
        inputs = inputs.float()
        if scaling == "standardised":
            inputs = spectrum_lines.standardise_inputs(
                inputs, self.input_means[:, None], self.input_spreads[:, None]
            )
        return WindowInputs.from_inputs(inputs, templates)

    def simulate_releases(self, epsilon: float, generator: torch.Generator) -> StatisticBatch:
        """Return the statistics that the plants release at an epsilon; 0: without noise."""
        count = len(self.feature_means)
        noises = torch.tensor(machine_statistic.sum_and_count_noise_deviations(epsilon)).expand(
            count, 2
        )
        records = torch.full((count,), float(PLANT_RECORD_COUNT))
        return machine_statistic.simulate_releases(self.feature_means, records, noises, generator)


@dataclass(frozen=True, slots=True, eq=False)
class MachineTestSet:
    """Test set of m simulated machines with K conditions each.

    Attributes:
        figures: Declared figures, ``[m, f]``.
        hidden_figures: Hidden properties, ``[m, h]``.
        templates: Weights over the spectrum, with peaks at declared lines, ``[m, T,
            HALF_BIN_COUNT]``.
        test_inputs: Inputs of test windows, float16 ``[m, K * TEST_WINDOWS, INPUT_COUNT]``.
        labels: Indices of the test windows' conditions, ``[K * TEST_WINDOWS]``.
        window_weights: Weights of the test windows in accuracy, ``[K * TEST_WINDOWS]``, with sum 1.
        labelled_inputs: Inputs of labelled windows, float16 ``[m, K, LABELLED_WINDOWS,
            INPUT_COUNT]``.
        plants: Plants of these machines, by the name of their mixture of conditions.
    """

    figures: Tensor
    hidden_figures: Tensor
    templates: Tensor
    test_inputs: Tensor
    labels: Tensor
    window_weights: Tensor
    labelled_inputs: Tensor
    plants: dict[str, SimulatedTestPlants]

    def __len__(self) -> int:
        return len(self.figures)

    def accuracies(self, logits: Tensor) -> Tensor:
        """Return the accuracy on each machine, ``[m]``, of logits ``[m, K * TEST_WINDOWS, K]``."""
        return (logits.argmax(dim=2) == self.labels).float() @ self.window_weights


def draw_test_set(
    simulator: MachineSimulator, reading_map: ReadingMap, count: int
) -> MachineTestSet:
    """Draw ``count`` new test machines with plants, whose features ``reading_map`` computes."""
    sizes = [min(_RENDER_BATCH, count - start) for start in range(0, count, _RENDER_BATCH)]
    with torch.inference_mode():
        return _join_test_sets([_render_test_set(simulator, reading_map, size) for size in sizes])


def _render_test_set(
    simulator: MachineSimulator, reading_map: ReadingMap, count: int
) -> MachineTestSet:
    machines, conditions = simulator.draw_machines(count), len(simulator.kind.conditions)
    templates = simulator.kind.line_templates(machines.figures)
    held_count = PLANT_RECORD_COUNT // conditions
    windows = simulator.simulate_windows(machines, LABELLED_WINDOWS + TEST_WINDOWS + held_count)
    inputs = spectrum_lines.piece_inputs(windows.flatten(0, 2)).reshape(*windows.shape[:3], -1)
    records = inputs[:, :, LABELLED_WINDOWS + TEST_WINDOWS :].flatten(
        1, 2
    )  # [m, K * held_count, INPUT_COUNT]
    numbers = reading_map(window_readings(records, templates))
    damaged_share = 1 - _MOSTLY_SOUND_SHARE
    damaged_count = round(PLANT_RECORD_COUNT * damaged_share / (conditions - 1))  # Of each damage
    place = torch.arange(held_count).repeat(conditions)
    sound = torch.arange(conditions * held_count) < held_count
    mostly = torch.where(
        sound,
        _MOSTLY_SOUND_SHARE / held_count,
        (1 - _MOSTLY_SOUND_SHARE) / damaged_count / (conditions - 1),
    )
    early = place < damaged_count
    return MachineTestSet(
        figures=machines.figures,
        hidden_figures=machines.hidden_figures,
        templates=templates,
        test_inputs=inputs[:, :, LABELLED_WINDOWS : LABELLED_WINDOWS + TEST_WINDOWS]
        .flatten(1, 2)
        .half(),
        labels=torch.arange(conditions).repeat_interleave(TEST_WINDOWS),
        window_weights=torch.full((conditions * TEST_WINDOWS,), 1 / (conditions * TEST_WINDOWS)),
        labelled_inputs=inputs[:, :, :LABELLED_WINDOWS].half(),
        plants={
            MOSTLY_SOUND: _weighted_plants(records, numbers, mostly * (sound | early)),
            EVEN_MIXTURE: _weighted_plants(
                records,
                numbers,
                torch.full((conditions * held_count,), 1 / (conditions * held_count)),
            ),
        },
    )


def _weighted_plants(records: Tensor, numbers: Tensor, shares: Tensor) -> SimulatedTestPlants:
    """Return plants whose means and deviations weight the n records by ``shares``, ``[n]``."""
    mean = torch.einsum("n,mni->mi", shares, records)
    square = torch.einsum("n,mni->mi", shares, records.square())
    return SimulatedTestPlants(
        feature_means=torch.einsum("n,mnd->md", shares, numbers),
        input_means=mean,
        input_spreads=(square - mean.square()).clamp(min=0).sqrt(),
    )


def _join_test_sets(parts: list[MachineTestSet]) -> MachineTestSet:
    def join(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    plants = {
        mixture: SimulatedTestPlants(
            *(
                torch.cat([getattr(part.plants[mixture], name) for part in parts])
                for name in ("feature_means", "input_means", "input_spreads")
            )
        )
        for mixture in parts[0].plants
    }
    names = ("figures", "hidden_figures", "templates", "test_inputs", "labelled_inputs")
    return MachineTestSet(
        **{name: join(name) for name in names},
        labels=parts[0].labels,
        window_weights=parts[0].window_weights,
        plants=plants,
    )
