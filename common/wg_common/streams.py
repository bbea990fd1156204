"""Named random streams, and the integers that seed them.

Each use of randomness has its own stream, so that one part's draws do not affect another part. A
stream is seeded by ``(*seed, number, *indices)``: the seed of its group, the stream's number, and
indices among streams of the same name. NumPy's ``SeedSequence`` turns these keys into independent
streams. It pads short keys with zeros, so ``(s, n)`` and ``(s, n, 0)`` are the same stream.
Denoisers draw their initial weights with torch, from the plan's seed itself.

The numbers must not change, since the zoo and the weights depend on them; a new stream takes a free
number of its group.
"""

from collections.abc import Sequence
from enum import Enum, unique

import numpy as np


@unique
class Stream(Enum):
    """Named stream of random numbers: its group, which determines the seed, and its number."""

    # Streams of a generator's plan: (seed, number, ...).
    FAMILY_SPLIT = "generator", 13
    HEAD_SCENARIO = "generator", 21
    SHEET_STEP = "generator", 61
    SHEET_VALIDATION = "generator", 62
    SHEET_TEST = "generator", 63
    MAP_STEP = "generator", 65
    MAP_VALIDATION = "generator", 66
    # Streams of a rendered family: (seed, family, number, ...).
    FAMILY = "family", 1
    SITE = "family", 2
    MATERIAL = "family", 3
    CLASS_SUBSET = "family", 5
    FAMILY_HEAD = "family", 6
    # Streams of a zoo task: (seed, family, site, number).
    RECORDS = "task", 4
    CAMERA = "task", 6
    ENCODER_RECORDS = "task", 8
    NETWORK = "task", 10
    # Streams of a plant, with fixed seeds, so that a plant gets the same model each time.
    SELECTION_FOLDS = "plant", 20240501
    NOVELTY = "plant", 9
    DRIFT = "plant", 10
    AUDIT_PICTURES = "audit", 0
    EXPORT_WINDOW = "export", 0


def stream_seed(stream: Stream, *group_seed: int, indices: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the integers that seed a random stream.

    Args:
        stream: Name of the stream.
        group_seed: Seed of the stream's group, such as a plan's seed, or a task's seed, family and
            site.
        indices: Indices among streams of this name, such as the numbers of a step and an episode.
    """
    return (*group_seed, stream.value[1], *indices)


def stream_generator(
    stream: Stream, *group_seed: int, indices: Sequence[int] = ()
) -> np.random.Generator:
    """Return a NumPy generator seeded by ``stream_seed`` with the same arguments."""
    return np.random.default_rng(stream_seed(stream, *group_seed, indices=indices))
