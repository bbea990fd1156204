"""Pool of simulated machines for training, a few of which are replaced at each step.

For each machine, the pool has labelled windows of each condition, and unlabelled records that
represent the records of its plant: their readings, and by condition the mean and mean square of
their inputs. A training step selects some machines, and draws a plant for each: the mixture of
conditions among its records, their number, and the noise of its release. So each window is
simulated once and used for several plants.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wg_common.catalogue import InputScaling
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder.reading_map import ReadingMap, window_readings
from wg_server.generator.weights import machine_statistic
from wg_server.generator.weights.machine_networks import WindowInputs
from wg_server.generator.weights.machine_statistic import StatisticBatch
from wg_server.generator.weights.simulators import MachineSimulator

LABELLED_WINDOWS, UNLABELLED_RECORDS = 6, 12
"""Numbers of labelled windows and of unlabelled records per condition and machine."""
_RENDER_BATCH = 8  # Machines that are simulated at a time
_WINDOWS_PER_CONDITION = 4  # Labelled windows per condition in a step
_RECORD_COUNT_RANGE = (50.0, 5000.0)  # Number of a plant's records, log-uniform
_RELEASE_EPSILONS = (1.0, 4.0, 0.0)  # Epsilons of releases; 0: no noise


@dataclass(frozen=True, slots=True, eq=False)
class PooledMachines:
    """Windows and properties of m simulated machines, with K conditions each.

    Attributes:
        figures: Declared figures, ``[m, f]``.
        hidden_figures: Hidden properties, ``[m, h]``.
        templates: Weights over the spectrum, with peaks at declared lines, ``[m, T,
            HALF_BIN_COUNT]``.
        labelled_inputs: Inputs of labelled windows, float16 ``[m, K, LABELLED_WINDOWS,
            INPUT_COUNT]``.
        input_means: Means of the unlabelled records' inputs, by condition, ``[m, K, INPUT_COUNT]``.
        input_mean_squares: Mean squares of these inputs, by condition, ``[m, K, INPUT_COUNT]``.
        record_readings: R readings of each unlabelled record, float16 ``[m, K,
            UNLABELLED_RECORDS, R]``.
    """

    figures: Tensor
    hidden_figures: Tensor
    templates: Tensor
    labelled_inputs: Tensor
    input_means: Tensor
    input_mean_squares: Tensor
    record_readings: Tensor

    def __len__(self) -> int:
        return len(self.figures)

    def select_rows(self, rows: Tensor) -> "PooledMachines":
        """Return the machines at the given rows."""
        return PooledMachines(*(getattr(self, field.name)[rows] for field in fields(self)))

    def replace_rows(self, rows: Tensor, machines: "PooledMachines") -> None:
        """Replace the machines at the given rows, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(machines, field.name)


def draw_pooled_machines(simulator: MachineSimulator, count: int) -> PooledMachines:
    """Draw ``count`` new machines with their windows."""
    parts = [
        _render_machines(simulator, min(_RENDER_BATCH, count - start))
        for start in range(0, count, _RENDER_BATCH)
    ]
    return PooledMachines(
        *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(parts[0]))
    )


def _render_machines(simulator: MachineSimulator, count: int) -> PooledMachines:
    machines = simulator.draw_machines(count)
    templates = simulator.kind.line_templates(machines.figures)
    windows = simulator.simulate_windows(machines, LABELLED_WINDOWS + UNLABELLED_RECORDS)
    inputs = spectrum_lines.piece_inputs(windows.flatten(0, 2)).reshape(*windows.shape[:3], -1)
    records = inputs[:, :, LABELLED_WINDOWS:]
    record_readings = window_readings(records.flatten(1, 2), templates)
    return PooledMachines(
        figures=machines.figures,
        hidden_figures=machines.hidden_figures,
        templates=templates,
        labelled_inputs=inputs[:, :, :LABELLED_WINDOWS].half(),
        input_means=records.mean(dim=2),
        input_mean_squares=records.square().mean(dim=2),
        record_readings=record_readings.reshape(*records.shape[:3], -1).half(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Machines of a training step, each with a plant that releases a statistic.

    Attributes:
        machines: Windows and properties of the m machines.
        labels: Index of the condition of each of n labelled windows, ``[m, n]``.
        inputs_by_scaling: Network inputs of these windows and their readings by
            templates (``WindowInputs``), by the scaling of inputs.
        condition_shares: Share of each condition among a plant's records, ``[m, K]``.
        record_counts: Number of each plant's records, ``[m]``.
        noise_deviations: Standard deviations of the noise on sums and count of each release, ``[m,
            2]``.
    """

    machines: PooledMachines
    labels: Tensor
    inputs_by_scaling: dict[InputScaling, WindowInputs]
    condition_shares: Tensor
    record_counts: Tensor
    noise_deviations: Tensor

    def simulate_statistics(
        self, reading_map: ReadingMap, generator: torch.Generator
    ) -> StatisticBatch:
        """Return the statistics that the plants release, computed with a reading map."""
        numbers = reading_map(
            self.machines.record_readings.float()
        )  # [m, K, UNLABELLED_RECORDS, MACHINE_DIMENSION]
        means = (self.condition_shares[..., None] * numbers.mean(dim=2)).sum(dim=1)
        return machine_statistic.simulate_releases(
            means, self.record_counts, self.noise_deviations, generator
        )


class MachinePool:
    """Pool of simulated machines from which training draws batches.

    Args:
        simulator: Simulator that draws the machines.
        machine_count: Number of machines in the pool.
        renewals_per_step: Number of machines that each step replaces.
    """

    def __init__(
        self, simulator: MachineSimulator, machine_count: int, renewals_per_step: int
    ) -> None:
        self.machines = draw_pooled_machines(simulator, machine_count)
        self._simulator, self._renewals, self._oldest = simulator, renewals_per_step, 0

    def next_batch(self, count: int, generator: torch.Generator) -> TrainingBatch:
        """Replace the oldest machines of the pool, and return ``count`` random ones with plants."""
        oldest = (self._oldest + torch.arange(self._renewals)) % len(self.machines)
        self.machines.replace_rows(oldest, draw_pooled_machines(self._simulator, self._renewals))
        self._oldest += self._renewals
        rows = torch.randperm(len(self.machines), generator=generator)[:count]
        return batch_with_plants(self.machines.select_rows(rows), generator)


def batch_with_plants(machines: PooledMachines, generator: torch.Generator) -> TrainingBatch:
    """Draw a plant for each machine: mixture of conditions, number of records, and noise."""
    count, conditions = machines.labelled_inputs.shape[:2]
    columns = torch.randperm(LABELLED_WINDOWS, generator=generator)[:_WINDOWS_PER_CONDITION]
    inputs = machines.labelled_inputs[:, :, columns].flatten(1, 2).float()
    labels = torch.arange(conditions).repeat_interleave(_WINDOWS_PER_CONDITION).expand(count, -1)
    shares = draw_condition_shares(count, conditions, generator)
    mean = torch.einsum("mk,mki->mi", shares, machines.input_means)
    square = torch.einsum("mk,mki->mi", shares, machines.input_mean_squares)
    spread = (square - mean.square()).clamp(min=0).sqrt()
    standard_inputs = spectrum_lines.standardise_inputs(inputs, mean[:, None], spread[:, None])
    records, noises = draw_record_counts_and_noises(count, generator)
    return TrainingBatch(
        machines=machines,
        labels=labels,
        inputs_by_scaling={
            "raw": WindowInputs.from_inputs(inputs, machines.templates),
            "standardised": WindowInputs.from_inputs(standard_inputs, machines.templates),
        },
        condition_shares=shares,
        record_counts=records,
        noise_deviations=noises,
    )


def draw_record_counts_and_noises(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw plants' record counts, and noise deviations on sum and count, ``[count, 2]``."""
    low, high = (math.log(bound) for bound in _RECORD_COUNT_RANGE)
    records = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    noises = torch.tensor(
        [machine_statistic.sum_and_count_noise_deviations(epsilon) for epsilon in _RELEASE_EPSILONS]
    )
    return records, noises[torch.randint(len(_RELEASE_EPSILONS), (count,), generator=generator)]


def draw_condition_shares(count: int, conditions: int, generator: torch.Generator) -> Tensor:
    """Draw the share of each condition among plants' records, ``[count, conditions]``.

    Half of the plants have mostly healthy records, four in ten have any mixture, one in twenty has
    only healthy records, and one in twenty has none: most plants have few records of damages.
    """
    mostly = 0.8 + 0.2 * torch.rand(count, 1, generator=generator)
    damages = torch.softmax(torch.randn(count, conditions - 1, generator=generator), dim=1)
    only_sound = torch.zeros(count, conditions)
    only_sound[:, 0] = 1
    kinds = torch.stack(
        [
            torch.cat([mostly, (1 - mostly) * damages], dim=1),
            only_sound,
            torch.softmax(1.5 * torch.randn(count, conditions, generator=generator), dim=1),
            torch.cat([torch.zeros(count, 1), damages], dim=1),
        ]
    )
    draws = torch.rand(count, generator=generator)
    kind = torch.bucketize(draws, torch.tensor([0.5, 0.55, 0.95]))
    return kinds[kind, torch.arange(count)]
