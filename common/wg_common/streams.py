"""Random streams by name: the one place where a name maps to the integers that seed it.

Whatever is drawn at random comes from a stream of its own, so that a change in how much one part
draws moves no other part. A stream is seeded by ``(*seed, number, *then)``: whose seed it is under,
the stream's own number, and which of several it is. NumPy's ``SeedSequence`` mixes such keys so
that streams are independent. It pads short keys with zeros: ``(s, n)`` and ``(s, n, 0)`` are one
stream. Denoisers draw their initial weights with torch, from the plan's seed itself.

The numbers are as they have always been, for the same zoo and the same weights as before; new
streams take numbers that are free in their group.
"""

from collections.abc import Sequence
from enum import Enum, unique

import numpy as np


@unique
class Stream(Enum):
    """Random stream: the seed it hangs on, and its number among those of that seed."""

    # Of a generator's plan: (seed, number, ...).
    FAMILY_SPLIT = "generator", 13
    HEAD_SCENARIO = "generator", 21
    SHEET_STEP = "generator", 61
    SHEET_VALIDATION = "generator", 62
    SHEET_TEST = "generator", 63
    MAP_STEP = "generator", 65
    MAP_VALIDATION = "generator", 66
    # Of a rendered family: (seed, family, number, ...).
    FAMILY = "family", 1
    SITE = "family", 2
    MATERIAL = "family", 3
    CLASS_SUBSET = "family", 5
    FAMILY_HEAD = "family", 6
    # Of a zoo task: (seed, family, site, number).
    RECORDS = "task", 4
    CAMERA = "task", 6
    ENCODER_RECORDS = "task", 8
    NETWORK = "task", 10
    # Of a plant: fixed seeds, so that a plant gets the same model each time.
    SELECTION_FOLDS = "plant", 20240501
    NOVELTY = "plant", 9
    DRIFT = "plant", 10
    AUDIT_PICTURES = "audit", 0
    EXPORT_WINDOW = "export", 0


def key(stream: Stream, *seed: int, then: Sequence[int] = ()) -> tuple[int, ...]:
    """The integers of a stream.

    Args:
        seed: Seed of the stream's group: a plan's seed, or a task's with family and site.
        then: Which of several streams of this name: a step and an episode's number, a scenario's.
    """
    return (*seed, stream.value[1], *then)


def rng(stream: Stream, *seed: int, then: Sequence[int] = ()) -> np.random.Generator:
    """A generator at the stream's beginning; the arguments are those of ``key``."""
    return np.random.default_rng(key(stream, *seed, then=then))
