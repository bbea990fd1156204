"""What a generator is made of and measured on: the zoo's tasks, their split, simulated plants."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_server.generator.prior.fitted import FittedPriors, fit_public_priors
from wg_server.generator.prior.zoo_tasks import Split, ZooTask, split_families
from wg_server.generator.simulation.episodes import Plants
from wg_server.zoo.store import Zoo


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """All that a generator and its model card are made from.

    Attributes:
        encoder: Id of the encoder.
        tasks: The zoo's.
        split: Their families.
        fitted_priors: From the training families.
        test: Plants of the others, for the model card.
    """

    encoder: str
    tasks: Sequence[ZooTask]
    split: Split
    fitted_priors: FittedPriors
    test: Plants


def load_tasks(zoo: Zoo, encoder: str) -> list[ZooTask]:
    """All entries of one encoder.

    Raises:
        ConfigError: There are too few to fit priors on.
    """
    tasks = []
    for entry in zoo.entries(encoder):
        records = zoo.read(entry)
        tasks.append(
            ZooTask(entry.key, entry.family, entry.labels, records.features, records.labels)
        )
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
    projection: NDArray[np.floating] | None = None,
) -> TrainingData:
    """Split the families, fit the priors on some of them, and set up plants of the others.

    Args:
        tasks: The zoo's, of at least eight families.
        projection: Of texts, as of ``fitted.fit_public_priors``.
    """
    split = split_families(tasks, streams.rng(Stream.FAMILY_SPLIT, seed))
    train, test = set(split.train), set(split.test)
    fitted_priors = fit_public_priors([task for task in tasks if task.family in train], projection)
    held_out = [task for task in tasks if task.family in test]
    return TrainingData(
        encoder, tasks, split, fitted_priors, Plants(held_out, encoder, CLIP_RADIUS)
    )
