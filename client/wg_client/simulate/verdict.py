"""Verdict of a pilot: whether an offer's free weights, pooling or the plant's own labels pay."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from wg_client.simulate.published_cases import JoiningAdvice

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_client.simulate.offers import OfferTrial


class PilotVerdict(StrEnum):
    """Verdict of ``wg-client simulate``: which models would pay for this plant."""

    FREE_WEIGHTS = "free weights"
    DATA_SHEET = "data sheet"
    POOLING = "pooling"
    OWN_LABELS = "your own"
    WAIT = "wait"


def pilot_verdict(
    trial: OfferTrial | None, joining_advice: JoiningAdvice, beats_commonest_label: bool
) -> PilotVerdict:
    """Return the verdict of a pilot; options that cost no privacy come first.

    Args:
        trial: Result of an operator's offer; None: no offer was tried.
        joining_advice: Advice that follows from published cases.
        beats_commonest_label: True if local-only is more accurate than always predicting the
            commonest label.
    """
    if trial is not None and trial.pays:
        return PilotVerdict.FREE_WEIGHTS
    if trial is not None and trial.machine:
        return PilotVerdict.DATA_SHEET
    if joining_advice is JoiningAdvice.JOIN and (trial is None or trial.sites):
        return PilotVerdict.POOLING
    is_alone = trial is not None and not trial.sites
    if beats_commonest_label and (is_alone or joining_advice is JoiningAdvice.STAY_OUT):
        return PilotVerdict.OWN_LABELS
    return PilotVerdict.WAIT
