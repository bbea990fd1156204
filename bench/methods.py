"""Every method on one plant: as delivered, after local training, and with the plant's selector on.

Local training is the plant's own code. ``lp-ft`` is a linear probe on the plant's labels, then
fine-tuning from the public base (Kumar et al., ICLR 2022); for a linear head both are one convex
problem, and the plant's fine-tuning from a head of zeros solves it. ``selector`` is the model that
the plant's do-no-harm contest keeps, with the policy that plants start with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bench.plants import Floats, Ints, Plants, release
from bench.reference.d2nwg import D2nwg
from bench.reference.deepsets import SetNetwork

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.delivered import fixed
from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.folds import stratified
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.local_models import fit_local
from wg_client.selection import compare
from wg_client.selection.entrants import Offer
from wg_client.site.config import AcceptanceConfig
from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import from_tensors, no_evidence
from wg_server.generator import baselines
from wg_server.generator.heads import batch as batches
from wg_server.generator.heads.denoiser import Batch
from wg_server.generator.heads.generate import Generated, Generator, SiteRelease, generate
from wg_server.generator.prior.conditioning import condition
from wg_server.generator.prior.site_statistics import site_evidence

SAME_FAMILY_SHOTS = 60
JUDGED = ("network", "sample-0", "sample-mean")
TUNED = ("closed-form-others", "deepsets", "d2nwg-mean", "retrieval-5nn")
TUNED_QUICK = ("closed-form-others",)
"""Heads, beside the selector's, that local training starts from."""
LOCAL = "local-only"
SELECTOR = "selector"
THEN_LOCAL = ", then local"
_CONTEST = {
    LOCAL: compare.LOCAL,
    compare.COMPLETED: compare.COMPLETED,
    compare.COMPLETED_FINETUNED: compare.COMPLETED_FINETUNED,
    f"network{THEN_LOCAL}": compare.GENERATED_FINETUNED,
    f"closed-form{THEN_LOCAL}": compare.CLOSED_FORM_FINETUNED,
}
"""Models of the plant's contest, by the name they have in tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        scenario: S1 few labels, S2 classes never seen, S3 no labels, S6 sister, strong camera.
        epsilon: Of every release; inf is no noise.
        shots: Labels (in S3 records without labels) of a class at the plant.
        camera: Strength of the plant's own camera.
        missing: Share of classes that the plant has never seen.
        labelled: Whether the plant has labels.
        sisters: Sister plants with releases.
    """

    scenario: str
    epsilon: float
    shots: int
    camera: float = 0.0
    missing: float = 0.0
    labelled: bool = True
    sisters: int = 3

    @property
    def name(self) -> str:
        """Its title in tables."""
        return f"{self.scenario} eps={self.epsilon:g} n={self.shots}"


@dataclass(frozen=True, slots=True, eq=False)
class Methods:
    """What is judged.

    Attributes:
        generator: The generator.
        trained: Rivals trained in the server package.
        sets: The deterministic set network.
        reference: D2NWG's recipe.
        tuned: Heads, beside the selector's, that local training starts from.
    """

    generator: Generator
    trained: baselines.Trained
    sets: SetNetwork
    reference: D2nwg
    tuned: Sequence[str] = TUNED


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One plant of a cell: its records (-1: no label) and what has been made for it.

    ``batch`` is what it and its sisters have released, for networks; ``centre`` where their
    heads' biases are taken; ``noise`` is on each entry of its class sums.
    """

    x: Floats
    y: Ints
    gone: Ints
    made: Generated
    heads: Mapping[str, LinearHead]
    batch: Batch
    centre: Floats
    noise: float


def judge(
    methods: Methods, plants: Plants, cells: Sequence[Cell], seed: int
) -> list[dict[str, float]]:
    """Accuracy of every method on a plant's test records, and on classes it has never seen.

    Args:
        methods: What is judged.
        plants: The data set, cut up.
        cells: They differ in epsilon only: their records and labels are the same, so that what
            learns from these alone is fitted once.
        seed: Of the plant.
    """
    drawn = [_draw(methods, plants, cell, seed) for cell in cells]
    many, constants = methods.reference.sample([one.batch for one in drawn], 8, seed)
    alone = _alone(methods, plants, cells[0], drawn[0])
    found = []
    for cell, one, weight, bias in zip(cells, drawn, many, constants, strict=True):
        heads = dict(one.heads)
        for name, (w, b) in {
            "d2nwg-sample": _double(weight[0], bias[0]),
            "d2nwg-mean": _double(weight.mean(dim=0), bias.mean(dim=0)),
        }.items():
            heads[name] = LinearHead(w, b - w @ one.centre).padded(one.x.shape[1])
        one = dataclasses.replace(one, heads=heads)
        heads = heads | alone | _local(methods, plants, cell, one)
        found.append(_scores(methods, plants, one.gone, heads))
    return found


def _scores(
    methods: Methods, plants: Plants, gone: Ints, heads: Mapping[str, LinearHead]
) -> dict[str, float]:
    tx, ty = plants.test
    unseen = np.isin(ty, gone)
    scores = {}
    for name, head in heads.items():
        right = _mapped(methods, name, head, tx).argmax(axis=1) == ty
        scores[name] = float(right.mean())
        if unseen.any():
            scores[f"{name} (unseen)"] = float(right[unseen].mean())
    return scores


def _draw(methods: Methods, plants: Plants, cell: Cell, seed: int) -> _Drawn:
    generator = methods.generator
    parts = generator.parts
    rng = np.random.default_rng((seed, 4))
    k, d = len(plants.labels), plants.dimension
    gone = rng.permutation(k)[: round(cell.missing * k)]
    x, y = plants.own
    rows = [rng.permutation(np.flatnonzero(y == c))[: cell.shots] for c in range(k)]
    chosen = np.concatenate([row for c, row in enumerate(rows) if c not in gone])
    x, y = x[chosen], y[chosen]
    said = y if cell.labelled else np.full(len(y), -1)
    own = None
    if cell.shots:
        own = release(parts.encoder, x[:, :d], said, plants.labels, cell.epsilon, rng)
    others = []
    for number, (sx, sy) in enumerate(plants.sisters[: cell.sisters]):
        keep = np.concatenate([np.flatnonzero(sy == c)[:SAME_FAMILY_SHOTS] for c in range(k)])
        other = release(parts.encoder, sx[keep][:, :d], sy[keep], plants.labels, cell.epsilon, rng)
        others.append(SiteRelease(f"sister-{number}", other))
    made = generate(generator, own, others, plants.labels, samples=8, seed=seed)
    heads = {c.name: head_from_tensors(c.tensors) for c in made.candidates if c.name in JUDGED}
    sites = [no_evidence(k, d) if own is None else site_evidence(own, plants.labels)]
    sites += [site_evidence(m.statistics, plants.labels) for m in others]
    tokens, estimate = condition(parts.fitted_priors, sites)
    context = baselines.Context(parts.priors, sites, estimate, parts.zoo_index, rng)
    found: dict[str, baselines.Head] = {}
    for name, rival in {**baselines.BASELINES, **methods.trained.baselines}.items():
        found[name] = rival(context)
    batch = batches.collate([tokens])
    with torch.inference_mode():
        weight, bias = methods.sets(batch)
        found["deepsets"] = _double(weight[0], bias[0])
    if cell.sisters and cell.shots:
        _, other_estimate = condition(parts.fitted_priors, [no_evidence(k, d), *sites[1:]])
        heads["closed-form-others"] = LinearHead(
            other_estimate.weight,
            other_estimate.bias - other_estimate.weight @ other_estimate.centre,
        )
    for name, (w, b) in found.items():
        heads[name] = LinearHead(w, b - w @ estimate.centre)
    heads = {name: head.padded(x.shape[1]) for name, head in heads.items()}
    noise = math.inf if own is None else own.sum_std
    return _Drawn(x, said, gone, made, heads, batch, estimate.centre, noise)


def contested(
    made: Generated, trunk: Trunk, labels: Ints, dimension: int, noise: float, *, others: bool
) -> compare.Outcome:
    """The plant's contest over what was delivered, with the policy that plants start with.

    Args:
        made: What the server makes.
        trunk: The encoder, seen through the plant's records.
        labels: ``[n]``, -1 without one.
        dimension: Number of features that are released.
        noise: On an entry of a class sum in the plant's release; inf without one.
        others: Whether sisters have released.
    """
    width = trunk.features.shape[1]
    offers = [
        Offer(c.name, c.source, trunk, head_from_tensors(c.tensors).padded(width))
        for c in made.candidates
        if c.source != POSTERIOR
    ]
    k = len(offers[0].head.bias)
    zero = LinearHead(np.zeros((k, width)), np.zeros(k))
    delivered = next(c.tensors for c in made.candidates if c.source == POSTERIOR)
    return compare.hold(
        trunk,
        labels,
        None,
        offers,
        Offer("", "", trunk, zero),
        AcceptanceConfig(),
        posterior=from_tensors(delivered, k, dimension),
        noise=noise,
        others=others,
    )


def contest_heads(held: compare.Outcome) -> dict[str, LinearHead]:
    """What the plant's selector keeps, and the models of the contest that tables show."""
    shown = {name: held.models[m].head for name, m in _CONTEST.items() if m in held.models}
    return {SELECTOR: held.models[held.kept].head, **shown}


def _local(methods: Methods, plants: Plants, cell: Cell, drawn: _Drawn) -> dict[str, LinearHead]:
    """Heads after local training, and the one that the plant's selector keeps."""
    held = contested(
        drawn.made, Trunk(drawn.x), drawn.y, plants.dimension, drawn.noise, others=cell.sisters > 0
    )
    found = contest_heads(held)
    if not len(drawn.y):
        return {SELECTOR: found[SELECTOR]}
    if not cell.labelled:
        return found
    folds = stratified(drawn.y, np.random.default_rng(5))
    mass = len(drawn.gone) / len(plants.labels)
    for name in methods.tuned:
        if name in drawn.heads:
            tuned = fit_finetuned(
                fixed(drawn.heads[name]), drawn.x, drawn.y, folds, unseen_mass=mass
            )
            found[f"{name}{THEN_LOCAL}"] = tuned.fitted.head
    return found


def _alone(methods: Methods, plants: Plants, cell: Cell, drawn: _Drawn) -> dict[str, LinearHead]:
    """Heads that learn from the plant's labels alone, whatever was released."""
    if not cell.labelled or not len(drawn.y):
        return {}
    k, d = len(plants.labels), plants.test[0].shape[1]
    zero = LinearHead(np.zeros((k, d)), np.zeros(k))
    folds = stratified(drawn.y, np.random.default_rng(5))
    mass = len(drawn.gone) / k
    probe = fit_finetuned(fixed(zero), drawn.x, drawn.y, folds, unseen_mass=mass)
    found = {"lp-ft": probe.fitted.head}
    for name, metric in (
        ("reptile", methods.trained.reptile),
        ("meta-base", methods.trained.meta_base),
    ):
        mapped = fit_local(_map(metric, drawn.x), drawn.y, k, folds)
        found[f"{name}{THEN_LOCAL}"] = mapped.head
    return found


def _mapped(methods: Methods, name: str, head: LinearHead, features: Floats) -> Floats:
    """Logits; heads that were trained on meta-learnt features get these."""
    if name == f"reptile{THEN_LOCAL}":
        return head.logits(_map(methods.trained.reptile, features))
    if name == f"meta-base{THEN_LOCAL}":
        return head.logits(_map(methods.trained.meta_base, features))
    return head.logits(features)


def _map(metric: baselines.Metric, features: Floats) -> Floats:
    """Local features ``[n, D]`` with the released ones, which come first, mapped."""
    d = len(metric.map)
    return np.hstack([features[:, :d] @ metric.map, features[:, d:]])


def _double(weight: torch.Tensor, bias: torch.Tensor) -> baselines.Head:
    return weight.numpy().astype(np.float64), bias.numpy().astype(np.float64)


def cells(*, quick: bool) -> Sequence[Cell]:
    """The scenarios; S4, no local step, is how each of them is delivered."""
    epsilons = (1.0, 4.0) if quick else (0.5, 1.0, 4.0, float("inf"))
    shots = (5, 20) if quick else (0, 5, 20, 100)
    found = []
    for epsilon in epsilons:
        found += [Cell(scenario="S1 few labels", epsilon=epsilon, shots=n) for n in shots]
        for n in (20,) if quick else shots[1:]:
            found.append(
                Cell(scenario="S2 classes never seen", epsilon=epsilon, shots=n, missing=0.3)
            )
            found.append(Cell(scenario="S3 no labels", epsilon=epsilon, shots=n, labelled=False))
        if not quick or epsilon == 4.0:
            found += [
                Cell(scenario="S6 new camera", epsilon=epsilon, shots=n, camera=1.0) for n in shots
            ]
    return found
