"""Training of reading maps, once for a server of sensor windows, when its encoder is fitted.

A reading map turns a record's readings into the machine features whose noisy sum a plant releases.
It is trained jointly with networks that are generated from such releases, so that the features are
those that improve networks. These networks are discarded. The map is frozen, since plants confirm
it as a part of the encoder, and later generators are trained with it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.machines.registry import PROCESS_UNITS, READABLE_KINDS
from wg_common.nets.encoder.reading_map import (
    ReadingMap,
    ReadingMaps,
    maps_from_tensors,
    maps_to_tensors,
)
from wg_common.streams import Stream
from wg_server.generator.weights import machine_pool, training
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, StatisticEmbedding
from wg_server.generator.weights.machine_networks import (
    LineHypernetwork,
    NetworkSizes,
    initialise_parameters,
)
from wg_server.generator.weights.machine_pool import MachinePool, TrainingBatch
from wg_server.generator.weights.machine_training import (
    SimulatedMachineCounts,
    machine_simulator,
    smoothed_cross_entropy,
)
from wg_server.generator.weights.sensor_training import SensorObjective
from wg_server.generator.weights.simulators import SIMULATORS
from wg_server.generator.weights.training import Evaluation, Progress, TrainingSchedule
from wg_server.zoo.plan import ZooPlan
from wg_server.zoo.workers import WorkerPool


class ReadingMapModel(nn.Module):
    """Reading map, and hypernetworks that make networks from its statistic and a data sheet."""

    def __init__(self, machine_kind: str, sizes: NetworkSizes) -> None:
        super().__init__()
        self.kind = SIMULATORS[machine_kind](0).kind
        self.map, self.embedding = ReadingMap(self.kind), StatisticEmbedding()
        condition = self.kind.figure_feature_count + self.embedding.size
        self.decoders = nn.ModuleDict(
            {name: LineHypernetwork(self.kind, condition, sizes) for name in INPUT_SCALINGS}
        )

    def logits(self, batch: TrainingBatch, generator: torch.Generator) -> list[Tensor]:
        """Return logits ``[m, n, K]`` of the labelled windows, a tensor per scaling of inputs."""
        embedding = self.embedding(batch.simulate_statistics(self.map, generator))
        figure_features = self.kind.figure_features(batch.machines.figures)
        condition = torch.cat([figure_features, embedding], dim=1)
        return [
            self.decoders[name](condition).logits(batch.inputs_by_scaling[name])
            for name in INPUT_SCALINGS
        ]


class ReadingMapObjective:
    """Training objective of a reading map and the networks generated from its statistic.

    Attributes:
        model: Model that is trained.
    """

    def __init__(
        self,
        machine_kind: str,
        sizes: NetworkSizes,
        machine_counts: SimulatedMachineCounts,
        seed: int,
    ) -> None:
        self.model = ReadingMapModel(machine_kind, sizes)
        initialise_parameters(self.model, torch.Generator().manual_seed(seed))
        self._pool = MachinePool(
            machine_simulator(machine_kind, seed, Stream.MAP_STEP),
            machine_counts.pool,
            machine_counts.renewals_per_step,
        )
        self._draws, self._seed = machine_counts, seed
        public = self._pool.machines.record_readings.float().flatten(0, 2)
        self.model.map.centre.copy_(public.mean(dim=0))
        self.model.map.spread.copy_(public.std(dim=0).clamp(min=1e-3))
        judges = machine_pool.draw_pooled_machines(
            machine_simulator(machine_kind, seed, Stream.MAP_VALIDATION), machine_counts.validation
        )
        self._validation = machine_pool.batch_with_plants(
            judges, torch.Generator().manual_seed(seed)
        )

    def loss(self, step: int) -> Tensor:
        """Return the training loss of a step."""
        generator = torch.Generator().manual_seed(self._seed + step)
        batch = self._pool.next_batch(self._draws.per_step, generator)
        return torch.stack(
            [
                smoothed_cross_entropy(logits, batch.labels)
                for logits in self.model.logits(batch, generator)
            ]
        ).sum()

    def evaluate(self, model: ReadingMapModel) -> Evaluation:
        """Return the loss and accuracy of a model on validation machines."""
        generator, validation = torch.Generator().manual_seed(self._seed), self._validation
        parts = model.logits(validation, generator)
        right = [(part.argmax(dim=2) == validation.labels).float().mean() for part in parts]
        losses = [smoothed_cross_entropy(part, validation.labels) for part in parts]
        return Evaluation(float(torch.stack(losses).mean()), float(torch.stack(right).mean()))


@dataclass(frozen=True, slots=True)
class _MapTraining:
    """Training of the reading map of one kind of machine or process unit, as a job for a worker."""

    kind: str
    steps: int
    seed: int
    machine_counts: SimulatedMachineCounts


def train_reading_maps(
    plan: ZooPlan,
    pool: WorkerPool,
    progress: Progress,
    machine_counts: SimulatedMachineCounts = SimulatedMachineCounts(),  # noqa: B008 - frozen
) -> ReadingMaps:
    """Train the reading map of each kind of machine and process unit in a plan.

    Args:
        plan: Plan of the zoo, which names the kinds; all known kinds if it names none.
        pool: Workers; each trains one kind at a time.
        progress: Called with the number of completed steps of one kind, and a short text.
        machine_counts: Numbers of simulated machines.
    """
    kinds = tuple(plan.machines or READABLE_KINDS)
    trained = pool.run_long_jobs(
        _train_map,
        b"",
        [_MapTraining(kind, plan.machine_steps, plan.seed, machine_counts) for kind in kinds],
        lambda number, step, words: progress(step, f"{kinds[number]}: {words}"),
    )
    return maps_from_tensors({name: value for part in trained for name, value in part.items()})


def _train_map(_: bytes, job: _MapTraining, progress: Progress) -> dict[str, NDArray[np.float32]]:
    """Train one reading map; return its tensors for a package."""
    objective: Any = (
        SensorObjective(job.kind, None, job.machine_counts.validation, job.seed)
        if job.kind in PROCESS_UNITS
        else ReadingMapObjective(
            job.kind, NetworkSizes(), job.machine_counts.with_pool_for_steps(job.steps), job.seed
        )
    )
    training.train_module(objective, TrainingSchedule(steps=job.steps), progress)
    return maps_to_tensors({job.kind: objective.model.map.eval()})
