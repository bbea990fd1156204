"""Random streams by name: the one place where a name maps to the integers that seed it.

Whatever is drawn at random comes from a stream of its own, so that a change in how much one part
draws moves no other part. A stream is seeded by ``(*seed, number, *then)``: whose seed it is under,
the stream's own number, and which of several it is. NumPy's ``SeedSequence`` mixes such keys so
that streams are independent. It pads short keys with zeros: ``(s, n)`` and ``(s, n, 0)`` are one
stream. Denoisers draw their initial weights with torch, from the plan's seed itself.

The numbers are as they have always been, for the same zoo and the same weights as before; new
streams take numbers that are free in their group.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np


class Stream(StrEnum):
    """What is drawn. The part before the dot says under which seed, see ``NUMBERS``."""

    # Of a generator's plan: (seed, number, ...).
    CODEC_EPISODES = "generator.codec-episodes"
    FAMILY_SPLIT = "generator.family-split"
    VALIDATION_EPISODES = "generator.validation-episodes"
    EPISODE = "generator.episode"
    TEST_EPISODES = "generator.test-episodes"
    STEP = "generator.step"
    GATE_EPISODES = "generator.gate-episodes"
    BASELINE_EPISODES = "generator.rival-episodes"
    COPY_TEST = "generator.copy-test"
    HEAD_SCENARIO = "generator.head-scenario"
    BASELINE_TRAINING = "generator.rival-training"
    BENCH_EPISODES = "generator.bench-episodes"
    BENCH_SET_NETWORK = "generator.bench-set-network"
    BENCH_REFERENCE = "generator.bench-reference"
    SHEET_STEP = "generator.sheet-step"
    SHEET_VALIDATION = "generator.sheet-validation"
    SHEET_TEST = "generator.sheet-test"
    SHEET_ZOO = "generator.sheet-zoo"
    # Of a rendered family: (seed, family, number, ...).
    FAMILY = "family.family"
    SITE = "family.site"
    MATERIAL = "family.material"
    CLASS_SUBSET = "family.class-subset"
    FAMILY_HEAD = "family.head"
    # Of a zoo task: (seed, family, site, number).
    RECORDS = "task.records"
    CAMERA = "task.camera"
    ENCODER_RECORDS = "task.encoder-records"
    BASE_RECORDS = "task.base-records"
    NETWORK = "task.network"
    NETWORK_BESIDE = "task.network-beside"
    # Of a zoo's plan: (seed, number).
    BASE = "zoo.base"
    ENCODER_COMPARISON = "zoo.encoder-comparison"
    # Of a plant: fixed seeds, so that a plant gets the same model each time.
    SELECTION_FOLDS = "plant.selection-folds"
    FINE_TUNING = "plant.fine-tuning"
    PROBE = "plant.probe"
    NOVELTY = "plant.novelty"
    DRIFT = "plant.drift"
    AUDIT_PICTURES = "audit.pictures"
    EXPORT_WINDOW = "export.window"


NUMBERS: Mapping[Stream, int] = {
    Stream.CODEC_EPISODES: 12,
    Stream.FAMILY_SPLIT: 13,
    Stream.VALIDATION_EPISODES: 14,
    Stream.EPISODE: 15,
    Stream.TEST_EPISODES: 16,
    Stream.STEP: 17,
    Stream.GATE_EPISODES: 18,
    Stream.BASELINE_EPISODES: 19,
    Stream.COPY_TEST: 20,
    Stream.HEAD_SCENARIO: 21,
    Stream.BASELINE_TRAINING: 31,
    Stream.BENCH_EPISODES: 41,
    Stream.BENCH_SET_NETWORK: 42,
    Stream.BENCH_REFERENCE: 43,
    Stream.SHEET_STEP: 61,
    Stream.SHEET_VALIDATION: 62,
    Stream.SHEET_TEST: 63,
    Stream.SHEET_ZOO: 64,
    Stream.FAMILY: 1,
    Stream.SITE: 2,
    Stream.MATERIAL: 3,
    Stream.CLASS_SUBSET: 5,
    Stream.FAMILY_HEAD: 6,
    Stream.RECORDS: 4,
    Stream.CAMERA: 6,
    Stream.ENCODER_RECORDS: 8,
    Stream.BASE_RECORDS: 9,
    Stream.NETWORK: 10,
    Stream.NETWORK_BESIDE: 12,
    Stream.BASE: 31,
    Stream.ENCODER_COMPARISON: 32,
    Stream.SELECTION_FOLDS: 20240501,
    Stream.FINE_TUNING: 7,
    Stream.PROBE: 8,
    Stream.NOVELTY: 9,
    Stream.DRIFT: 10,
    Stream.AUDIT_PICTURES: 0,
    Stream.EXPORT_WINDOW: 0,
}


def key(stream: Stream, *seed: int, then: Sequence[int] = ()) -> tuple[int, ...]:
    """The integers of a stream.

    Args:
        seed: Of whom the stream's group says: a plan's seed, or a task's with family and site.
        then: Which of several streams of this name: a step and an episode's number, a scenario's.
    """
    return (*seed, NUMBERS[stream], *then)


def rng(stream: Stream, *seed: int, then: Sequence[int] = ()) -> np.random.Generator:
    """A generator at the stream's beginning; the arguments are those of ``key``."""
    return np.random.default_rng(key(stream, *seed, then=then))
