"""Calls, which say how reliable a predicted label is, and verdicts for a production line.

*Verdict.* ``look`` (a person must look) if the record is new, or its novelty is unknown. Otherwise,
if a label means "no defect": ``reject`` if the probability of a defect is at least the model's
threshold; ``pass`` if it is lower, the log odds of a defect are below the limit of ``pass_rule``,
and the record's likeness to the plant's records is above 10 %; else ``look``.

*Call.* A record is ``new`` if its likeness is at most 5 % (``novelty``): neither its label nor its
probability should be trusted. Otherwise its label is ``sure`` from the lowest probability at which
at most a tenth of the out-of-fold labels is wrong, or the share that few labels can bound
(``fitting.sure_calls``), and ``unsure`` below. Classes without records at the plant count with
their expected share, as if all their records got sure and wrong labels: if that exceeds the bound,
no call is sure. The label of such a class is never sure. With records of one class only, no call is
sure or unsure, and local-only gives no verdict but ``look``, for new records.

Not guaranteed: any of this for records of another kind than the plant's; most are called new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats
from wg_client.fitting.sure_calls import UNREACHABLE_THRESHOLD, provable_wrong_share
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import acceptance, adoption, novelty, store
from wg_client.models.manifest import ModelsManifest
from wg_client.models.novelty import NoveltyTest
from wg_client.models.pass_rule import PassRule, defect_log_odds, load_pass_rule
from wg_client.models.predict import ModelInputs, Prediction
from wg_common.language import text
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

SURE, UNSURE, NEW = "sure", "unsure", "new"
PASS, REJECT, LOOK = "pass", "reject", "look"
ONE_CLASS_WARNING = text(
    "All labelled records are of one class: this model detects only records that are unlike these."
    " To have defects recognised, label some as a class of their own, then: wg-client freeze,"
    " wg-client models fit."
)
"""Warning about a model fitted on records of one class alone, with the remedy."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VerdictRule:
    """Rule that adds to one model's predictions a call and a verdict.

    Attributes:
        least_sure_probability: Lowest probability of a sure call; None: unknown.
        unseen_labels: Labels without a record at the plant: no call of such a label is sure.
        novelty_test: Test for new records; None: there is no test.
        good_label_mask: Mask of the labels that mean "no defect", ``[K]``; None: unknown.
        defect_threshold: Probability of a defect from which a record is rejected.
        pass_rule: Rule by which a record may pass.
        wrong_sure_share: Largest share of sure calls that may be wrong; 0: no call is sure.
        knows_one_class: True if the model was fitted on records of one class alone.
    """

    least_sure_probability: float | None = None
    unseen_labels: tuple[str, ...] = ()
    novelty_test: NoveltyTest | None = None
    good_label_mask: NDArray[np.bool_] | None = None
    defect_threshold: float = adoption.INITIAL_DEFECT_THRESHOLD
    pass_rule: PassRule = field(default_factory=PassRule)
    wrong_sure_share: float = 0.0
    knows_one_class: bool = False

    @classmethod
    def load(cls, home: ClientHome, manifest: ModelsManifest, name: str) -> VerdictRule:
        """Return the verdict rule of a stored model.

        Raises:
            VerificationError: A file differs from the one that was stored, or the home holds
                another encoder.
        """
        tensors = store.load_companion_tensors(home, manifest, store.NOVELTY_NAME)
        model = manifest.find_entry(name).name
        knows_one_class = manifest.has_single_class and model == LOCAL_ONLY
        good = acceptance.good_label_mask(manifest.labels, configuration.load(home).data.good)
        if knows_one_class:
            good = None
        sure = None if manifest.has_single_class else manifest.sure.get(model)
        judge = cls(
            least_sure_probability=sure,
            wrong_sure_share=0.0
            if sure is None or sure > 1
            else provable_wrong_share(manifest.judged_labels),
            unseen_labels=manifest.unseen,
            good_label_mask=good,
            defect_threshold=acceptance.model_defect_threshold(home, manifest, name),
            pass_rule=load_pass_rule(home, manifest, name, good),
            knows_one_class=knows_one_class,
        )
        if tensors is None:
            return judge
        return replace(judge, novelty_test=novelty.novelty_test_from_tensors(tensors, "novelty"))

    def add_calls_and_verdicts(
        self, predictions: Sequence[Prediction], inputs: ModelInputs, logits: Floats
    ) -> list[Prediction]:
        """Return predictions completed by likeness, call and verdict.

        Args:
            predictions: Predictions of records, from ``predict``.
            inputs: The model's inputs for these records.
            logits: The model's logits, ``[n, K]``.
        """
        passes = np.zeros(len(logits), bool)
        if self.good_label_mask is not None:
            passes = self.pass_rule.pass_mask(defect_log_odds(logits, self.good_label_mask))
        likeness, distances = self.likeness(inputs), self.novelty_scores(inputs)
        new_above, pass_within = (
            self.novelty_score_limit(novelty.LARGEST_NEW_LIKENESS),
            self.novelty_score_limit(novelty.LEAST_PASS_LIKENESS),
        )
        judgements = []
        rows = zip(predictions, likeness, distances, passes.tolist(), strict=True)
        for prediction, like, distance, may_pass in rows:
            has_distance = not np.isnan(like)
            new = has_distance and distance > new_above
            may_pass = may_pass and has_distance and distance <= pass_within
            judgements.append(
                replace(
                    prediction,
                    likeness=float(like) if has_distance else None,
                    distance=float(distance) if has_distance else None,
                    call=self._call_word(prediction, new),
                    verdict=LOOK
                    if new or not has_distance
                    else self._verdict(prediction, may_pass),
                )
            )
        return judgements

    def novelty_score_limit(self, share: float) -> float:
        """Return the novelty score that a share of the plant's records exceeds; inf: unknown."""
        return np.inf if self.novelty_test is None else self.novelty_test.score_limit(share)

    def novelty_scores(self, inputs: ModelInputs) -> NDArray[np.float32]:
        """Return the novelty scores of records, ``[n]``; NaN if unknown."""
        if self.novelty_test is None or not len(self.novelty_test.scores):
            return np.full(len(inputs), np.nan, np.float32)
        return self.novelty_test.score(inputs)

    def _verdict(self, prediction: Prediction, may_pass: bool) -> str:
        if self.good_label_mask is None:
            return ""
        defect = float(np.array(prediction.probabilities)[~self.good_label_mask].sum())
        if defect >= self.defect_threshold:
            return REJECT
        return PASS if may_pass else LOOK

    def _is_sure_call(self, prediction: Prediction) -> bool:
        least = (
            UNREACHABLE_THRESHOLD
            if self.least_sure_probability is None
            else self.least_sure_probability
        )
        return prediction.probability >= least and prediction.label not in self.unseen_labels

    def likeness(self, inputs: ModelInputs) -> NDArray[np.float32]:
        """Return by record the share of the plant's records at least as unusual; NaN: unknown."""
        if self.novelty_test is None:
            return np.full(len(inputs), np.nan, np.float32)
        return self.novelty_test.likeness(inputs)

    def _call_word(self, prediction: Prediction, is_new: bool) -> str:
        if is_new:
            return NEW
        if self.least_sure_probability is None:
            return ""
        return SURE if self._is_sure_call(prediction) else UNSURE
