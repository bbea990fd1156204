"""A scikit-learn classifier that starts from a kept model, or from nothing.

With a home, records go in, as for ``Plant.predict``: ``load`` takes a kept model as it is, ``fit``
trains on from it as the plant does. Without a home, features ``[n, d]`` go in, and ``fit`` is the
plant's local-only learner: what delivered weights have to beat.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from weightgate.plant import Plant, Records
from wg_client.fitting.finetune import fit_finetuned, fixed_base
from wg_client.fitting.folds import stratify
from wg_client.fitting.linear_head import Floats, LinearHead, head_from_tensors
from wg_client.fitting.local_models import fit_local
from wg_client.models import predict, store
from wg_client.models.manifest import ModelsManifest
from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import ConfigError, DataError


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """See the module.

    Args:
        home: A plant's home folder; None: features instead of records, and no kept model.
        package: Id of a package, or its beginning; None: that of the model in use.
        model: Name of a model; None: the one in use, or the one that was kept of the package.

    Attributes:
        classes_: ``[K]``: with a home the plant's label domain in its order, else sorted labels.
        n_features_in_: Number of features; without a home only.
        head_: The linear model on features, once ``fit`` was called.
    """

    def __init__(
        self, home: str | None = None, *, package: str | None = None, model: str | None = None
    ) -> None:
        self.home = home
        self.package = package
        self.model = model

    def load(self) -> Self:
        """Take the kept model as it is; nothing is trained.

        Raises:
            ConfigError: There is no home or no such model.
            VerificationError: Its file is not the one that was written.
        """
        plant, manifest, name = self._chosen_model()
        store.load_tensors(plant.home, manifest, name)  # it must be there, and be that one
        self.classes_ = np.array(manifest.labels)
        if hasattr(self, "head_"):
            del self.head_
        return self

    def fit(self, X: ArrayLike | Records, y: ArrayLike) -> Self:
        """Learn from labelled records, or features.

        Args:
            X: Records with a home, else features ``[n, d]``.
            y: Their labels; with a home, of the plant's label domain.

        Raises:
            DataError: A label is not of the plant's.
        """
        if self.home is None:
            features, y = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(y)
            self.classes_, labels = np.unique(y, return_inverse=True)
            folds = stratify(labels, streams.rng(Stream.SELECTION_FOLDS))
            self.head_ = fit_local(features, labels, len(self.classes_), folds).head
            return self
        plant, manifest, name = self._chosen_model()
        self.classes_ = np.array(manifest.labels)
        labels = _indices(np.asarray(y), manifest.labels)
        start = head_from_tensors(store.load_tensors(plant.home, manifest, name))
        folds = stratify(labels, streams.rng(Stream.SELECTION_FOLDS))
        features = self._inputs(plant, manifest, X)
        if len(features) != len(labels):
            raise DataError(f"y: {len(labels)} labels of {len(features)} records")
        start = start.pad_features(features.shape[1])  # it may do without a network that came
        finetuned = fit_finetuned(fixed_base(start), features, labels, folds, unseen_mass=0.0)
        self.head_ = finetuned.head
        return self

    def predict_proba(self, X: ArrayLike | Records) -> NDArray[np.float64]:
        """Probabilities ``[n, K]`` of ``classes_``."""
        return np.asarray(softmax(self.decision_scores(X), axis=1))

    def predict(self, X: ArrayLike | Records) -> NDArray[Any]:
        """The most likely label of each, ``[n]``."""
        best = self.decision_scores(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def decision_scores(self, X: ArrayLike | Records) -> Floats:
        """Logits ``[n, K]``."""
        check_is_fitted(self, "classes_")
        if self.home is None:
            features = validate_data(self, X, dtype=np.float64, reset=False)
            head: LinearHead = self.head_
            return head.logits(features)
        plant, manifest, name = self._chosen_model()
        inputs = self._inputs(plant, manifest, X)
        if hasattr(self, "head_"):
            return self.head_.logits(inputs)
        return predict.logits(plant.home, manifest, name, inputs)

    def _chosen_model(self) -> tuple[Plant, ModelsManifest, str]:
        if self.home is None:
            raise ConfigError("home: None; a kept model lies in a plant's home")
        plant = Plant.open(self.home)
        return (plant, *plant.chosen_model(self.package, self.model))

    def _inputs(self, plant: Plant, manifest: ModelsManifest, X: Any) -> Floats:
        parts = [predict.encode_records(plant.home, manifest, part) for part in plant.read(X)]
        return np.concatenate(parts)


def _indices(y: NDArray[Any], labels: tuple[str, ...]) -> NDArray[np.int64]:
    indices = {label: index for index, label in enumerate(labels)}
    unknown = sorted({str(label) for label in y.tolist()} - set(indices))
    if unknown:
        raise DataError(f"y: {unknown[:3]}, expected some of {', '.join(labels)}")
    return np.array([indices[str(label)] for label in y.tolist()], dtype=np.int64)
