"""False accepts and false rejects of models on the acceptance set, which no model was trained on.

Verdicts are those of ``predict`` (``calls``); records with the verdict ``look`` count as neither.
Only one record of each privacy unit is counted, since the exact one-sided bound of Clopper and
Pearson (1934, *Biometrika* 26(4)) assumes independent records. It holds for a threshold that was
chosen before these records were seen; a threshold chosen on them needs new records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrin, betaincinv

from wg_client.data import plant_data as plants
from wg_client.data.acceptance_set import AcceptanceSet
from wg_client.data.plant_data import PlantData
from wg_client.data.site_data import SiteData
from wg_client.fitting.linear_head import Floats, Ints
from wg_client.models import adoption, novelty, predict, store
from wg_client.models.adoption import ModelReference
from wg_client.models.manifest import ModelsManifest
from wg_client.models.pass_rule import PassRule, defect_log_odds, load_pass_rule
from wg_client.models.predict import ModelInputs
from wg_core.site.home import ClientHome
from wg_core.snapshot import DuplicateRecord

GOOD_LABEL_NAMES = frozenset(
    {"ok", "good", "normal", "pass", "no defect", "良品", "正常", "合格", "異常なし", "良"}
)
"""Labels that mean "no defect" by their name, in lower case."""


def good_labels(labels: Sequence[str], declared_labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels that mean "no defect".

    They are the declared ones; if none are declared (None), the labels in ``GOOD_LABEL_NAMES``.
    """
    if declared_labels is not None:
        return tuple(declared_labels)
    return tuple(label for label in labels if label.casefold() in GOOD_LABEL_NAMES)


def good_label_mask(
    labels: Sequence[str], declared_labels: Sequence[str] | None
) -> NDArray[np.bool_] | None:
    """Return a mask of the K labels that mean "no defect"; None if all of them do, or none does."""
    mask = np.isin(labels, good_labels(labels, declared_labels))
    return mask if 0 < mask.sum() < len(mask) else None


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Number of wrong decisions, and number of records on which a decision was made."""

    wrong: int
    records: int

    def upper_bound(self, confidence: float = 0.95) -> float:
        """Return the exact one-sided upper confidence bound of the share of errors."""
        if self.wrong == self.records:
            return 1.0
        return float(betaincinv(self.wrong + 1, self.records - self.wrong, confidence))

    def records_needed(self) -> int:
        """Return how many more records without an error would show an error rate of at most 1 %."""
        needed_records: int = math.ceil(bdtrin(self.wrong, 0.05, 0.01) - 1e-9)
        return max(0, needed_records - self.records)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCounts:
    """Errors and verdicts of a model on the acceptance set, counted at one threshold.

    Attributes:
        threshold: Probability of a defect from which a record is rejected.
        false_accepts: Defective records that pass; None if no label means "no defect".
        false_rejects: Good records that are rejected; None if no label means "no defect".
        wrong_labels: Records whose predicted label is wrong.
        looks: Records with the verdict ``look``.
    """

    threshold: float
    false_accepts: ErrorCount | None
    false_rejects: ErrorCount | None
    wrong_labels: ErrorCount
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AcceptanceScores:
    """Scores of one model on the acceptance set, from which errors at any threshold are counted.

    Each array has one value for each of the ``a`` counted records.

    Attributes:
        defect_probabilities: Probability of a defect, ``[a]``.
        good_record_mask: Mask of good records, ``[a]``; None if no label means "no defect".
        correct_label_mask: Mask of records with a correct predicted label, ``[a]``.
        new_record_mask: Mask of records unlike the plant's (call ``new``), ``[a]``.
        pass_mask: Mask of records that may pass (``pass_rule``), ``[a]``.
    """

    defect_probabilities: Floats
    good_record_mask: NDArray[np.bool_] | None
    correct_label_mask: NDArray[np.bool_]
    new_record_mask: NDArray[np.bool_]
    pass_mask: NDArray[np.bool_]

    def counts_at(self, threshold: float) -> ThresholdCounts:
        """Count errors and ``look`` verdicts, with this probability as the defect threshold."""
        accepts = rejects = None
        reject = ~self.new_record_mask & (self.defect_probabilities >= threshold)
        passes = ~self.new_record_mask & ~reject & self.pass_mask
        if self.good_record_mask is not None:
            accepts = ErrorCount(
                int((passes & ~self.good_record_mask).sum()), int((~self.good_record_mask).sum())
            )
            rejects = ErrorCount(
                int((reject & self.good_record_mask).sum()), int(self.good_record_mask.sum())
            )
        return ThresholdCounts(
            threshold=threshold,
            false_accepts=accepts,
            false_rejects=rejects,
            wrong_labels=ErrorCount(
                int((~self.correct_label_mask).sum()), len(self.correct_label_mask)
            ),
            looks=int((~passes & ~reject).sum()),
        )

    def threshold_curve(self, point_count: int) -> list[ThresholdCounts]:
        """Count errors and ``look`` verdicts at evenly spaced defect thresholds from 0 to 1."""
        return [self.counts_at(threshold) for threshold in np.linspace(0, 1, point_count).tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceResults:
    """Evaluation of all models of a package on the acceptance set, each at its threshold.

    Attributes:
        kept_model: Name of the kept model.
        scores: Scores by model; empty if there is no acceptance set that can judge them.
        thresholds: Threshold by model.
        pass_rule: Rule by which records pass the kept model; None if no label means "no defect".
        near_duplicates: Records of the set that are nearly the same as training records.
    """

    kept_model: str
    scores: Mapping[str, AcceptanceScores] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    pass_rule: PassRule | None = None
    near_duplicates: tuple[DuplicateRecord, ...] = ()

    def counts_for_model(self, model: str) -> ThresholdCounts | None:
        """Return the counts of one model at its threshold; None if it was not evaluated."""
        scores = self.scores.get(model)
        return None if scores is None else scores.counts_at(self.thresholds[model])

    @property
    def counts_by_model(self) -> dict[str, ThresholdCounts]:
        """Counts of all models at their thresholds, by name."""
        return {
            name: scores.counts_at(self.thresholds[name]) for name, scores in self.scores.items()
        }


def evaluate_on_acceptance_set(
    home: ClientHome, plant: PlantData, manifest: ModelsManifest
) -> AcceptanceResults:
    """Evaluate a package's models on the acceptance set; no scores if labels or encoder differ.

    Raises:
        VerificationError: A model's file differs from the one that was stored.
        DataError: The file of a record must be read again, and has changed since the freeze.
    """
    records = usable_acceptance_set(plant, manifest)
    good = good_label_mask(manifest.labels, plant.config.data.good)
    passing = None if good is None else load_pass_rule(home, manifest, manifest.kept, good)
    if records is None:
        return AcceptanceResults(kept_model=manifest.kept, pass_rule=passing)
    rows = records.independent_rows
    inputs = acceptance_set_inputs(home, plant, records, manifest)[rows]
    truth = records.records.labels[rows]
    names = [entry.name for entry in manifest.models]
    tensors = store.load_companion_tensors(home, manifest, store.NOVELTY_NAME)
    is_new, is_unlike = (
        novelty.flag_unlike_records(tensors, inputs, share)
        for share in (novelty.LARGEST_NEW_LIKENESS, novelty.LEAST_PASS_LIKENESS)
    )

    def scores_of(name: str) -> AcceptanceScores:
        logits, passes = (
            predict.model_logits(home, manifest, name, inputs),
            np.zeros(len(truth), bool),
        )
        if good is not None:
            passes = load_pass_rule(home, manifest, name, good).pass_mask(
                defect_log_odds(logits, good)
            )
        chances = predict.capped_probabilities(logits, manifest)
        return score_probabilities(chances, truth, good, is_new, passes & ~is_unlike)

    return AcceptanceResults(
        kept_model=manifest.kept,
        scores={name: scores_of(name) for name in names},
        thresholds={name: model_defect_threshold(home, manifest, name) for name in names},
        pass_rule=passing,
        near_duplicates=records.listing.duplicates,
    )


def model_defect_threshold(home: ClientHome, manifest: ModelsManifest, model: str) -> float:
    """Return the defect threshold that was set for a model while it was in use, otherwise 0.5."""
    choice = ModelReference(package_id=manifest.package_id, model=manifest.find_entry(model).name)
    return adoption.read_adoption_history(home).defect_threshold_of(choice)


def usable_acceptance_set(plant: PlantData, manifest: ModelsManifest) -> AcceptanceSet | None:
    """Return the acceptance set if models of a package can be evaluated on it, else None."""
    records = plant.acceptance_set
    fits = (manifest.labels, manifest.encoder) == (plant.config.data.labels, plant.encoder_sha256)
    return records if fits and records is not None and len(records) else None


def acceptance_set_inputs(
    home: ClientHome, plant: PlantData, acceptance_set: AcceptanceSet, manifest: ModelsManifest
) -> ModelInputs:
    """Compute the inputs of the package's models for the acceptance set."""
    has_further = manifest.network is not None or manifest.plant_trunk
    if not has_further and manifest.encoder == plant.encoder_sha256:
        return acceptance_set.features.astype(np.float64)
    modality = plant.data.modality
    data = SiteData(
        records=plants.open_snapshot_records(
            home, plant.config, acceptance_set.listing, acceptance_set.records, modality
        ),
        modality=modality,
        labels=acceptance_set.records.labels,
        label_names=plant.config.data.labels,
        names=acceptance_set.listing.names,
    )
    return predict.compute_model_inputs(home, manifest, data)


def score_probabilities(
    probabilities: Floats,
    labels: Ints,
    good_label_mask: NDArray[np.bool_] | None,
    new_record_mask: NDArray[np.bool_],
    pass_mask: NDArray[np.bool_],
) -> AcceptanceScores:
    """Return the scores of a model on the acceptance set.

    Args:
        probabilities: Probabilities of K labels for a records, ``[a, K]``.
        labels: True labels of the records, ``[a]``.
        good_label_mask: Mask of the labels that mean "no defect", ``[K]``; None: unknown.
        new_record_mask: Mask of new records, ``[a]``.
        pass_mask: Mask of records that may pass, ``[a]``.
    """
    defects = (
        np.ones(probabilities.shape[1], dtype=bool) if good_label_mask is None else ~good_label_mask
    )
    return AcceptanceScores(
        defect_probabilities=probabilities[:, defects].sum(axis=1),
        good_record_mask=None if good_label_mask is None else good_label_mask[labels],
        correct_label_mask=probabilities.argmax(axis=1) == labels,
        new_record_mask=new_record_mask,
        pass_mask=pass_mask,
    )
