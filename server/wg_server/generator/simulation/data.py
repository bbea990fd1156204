"""What a training of the generator draws from: the zoo's tasks, their split, simulated plants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_server.generator.prior.fitted import FittedPriors, crossfit
from wg_server.generator.prior.zoo_tasks import Split, ZooTask, split_families
from wg_server.generator.simulation.episodes import Plants
from wg_server.zoo.store import Zoo


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """All that trainings and model cards draw from.

    Attributes:
        encoder: Id of the encoder.
        tasks: The zoo's.
        split: Their families.
        fitted_priors: From all training families, for plants of other ones.
        train: Plants of training families, under priors that were fitted without the family.
        validation: Plants to stop early by.
        test: Plants for the model card.
    """

    encoder: str
    tasks: Sequence[ZooTask]
    split: Split
    fitted_priors: FittedPriors
    train: Plants
    validation: Plants
    test: Plants

    @property
    def training_tasks(self) -> list[ZooTask]:
        """Tasks of training families: what the generator keeps of its zoo."""
        return [task for task in self.tasks if task.family in set(self.split.train)]

    def plants(self, families: Sequence[str] | frozenset[str]) -> Plants:
        """Plants of families of any part of the split, under the priors that will be delivered."""
        return _plants(
            self.tasks, dict.fromkeys(sorted(families), self.fitted_priors), self.encoder
        )


def load_tasks(zoo: Zoo, encoder: str) -> list[ZooTask]:
    """All entries of one encoder.

    Raises:
        ConfigError: There are too few to train on.
    """
    tasks = []
    for entry in zoo.entries(encoder):
        w = zoo.read(entry)
        heads = w.features, w.labels, w.weight, w.bias
        tasks.append(ZooTask(entry.key, entry.family, entry.labels, *heads))
    families = len({task.family for task in tasks})
    if families < 8:
        raise ConfigError(
            f"zoo: {len(tasks)} entries of {families} families, expected at least 8 families;"
            " run zoo build"
        )
    return tasks


def prepare(
    tasks: Sequence[ZooTask],
    encoder: str,
    *,
    seed: int,
    folds: int,
    projection: NDArray[np.floating] | None = None,
) -> TrainingData:
    """Split the families, cross-fit the priors, and set up plants of each part.

    Args:
        tasks: The zoo's, of at least eight families.
        folds: Parts of the training families that are left out in turn.
        projection: Of texts, as of ``fitted.fit_public_priors``.
    """
    split = split_families(tasks, streams.rng(Stream.FAMILY_SPLIT, seed))
    blind, fitted_priors = crossfit(tasks, split.train, folds, projection)
    return TrainingData(
        encoder,
        tasks,
        split,
        fitted_priors,
        _plants(tasks, blind, encoder),
        _plants(tasks, dict.fromkeys(split.validation, fitted_priors), encoder),
        _plants(tasks, dict.fromkeys(split.test, fitted_priors), encoder),
    )


def _plants(
    tasks: Sequence[ZooTask], fitted_priors: Mapping[str, FittedPriors], encoder: str
) -> Plants:
    return Plants(tasks, fitted_priors, encoder, CLIP_RADIUS)
