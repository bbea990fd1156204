"""The rule by which a record may pass: of defective ones at most a share that the plant chooses.

The limit is a tolerance limit (Wilks 1941, *Annals of Mathematical Statistics* 12(1)): of n
labelled defective records, judged out of fold, the k-th smallest log odds of a defect have a share
of further defective ones below them that is beta distributed, with k and n + 1 - k; the largest k
is taken with which that share is small enough, with a confidence of ``CONFIDENCE``. It needs no
calibrated probability, and no mix of classes on the line. Of a privacy unit the smallest odds
count, once. Of a class of defects without a record here all are taken to pass.

Not guaranteed: anything for defects of other kinds than those labelled, or in another mix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, logsumexp

from wg_client.fitting.linear_head import Floats, Ints
from wg_client.fitting.sure_calls import CONFIDENCE
from wg_client.methods.base import LabelledRecords
from wg_client.models import adoption, store
from wg_client.models.manifest import ModelsManifest
from wg_common.language import Text, text
from wg_core.site.home import ClientHome

MARGIN = 1e-3  # Below the limit, so that exports that round otherwise give the same verdict
_LABELS, _UNITS, _LOGITS = "labels", "units", "logits."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRule:
    """The rule of one model.

    Attributes:
        limit: Log odds of a defect below which a record passes; None: none passes.
        missed_share: Largest share of defective records that may pass, as the plant chose it.
        defects: Defective records, of their units, that it rests on.
        least_defects: Such records without which none passes; 0: no number is enough.
        good_share: Share of the plant's own good records that would pass, out of fold.
    """

    limit: float | None = None
    missed_share: float = 0.0
    defects: int = 0
    least_defects: int = 0
    good_share: float = 0.0

    def passes(self, odds: Floats) -> NDArray[np.bool_]:
        """Tell which records may pass by their log odds of a defect, ``[n]``."""
        return odds < (-np.inf if self.limit is None else self.limit - MARGIN)

    @property
    def sentence(self) -> Text:
        """Say what a pass is worth, or why there is none and what would bring it."""
        in_hundred = 100 * self.missed_share
        if not self.least_defects:
            return text(
                "no record passes: too many classes of defects have no record here for at most"
                " {missed:g} in 100 defective ones to pass; label some of each",
                missed=in_hundred,
            )
        if self.defects < self.least_defects:
            return text(
                "no record passes: that at most {missed:g} in 100 defective ones do takes {needed}"
                " labelled defective ones, and {defective} could be judged; label {more} more",
                missed=in_hundred,
                needed=self.least_defects,
                defective=self.defects,
                more=self.least_defects - self.defects,
            )
        if not self.good_share:
            return text(
                "no record passes: too many of your {defective} labelled defective ones look good"
                " to the model for at most {missed:g} in 100 to pass; label more, or accept more"
                " (models threshold --missed)",
                defective=self.defects,
                missed=in_hundred,
            )
        return text(
            "of defective records at most {missed:g} in 100 pass, with 90 % confidence; of your"
            " good ones {passed:.0f} in 100 do, the others are rejected or looked at",
            missed=in_hundred,
            passed=100 * self.good_share,
        )


def defect_odds(logits: Floats, good: NDArray[np.bool_]) -> Floats:
    """Log odds of a defect, ``[n]``, of logits ``[n, K]``."""
    odds: Floats = logsumexp(logits[:, ~good], axis=1) - logsumexp(logits[:, good], axis=1)
    return odds


def judged_tensors(
    logits: dict[str, Floats | None], records: LabelledRecords
) -> dict[str, NDArray[np.float32]]:
    """Tensors of the file that the rule is made from: out-of-fold logits of each model.

    Args:
        logits: By model, ``[repeats, m, K]``; the first repeat is kept. None: not judged.
    """
    out_of_fold = {
        f"{_LOGITS}{name}": x[0].astype(np.float32) for name, x in logits.items() if x is not None
    }
    if not out_of_fold:
        return {}
    units = records.judged_groups.astype(np.float32)
    return {**out_of_fold, _LABELS: records.judged_labels.astype(np.float32), _UNITS: units}


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
    missed_share = adoption.read(home).latest.missed_share
    unseen = np.isin(manifest.labels, manifest.unseen)
    tensors = store.load_judged(home, manifest) or {}
    logits = tensors.get(f"{_LOGITS}{manifest.entry(name).name}")
    evidence = None
    if logits is not None:
        labels, units = (tensors[part].astype(np.int64) for part in (_LABELS, _UNITS))
        evidence = Evidence(logits.astype(np.float64), labels, units)
    return rule_of(evidence, good, unseen, missed_share)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Records that a model was judged on: logits out of fold ``[m, K]``, labels, units ``[m]``."""

    logits: Floats
    labels: Ints
    units: Ints


def rule_of(
    evidence: Evidence | None,
    good: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    missed_share: float,
) -> PassRule:
    """Make the rule of a model of what it was judged on; None: nothing.

    Args:
        good: Which labels mean "no defect", ``[K]``.
        unseen: Which labels have no record here, ``[K]``.
        missed_share: Largest share of defective records that may pass.
    """
    unseen_share = float((unseen & ~good).sum() / (~good).sum())
    seen_share = 1 - unseen_share
    tolerated_share = (missed_share - unseen_share) / seen_share if seen_share else 0.0
    least_defects = (
        math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - tolerated_share))
        if tolerated_share > 0
        else 0
    )
    rule = PassRule(missed_share=missed_share, least_defects=least_defects)
    if evidence is None:
        return rule
    odds, defective = defect_odds(evidence.logits, good), ~good[evidence.labels]
    scores = _smallest(odds[defective], evidence.units[defective])
    rule = replace(rule, limit=tolerance_limit(scores, tolerated_share), defects=len(scores))
    passes = rule.passes(odds[~defective])
    return replace(rule, good_share=float(passes.mean()) if len(passes) else 0.0)


def tolerance_limit(scores: Floats, share: float) -> float | None:
    """Score below which at most a share of further ones lie, surely; None: there is none.

    Args:
        scores: Scores of independent records, in any order.
    """
    ranks = np.arange(1, len(scores) + 1)
    small_enough = np.flatnonzero(betaincinv(ranks, len(scores) + 1 - ranks, CONFIDENCE) <= share)
    return float(np.sort(scores)[small_enough[-1]]) if len(small_enough) else None


def _smallest(scores: Floats, units: Ints) -> Floats:
    """Smallest score of each unit."""
    _, places = np.unique(units, return_inverse=True)
    smallest = np.full(int(places.max(initial=-1)) + 1, np.inf)
    np.minimum.at(smallest, places, scores)
    return smallest
