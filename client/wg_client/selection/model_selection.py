"""Model selection: every method's model against local-only on the plant's own records.

One path for every architecture: each method fits its model, each model is compared with local-only
out of fold, every check looks at every comparison, and of the models that pass all of them the one
with the largest gain less its margin is kept; otherwise local-only is. Without any labelled record
nothing can be compared, and the policy decides. Held-out test records have no part in any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wg_client.fitting.linear_head import Ints
from wg_client.methods import registry as methods
from wg_client.methods.base import LabelledRecords, Model, Package, accuracy
from wg_client.methods.names import LOCAL
from wg_client.models.manifest import Finding
from wg_client.selection import gain
from wg_client.selection.checks import registry as checks
from wg_client.selection.checks.base import Comparison
from wg_client.selection.checks.probe import Probe
from wg_client.site.config import AcceptanceConfig
from wg_common.errors import NotAcceptedError


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What came of a package.

    Attributes:
        models: By name, in the order of the methods; without labelled records local-only is
            missing.
        comparisons: Each model but the references against local-only, by name.
        findings: What the checks say of these.
        kept: Name of the model kept.
        reason: One sentence for the plant engineer.
        labels: int64 ``[n]`` of the labelled records, in the order of predictions.
        candidate_losses: Mean log loss of each delivered candidate on local records, nats.
        encoder_alone: For whole networks: out-of-fold accuracy of the best head that local labels
            alone give on the encoder, for information; such a head needs the encoder to run.
    """

    models: Mapping[str, Model]
    comparisons: Mapping[str, Comparison]
    findings: Sequence[Finding]
    kept: str
    reason: str
    labels: Ints
    candidate_losses: Mapping[str, float]
    encoder_alone: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether delivered weights were kept, in any form."""
        return self.kept != LOCAL

    def accuracy(self, name: str) -> tuple[float, float]:
        """Out-of-fold accuracy of a model and its standard error; NaN without labels."""
        return accuracy(self.models[name].fitted, self.labels)


def select_model(
    records: LabelledRecords,
    package: Package,
    policy: AcceptanceConfig,
    probe: Probe | None = None,
) -> Outcome:
    """Fit, compare and choose.

    Args:
        records: The plant's.
        package: What came.
        policy: When delivered weights may be kept.
        probe: Records that checks may change; None where there are features only.

    Raises:
        NotAcceptedError: No record is labelled, and the policy keeps nothing unchecked.
    """
    fitted = ((method.name, method.fit(records, package)) for method in methods.METHODS)
    models = {name: model for name, model in fitted if model is not None}
    comparisons = _comparisons(models, records, package, policy, probe)
    findings = checks.findings(comparisons.values())
    kept, reason = _kept(models, comparisons, findings, records, policy)
    n = max(len(records.labels), 1)
    alone = None if package.encoder is None else records.fit_local(package.encoder)
    return Outcome(
        models=models,
        comparisons={n: found for n, found in comparisons.items() if found.local is not None},
        findings=findings,
        kept=kept,
        reason=reason,
        labels=records.labels,
        candidate_losses={
            candidate.name: package.delivered_loss(candidate, records) / n
            for candidate in package.candidates
        },
        encoder_alone=None if alone is None else accuracy(alone, records.labels)[0],
    )


def _comparisons(
    models: Mapping[str, Model],
    records: LabelledRecords,
    package: Package,
    policy: AcceptanceConfig,
    probe: Probe | None,
) -> dict[str, Comparison]:
    """Each model but the references; without any label there is nothing to compare it with."""
    references = {method.name for method in methods.METHODS if method.reference}
    challengers = {name: model for name, model in models.items() if name not in references}
    if not len(records.labels):
        return {
            name: Comparison(
                name=name,
                model=model,
                local=None,
                gain=gain.UNKNOWN,
                records=records,
                package=package,
                policy=policy,
                probe=probe,
            )
            for name, model in challengers.items()
        }
    if not records.folds.usable:
        return {}
    local, found = models[LOCAL], {}
    for name, model in challengers.items():
        estimate = gain.estimated_gain(
            model.fitted.losses,
            local.fitted.losses,
            prior_records=policy.prior_records,
            unseen_mass=records.unseen_mass,
            leave_class_out=model.fitted.leave_class_out,
            optimism=gain.optimism(model, models, records, package),
            prior_recall=gain.prior_recall(model.fitted.leave_class_out, records),
        )
        found[name] = Comparison(
            name=name,
            model=model,
            local=local,
            gain=estimate,
            records=records,
            package=package,
            policy=policy,
            probe=probe,
        )
    return found


def _kept(
    models: Mapping[str, Model],
    comparisons: Mapping[str, Comparison],
    findings: Sequence[Finding],
    records: LabelledRecords,
    policy: AcceptanceConfig,
) -> tuple[str, str]:
    failed = {finding.model for finding in findings if finding.blocks}
    if not len(records.labels):
        ranks = {
            name: model.unchecked_rank
            for name, model in models.items()
            if model.unchecked_rank is not None and name not in failed
        }
        if not ranks or not policy.without_labels:
            raise NotAcceptedError(
                "WG-F11: no local labels: nothing can be checked, and acceptance.without_labels is"
                " off, or no model passed the checks that need none"
            )
        unchecked = "There are no labels here: nothing was checked, and local-only is impossible."
        return max(ranks, key=lambda name: ranks[name]), unchecked
    accepted = [name for name in comparisons if name not in failed]
    if not accepted:
        return LOCAL, "No delivered model was shown to be better than local-only on local records."
    kept = max(accepted, key=lambda name: comparisons[name].lower)
    reasons = [f for f in findings if f.model == kept and (f.code == checks.GAIN or not f.passed)]
    return kept, " ".join(finding.message for finding in reasons)
