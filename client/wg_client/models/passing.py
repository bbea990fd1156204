"""The rule by which a record may pass: of defective ones at most a share that the plant chooses.

The limit is a tolerance limit (Wilks 1941, *Annals of Mathematical Statistics* 12(1)): of n
labelled defective records, judged out of fold, the k-th smallest probability of a defect has a
share of further defective ones below it that is beta distributed, with k and n + 1 - k; the
largest k is taken with which that share is small enough, with a confidence of ``CONFIDENCE``. It
needs no calibrated probability, and no mix of classes on the line. Of a privacy unit its smallest
probability counts, once. Of a class of defects without a record here all are taken to pass.

Not guaranteed: anything for defects of other kinds than those labelled, or in another mix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from wg_client.fitting.linear_head import Floats, Ints
from wg_client.fitting.sure_calls import CONFIDENCE, bounded, probability_limit
from wg_client.methods.base import LabelledRecords
from wg_client.models import adoption, store
from wg_client.models.manifest import ModelsManifest
from wg_core.language import Text, text
from wg_core.site.home import ClientHome

_BELOW = 0.999  # Factor on the limit, so that exports that round otherwise give the same verdict
_LABELS, _UNITS, _LOGITS = "labels", "units", "logits."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRule:
    """The rule of one model.

    Attributes:
        below: Probability of a defect below which a record passes; 0: none passes.
        missed: Largest share of defective records that may pass, as the plant chose it.
        defective: Defective records, of their units, that it rests on.
        needed: Such records without which none passes; 0: no number is enough.
        passed: Share of the plant's own good records that would pass, out of fold.
    """

    below: float = 0.0
    missed: float = 0.0
    defective: int = 0
    needed: int = 0
    passed: float = 0.0

    @property
    def sentence(self) -> Text:
        """Say what a pass is worth, or why there is none and what would bring it."""
        missed = 100 * self.missed
        if not self.needed:
            return text(
                "no record passes: too many classes of defects have no record here for at most"
                " {missed:g} in 100 defective ones to pass; label some of each",
                missed=missed,
            )
        if self.defective < self.needed:
            return text(
                "no record passes: that at most {missed:g} in 100 defective ones do takes {needed}"
                " labelled defective ones, and {defective} could be judged; label {more} more",
                missed=missed,
                needed=self.needed,
                defective=self.defective,
                more=self.needed - self.defective,
            )
        return text(
            "of defective records at most {missed:g} in 100 pass, with 90 % confidence; of your"
            " good ones {passed:.0f} in 100 do, the others are rejected or looked at",
            missed=missed,
            passed=100 * self.passed,
        )


def judged_tensors(
    logits: dict[str, Floats | None], records: LabelledRecords
) -> dict[str, NDArray[np.float32]]:
    """Tensors of the file that the rule is made from: out-of-fold logits of each model.

    Args:
        logits: By model, ``[repeats, m, K]``; the first repeat is kept. None: not judged.
    """
    judged = {
        f"{_LOGITS}{name}": x[0].astype(np.float32) for name, x in logits.items() if x is not None
    }
    if not judged:
        return {}
    units = records.judged_groups.astype(np.float32)
    return {**judged, _LABELS: records.judged.astype(np.float32), _UNITS: units}


def pass_rule(
    home: ClientHome,
    manifest: ModelsManifest,
    name: str,
    good: NDArray[np.bool_] | None,
) -> PassRule:
    """Make the rule of a model.

    Args:
        good: Which labels mean "no defect", ``[K]``; None: not known.

    Raises:
        VerificationError: The file is not the one that was written.
    """
    if good is None:
        return PassRule()
    missed, unseen = adoption.read(home).now.missed, np.isin(manifest.labels, manifest.unseen)
    tensors = store.load_judged(home, manifest) or {}
    logits = tensors.get(f"{_LOGITS}{manifest.entry(name).name}")
    judged = None
    if logits is not None:
        labels, units = (tensors[part].astype(np.int64) for part in (_LABELS, _UNITS))
        judged = Judged(logits.astype(np.float64), labels, units)
    return rule_of(judged, good, unseen, missed)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Records that a model was judged on: logits out of fold ``[m, K]``, labels and units ``[m]``."""

    logits: Floats
    labels: Ints
    units: Ints


def rule_of(
    judged: Judged | None, good: NDArray[np.bool_], unseen: NDArray[np.bool_], missed: float
) -> PassRule:
    """Make the rule of a model of what it was judged on; None: nothing.

    Args:
        good: Which labels mean "no defect", ``[K]``.
        unseen: Which labels have no record here, ``[K]``.
        missed: Largest share of defective records that may pass.
    """
    unseen_share = float((unseen & ~good).sum() / (~good).sum())
    left = (missed - unseen_share) / (1 - unseen_share) if unseen_share < 1 else 0.0
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - left)) if left > 0 else 0
    rule = PassRule(missed=missed, needed=needed)
    if judged is None:
        return rule
    chances = bounded(judged.logits, probability_limit(len(judged.labels)))
    defect, defective = chances[:, ~good].sum(axis=1), ~good[judged.labels]
    scores = _smallest(defect[defective], judged.units[defective])
    below = _BELOW * limit(scores, left)
    return replace(
        rule,
        below=below,
        defective=len(scores),
        passed=float((defect[~defective] < below).mean()) if (~defective).any() else 0.0,
    )


def limit(scores: Floats, share: float) -> float:
    """Score below which at most a share of further ones lie, surely; 0: there is none.

    Args:
        scores: Of independent records, in any order.
    """
    ranks = np.arange(1, len(scores) + 1)
    surely = np.flatnonzero(betaincinv(ranks, len(scores) + 1 - ranks, CONFIDENCE) <= share)
    return float(np.sort(scores)[surely[-1]]) if len(surely) else 0.0


def _smallest(scores: Floats, units: Ints) -> Floats:
    """Smallest score of each unit."""
    _, places = np.unique(units, return_inverse=True)
    smallest = np.full(int(places.max(initial=-1)) + 1, np.inf)
    np.minimum.at(smallest, places, scores)
    return smallest
