"""Machines that no training saw, with plants that have records of them: what a card is measured on.

Of each machine there are windows that accuracy is counted on, a few labelled ones that samples may
be chosen by, and a plant's records in two mixtures of conditions. The noise of its release is that
of ``RECORDS`` records. In the mixture that is mostly sound, fewer sound windows than a plant would
have stand for all of its sound ones, so that the mean of its numbers is a little less exact.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wg_common.catalogue import Inputs
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder.reading_map import ReadingMap, readings
from wg_server.generator.weights import machine_statistic
from wg_server.generator.weights.machine_networks import View
from wg_server.generator.weights.machine_statistic import Statistics
from wg_server.generator.weights.simulators import Workshop

RECORDS = 300
"""Records of a plant."""
LABELLED, JUDGED = 5, 20
"""Labelled windows of a condition, and those that accuracy is counted on."""
MOSTLY_SOUND, EVEN = "nine in ten sound", "even"
_SOUND = 0.9  # Share of sound records where they are most
_RENDERED = 4  # Machines whose windows are rendered together


@dataclass(frozen=True, slots=True, eq=False)
class Plants:
    """Plants at one mixture of conditions, one for each of m machines.

    Attributes:
        numbers: Exact means of their records' numbers, ``[m, MACHINE_DIMENSION]``.
        mean: Mean of their records' inputs, ``[m, INPUTS]``.
        spread: Standard deviation of these, ``[m, INPUTS]``.
    """

    numbers: Tensor
    mean: Tensor
    spread: Tensor

    def view(self, inputs: Tensor, treatment: Inputs, templates: Tensor) -> View:
        """View inputs ``[m, n, INPUTS]`` as they stand at the plants."""
        inputs = inputs.float()
        if treatment == "standardised":
            inputs = spectrum_lines.standardised_by(
                inputs, self.mean[:, None], self.spread[:, None]
            )
        return View.of(inputs, templates)

    def statistics(self, epsilon: float, generator: torch.Generator) -> Statistics:
        """Statistics that the plants release at an epsilon; 0: exact."""
        count = len(self.numbers)
        noises = torch.tensor(machine_statistic.release_noise(epsilon)).expand(count, 2)
        records = torch.full((count,), float(RECORDS))
        return machine_statistic.noisy(self.numbers, records, noises, generator)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Machines that no training saw, m of them with K conditions.

    Attributes:
        figures: Stated figures, ``[m, f]``.
        hidden: Figures that the sheet leaves open, ``[m, h]``.
        templates: At the stated lines, ``[m, T, HALF_BINS]``.
        judged_inputs: Inputs that accuracy is counted on, float16 ``[m, K * JUDGED, INPUTS]``.
        labels: Their conditions, ``[K * JUDGED]``.
        weights: Weight of each in accuracy, ``[K * JUDGED]``; they sum to 1.
        labelled: Inputs of labelled windows, float16 ``[m, K, LABELLED, INPUTS]``.
        plants: Plants of these machines, by the mixture of conditions.
    """

    figures: Tensor
    hidden: Tensor
    templates: Tensor
    judged_inputs: Tensor
    labels: Tensor
    weights: Tensor
    labelled: Tensor
    plants: dict[str, Plants]

    def __len__(self) -> int:
        return len(self.figures)

    def right(self, logits: Tensor) -> Tensor:
        """Share right on each machine, ``[m]``, of logits ``[m, K * JUDGED, K]``."""
        return (logits.argmax(dim=2) == self.labels).float() @ self.weights


def draw(workshop: Workshop, reading_map: ReadingMap, count: int) -> Trial:
    """Draw new machines, and plants for them."""
    sizes = [min(_RENDERED, count - start) for start in range(0, count, _RENDERED)]
    with torch.inference_mode():
        return _join([_render(workshop, reading_map, size) for size in sizes])


def _render(workshop: Workshop, reading_map: ReadingMap, count: int) -> Trial:
    machines, conditions = workshop.machines(count), len(workshop.kind.conditions)
    templates = workshop.kind.templates(machines.figures)
    held_count = RECORDS // conditions
    windows = workshop.windows(machines, LABELLED + JUDGED + held_count)
    inputs = spectrum_lines.spectra(windows.flatten(0, 2)).reshape(*windows.shape[:3], -1)
    records = inputs[:, :, LABELLED + JUDGED :].flatten(1, 2)  # [m, K * held_count, INPUTS]
    numbers = reading_map(readings(records, templates))
    damaged_count = round(RECORDS * (1 - _SOUND) / (conditions - 1))  # Records of each damage
    place = torch.arange(held_count).repeat(conditions)
    sound = torch.arange(conditions * held_count) < held_count
    mostly = torch.where(
        sound, _SOUND / held_count, (1 - _SOUND) / damaged_count / (conditions - 1)
    )
    early = place < damaged_count
    return Trial(
        figures=machines.figures,
        hidden=machines.hidden,
        templates=templates,
        judged_inputs=inputs[:, :, LABELLED : LABELLED + JUDGED].flatten(1, 2).half(),
        labels=torch.arange(conditions).repeat_interleave(JUDGED),
        weights=torch.full((conditions * JUDGED,), 1 / (conditions * JUDGED)),
        labelled=inputs[:, :, :LABELLED].half(),
        plants={
            MOSTLY_SOUND: _plants(records, numbers, mostly * (sound | early)),
            EVEN: _plants(
                records,
                numbers,
                torch.full((conditions * held_count,), 1 / (conditions * held_count)),
            ),
        },
    )


def _plants(records: Tensor, numbers: Tensor, shares: Tensor) -> Plants:
    """Plants whose records have these weights ``[n]``."""
    mean = torch.einsum("n,mni->mi", shares, records)
    square = torch.einsum("n,mni->mi", shares, records.square())
    return Plants(
        numbers=torch.einsum("n,mnd->md", shares, numbers),
        mean=mean,
        spread=(square - mean.square()).clamp(min=0).sqrt(),
    )


def _join(parts: list[Trial]) -> Trial:
    def join(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    plants = {
        mixture: Plants(
            *(
                torch.cat([getattr(part.plants[mixture], name) for part in parts])
                for name in ("numbers", "mean", "spread")
            )
        )
        for mixture in parts[0].plants
    }
    names = ("figures", "hidden", "templates", "judged_inputs", "labelled")
    return Trial(
        **{name: join(name) for name in names},
        labels=parts[0].labels,
        weights=parts[0].weights,
        plants=plants,
    )
