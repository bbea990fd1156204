"""Local-only against delivered weights on the plant's own records: who is kept, and why.

Five models and their names, in this order everywhere: ``random-init`` (for reference, never kept),
``local-only``, ``dp-closed-form`` (the package's closed-form head), ``generated`` (its best
generated candidate), both as delivered, and each after local training: ``closed-form-finetuned``,
``generated-finetuned``. Held-out test records have no part in any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client import acceptance
from wg_client.acceptance import Evidence
from wg_client.baseline import Fitted, fit_local
from wg_client.config import AcceptanceConfig
from wg_client.delivered import delivered_loss
from wg_client.finetune import Finetuned, fit_finetuned
from wg_client.folds import Folds, stratified
from wg_client.heads import Floats, Ints, LinearHead, best_temperature, log_loss
from wg_common.errors import NotAcceptedError

RANDOM = "random-init"
LOCAL = "local-only"
CLOSED_FORM = "dp-closed-form"
GENERATED = "generated"
CLOSED_FORM_FINETUNED = "closed-form-finetuned"
GENERATED_FINETUNED = "generated-finetuned"
ORDER = (RANDOM, LOCAL, CLOSED_FORM, GENERATED, CLOSED_FORM_FINETUNED, GENERATED_FINETUNED)

GENERATED_SOURCES = frozenset({"diffusion", "network", "retrieval"})
CLOSED_FORM_SOURCE = "closed-form"
_RANK_PRIOR = 1.0
"""Nats of evidence per unit of log rank: a candidate late in the server's order must show more."""
_SEED = 20240501


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One delivered candidate.

    Attributes:
        name: Its name in the package.
        source: As in ``wg_common.weights_package.Candidate``.
        head: Its head over the declared label domain.
    """

    name: str
    source: str
    head: LinearHead


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Model:
    """One model of the contest.

    Attributes:
        name: One of ``ORDER``.
        head: Over the declared label domain.
        origin: Name of the candidate that it started from, or an empty string.
        settings: What was chosen on the way.
        predictions: Out-of-fold classes of the labelled records, ``[repeats, n]``.
        losses: Their log loss, nats, ``[repeats, n]``.
        accuracy: Out-of-fold accuracy; NaN without labelled records.
        error: Its standard error.
    """

    name: str
    head: LinearHead
    origin: str
    settings: dict[str, str]
    predictions: Ints
    losses: Floats
    accuracy: float
    error: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """The end of the contest.

    Attributes:
        models: By name, in ``ORDER``; without labelled records local-only is missing.
        evidence: Each challenger against local-only.
        kept: Name of the model kept.
        reason: One sentence for the plant engineer.
        labels: int64 ``[n]`` of the labelled records, in the order of ``predictions``.
        candidate_losses: Mean log loss of each delivered candidate on local records, nats.
    """

    models: dict[str, Model]
    evidence: tuple[Evidence, ...]
    kept: str
    reason: str
    labels: Ints
    candidate_losses: dict[str, float]

    @property
    def accepted(self) -> bool:
        """Whether delivered weights were kept, in any form."""
        return self.kept != LOCAL


def hold(
    features: Floats,
    labels: Ints,
    units: Sequence[str] | None,
    offers: Sequence[Offer],
    reference: LinearHead,
    config: AcceptanceConfig,
) -> Outcome:
    """Fit, compare and choose.

    Args:
        features: Float64 ``[n, d]`` of all local records.
        labels: ``[n]``, -1 = unlabelled.
        units: Privacy units, or None; a unit is never split between folds.
        offers: Delivered candidates in the server's order, over K classes.
        reference: A random head, for the report.
        config: The plant's acceptance policy.

    Raises:
        NotAcceptedError: No record is labelled, and the policy keeps nothing unchecked.
    """
    known = labels >= 0
    x, y = features[known], labels[known]
    classes = len(reference.bias)
    mass = acceptance.unseen_mass(config, declared=classes, seen=len(np.unique(y)))
    index = None
    if units is not None:
        names = [unit for unit, keep in zip(units, known, strict=True) if keep]
        index = np.unique(names, return_inverse=True)[1]
    folds = stratified(y, np.random.default_rng(_SEED), index) if len(y) else None
    losses = _losses(offers, x, y)
    generated = _best(offers, losses, GENERATED_SOURCES)
    closed = _best(offers, losses, frozenset({CLOSED_FORM_SOURCE}))
    models: dict[str, Model] = {}
    tuned: dict[str, Finetuned] = {}
    if folds is not None:
        local = fit_local(x, y, classes, folds)
        models[LOCAL] = _model(LOCAL, "", local, y)
    for name, offer in ((CLOSED_FORM, closed), (GENERATED, generated)):
        if offer is not None:
            models[name] = _delivered(name, offer, x, y, folds)
    for name, offer in ((CLOSED_FORM_FINETUNED, closed), (GENERATED_FINETUNED, generated)):
        if offer is not None and folds is not None:
            found = fit_finetuned(offer.head, x, y, folds, unseen_mass=mass)
            tuned[name] = found
            models[name] = _model(name, offer.name, found.fitted, y)
    models[RANDOM] = _delivered(RANDOM, Offer("", "", reference), x, y, folds)
    models = {name: models[name] for name in ORDER if name in models}
    evidence = tuple(
        _weigh(name, models, tuned, y, config, mass)
        for name in ORDER[2:]
        if name in models and folds is not None and folds.usable
    )
    kept, reason = _decide(models, evidence, config, labelled=len(y))
    mean_losses = {offer.name: losses[offer.name] / max(len(y), 1) for offer in offers}
    return Outcome(
        models=models,
        evidence=evidence,
        kept=kept,
        reason=reason,
        labels=y,
        candidate_losses=mean_losses,
    )


def _losses(offers: Sequence[Offer], x: Floats, y: Ints) -> dict[str, float]:
    return {offer.name: delivered_loss(offer.head, x, y) if len(y) else 0.0 for offer in offers}


def _best(
    offers: Sequence[Offer], losses: dict[str, float], sources: frozenset[str]
) -> Offer | None:
    eligible = [offer for offer in offers if offer.source in sources]
    if not eligible:
        return None
    scores = [
        losses[offer.name] + _RANK_PRIOR * np.log(rank) for rank, offer in enumerate(eligible, 1)
    ]
    return eligible[int(np.argmin(scores))]


def _model(
    name: str,
    origin: str,
    fitted: Fitted,
    labels: Ints,
) -> Model:
    right = acceptance.correctness(fitted.predictions, labels)
    n = len(labels)
    return Model(
        name=name,
        head=fitted.head,
        origin=origin,
        settings=fitted.settings,
        predictions=fitted.predictions,
        losses=fitted.losses,
        accuracy=float(right.mean()) if n else float("nan"),
        error=float(right.std() / np.sqrt(n)) if n else float("nan"),
    )


def _delivered(name: str, offer: Offer, x: Floats, y: Ints, folds: Folds | None) -> Model:
    repeats = 1 if folds is None else len(folds.assignment)
    logits = offer.head.logits(x)
    predictions = np.tile(logits.argmax(axis=1), (repeats, 1))
    # A temperature changes no prediction, and makes the probabilities mean something.
    factor = best_temperature(logits, y) if len(y) else 1.0
    head = LinearHead(offer.head.weight * factor, offer.head.bias * factor)
    losses = np.tile(log_loss(head.logits(x), y), (repeats, 1))
    settings = {"temperature": f"{1 / factor:.4g}"}
    return _model(name, offer.name, Fitted(head, predictions, losses, settings), y)


def _weigh(
    name: str,
    models: dict[str, Model],
    tuned: dict[str, Finetuned],
    labels: Ints,
    config: AcceptanceConfig,
    mass: float,
) -> Evidence:
    model = models[name]
    recalls: NDArray[np.float64] = np.zeros(0)
    lost = 0.0
    if name in tuned:
        recalls, lost = tuned[name].recalls, tuned[name].lost
    elif mass:
        right = acceptance.correctness(model.predictions, labels)
        recalls = np.array([right[labels == label].mean() for label in np.unique(labels)])
    return acceptance.compare(
        name,
        model.predictions,
        models[LOCAL].predictions,
        labels,
        config,
        nats=float((models[LOCAL].losses - model.losses).mean(axis=0).sum()),
        mass=mass,
        recalls=recalls,
        lost=lost,
    )


def _decide(
    models: dict[str, Model],
    evidence: tuple[Evidence, ...],
    config: AcceptanceConfig,
    *,
    labelled: int,
) -> tuple[str, str]:
    if not labelled:
        first = next((name for name in (GENERATED, CLOSED_FORM) if name in models), None)
        if first is None or not config.without_labels:
            raise NotAcceptedError(
                "no local labels: nothing can be checked, and acceptance.without_labels is off"
            )
        return first, "There are no labels here: nothing was checked, and local-only is impossible."
    winner = acceptance.keep(evidence)
    if winner is None:
        return LOCAL, "No delivered model was shown to be better than local-only on local records."
    found = next(item for item in evidence if item.name == winner)
    return winner, (
        f"Estimated gain over local-only {100 * found.gain:+.1f} points, standard deviation"
        f" {100 * found.sd:.1f}; {config.caution:g} standard deviations below is still above zero."
    )
