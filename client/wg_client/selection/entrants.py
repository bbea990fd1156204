"""Who takes part in the contest, and how each is made and judged on a plant's labelled records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.backbone import Tensors, Trunk
from wg_client.fitting.delivered import delivered_loss, fixed
from wg_client.fitting.finetune import Finetuned, fit_finetuned
from wg_client.fitting.folds import Folds, stratified
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, best_temperature, log_loss
from wg_client.fitting.local_models import Fitted, fit_local
from wg_client.methods.ensemble import blend
from wg_client.methods.posterior_head import complete, fit_completed, moving
from wg_client.selection import checks
from wg_client.site.config import AcceptanceConfig
from wg_common import streams
from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import Posterior
from wg_common.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One delivered candidate.

    Attributes:
        name: Its name in the package.
        source: As in ``wg_common.wire.weights_package.Candidate``.
        trunk: What its head stands on.
        head: Its head over the declared label domain.
    """

    name: str
    source: str
    trunk: Trunk
    head: LinearHead


class Tuned(Protocol):
    """A network after fine-tuning; see ``wg_client.fitting.network_tuning``."""

    @property
    def trunk(self) -> Tensors:
        """Its ``trunk.*`` tensors."""

    @property
    def fitted(self) -> Fitted:
        """Its head and out-of-fold predictions."""


class Tuner(Protocol):
    """Fine-tunes trunk and head on the plant's labelled records."""

    def tune(self, trunk: Tensors, fitted: Fitted, folds: Folds) -> Tuned:
        """Train on from a trunk and the head that was fitted on it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Model:
    """One model of the contest.

    Attributes:
        name: One of ``ORDER``.
        trunk: ``trunk.*`` tensors; empty where it stands on the encoder.
        head: Over the declared label domain, on local features or its own trunk.
        origin: Name of the candidate that it started from, or an empty string.
        settings: What was chosen on the way.
        predictions: Out-of-fold classes of the labelled records, ``[repeats, n]``.
        losses: Their log loss, nats, ``[repeats, n]``.
        accuracy: Out-of-fold accuracy; NaN without labelled records.
        error: Its standard error.
    """

    name: str
    trunk: Tensors
    head: LinearHead
    origin: str
    settings: dict[str, str]
    predictions: Ints
    losses: Floats
    accuracy: float
    error: float

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Tensors of its architecture."""
        return {**self.trunk, **self.head.tensors()}


class Ground:
    """The plant's labelled records, and how a model is made and judged on them."""

    def __init__(
        self,
        labels: Ints,
        units: Sequence[str] | None,
        classes: int,
        config: AcceptanceConfig,
        tuner: Tuner | None,
    ) -> None:
        self._all = labels
        self._known = labels >= 0
        self._classes = classes
        self._tuner = tuner
        self.labels = labels[self._known]
        self.mass = checks.unseen_mass(config, declared=classes, seen=len(np.unique(self.labels)))
        index = None
        if units is not None:
            names = [unit for unit, keep in zip(units, self._known, strict=True) if keep]
            index = np.unique(names, return_inverse=True)[1]
        self.folds: Folds | None = None
        if len(self.labels):
            self.folds = stratified(self.labels, streams.rng(Stream.SELECTION_FOLDS), index)

    def delivered_loss(self, offer: Offer) -> float:
        """Log loss of a candidate as delivered, nats over all labelled records."""
        if not len(self.labels):
            return 0.0
        return delivered_loss(offer.head, offer.trunk.features[self._known], self.labels)

    def delivered(self, name: str, offer: Offer) -> Model:
        """A candidate as it came."""
        repeats = 1 if self.folds is None else len(self.folds.assignment)
        logits = offer.head.logits(offer.trunk.features[self._known])
        predictions = np.tile(logits.argmax(axis=1), (repeats, 1))
        # A temperature changes no prediction, and makes the probabilities mean something.
        factor = best_temperature(logits, self.labels) if len(self.labels) else 1.0
        losses = np.tile(log_loss(logits * factor, self.labels), (repeats, 1))
        settings = {"temperature": f"{1 / factor:.4g}"}
        fitted = Fitted(offer.head.scaled(factor), predictions, losses, settings)
        return self._model(name, offer.name, offer.trunk, fitted)

    def alone(self, name: str, public: Trunk, folds: Folds) -> tuple[Fitted, Model]:
        """The best that the plant can do without the server, and its head before fine-tuning."""
        features = public.features[self._known]
        fitted = fit_local(features, self.labels, self._classes, folds)
        return fitted, self._model(name, "", *self._tune(public, fitted, folds))

    def accuracy_on(self, trunk: Trunk, folds: Folds) -> float:
        """Out-of-fold accuracy of the best head that local labels alone give on a trunk."""
        features = trunk.features[self._known]
        fitted = fit_local(features, self.labels, self._classes, folds)
        return float(checks.correctness(fitted.predictions, self.labels).mean())

    def trained_on(self, name: str, offer: Offer, folds: Folds) -> tuple[Finetuned, Model]:
        """A candidate after local training.

        Its trunk is left alone if a declared class has no records: steps on the others cost what
        the delivered head knows of it (docs/decisions/0055).
        """
        features = offer.trunk.features[self._known]
        found = fit_finetuned(
            fixed(offer.head), features, self.labels, folds, unseen_mass=self.mass
        )
        trunk, fitted = offer.trunk, found.fitted
        if len(np.unique(self.labels)) == self._classes:
            trunk, fitted = self._tune(trunk, fitted, folds)
        return found, self._model(name, offer.name, trunk, fitted)

    def completed(
        self, name: str, posterior: Posterior, trunk: Trunk, folds: Folds | None
    ) -> tuple[Finetuned | None, Model]:
        """Delivered class means, finished with local records; judged where some have labels."""
        if folds is None:
            head = complete(posterior, trunk.features, self._all)
            nothing = np.zeros((1, 0))
            fitted = Fitted(head, nothing.astype(np.int64), nothing, {})
            return None, self._model(name, POSTERIOR, trunk, fitted)
        found = fit_completed(posterior, trunk.features, self._all, folds, unseen=self.mass > 0)
        return found, self._model(name, POSTERIOR, trunk, found.fitted)

    def moved(
        self, name: str, posterior: Posterior, trunk: Trunk, folds: Folds, alone: Fitted
    ) -> tuple[Finetuned, Model]:
        """Delivered class means around the plant's own mean, trained on with local records.

        Where every class has some, it is averaged with what these give alone.
        """
        features = trunk.features[self._known]
        found = fit_finetuned(
            moving(posterior, trunk.features[~self._known]),
            features,
            self.labels,
            folds,
            unseen_mass=self.mass,
        )
        if np.bincount(self.labels, minlength=self._classes).min() > 1:
            mean = blend(alone, found.fitted, self.labels)
            if mean is not None:
                found = replace(found, fitted=mean, blended=True)
        return found, self._model(name, POSTERIOR, trunk, found.fitted)

    def _tune(self, trunk: Trunk, fitted: Fitted, folds: Folds) -> tuple[Trunk, Fitted]:
        if self._tuner is None:
            return trunk, fitted
        tuned = self._tuner.tune(trunk.tensors, fitted, folds)
        return replace(trunk, tensors=tuned.trunk), tuned.fitted

    def _model(self, name: str, origin: str, trunk: Trunk, fitted: Fitted) -> Model:
        right = checks.correctness(fitted.predictions, self.labels)
        n = len(self.labels)
        return Model(
            name=name,
            trunk=trunk.tensors,
            head=trunk.outward(fitted.head),
            origin=origin,
            settings=fitted.settings,
            predictions=fitted.predictions,
            losses=fitted.losses,
            accuracy=float(right.mean()) if n else float("nan"),
            error=float(right.std() / np.sqrt(n)) if n else float("nan"),
        )
