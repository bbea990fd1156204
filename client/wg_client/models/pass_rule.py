"""Rule by which a record may pass, such that at most a chosen share of defective records passes.

The limit is a tolerance limit (Wilks 1941, *Annals of Mathematical Statistics* 12(1)) on the log
odds of a defect. The share of future defective records below the k-th smallest out-of-fold log odds
of n labelled defective records is Beta(k, n + 1 - k) distributed; the largest k is used for which
this share is small enough with confidence ``BOUND_CONFIDENCE``. The rule needs neither calibrated
probabilities nor the class shares on the line. Each privacy unit counts once, with its smallest
odds. All records of a defect class without a record here are assumed to pass.

Not guaranteed: anything for kinds of defects that were not labelled, or in other proportions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, logsumexp

from wg_client.fitting.folds import LEAST_UNITS_PER_CLASS
from wg_client.fitting.linear_head import Floats, Ints
from wg_client.fitting.sure_calls import BOUND_CONFIDENCE
from wg_client.methods.base import PlantRecords
from wg_client.models import adoption, predict, store
from wg_client.models.adoption import ModelReference
from wg_client.models.manifest import ModelsManifest
from wg_common.language import Text, template, text
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

LIMIT_MARGIN = 1e-3  # Distance below the limit, so that exports with other rounding agree
_LABELS, _UNITS, _LOGITS = "labels", "units", "logits."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRule:
    """Rule by which a record may pass, for one model.

    Attributes:
        log_odds_limit: Log odds of a defect below which a record passes; None: no record passes.
        missed_share: Largest share of defective records that may pass, as the plant chose it.
        defect_unit_count: Number of privacy units of defective records that the limit is based on.
        required_defect_unit_count: Number of such units below which no record passes; 0: no number
            is enough.
        passed_good_share: Share of the evaluated good records that would pass; 0 without any.
        evaluated_good_count: Number of the plant's good records that were evaluated out of fold.
        has_no_unit_names: True if no unit is named, so that each record counts as its own unit.
    """

    log_odds_limit: float | None = None
    missed_share: float = 0.0
    defect_unit_count: int = 0
    required_defect_unit_count: int = 0
    passed_good_share: float = 0.0
    evaluated_good_count: int = 0
    has_no_unit_names: bool = False

    def pass_mask(self, log_odds: Floats) -> NDArray[np.bool_]:
        """Return a mask of the records that may pass, from log odds of a defect, ``[n]``."""
        return log_odds < (
            -np.inf if self.log_odds_limit is None else self.log_odds_limit - LIMIT_MARGIN
        )

    @property
    def guarantee_sentence(self) -> Text:
        """Sentence on the guarantee of the rule, or on why no record passes and the remedy."""
        in_hundred = 100 * self.missed_share
        if not self.required_defect_unit_count:
            return text(
                "no record passes: too many classes of defects have no record here to ensure "
                "that at most {missed:g} in 100 defective ones pass; label some of each",
                missed=in_hundred,
            )
        if self.log_odds_limit is None:
            return text(
                "no record passes: ensuring that at most {missed:g} in 100 defective ones pass "
                "needs {needed} labelled defective records, and {defective} could be evaluated;"
                " label {more} more",
                missed=in_hundred,
                needed=self.required_defect_unit_count,
                defective=self.defect_unit_count,
                more=self.required_defect_unit_count - self.defect_unit_count,
            )
        return text(
            _RECORD_GUARANTEE if self.has_no_unit_names else _UNIT_GUARANTEE,
            missed=in_hundred,
            good=self._good_record_sentence,
        )

    @property
    def _good_record_sentence(self) -> Text:
        """Sentence on the number of good records that pass, if any could be evaluated."""
        count = self.evaluated_good_count
        if not count:
            return text(
                "how many good ones pass is not known: none could be evaluated, which takes "
                "labelled good records of {needed} units",
                needed=LEAST_UNITS_PER_CLASS,
            )
        if not self.passed_good_share:
            return text(
                "none of your {count} evaluated good ones passes, because too many defective ones "
                "look good to the model, or the threshold is low: label more, or accept more "
                "(models threshold)",
                count=count,
            )
        return text(
            "{passed} of your {count} evaluated good ones pass, the others are rejected or need a"
            " look",
            passed=round(self.passed_good_share * count),
            count=count,
        )


_UNIT_GUARANTEE = template(
    "at most {missed:g} in 100 defective records pass, with 90 % confidence; {good}"
)
_RECORD_GUARANTEE = template(
    "at most {missed:g} in 100 defective records pass, with 90 % confidence, if every record is of"
    " another part; {good}"
)


def defect_log_odds(logits: Floats, good_label_mask: NDArray[np.bool_]) -> Floats:
    """Return the log odds of a defect, ``[n]``, from logits ``[n, K]``."""
    odds: Floats = logsumexp(logits[:, ~good_label_mask], axis=1) - logsumexp(
        logits[:, good_label_mask], axis=1
    )
    return odds


def out_of_fold_tensors(
    logits: dict[str, Floats | None], records: PlantRecords
) -> dict[str, NDArray[np.float32]]:
    """Return the models' out-of-fold logits as tensors to store, from which pass rules are made.

    Args:
        logits: Logits by model, for m records and K labels, ``[repeats, m, K]``; the first repeat
            is stored. None: the model was not evaluated.
    """
    out_of_fold = {
        f"{_LOGITS}{name}": x[0].astype(np.float32) for name, x in logits.items() if x is not None
    }
    if not out_of_fold:
        return {}
    units = records.evaluated_unit_indices.astype(np.float32)
    return {**out_of_fold, _LABELS: records.evaluated_labels.astype(np.float32), _UNITS: units}


def load_pass_rule(
    home: ClientHome,
    manifest: ModelsManifest,
    name: str,
    good_label_mask: NDArray[np.bool_] | None,
) -> PassRule:
    """Return the pass rule of a stored model.

    Args:
        good_label_mask: Mask of the labels that mean "no defect", ``[K]``; None: unknown.

    Raises:
        VerificationError: The file differs from the one that was stored.
    """
    counts_records = configuration.load(home).data.unit_column is None
    if good_label_mask is None:
        return PassRule(has_no_unit_names=counts_records)
    history = adoption.read_adoption_history(home)
    unseen = np.isin(manifest.labels, manifest.unseen)
    tensors = store.load_companion_tensors(home, manifest, store.OUT_OF_FOLD_NAME) or {}
    stored_logits = tensors.get(f"{_LOGITS}{manifest.find_entry(name).name}")
    evidence = None
    if stored_logits is not None:
        labels, units = (tensors[part].astype(np.int64) for part in (_LABELS, _UNITS))
        logits = stored_logits.astype(np.float64)
        chances = predict.capped_probabilities(logits, manifest)
        rejects = chances[:, ~good_label_mask].sum(axis=1) >= history.defect_threshold_of(
            ModelReference(package_id=manifest.package_id, model=manifest.find_entry(name).name)
        )
        evidence = OutOfFoldEvidence(logits, labels, units, rejects)
    rule = fit_pass_rule(evidence, good_label_mask, unseen, history.latest_change.missed_share)
    return replace(rule, has_no_unit_names=counts_records)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFoldEvidence:
    """Out-of-fold logits ``[m, K]`` of a model, with labels and units ``[m]`` of the records.

    ``rejected_mask`` marks the records that the defect threshold rejects, ``[m]``; None: unknown.
    """

    logits: Floats
    labels: Ints
    unit_indices: Ints
    rejected_mask: NDArray[np.bool_] | None = None


def fit_pass_rule(
    evidence: OutOfFoldEvidence | None,
    good_label_mask: NDArray[np.bool_],
    unseen_label_mask: NDArray[np.bool_],
    missed_share: float,
) -> PassRule:
    """Fit a model's pass rule to its out-of-fold predictions.

    Args:
        evidence: Out-of-fold predictions; None: there are none, and no record passes.
        good_label_mask: Mask of the labels that mean "no defect", ``[K]``.
        unseen_label_mask: Mask of the labels without a record at the plant, ``[K]``.
        missed_share: Largest share of defective records that may pass.
    """
    unseen_share = float((unseen_label_mask & ~good_label_mask).sum() / (~good_label_mask).sum())
    seen_share = 1 - unseen_share
    tolerated_share = (missed_share - unseen_share) / seen_share if seen_share else 0.0
    least_defects = (
        math.ceil(math.log(1 - BOUND_CONFIDENCE) / math.log(1 - tolerated_share))
        if tolerated_share > 0
        else 0
    )
    rule = PassRule(missed_share=missed_share, required_defect_unit_count=least_defects)
    if evidence is None:
        return rule
    odds, defective = (
        defect_log_odds(evidence.logits, good_label_mask),
        ~good_label_mask[evidence.labels],
    )
    scores = _smallest_score_by_unit(odds[defective], evidence.unit_indices[defective])
    rule = replace(
        rule, log_odds_limit=tolerance_limit(scores, tolerated_share), defect_unit_count=len(scores)
    )
    passes = rule.pass_mask(odds[~defective])
    if evidence.rejected_mask is not None:
        passes &= ~evidence.rejected_mask[~defective]
    return replace(
        rule,
        passed_good_share=float(passes.mean()) if len(passes) else 0.0,
        evaluated_good_count=len(passes),
    )


def tolerance_limit(scores: Floats, share: float) -> float | None:
    """Return the largest score below which at most ``share`` of further scores lie.

    None if the scores are too few to show this of any.

    Args:
        scores: Scores of independent records, in any order.
        share: Largest share of further scores, which holds with confidence ``BOUND_CONFIDENCE``.
    """
    ranks = np.arange(1, len(scores) + 1)
    small_enough = np.flatnonzero(
        betaincinv(ranks, len(scores) + 1 - ranks, BOUND_CONFIDENCE) <= share
    )
    return float(np.sort(scores)[small_enough[-1]]) if len(small_enough) else None


def _smallest_score_by_unit(scores: Floats, unit_indices: Ints) -> Floats:
    """Return the smallest score in each privacy unit."""
    _, places = np.unique(unit_indices, return_inverse=True)
    smallest = np.full(int(places.max(initial=-1)) + 1, np.inf)
    np.minimum.at(smallest, places, scores)
    return smallest
