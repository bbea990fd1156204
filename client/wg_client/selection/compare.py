"""Local-only against delivered weights on the plant's own records: who is kept, and why.

The models and their names, in this order everywhere: ``random-init`` (for reference, never kept),
``local-only``, ``dp-closed-form`` (the package's closed-form head), ``generated`` (its best
generated candidate), both as delivered, and each after local training: ``closed-form-finetuned``,
``generated-finetuned``. For heads also ``completed``: class means as the other sites and the public
know them, finished with the plant's exact records; and ``completed-finetuned``: the same means
around the plant's own centre, trained on locally. Held-out test records have no part in any of it.

One contest for every architecture. Each candidate stands on a trunk: the encoder, which all share,
or a whole network's own. Local-only stands on the public trunk. Where trunks are part of the model,
local-only is fine-tuned, and so is what is trained on from delivered weights if every class has
records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.finetune import Finetuned
from wg_client.fitting.leave_class_out import SHAPED
from wg_client.fitting.linear_head import Ints
from wg_client.fitting.local_models import Fitted
from wg_client.selection import checks
from wg_client.selection.checks import Evidence
from wg_client.selection.entrants import Ground, Model, Offer, Tuner
from wg_client.site.config import AcceptanceConfig
from wg_common.catalogue import CLOSED_FORM as CLOSED_FORM_SOURCE
from wg_common.catalogue import GENERATED_SOURCES, SAME_FAMILY
from wg_common.errors import NotAcceptedError
from wg_common.inference.posterior import Posterior, own_share

RANDOM = "random-init"
LOCAL = "local-only"
CLOSED_FORM = "dp-closed-form"
GENERATED = "generated"
CLOSED_FORM_FINETUNED = "closed-form-finetuned"
GENERATED_FINETUNED = "generated-finetuned"
COMPLETED = "completed"
COMPLETED_FINETUNED = "completed-finetuned"
ORDER = (
    RANDOM,
    LOCAL,
    CLOSED_FORM,
    GENERATED,
    COMPLETED,
    CLOSED_FORM_FINETUNED,
    GENERATED_FINETUNED,
    COMPLETED_FINETUNED,
)

_TWINS = (
    (CLOSED_FORM, COMPLETED, GENERATED),
    (CLOSED_FORM_FINETUNED, COMPLETED_FINETUNED, GENERATED_FINETUNED),
)
"""A closed form that the plant's release conditioned, its twin made here, what pays as it does."""

_RANK_PRIOR = 1.0
"""Nats of evidence per unit of log rank: a candidate late in the server's order must show more."""


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
        encoder_alone: For whole networks: out-of-fold accuracy of the best head that local labels
            alone give on the encoder, for information; such a head needs the encoder to run.
    """

    models: dict[str, Model]
    evidence: tuple[Evidence, ...]
    kept: str
    reason: str
    labels: Ints
    candidate_losses: dict[str, float]
    encoder_alone: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether delivered weights were kept, in any form."""
        return self.kept != LOCAL


def hold(
    public: Trunk,
    labels: Ints,
    units: Sequence[str] | None,
    offers: Sequence[Offer],
    reference: Offer,
    config: AcceptanceConfig,
    tuner: Tuner | None = None,
    *,
    posterior: Posterior | None = None,
    noise: float = math.inf,
    others: bool = True,
    encoder: Trunk | None = None,
) -> Outcome:
    """Fit, compare and choose.

    Args:
        public: What local-only stands on: the encoder, or the public base of the architecture.
        labels: ``[n]``, -1 = unlabelled.
        units: Privacy units, or None; a unit is never split between folds.
        offers: Delivered candidates in the server's order, over K classes.
        reference: Random weights, for the report.
        config: The plant's acceptance policy.
        tuner: Fine-tunes whole networks; None for heads on the frozen encoder.
        posterior: What the package says of class means without this plant; None if nothing.
        noise: Least standard deviation of the noise on an entry of a class sum in a release of the
            plant that the offers were made from; inf: none was.
        others: Whether other sites have released any of what the posterior holds.
        encoder: Where it is not ``public``: the encoder, for information.

    Raises:
        NotAcceptedError: No record is labelled, and the policy keeps nothing unchecked.
    """
    ground = Ground(labels, units, len(reference.head.bias), config, tuner)
    y, folds = ground.labels, ground.folds
    losses = {offer.name: ground.delivered_loss(offer) for offer in offers}
    generated = best(offers, losses, GENERATED_SOURCES)
    closed = best(offers, losses, frozenset({CLOSED_FORM_SOURCE}))
    models: dict[str, Model] = {}
    tuned: dict[str, Finetuned] = {}
    alone: Fitted | None = None
    if folds is not None:
        alone, models[LOCAL] = ground.alone(LOCAL, public, folds)
    for name, offer in ((CLOSED_FORM, closed), (GENERATED, generated)):
        if offer is not None:
            models[name] = ground.delivered(name, offer)
    for name, offer in ((CLOSED_FORM_FINETUNED, closed), (GENERATED_FINETUNED, generated)):
        if offer is not None and folds is not None:
            tuned[name], models[name] = ground.trained_on(name, offer, folds)
    if posterior is not None:
        found, models[COMPLETED] = ground.completed(COMPLETED, posterior, public, folds)
        if found is not None and folds is not None and alone is not None:
            tuned[COMPLETED] = found
            name = COMPLETED_FINETUNED
            tuned[name], models[name] = ground.moved(name, posterior, public, folds, alone)
    models[RANDOM] = ground.delivered(RANDOM, reference)
    models = {name: models[name] for name in ORDER if name in models}
    family_match = generated is not None and generated.source == SAME_FAMILY
    leaks = _leaks(models, y, posterior, noise, family_match=family_match, others=others)
    free = replace(config, caution=0.0)
    blended = {name for name, found in tuned.items() if found.blended and others}
    evidence = tuple(
        _weigh(
            name,
            models,
            tuned,
            y,
            free if name in blended else config,
            ground.mass,
            leaks.get(name, 0.0),
        )
        for name in ORDER[2:]
        if name in models and folds is not None and folds.usable
    )
    first = family_match or not len(labels)
    kept, reason = _decide(models, evidence, config, labelled=len(y), generated_first=first)
    mean_losses = {offer.name: losses[offer.name] / max(len(y), 1) for offer in offers}
    return Outcome(
        models=models,
        evidence=evidence,
        kept=kept,
        reason=reason,
        labels=y,
        candidate_losses=mean_losses,
        encoder_alone=(
            None if encoder is None or folds is None else ground.accuracy_on(encoder, folds)
        ),
    )


def best(
    offers: Sequence[Offer], losses: dict[str, float], sources: frozenset[str]
) -> Offer | None:
    """The offer of some sources that local records and the server's order speak for.

    Args:
        offers: In the server's order.
        losses: Log loss of each on local records as delivered, nats, by name.
        sources: Which of them.
    """
    eligible = [offer for offer in offers if offer.source in sources]
    if not eligible:
        return None
    scores = [
        losses[offer.name] + _RANK_PRIOR * np.log(rank) for rank, offer in enumerate(eligible, 1)
    ]
    return eligible[int(np.argmin(scores))]


def _weigh(
    name: str,
    models: dict[str, Model],
    tuned: dict[str, Finetuned],
    labels: Ints,
    config: AcceptanceConfig,
    mass: float,
    leak: float,
) -> Evidence:
    model = models[name]
    recalls: NDArray[np.float64] = np.zeros(0)
    lost, counts = 0.0, SHAPED
    if name in tuned:
        found = tuned[name]
        recalls, lost, counts = found.recalls, found.lost, found.counts
    elif mass:
        right = checks.correctness(model.predictions, labels)
        recalls = np.array([right[labels == label].mean() for label in np.unique(labels)])
    pseudo = 0.0
    if len(recalls) == 1 and len(model.head.bias) == 2:
        believed = checks.trusted(float(recalls[0]), len(labels))
        pseudo = checks.TRUSTED_RECALL * believed
    return checks.compare(
        name,
        model.losses,
        models[LOCAL].losses,
        config,
        mass=mass,
        recalls=recalls,
        lost=lost,
        counts=counts,
        leak=leak,
        pseudo=pseudo,
    )


def _leaks(
    models: dict[str, Model],
    labels: Ints,
    posterior: Posterior | None,
    noise: float,
    *,
    family_match: bool,
    others: bool,
) -> dict[str, float]:
    """Nats a record that models owe to having been conditioned on the records that check them.

    It is what a closed form claims more than its twin, in the share of a release that is not noise;
    in whole where no other site has released, since its twin then knows all that it knows, and
    without noise. What generated weights claim beyond the closed form of the same release remains
    theirs; heads of the plant's kind come from records of others.
    """
    if posterior is None or not len(labels) or math.isinf(noise):
        return {}
    share = 1.0
    if others:
        share = own_share(posterior, np.bincount(labels, minlength=posterior.classes), noise)
    leaks = {}
    for closed, twin, generated in _TWINS:
        if closed in models and twin in models:
            claim = float(models[twin].losses.mean() - models[closed].losses.mean())
            for name in (closed,) if family_match else (closed, generated):
                leaks[name] = share * max(0.0, claim)
    return leaks


def _decide(
    models: dict[str, Model],
    evidence: tuple[Evidence, ...],
    config: AcceptanceConfig,
    *,
    labelled: int,
    generated_first: bool,
) -> tuple[str, str]:
    if not labelled:
        usual = (COMPLETED, GENERATED, CLOSED_FORM)
        order = (GENERATED, *usual) if generated_first else usual
        first = next((name for name in order if name in models), None)
        if first is None or not config.without_labels:
            raise NotAcceptedError(
                "no local labels: nothing can be checked, and acceptance.without_labels is off"
            )
        return first, "There are no labels here: nothing was checked, and local-only is impossible."
    winner = checks.keep(evidence)
    if winner is None:
        return LOCAL, "No delivered model was shown to be better than local-only on local records."
    found = next(item for item in evidence if item.name == winner)
    margin = f"{found.caution:g} standard deviations below is still above zero"
    if not found.caution:
        margin = "no margin is asked of it"
    return winner, (
        f"Estimated gain over local-only {100 * found.gain:+.1f} points, standard deviation"
        f" {100 * found.sd:.1f}; {margin}."
    )
