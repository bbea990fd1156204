"""Every method on one plant: as delivered, after local training, and with the plant's selector on.

Local training is the plant's own code. ``lp-ft`` is a linear probe on the plant's labels, then
fine-tuning from the public base (Kumar et al., ICLR 2022); for a linear head both are one convex
problem, and the plant's fine-tuning from a head of zeros solves it. ``selector`` is the model that
the plant's model selection keeps, with the policy that plants start with.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from bench.baselines import BASELINES, Baseline, Context, Metric
from bench.plants import Floats, Ints, Plants, release
from bench.reference.d2nwg import D2nwg
from bench.reference.deepsets import SetNetwork
from bench.selected import (
    SELECTOR,
    THEN_LOCAL,
    own_folds,
    right,
    selected,
    selected_heads,
    trained_on,
    zeros,
)

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.local_models import fit_local
from wg_client.selection.model_selection import Outcome
from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.generator.prior.conditioning import condition
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_denoiser import collate
from wg_server.generator.weights.head_generation import Generated, Generator, SiteRelease, generate

SAME_FAMILY_SHOTS = 60
JUDGED = ("network",)
TUNED_QUICK = ("network", "closed-form", "closed-form-others")
TUNED = (*TUNED_QUICK, "deepsets", "d2nwg-mean", "retrieval-5nn")
"""Heads, beside the selector's, that local training starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        scenario: S1 few labels, S2 classes never seen, S3 no labels, S6 same family, strong camera.
        epsilon: Of every release; inf is no noise.
        shots: Labels (in S3 records without labels) of a class at the plant.
        camera: Strength of the plant's own camera.
        missing: Share of classes that the plant has never seen.
        labelled: Whether the plant has labels.
        same_family: Same-family sites with releases.
    """

    scenario: str
    epsilon: float
    shots: int
    camera: float = 0.0
    missing: float = 0.0
    labelled: bool = True
    same_family: int = 3

    @property
    def name(self) -> str:
        """Its title in tables."""
        return f"{self.scenario} eps={self.epsilon:g} n={self.shots}"


@dataclass(frozen=True, slots=True, eq=False)
class Methods:
    """What is judged.

    Attributes:
        generator: The generator.
        trained: Maps of the features that are learnt on the zoo.
        sets: The deterministic set network.
        reference: D2NWG's recipe.
        tuned: Heads, beside the selector's, that local training starts from.
    """

    generator: Generator
    trained: Mapping[str, Metric]
    sets: SetNetwork
    reference: D2nwg
    tuned: Sequence[str] = TUNED


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One plant of a cell: its records and what has been made for it.

    Attributes:
        x: Local features ``[n, D]``.
        y: ``[n]``, -1: no label.
        groups: ``[n]``, as of ``Plants``.
        gone: Classes that it has never seen.
        made: What the server makes.
        heads: Delivered heads and those of baselines, on local features.
        others: What its same-family sites have released.
        evidence: Of what it and its same-family sites have released.
        centre: Where its heads' biases are taken.
        noise: On each entry of its class sums.
    """

    x: Floats
    y: Ints
    groups: Ints
    gone: Ints
    made: Generated
    heads: dict[str, LinearHead]
    others: Sequence[SiteRelease]
    evidence: Sequence[SiteEvidence]
    centre: Floats
    noise: float

    def select(self, trunk: Trunk, dimension: int) -> Outcome:
        """The plant's model selection, on a trunk of which so many features are released."""
        return selected(
            self.made,
            trunk,
            self.y,
            dimension,
            own=not math.isinf(self.noise),
            others=bool(self.others),
            groups=self.groups,
        )


def judge(
    methods: Methods, plants: Plants, cells: Sequence[Cell], seed: int
) -> list[dict[str, float]]:
    """Accuracy of every method on a plant's test records, and on classes it has never seen.

    Args:
        cells: They differ in epsilon only: their records and labels are the same, so that what
            learns from these alone is fitted once.
    """
    drawn = [draw(methods.generator, plants, cell, seed, methods.trained) for cell in cells]
    priors = methods.generator.parts.fitted_priors
    batch = [collate([condition(priors, one.evidence)[0]]) for one in drawn]
    many, constants = methods.reference.sample(batch, 8, seed)
    alone = _alone(methods, plants, drawn[0])
    found = []
    for one, released, weight, bias in zip(drawn, batch, many, constants, strict=True):
        with torch.inference_mode():
            set_weight, set_bias = methods.sets(released)
        trained = {
            "deepsets": (set_weight[0], set_bias[0]),
            "d2nwg-sample": (weight[0], bias[0]),
            "d2nwg-mean": (weight.mean(dim=0), bias.mean(dim=0)),
        }
        heads = dict(one.heads)
        for name, tensors in trained.items():
            w, b = (tensor.numpy().astype(np.float64) for tensor in tensors)
            heads[name] = LinearHead(w, b - w @ one.centre).padded(one.x.shape[1])
        if one.others and not math.isinf(one.noise):
            heads["closed-form-others"] = _without_own(methods.generator, one)
        heads |= alone | _local(methods, plants, replace(one, heads=heads))
        found.append(_scores(methods, plants, one.gone, heads))
    return found


def _without_own(generator: Generator, one: Drawn) -> LinearHead:
    """The closed form of what the same-family sites have released."""
    k, d = one.evidence[0].means.shape
    priors = generator.parts.fitted_priors
    _, estimate = condition(priors, [no_evidence(k, d), *one.evidence[1:]])
    bias = estimate.bias - estimate.weight @ estimate.centre
    return LinearHead(estimate.weight, bias).padded(one.x.shape[1])


def _scores(
    methods: Methods, plants: Plants, gone: Ints, heads: Mapping[str, LinearHead]
) -> dict[str, float]:
    tx, ty = plants.test
    mapped = {f"{name}{THEN_LOCAL}": (_map(one, tx), ty) for name, one in methods.trained.items()}
    return scores(heads, plants.test, gone, mapped)


def scores(
    heads: Mapping[str, LinearHead],
    test: tuple[Floats, Ints],
    gone: Ints,
    other: Mapping[str, tuple[Floats, Ints]] | None = None,
) -> dict[str, float]:
    """Accuracy of heads on test records, and on classes that the plant has never seen.

    Args:
        other: Test records of heads that see other features.
    """
    found = {}
    for name, head in heads.items():
        x, y = (other or {}).get(name, test)
        found[name] = right(head, (x, y))
        unseen = np.isin(y, gone)
        if unseen.any():
            found[f"{name} (unseen)"] = right(head, (x[unseen], y[unseen]))
    return found


def draw_records(y: Ints, k: int, cell: Cell, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows of the plant's records in a cell, and the classes that it has never seen."""
    gone = rng.permutation(k)[: round(cell.missing * k)]
    rows = [rng.permutation(np.flatnonzero(y == c))[: cell.shots] for c in range(k)]
    return np.concatenate([row for c, row in enumerate(rows) if c not in gone]), gone


def draw(
    generator: Generator,
    plants: Plants,
    cell: Cell,
    seed: int,
    trained: Mapping[str, Metric],
) -> Drawn:
    """Draw a plant's records, release them and its same-family sites', and make heads of these."""
    parts = generator.parts
    rng = np.random.default_rng((seed, 4))
    k, d = len(plants.labels), plants.dimension
    chosen, gone = draw_records(plants.own[1], k, cell, rng)
    x, y = plants.own[0][chosen], plants.own[1][chosen]
    y = y if cell.labelled else np.full(len(y), -1)

    def released(features: Floats, labels: Ints) -> NoisyStatistics:
        return release(parts.encoder, features[:, :d], labels, plants.labels, cell.epsilon, rng)

    own = released(x, y) if cell.shots else None
    others = []
    for number, (sx, sy) in enumerate(plants.same_family[: cell.same_family]):
        keep = np.concatenate([np.flatnonzero(sy == c)[:SAME_FAMILY_SHOTS] for c in range(k)])
        others.append(SiteRelease(f"sister-{number}", released(sx[keep], sy[keep])))
    made = generate(generator, own, others, plants.labels)
    heads = {c.name: head_from_tensors(c.tensors) for c in made.candidates if c.name in JUDGED}
    evidence = [no_evidence(k, d) if own is None else site_evidence(own, plants.labels)]
    evidence += [site_evidence(m.statistics, plants.labels) for m in others]
    _, estimate = condition(parts.fitted_priors, evidence)
    context = Context(parts.priors, evidence, estimate, parts.zoo_index)
    made_by: dict[str, Baseline] = {**BASELINES, **trained}
    for name, baseline in made_by.items():
        w, b = baseline(context)
        heads[name] = LinearHead(w, b - w @ estimate.centre)
    return Drawn(
        x=x,
        y=y,
        groups=plants.groups[chosen],
        gone=gone,
        made=made,
        heads={name: head.padded(x.shape[1]) for name, head in heads.items()},
        others=others,
        evidence=evidence,
        centre=estimate.centre,
        noise=math.inf if own is None else own.sum_std,
    )


def _local(methods: Methods, plants: Plants, one: Drawn) -> dict[str, LinearHead]:
    """Heads after local training, and the one that the plant's selector keeps."""
    outcome = one.select(Trunk(one.x), plants.dimension)
    found = selected_heads(outcome)
    if not len(one.y):
        return {SELECTOR: found[SELECTOR]}
    if one.y.min() < 0:
        return found
    for name in methods.tuned:
        if name in one.heads:
            found[f"{name}{THEN_LOCAL}"] = trained_on(one.heads[name], one.x, one.y, one.gone)
    return found


def _alone(methods: Methods, plants: Plants, one: Drawn) -> dict[str, LinearHead]:
    """Heads that learn from the plant's labels alone, whatever was released."""
    if not len(one.y) or one.y.min() < 0:
        return {}
    k = len(plants.labels)
    found = {"lp-ft": trained_on(zeros(k, one.x.shape[1]), one.x, one.y, one.gone)}
    for name, metric in methods.trained.items():
        mapped = fit_local(_map(metric, one.x), one.y, k, own_folds(one.y))
        found[f"{name}{THEN_LOCAL}"] = mapped.head
    return found


def _map(metric: Metric, features: Floats) -> Floats:
    """Local features ``[n, D]`` with the released ones, which come first, mapped."""
    d = len(metric.map)
    return np.hstack([features[:, :d] @ metric.map, features[:, d:]])


def cells(*, quick: bool) -> Iterator[Cell]:
    """The scenarios; S4, no local step, is how each of them is delivered."""
    epsilons = (1.0, 4.0) if quick else (0.5, 1.0, 4.0, float("inf"))
    shots = (5, 20) if quick else (0, 5, 20, 100)
    for epsilon in epsilons:
        yield from (Cell(scenario="S1 few labels", epsilon=epsilon, shots=n) for n in shots)
        for n in (20,) if quick else shots[1:]:
            yield Cell(scenario="S2 classes never seen", epsilon=epsilon, shots=n, missing=0.3)
            yield Cell(scenario="S3 no labels", epsilon=epsilon, shots=n, labelled=False)
        if not quick or epsilon == 4.0:
            yield from (
                Cell(scenario="S6 new camera", epsilon=epsilon, shots=n, camera=1.0) for n in shots
            )
