"""Model selection: every method's model against local-only on the plant's own records.

One path for every architecture: each method fits its model; each model that no release of the
plant's records had a part in is compared with local-only out of fold, by one rule (``gain``); every
check looks at every comparison; and of the models that pass all of them the one furthest above
zero is kept, otherwise local-only is. The rule is judged like a model: for the records of a fold it
is followed without them. Without any labelled record nothing can be compared, and the policy
decides. With records of one class only it decides as well, but a model must recognise these.
Held-out test records have no part in any of it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wg_client.data.plant import Progress
from wg_client.fitting.fitted import OutOfFold
from wg_client.fitting.linear_head import Floats, Ints, log_loss
from wg_client.methods import registry as methods
from wg_client.methods.base import LabelledRecords, Model, Package, correctness
from wg_client.methods.names import GENERATED_FINETUNED, LOCAL
from wg_client.models.manifest import Finding
from wg_client.selection import gain
from wg_client.selection.checks import registry as checks
from wg_client.selection.checks.base import Comparison
from wg_client.selection.checks.probe import Probe
from wg_client.selection.gain import Accuracy, Gain, Unseen
from wg_core.errors import NotAcceptedError
from wg_core.language import Text, joined, text
from wg_core.site.config import AcceptanceConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What came of a package.

    Attributes:
        models: By name, in the order of the methods; without labelled records local-only is
            missing.
        comparisons: Each model that is judged, but the references, against local-only, by name.
        findings: What the checks say of these.
        kept: Name of the model kept.
        reason: For the plant engineer.
        records: The records.
        selected: Out-of-fold predictions of the rule; None if nothing was held out.
        encoder_alone: For whole networks: out-of-fold accuracy of the best head that local labels
            alone give on the encoder, for information; such a head needs the encoder to run.
    """

    models: Mapping[str, Model]
    comparisons: Mapping[str, Comparison]
    findings: Sequence[Finding]
    kept: str
    reason: Text
    records: LabelledRecords
    selected: OutOfFold | None = None
    encoder_alone: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether delivered weights were kept, in any form."""
        return self.kept != LOCAL

    @cached_property
    def labels(self) -> Ints:
        """Labels ``[m]`` of the judged records, in the order of predictions."""
        return self.records.judged

    def out_of_fold(self, name: str) -> OutOfFold | None:
        """How a model was judged; of the one that is kept, with the choice of it."""
        return self.selected if name == self.kept else self.models[name].fitted.out_of_fold

    def accuracy(self, name: str) -> Accuracy | None:
        """Accuracy of a model on new records of the site; None where it was not judged."""
        judged, own = self.out_of_fold(name), self.models[name].fitted.out_of_fold
        if judged is None or own is None:
            return None
        rise = own.rise(self.records.folds.assignment)
        return gain.accuracy(_right(judged), self.records.judged_groups, rise)


def select_model(
    records: LabelledRecords,
    package: Package,
    policy: AcceptanceConfig,
    probe: Probe | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Fit, compare and choose.

    Args:
        records: The plant's.
        package: What came.
        policy: When delivered weights may be kept.
        probe: Records that checks may change; None where there are features only.
        progress: Told of methods that are done, and of how many there are.

    Raises:
        NotAcceptedError: No record is labelled, and the policy keeps nothing unchecked, or there is
            no reason to believe what was delivered.
    """
    models = {}
    for done, method in enumerate(methods.METHODS):
        if progress is not None:
            progress(done, len(methods.METHODS))
        model = method.fit(records, package)
        if model is not None:
            models[method.name] = model
    comparisons = _comparisons(models, records, package, policy, probe)
    findings = checks.findings(comparisons.values())
    blocked = {finding.model for finding in findings if finding.blocks}
    if not len(records.labels):
        kept, reason = _unchecked(models, blocked, package, policy)
        return Outcome(
            models=models,
            comparisons={},
            findings=findings,
            kept=kept,
            reason=reason,
            records=records,
        )
    passed = {name: found for name, found in comparisons.items() if name not in blocked}
    asked = {name: found.asked for name, found in comparisons.items()}
    kept, by_rule = _best(passed, asked)
    alone = None if package.encoder is None else records.fit_local(package.encoder)
    alone_judged = None if alone is None else alone.out_of_fold
    blocked -= {f.model for f in findings if f.blocks and f.code == checks.GAIN}
    return Outcome(
        models=models,
        comparisons=comparisons,
        findings=findings,
        kept=kept,
        reason=_reason(kept, findings, models, package),
        records=records,
        selected=_selected(
            models, records, {name: asked[name] for name in asked if name not in blocked}
        )
        if by_rule
        else models[kept].fitted.out_of_fold,
        encoder_alone=None if alone_judged is None else float(_right(alone_judged).mean()),
    )


def _right(judged: OutOfFold) -> Floats:
    return correctness(judged.predictions, judged.labels)


def _comparisons(
    models: Mapping[str, Model],
    records: LabelledRecords,
    package: Package,
    policy: AcceptanceConfig,
    probe: Probe | None,
) -> dict[str, Comparison]:
    """Each model that is judged; without any label there is nothing to compare it with.

    Where nothing is known of the classes, nothing is judged but what
    another plant gave.
    """
    references = {method.name for method in methods.METHODS if method.reference}
    local, found = models.get(LOCAL), {}
    for name in (name for name in models if name not in references):
        model, estimate = models[name], gain.UNKNOWN
        if local is not None:
            one, other = model.fitted.out_of_fold, local.fitted.out_of_fold
            informed = package.informed or model.of_others
            if not informed or not model.judged or one is None or other is None:
                continue
            estimate = _gain(model, one, other, records, records.judged_groups)
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


def _gain(
    model: Model, one: OutOfFold, local: OutOfFold, records: LabelledRecords, groups: Ints
) -> Gain:
    return gain.estimated_gain(
        _alone(local.logits, local.labels, records) - one.losses.mean(axis=0),
        _right(one) - _right(local),
        groups,
        records.folds.count,
        Unseen(mass=records.unseen_mass, classes=records.classes - len(np.unique(records.labels))),
        model.fitted.leave_class_out,
    )


def _alone(logits: Floats, labels: Ints, records: LabelledRecords) -> Floats:
    """Log loss of local-only ``[repeats, m, K]`` on each record, among classes with records.

    Of the others it knows nothing: what it loses by them is in ``gain``.
    """
    seen = np.unique(records.labels)
    dense = np.searchsorted(seen, labels)
    losses = [log_loss(each[:, seen], dense) for each in logits]
    return np.asarray(np.mean(losses, axis=0))


def _best(passed: Mapping[str, Comparison], asked: Mapping[str, float]) -> tuple[str, bool]:
    """What is kept of models that nothing blocks, and whether the rule says so.

    It asks for what labels of one class cannot show: with these the most likely one is kept of
    those that more than one other plant stands behind.
    """
    gains = {name: found.gain.log_loss for name, found in passed.items() if found.one_class}
    if gains:
        return max(gains, key=lambda name: gains[name]), False
    own = {name for name, found in passed.items() if found.model.of_kind}
    return _chosen({name: found.gain for name, found in passed.items()}, asked, own), True


def _chosen(gains: Mapping[str, Gain], asked: Mapping[str, float], own: Collection[str]) -> str:
    """The rule: the model furthest above what is asked of it, or local-only.

    Of models of the plant's own kind the one that was trained on stands for all, where it may be
    kept. How much of what was delivered it keeps, its own cross-validation has chosen already. To
    choose once more, by the same few labels, is to choose by chance.
    """
    better = {
        name: found.above(asked[name]) for name, found in gains.items() if found.shown(asked[name])
    }
    if GENERATED_FINETUNED in own and GENERATED_FINETUNED in better:
        others = set(own) - {GENERATED_FINETUNED}
        better = {name: value for name, value in better.items() if name not in others}
    return max(better, key=lambda name: better[name], default=LOCAL)


def _selected(
    models: Mapping[str, Model], records: LabelledRecords, asked: Mapping[str, float]
) -> OutOfFold | None:
    """What the rule predicts of each record where it was followed without the record's fold.

    Args:
        models: All of them.
        records: The plant's.
        asked: Standard errors by which those that may be kept must be better.
    """
    own = {name for name in asked if models[name].of_kind}
    judged = {name: models[name].fitted.out_of_fold for name in (LOCAL, *asked)}
    found = {name: each for name, each in judged.items() if each is not None}
    if LOCAL not in found:
        return None
    local, labels, groups = found[LOCAL], records.judged, records.judged_groups
    repeats = min(len(each.logits) for each in found.values())
    logits, inner = local.logits[:repeats].copy(), local.inner[:repeats]
    for repeat in range(repeats):
        fold = records.folds.assignment[repeat]
        for out in range(records.folds.count):
            known = fold != out
            base = local.of(repeat, out, known)
            gains = {
                name: _gain(
                    models[name], found[name].of(repeat, out, known), base, records, groups[known]
                )
                for name in asked
            }
            logits[repeat, ~known] = found[_chosen(gains, asked, own)].logits[repeat, ~known]
    return OutOfFold(logits=logits, inner=inner, labels=labels)


def _reason(
    kept: str, findings: Iterable[Finding], models: Mapping[str, Model], package: Package
) -> Text:
    if kept != LOCAL:
        own = (f for f in findings if f.model == kept and (f.code == checks.GAIN or not f.passed))
        return joined(*(finding.message for finding in own))
    if not (package.informed or any(model.of_others for model in models.values())):
        return text(
            "No other site has released statistics of these classes, and the server has no records"
            " of this kind of plant: what was delivered knows no more of them than your own"
            " records, and was not judged."
        )
    said = text("No delivered model was shown to be better than local-only on local records.")
    if all(model.judged for model in models.values()):
        return said
    own_release = text(
        "Weights that were made from your own release were not judged: your records had a part in"
        " them."
    )
    return joined(said, own_release)


def _unchecked(
    models: Mapping[str, Model],
    blocked: Collection[str],
    package: Package,
    policy: AcceptanceConfig,
) -> tuple[str, Text]:
    ranks = {
        name: model.unchecked_rank
        for name, model in models.items()
        if model.unchecked_rank is not None and name not in blocked
    }
    if not ranks or not policy.without_labels:
        raise NotAcceptedError(
            text(
                "WG-F11: no local labels: nothing can be checked, and acceptance.without_labels is"
                " off, or no model passed the checks that need none"
            )
        )
    if not package.known:
        raise NotAcceptedError(
            text(
                "WG-F11: no local labels, and no reason to believe what was delivered: no other"
                " site has released statistics of these classes, and the server has no records of"
                " this kind of plant. Label some records, or wait for another site's release"
            )
        )
    why = (
        text("the server knows this kind of plant from its own records")
        if package.family
        else text("other sites have released statistics of these classes")
    )
    low, middle, high = (round(100 * share) for share in gain.UNCHECKED)
    said = text(
        "There are no labels here: nothing was checked, and local-only is impossible. It is kept"
        " because {why}. At development sites such models named {middle} % of records right; at"
        " one in ten fewer than {low} %, at one in ten more than {high} %.",
        why=why,
        low=low,
        middle=middle,
        high=high,
    )
    return max(ranks, key=lambda name: ranks[name]), said
