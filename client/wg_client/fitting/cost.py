"""What learning at a plant takes, said before it starts: processor time and memory of an ``apply``.

Nearly all time goes into products of matrices: a Gram matrix for the scaling of features, one for
the discriminants of each fold, and the Newton steps of logistic regressions around delivered heads.
Their number is known from the records, classes and folds; how fast this machine multiplies is
measured on a small product. Fits of 200 to 16,000 records took 1.1 to 1.2 times what is said here.
"""

import time
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.feature_scaling import RECORDS
from wg_client.fitting.folds import JUDGED, shape
from wg_client.fitting.learners import AROUND_A_BASE, LOGISTIC

_PRODUCTS = 200
"""Products with all records that a batch of logistic regressions takes, by measurement."""
_BASE_SECONDS, _BASE_MEGABYTES = 3.0, 450.0  # Of the program itself, the checks and the report
_SIDE, _TRIES = 512, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCost:
    """What learning takes, about.

    Attributes:
        seconds: Processor time.
        megabytes: Peak memory, 10^6 bytes.
    """

    seconds: float
    megabytes: float


def learning_cost(
    *,
    records: int,
    labelled: int,
    classes: int,
    width: int,
    scaled: int,
    speed: float,
    trained_methods: int = 2,
) -> LearningCost:
    """What an ``apply`` of heads takes.

    Args:
        records: All records, N.
        labelled: Those with a label, n.
        classes: Declared classes K.
        width: Local features D.
        scaled: Features P that models are learnt on.
        speed: Operations a second, from ``measured_speed``.
    """
    sampled = min(records, RECORDS)
    scaling = 2 * sampled**2 * width + 10 * sampled**3 + 2 * records * width * scaled
    repeats, count = shape(labelled)
    judged = min(labelled, JUDGED)
    choices = repeats * count * (count - 1) / 2 * (1 - 2 / count)
    chosen = repeats * count * (1 - 1 / count)
    batch = classes * sum(learner.kind == LOGISTIC for learner in AROUND_A_BASE)
    products = (
        trained_methods * _PRODUCTS * 2 * scaled * (choices * batch + chosen * classes) * judged
    )
    products += trained_methods * _PRODUCTS * 2 * scaled * classes * labelled
    fits = (choices + chosen) * _fit(judged, scaled) + _fit(labelled, scaled)
    operations = scaling + (1 + trained_methods) * fits + products
    memory = records * (4 * width + 8 * scaled) + 16 * sampled * width
    memory += labelled * 8 * (3 * scaled + 6 * batch)
    return LearningCost(
        seconds=_BASE_SECONDS + operations / speed, megabytes=_BASE_MEGABYTES + memory / 1e6
    )


def look_seconds(looks: int, speed: float, *, operations_a_look: float = 6e8) -> float:
    """Processor time to encode so many records anew, about; ``speed`` as of ``learning_cost``."""
    return looks * operations_a_look / speed


def _fit(records: float, scaled: int) -> float:
    """Operations of discriminants on so many records."""
    return 2 * records * scaled**2 + 10 * min(records, scaled) ** 3


def measured_speed() -> float:
    """Operations a second of products of matrices here, from the fastest of a few small ones."""
    a = np.ones((_SIDE, _SIDE))
    times = []
    for _ in range(_TRIES):
        started = time.process_time()
        a @ a
        times.append(time.process_time() - started)
    return 2 * _SIDE**3 / max(min(times), 1e-4)
