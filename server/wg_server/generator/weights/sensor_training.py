"""Training of a sensor model: on units that are drawn anew in each step, through a release's noise.

Of a unit there are windows whose truth is known, which networks learn from, and others without, by
which a plant would know it: moments of their readings, and the mean of their numbers with the noise
of a release. Number of records, epsilon and, where conditions are told, their mixture are drawn.
The reading map learns with the networks that are made from its numbers; rivals take them as they
are.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common import streams
from wg_common.machines.process import ProcessUnit
from wg_common.streams import Stream
from wg_server.generator.weights import machine_pool, machine_statistic
from wg_server.generator.weights.machine_networks import Sizes, Weights, run
from wg_server.generator.weights.machine_statistic import Statistics, noisy
from wg_server.generator.weights.machine_training import flow_loss
from wg_server.generator.weights.process_simulation import (
    PROCESS_SIMULATORS,
    ProcessWorkshop,
    Units,
)
from wg_server.generator.weights.sensor_model import TREATMENTS, Moments, SensorModel, Views
from wg_server.generator.weights.training import Evaluation

_UNITS = 32  # Of a step
_TAKEN, _UNLABELLED = 24, 80  # Windows of a unit with their truth, and without
_VALIDATION = 60  # Units
_WITHOUT_LATENT, _WITHOUT_STATISTIC = 0.35, 0.15  # Share of units
_DIVERGENCE = 2e-4  # Loss of a window that a nat of a latent costs
_RECORDS = (50.0, 5000.0)  # Of a plant, log-uniform
_EPSILONS = (1.0, 4.0, 0.0)  # Of a release; 0: exact


class SensorObjective:
    """Training of a ``SensorModel``: an ``Objective``.

    Attributes:
        model: What is trained.
    """

    def __init__(self, kind: str, sizes: Sizes, seed: int, tells_conditions: bool) -> None:
        self._workshop = workshop(kind, seed, Stream.SHEET_STEP)
        self._seed, self._tells_conditions = seed, tells_conditions
        unit = with_conditions(self._workshop.unit, tells_conditions)
        self.model = SensorModel(unit, self._workshop.hidden_size, sizes)
        self.model.draw(torch.Generator().manual_seed(seed))
        public = self._draw(self._workshop, 200, torch.Generator().manual_seed(seed)).unlabelled
        self.model.map.centre.copy_(public.mean(dim=(0, 1)))
        self.model.map.spread.copy_(public.flatten(0, 1).std(dim=0).clamp(min=1e-3))
        judges = workshop(kind, seed, Stream.SHEET_VALIDATION)
        self._validation = self._draw(judges, _VALIDATION, torch.Generator().manual_seed(seed))

    def loss(self, step: int) -> Tensor:
        """See ``Objective``: of networks for a condition, and of rivals, summed."""
        generator = torch.Generator().manual_seed(self._seed + step)
        batch = self._draw(self._workshop, _UNITS, generator)
        statistics = batch.statistics(self.model, generator)
        present = torch.rand(_UNITS, generator=generator) >= _WITHOUT_STATISTIC
        total = torch.zeros(())
        for name in TREATMENTS:
            total = total + self._made_loss(
                name, batch, statistics._replace(present=present.float()), generator
            )
        constants = Statistics(*(part.detach() for part in statistics))
        outputs = self.model.rivals(batch.views, batch.units.figures, constants)
        return total + torch.stack([batch.loss(values) for values in outputs.values()]).sum()

    def evaluate(self, model: SensorModel) -> Evaluation:
        """See ``Objective``; of networks for conditions at the mean of the latents."""
        generator = torch.Generator().manual_seed(self._seed)
        batch = self._validation
        statistics, losses = batch.statistics(model, generator), []
        for name in TREATMENTS:
            networks = model.made_for(name)
            condition = networks.condition(batch.units.figures, statistics)
            losses.append(
                batch.loss(run(Weights(*networks.networks(condition)), batch.views[name]))
            )
        value = float(torch.stack(losses).mean())
        return Evaluation(value, value)

    def _made_loss(
        self, name: str, batch: "Batch", statistics: Statistics, generator: torch.Generator
    ) -> Tensor:
        """Loss of networks at their units' latents, of the bound, and of the flow."""
        networks, units = self.model.made_for(name), batch.units
        mean, log_deviation = networks.posterior(units)
        latents = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator)
        keep_mask = (torch.rand(len(mean), 1, generator=generator) >= _WITHOUT_LATENT).float()
        variance = (2 * log_deviation).exp()
        divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
        condition = networks.condition(units.figures, statistics)
        outputs = run(
            Weights(*networks.networks(condition, keep_mask * latents)), batch.views[name]
        )
        total = batch.loss(outputs) + _DIVERGENCE * (keep_mask[:, 0] * divergence).mean()
        return total + flow_loss(networks, latents.detach(), condition.detach(), generator)

    @torch.no_grad()
    def _draw(self, shop: ProcessWorkshop, count: int, generator: torch.Generator) -> "Batch":
        return Batch(shop, count, generator, self._tells_conditions)


class Batch:
    """Units of a step, with what their plants are like.

    Attributes:
        units: m of them.
        views: Readings of the windows whose truth is known, by treatment.
        unlabelled: Readings of the other records, ``[m, n, R]``.
    """

    def __init__(
        self, shop: ProcessWorkshop, count: int, generator: torch.Generator, tells_conditions: bool
    ) -> None:
        kinds = len(shop.unit.conditions) if tells_conditions else 1
        judged_conditions = torch.arange(kinds).repeat_interleave(_TAKEN // kinds)
        record_conditions = torch.arange(kinds).repeat_interleave(_UNLABELLED // kinds)
        self.units: Units = shop.units(count)
        figures = self.units.figures
        windows = shop.windows(self.units, torch.cat([judged_conditions, record_conditions]))
        readings = shop.unit.readings(windows.values, figures)
        self.unlabelled = readings[:, len(judged_conditions) :]
        if tells_conditions:
            shares = machine_pool.mixtures(count, kinds, generator)
            self._shares = (shares / (len(record_conditions) // kinds))[:, record_conditions]
            self._truths = judged_conditions.expand(count, -1)
        else:
            self._shares = torch.full((count, len(record_conditions)), 1 / len(record_conditions))
            self._truths = shop.unit.scores(windows.truths, figures)[:, : len(judged_conditions)]
        moments = Moments.of(self.unlabelled, self._shares)
        self.views: Views = moments.views(
            readings[:, : len(judged_conditions)], shop.unit.plain_count
        )
        low, high = (math.log(bound) for bound in _RECORDS)
        self._records = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
        noises = torch.tensor([machine_statistic.release_noise(epsilon) for epsilon in _EPSILONS])
        self._noises = noises[torch.randint(len(_EPSILONS), (count,), generator=generator)]

    def statistics(self, model: SensorModel, generator: torch.Generator) -> Statistics:
        """Released statistics of the plants, whose numbers are the map's of a model."""
        means = (self._shares[..., None] * model.map(self.unlabelled)).sum(dim=1)
        return noisy(means, self._records, self._noises, generator)

    def loss(self, outputs: Tensor) -> Tensor:
        """Mean loss of outputs ``[m, n, outputs]``: cross-entropy, or Huber's of numbers."""
        if self._truths.is_floating_point():
            return F.smooth_l1_loss(outputs, self._truths)
        return F.cross_entropy(outputs.flatten(0, 1), self._truths.flatten(), label_smoothing=0.02)


def with_conditions(unit: ProcessUnit, tells_conditions: bool) -> ProcessUnit:
    """A kind of unit whose networks tell conditions, or state quantities."""
    return replace(unit, tells_conditions=tells_conditions)


def workshop(kind: str, seed: int, stream: Stream) -> ProcessWorkshop:
    """The place where units of a kind and a named stream are drawn."""
    return PROCESS_SIMULATORS[kind](int(streams.rng(stream, seed).integers(1 << 62)))
