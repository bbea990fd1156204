"""Precedence of a network that was delivered for the declared machine, among a plant's models.

What was delivered stays unless the labels of held-out units show otherwise. How much they must show
is what the network's word counts for, which is less if the records doubt the data sheet. Each model
has a score, and the one with the highest is kept::

    score = U * (gain in log loss + gain in accuracy) + w

Both gains are means over records, relative to local-only (``selection.gain``), whose score is 0; a
model that is never sure has a low log loss, so right answers count as well. U is the number of
units with evaluated records, since records of a unit are not independent; without any, U is 0, and
the network is kept. Its word counts for ``w``, also in its average with local-only; other models
have none. With n the fewest labels of a class ::

    w = WEIGHT                             in general
    w = WEIGHT * max(1 - n / LABELS, 0)    if the records doubt the data sheet

(``methods.sheet_fit``). A model with ``w = 0`` competes only if it is shown to be better than
local-only, as it must be without such a network. ``bench.machine_plants --weights`` compares values
of ``PRIOR_UNITS``.
"""

import numpy as np

from wg_client.methods.base import SHEET_LIMIT, FittedMethod, PlantRecords, PreparedPackage
from wg_client.methods.names import GENERATED_FINETUNED
from wg_client.selection.gain import EstimatedGain

PRIOR_UNITS = 2.0
"""What a delivered network's word counts for: two units whose labels it makes e times likelier."""
DOUBT_LABELS = 10
"""Labels of each class with which the word of a network for a doubted sheet counts for nothing."""


def weight_of_word(package: PreparedPackage, records: PlantRecords) -> float:
    """Return what the word of a package's network for the declared machine counts for."""
    if package.sheet_fit is None or package.sheet_fit >= SHEET_LIMIT:
        return PRIOR_UNITS
    counts = np.bincount(records.labels, minlength=records.classes)
    return PRIOR_UNITS * max(1 - int(counts.min()) / DOUBT_LABELS, 0.0)


def prior_score(name: str, model: FittedMethod, word_weight: float) -> float:
    """Return a model's score before any label is evaluated.

    Args:
        name: Name of the model's method.
        model: The model.
        word_weight: From ``weight_of_word``.
    """
    return word_weight if model.made_for_machine or name == GENERATED_FINETUNED else 0.0


def score(gain: EstimatedGain, units: int, prior: float) -> float:
    """Return a model's score.

    Args:
        gain: Gain over local-only.
        units: Number of units with evaluated records.
        prior: From ``prior_score``.
    """
    return units * (gain.log_loss + gain.mean) + prior
