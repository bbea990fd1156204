"""Every method on one plant: as delivered, after local training, and with the plant's selector.

Local training is the plant's own code. ``lp-ft`` is a linear probe on the plant's labels, then
fine-tuning from the public base (Kumar et al., ICLR 2022); for a linear head both are one convex
problem, which the plant's fine-tuning from a head of zeros solves. ``selector`` is the model that
the plant's model selection selects, with the default policy.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bench.baselines import BASELINES, Context
from bench.plants import Floats, Ints, Plants, simulate_release
from bench.selected import (
    SELECTOR,
    THEN_LOCAL,
    head_accuracy,
    select_for_plant,
    selected_heads,
    train_locally,
    zero_head,
)

from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.selection.model_selection import SelectionOutcome
from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_common.modalities.images import Images
from wg_common.modalities.registry import find_modality
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.site.acceptance import AcceptanceConfig
from wg_server.generator.prior import blup, evidence_pools
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads

SAME_FAMILY_SHOTS = 60
TUNED_HEADS = ("closed-form", "closed-form-others")
"""Heads, besides the selector's, from which local training starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Configuration of a plant and its releases.

    Attributes:
        scenario: S1 few labels, S2 classes never seen, S3 no labels, S6 same family, strong camera.
        epsilon: Epsilon of every release; inf for no noise.
        shots: Number of labels (in S3 records without labels) per class at the plant.
        camera_strength: Strength of the plant's own camera, 0 to 1.
        missing_share: Share of classes that the plant has never seen.
        has_labels: True if the plant has labels.
        same_family_sites: Number of same-family sites with releases.
    """

    scenario: str
    epsilon: float
    shots: int
    camera_strength: float = 0.0
    missing_share: float = 0.0
    has_labels: bool = True
    same_family_sites: int = 3

    @property
    def name(self) -> str:
        """Title in tables."""
        return f"{self.scenario} eps={self.epsilon:g} n={self.shots}"


@dataclass(frozen=True, slots=True, eq=False)
class PlantDraw:
    """Plant of a cell: its records, and the evidence and heads for it.

    Attributes:
        x: Local features ``[n, D]``.
        y: Classes ``[n]``, -1 for no label.
        groups: Groups ``[n]``, as in ``Plants``.
        unseen_classes: Classes never seen by the plant.
        candidates: Candidates that the server makes.
        heads: Delivered heads and those of baselines, on local features.
        other_releases: Releases of same-family sites.
        evidence: Evidence from the plant's and same-family sites' releases.
        centre: Centre ``[d]`` to which the biases of heads refer.
        sum_noise: Standard deviation of the noise on each entry of class sums.
    """

    x: Floats
    y: Ints
    groups: Ints
    unseen_classes: Ints
    candidates: tuple[GeneratedCandidate, ...]
    heads: dict[str, LinearHead]
    other_releases: Sequence[NoisyStatistics]
    evidence: Sequence[SiteEvidence]
    centre: Floats
    sum_noise: float

    def select(
        self, trunk: TrunkFeatures, dimension: int, kind: str = Images.name
    ) -> SelectionOutcome:
        """Run the plant's model selection on a trunk.

        Args:
            dimension: Number of released features.
            kind: Modality of the records, which selects the default policy.
        """
        return select_for_plant(
            self.candidates,
            trunk,
            self.y,
            dimension,
            others_released=bool(self.other_releases),
            groups=self.groups,
            policy=AcceptanceConfig(standard_errors=find_modality(kind).default_standard_errors),
        )


def evaluate_methods(
    generator: HeadGenerator, plants: Plants, cells: Sequence[Cell], seed: int
) -> list[dict[str, float]]:
    """Accuracy of every method on a plant's test records, and on classes it has never seen.

    Args:
        cells: Cells that differ in epsilon only: their records and labels are the same, so that
            methods that use these alone are fitted once.
    """
    drawn = [draw_plant(generator, plants, cell, seed) for cell in cells]
    alone = _label_only_heads(plants, drawn[0])
    return [
        score_heads(
            one.heads | alone | _locally_trained_heads(plants, one), plants.test, one.unseen_classes
        )
        for one in drawn
    ]


def score_heads(
    heads: Mapping[str, LinearHead], test: tuple[Floats, Ints], unseen_classes: Ints
) -> dict[str, float]:
    """Accuracy of heads on test records, and on classes that the plant has never seen."""
    found, (x, y) = {}, test
    unseen = np.isin(y, unseen_classes)
    for name, head in heads.items():
        found[name] = head_accuracy(head, test)
        if unseen.any():
            found[f"{name} (unseen)"] = head_accuracy(head, (x[unseen], y[unseen]))
    return found


def draw_records(y: Ints, k: int, cell: Cell, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw the rows of a plant's records in a cell, and the classes that it has never seen."""
    gone = rng.permutation(k)[: round(cell.missing_share * k)]
    rows = [rng.permutation(np.flatnonzero(y == c))[: cell.shots] for c in range(k)]
    return np.concatenate([row for c, row in enumerate(rows) if c not in gone]), gone


def draw_plant(generator: HeadGenerator, plants: Plants, cell: Cell, seed: int) -> PlantDraw:
    """Draw a plant's records, simulate its and other sites' releases, and make heads from these."""
    parts = generator.package
    rng = np.random.default_rng((seed, 4))
    # Of the plant's own: where sets of equal shape share it, their errors are not independent.
    noise = np.random.default_rng((seed, 5, zlib.crc32(plants.test[0].tobytes())))
    k, d = len(plants.labels), plants.dimension
    chosen, gone = draw_records(plants.own[1], k, cell, rng)
    x, y = plants.own[0][chosen], plants.own[1][chosen]
    y = y if cell.has_labels else np.full(len(y), -1)

    def released(features: Floats, labels: Ints) -> NoisyStatistics:
        return simulate_release(
            parts.encoder_sha256, features[:, :d], labels, plants.labels, cell.epsilon, noise
        )

    own = released(x, y) if cell.shots else None
    others = []
    for sx, sy in plants.same_family[: cell.same_family_sites]:
        keep = np.concatenate([np.flatnonzero(sy == c)[:SAME_FAMILY_SHOTS] for c in range(k)])
        others.append(released(sx[keep], sy[keep]))
    pools = evidence_pools.pools_of_releases(parts.priors, own, others)
    made = generate_heads(generator, pools, plants.labels)
    evidence = [no_evidence(k, d) if own is None else site_evidence(own, plants.labels)]
    evidence += [site_evidence(x, plants.labels) for x in others]
    estimate = blup.predict_class_means(parts.priors, evidence)
    context, heads = Context(parts.priors, evidence, estimate), {}
    for name, baseline in BASELINES.items():
        w, b = baseline(context)
        heads[name] = LinearHead(w, b - w @ estimate.centre)
    return PlantDraw(
        x=x,
        y=y,
        groups=plants.groups[chosen],
        unseen_classes=gone,
        candidates=made,
        heads={name: head.pad_features(x.shape[1]) for name, head in heads.items()},
        other_releases=others,
        evidence=evidence,
        centre=estimate.centre,
        sum_noise=math.inf if own is None else own.sum_std,
    )


def _locally_trained_heads(plants: Plants, plant: PlantDraw) -> dict[str, LinearHead]:
    """Heads after local training, and the selected head."""
    outcome = plant.select(TrunkFeatures(plant.x), plants.dimension)
    found = selected_heads(outcome)
    if not len(plant.y):
        return {SELECTOR: found[SELECTOR]}
    if plant.y.min() < 0:
        return found
    for name in TUNED_HEADS:
        found[f"{name}{THEN_LOCAL}"] = train_locally(
            plant.heads[name], plant.x, plant.y, plant.unseen_classes
        )
    return found


def _label_only_heads(plants: Plants, plant: PlantDraw) -> dict[str, LinearHead]:
    """Head trained on the plant's labels alone, independent of releases."""
    if not len(plant.y) or plant.y.min() < 0:
        return {}
    k = len(plants.labels)
    return {
        "lp-ft": train_locally(
            zero_head(k, plant.x.shape[1]), plant.x, plant.y, plant.unseen_classes
        )
    }


def scenario_cells(*, quick: bool) -> Iterator[Cell]:
    """Yield the cells of all scenarios; S4 (no local step) is the delivered head of each."""
    epsilons = (1.0, 4.0) if quick else (0.5, 1.0, 4.0, float("inf"))
    shots = (5, 20) if quick else (0, 5, 20, 100)
    for epsilon in epsilons:
        yield from (Cell(scenario="S1 few labels", epsilon=epsilon, shots=n) for n in shots)
        for n in (20,) if quick else shots[1:]:
            yield Cell(
                scenario="S2 classes never seen", epsilon=epsilon, shots=n, missing_share=0.3
            )
            yield Cell(scenario="S3 no labels", epsilon=epsilon, shots=n, has_labels=False)
        if not quick or epsilon == 4.0:
            yield from (
                Cell(scenario="S6 new camera", epsilon=epsilon, shots=n, camera_strength=1.0)
                for n in shots
            )
