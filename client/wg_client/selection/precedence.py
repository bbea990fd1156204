"""Precedence of a network that was delivered for the declared machine, among a plant's models.

The delivered network is kept unless labels show out of fold that another model is better by more
than the network's head start, which is smaller if the records contradict the data sheet. Each model
has a score, and the model with the highest is kept::

    score = U * (gain in log loss + gain in accuracy) + w

Both gains are means over records, relative to local-only (``selection.gain``), whose score is 0; a
model that is never sure has a low log loss, so right answers count as well. U is the number of
units with evaluated records, since records of a unit are not independent; without any, U is 0, and
the network is kept. w is the head start of the network, and of its average with local-only; other
models have none. With n the fewest labels of a class ::

    w = HEAD_START_SCORE                                      in general
    w = HEAD_START_SCORE * max(1 - n / HEAD_START_LABELS, 0)  if records contradict the data sheet

(``methods.sheet_fit``). A model with ``w = 0`` competes only if it is shown to be better than
local-only, as it must be without such a network. ``bench.machine_plants --weights`` compares values
of ``HEAD_START_SCORE``.
"""

import numpy as np

from wg_client.methods.base import SHEET_FIT_LIMIT, FittedMethod, PlantRecords, PreparedPackage
from wg_client.methods.method_names import GENERATED_FINETUNED
from wg_client.selection.gain import EstimatedGain

HEAD_START_SCORE = 2.0
"""Score of a delivered network before any label is counted: as much as two units add to a model's
score if it makes their labels e times likelier than local-only does."""
HEAD_START_LABELS = 10
"""Labels per class from which a network has no head start if records contradict the data sheet."""


def head_start(package: PreparedPackage, records: PlantRecords) -> float:
    """Return the score that a network for the declared machine gets before labels are counted."""
    if package.sheet_fit is None or package.sheet_fit >= SHEET_FIT_LIMIT:
        return HEAD_START_SCORE
    counts = np.bincount(records.labels, minlength=records.class_count)
    return HEAD_START_SCORE * max(1 - int(counts.min()) / HEAD_START_LABELS, 0.0)


def prior_score(name: str, model: FittedMethod, head_start: float) -> float:
    """Return a model's score in the selection before any label is counted.

    Args:
        name: Name of the model's method.
        model: The model.
        head_start: Score of a network for the declared machine, from the function ``head_start``.
    """
    return head_start if model.made_for_machine or name == GENERATED_FINETUNED else 0.0


def selection_score(gain: EstimatedGain, unit_count: int, prior: float) -> float:
    """Return a model's score in the selection: gains over local-only, and head start.

    Args:
        gain: Gain over local-only.
        unit_count: Number of units with evaluated records.
        prior: The model's score before any label is counted, from ``prior_score``.
    """
    return unit_count * (gain.log_loss + gain.accuracy_gain) + prior
