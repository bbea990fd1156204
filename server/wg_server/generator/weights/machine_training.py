"""Training of a machine model: the losses of its modules on machines of a pool.

All networks are trained by cross-entropy on the same labelled windows of simulated machines.
Conditioned networks are trained with noisy statistics: mixture of conditions, number of records and
epsilon are drawn in each step, and some machines have no statistic. For some machines the latent is
set to 0 (its prior mean), so that a latent of 0 also yields a good network. The flow learns the
distribution of the encoder's latents without influencing them. The reading map, which computes the
machine features of records, is frozen (``reading_map_training``).
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common import streams
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_common.streams import Stream
from wg_server.generator.weights import machine_pool
from wg_server.generator.weights.machine_model import (
    INPUT_SCALINGS,
    ConditionedNetworks,
    MachineModel,
)
from wg_server.generator.weights.machine_networks import NetworkSizes, WindowInputs
from wg_server.generator.weights.machine_pool import MachinePool, TrainingBatch
from wg_server.generator.weights.machine_statistic import StatisticBatch
from wg_server.generator.weights.simulators import SIMULATORS, MachineSimulator
from wg_server.generator.weights.training import Evaluation

_LABEL_SMOOTHING = 0.05
_LATENT_DROPOUT = 0.35  # Share of machines whose latent is set to 0
_STATISTIC_DROPOUT = 0.25  # Share of machines without a statistic
_DIVERGENCE_WEIGHT = 2e-4  # Weight of the latents' Kullback-Leibler divergence in the loss


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMachineCounts:
    """Numbers of simulated machines for training, validation and test.

    Attributes:
        per_step: Number of machines in each training step.
        pool: Number of machines in the pool.
        renewals_per_step: Number of machines of the pool that each step replaces.
        validation: Number of machines on which a checkpoint is selected.
        test: Number of machines on which the model card is measured.
    """

    per_step: int = 16
    pool: int = 1000
    renewals_per_step: int = 3
    validation: int = 60
    test: int = 100

    def with_pool_for_steps(self, steps: int) -> "SimulatedMachineCounts":
        """Return these numbers, with a smaller pool if a training has few ``steps``."""
        return replace(self, pool=min(self.pool, 5 * steps // 4))


def machine_simulator(machine_kind: str, seed: int, stream: Stream) -> MachineSimulator:
    """Return the simulator of a kind of machine, seeded from ``seed`` for one random stream."""
    return SIMULATORS[machine_kind](int(streams.stream_generator(stream, seed).integers(1 << 62)))


def smoothed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return mean cross-entropy of logits ``[m, n, K]`` for labels ``[m, n]``, with smoothing."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=_LABEL_SMOOTHING)


class MachineObjective:
    """Training objective of the model of one kind of machine.

    Attributes:
        model: Machine model that is trained.
    """

    def __init__(
        self,
        machine_kind: str,
        reading_map: ReadingMap,
        sizes: NetworkSizes,
        machine_counts: SimulatedMachineCounts,
        seed: int,
    ) -> None:
        drawing = machine_simulator(machine_kind, seed, Stream.SHEET_STEP)
        self.model = MachineModel(drawing.kind, drawing.hidden_figure_count, sizes)
        self.model.initialise_parameters(torch.Generator().manual_seed(seed))
        self._pool = MachinePool(drawing, machine_counts.pool, machine_counts.renewals_per_step)
        self._map, self._draws, self._seed = reading_map, machine_counts, seed
        judges = machine_pool.draw_pooled_machines(
            machine_simulator(machine_kind, seed, Stream.SHEET_VALIDATION),
            machine_counts.validation,
        )
        generator = torch.Generator().manual_seed(seed)
        self._validation = machine_pool.batch_with_plants(judges, generator)
        self._validation_statistics = self._simulate_statistics(self._validation, generator)

    def loss(self, step: int) -> Tensor:
        """Return the training loss of a step."""
        generator = torch.Generator().manual_seed(self._seed + step)
        batch = self._pool.next_batch(self._draws.per_step, generator)
        statistics = self._simulate_statistics(batch, generator)
        present = torch.rand(len(batch.machines), generator=generator) >= _STATISTIC_DROPOUT
        statistics = statistics._replace(presence_mask=present.float())
        return total_loss(self.model, batch, statistics, generator)

    def evaluate(self, model: MachineModel) -> Evaluation:
        """Return validation loss and accuracy of the networks generated with latents of 0."""
        validation, value, right = self._validation, 0.0, 0.0
        for name in INPUT_SCALINGS:
            networks = model.conditioned_networks_for(name)
            condition = networks.embed_condition(
                validation.machines.figures, self._validation_statistics
            )
            logits = networks.decode_networks(condition).logits(validation.inputs_by_scaling[name])
            value += float(F.cross_entropy(logits.flatten(0, 1), validation.labels.flatten()))
            right += float((logits.argmax(dim=2) == validation.labels).float().mean())
        return Evaluation(value / len(INPUT_SCALINGS), right / len(INPUT_SCALINGS))

    @torch.no_grad()
    def _simulate_statistics(
        self, batch: TrainingBatch, generator: torch.Generator
    ) -> StatisticBatch:
        return batch.simulate_statistics(self._map, generator)


def total_loss(
    model: MachineModel,
    batch: TrainingBatch,
    statistics: StatisticBatch,
    generator: torch.Generator,
) -> Tensor:
    """Return the sum of a batch's losses for all networks of a model, which share no parameters."""
    count, total = len(batch.machines), torch.zeros(())
    for name in INPUT_SCALINGS:
        view = batch.inputs_by_scaling[name]
        networks = model.conditioned_networks_for(name)
        total = total + _conditioned_loss(networks, batch, view, statistics, generator)
        total = total + smoothed_cross_entropy(
            model.template_network_for(name)(count).logits(view), batch.labels
        )
        total = total + smoothed_cross_entropy(model.fixed[name](view.inputs), batch.labels)
    logits = model.film(
        batch.inputs_by_scaling["standardised"].inputs,
        model.kind.figure_features(batch.machines.figures),
        model.embedding(statistics),
    )
    return total + smoothed_cross_entropy(logits, batch.labels)


def _conditioned_loss(
    networks: ConditionedNetworks,
    batch: TrainingBatch,
    windows: WindowInputs,
    statistics: StatisticBatch,
    generator: torch.Generator,
) -> Tensor:
    """Return the summed losses of generated networks, latents' divergence, and flow."""
    mean, log_deviation = networks.encode_machines(batch.machines)
    latents = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator)
    keep_mask = (torch.rand(len(mean), 1, generator=generator) >= _LATENT_DROPOUT).float()
    variance = (2 * log_deviation).exp()
    divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
    condition = networks.embed_condition(batch.machines.figures, statistics)
    logits = networks.decode_networks(condition, keep_mask * latents).logits(windows)
    total = (
        smoothed_cross_entropy(logits, batch.labels)
        + _DIVERGENCE_WEIGHT * (keep_mask[:, 0] * divergence).mean()
    )
    return total + flow_loss(networks, latents.detach(), condition.detach(), generator)


def flow_loss(
    networks: ConditionedNetworks, latents: Tensor, condition: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error of the flow's predictions of ``latents`` from noisy ones.

    Latents are ``[m, latent]``, conditions ``[m, c]``; shares of noise are drawn at random.
    """
    time = torch.sigmoid(torch.randn(len(latents), generator=generator) + 0.5)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = (1 - time[:, None]) * latents + time[:, None] * noise
    return (networks.predict_clean_latents(noisy, time, condition) - latents).square().mean()
