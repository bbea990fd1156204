"""Scikit-learn classifier that starts from a plant's selected model, or from scratch.

With a plant's home folder, ``X`` is records, in the forms that ``Plant.predict`` takes: ``load``
uses a stored model unchanged, and ``fit`` fine-tunes it as the plant does. Without a home, ``X`` is
features ``[n, d]``, and ``fit`` trains the local-only model: the best that a plant can train on its
own labels alone, which is the baseline that delivered weights have to beat.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from weightgate.plant import Plant, RecordsLike
from wg_client.fitting.finetune import constant_base_fitter, fit_finetuned
from wg_client.fitting.folds import stratified_folds
from wg_client.fitting.linear_head import Floats, LinearHead, head_from_tensors
from wg_client.fitting.local_models import fit_local_only
from wg_client.fitting.sure_calls import cap_probabilities, largest_supported_probability
from wg_client.models import predict, store
from wg_client.models.manifest import ModelsManifest
from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import ConfigError, DataError


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Scikit-learn classifier on a plant's records, or on features.

    With a home folder, training starts from the plant's selected model; otherwise from scratch.

    Args:
        home: A plant's home folder; None: features instead of records, and no stored model.
        package: Id of a package, or its beginning; None: the package of the model in use.
        model: Name of a model; None: the model in use, or the kept model of the package.

    Attributes:
        classes_: Labels, ``[K]``: the plant's label domain in its order with a home, otherwise the
            sorted labels of ``y``.
        n_features_in_: Number of features; without a home only.
        head_: Linear model on features; set by ``fit``.
        label_count_: Number of labels with which the model was trained or evaluated.
    """

    def __init__(
        self, home: str | None = None, *, package: str | None = None, model: str | None = None
    ) -> None:
        self.home = home
        self.package = package
        self.model = model

    def load(self) -> Self:
        """Use the plant's stored model unchanged, without training.

        Raises:
            ConfigError: There is no home or no such model.
            VerificationError: The model's file differs from the one that was stored.
        """
        plant, manifest, name = self._find_model()
        store.load_model_tensors(
            plant.home, manifest, name
        )  # raises if the file is missing or changed
        self.classes_ = np.array(manifest.labels)
        self.label_count_ = manifest.judged_labels
        if hasattr(self, "head_"):
            del self.head_
        return self

    def fit(self, X: ArrayLike | RecordsLike, y: ArrayLike) -> Self:
        """Train the classifier on labelled records, or on their features.

        Args:
            X: Records with a home, else features ``[n, d]``.
            y: Labels of the records, ``[n]``; with a home, from the plant's label domain.

        Raises:
            DataError: A label is not in the plant's label domain.
        """
        if self.home is None:
            features, y = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(y)
            self.classes_, labels = np.unique(y, return_inverse=True)
            self.label_count_ = len(labels)
            folds = stratified_folds(labels, streams.stream_generator(Stream.SELECTION_FOLDS))
            self.head_ = fit_local_only(features, labels, len(self.classes_), folds).head
            return self
        plant, manifest, name = self._find_model()
        self.classes_ = np.array(manifest.labels)
        labels = _label_indices(np.asarray(y), manifest.labels)
        self.label_count_ = len(labels)
        start = head_from_tensors(store.load_model_tensors(plant.home, manifest, name))
        folds = stratified_folds(labels, streams.stream_generator(Stream.SELECTION_FOLDS))
        features = self._compute_inputs(plant, manifest, X)
        if len(features) != len(labels):
            raise DataError(f"y: {len(labels)} labels of {len(features)} records")
        start = start.pad_features(features.shape[1])  # it may ignore a delivered network
        finetuned_model = fit_finetuned(
            constant_base_fitter(start), features, labels, folds, unseen_mass=0.0
        )
        self.head_ = finetuned_model.head
        return self

    def predict_proba(self, X: ArrayLike | RecordsLike) -> NDArray[np.float64]:
        """Return probabilities of ``classes_``, ``[n, K]``, as ``wg-client predict`` prints them.

        They are capped at the largest probability that the number of labels with which the model
        was trained can support (``fitting.sure_calls``).
        """
        logits, count = self.decision_scores(X), self.label_count_
        return cap_probabilities(logits, largest_supported_probability(count) if count else 1.0)

    def predict(self, X: ArrayLike | RecordsLike) -> NDArray[Any]:
        """Return the most likely label of each record, ``[n]``."""
        best = self.decision_scores(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def decision_scores(self, X: ArrayLike | RecordsLike) -> Floats:
        """Return the logits of ``classes_``, ``[n, K]``."""
        check_is_fitted(self, "classes_")
        if self.home is None:
            features = validate_data(self, X, dtype=np.float64, reset=False)
            head: LinearHead = self.head_
            return head.logits(features)
        plant, manifest, name = self._find_model()
        inputs = self._compute_inputs(plant, manifest, X)
        if hasattr(self, "head_"):
            return self.head_.logits(inputs)
        return predict.model_logits(plant.home, manifest, name, inputs)

    def _find_model(self) -> tuple[Plant, ModelsManifest, str]:
        if self.home is None:
            raise ConfigError("home: None; a kept model lies in a plant's home")
        plant = Plant.open(self.home)
        return (plant, *plant.chosen_model(self.package, self.model))

    def _compute_inputs(self, plant: Plant, manifest: ModelsManifest, X: Any) -> Floats:
        parts = [predict.compute_model_inputs(plant.home, manifest, part) for part in plant.read(X)]
        return np.concatenate(parts)


def _label_indices(y: NDArray[Any], labels: tuple[str, ...]) -> NDArray[np.int64]:
    indices = {label: index for index, label in enumerate(labels)}
    unknown = sorted({str(label) for label in y.tolist()} - set(indices))
    if unknown:
        raise DataError(f"y: {unknown[:3]}, expected some of {', '.join(labels)}")
    return np.array([indices[str(label)] for label in y.tolist()], dtype=np.int64)
