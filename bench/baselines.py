"""Baselines that make a head of what the server knows of a plant, as the generator does.

Closed forms of the releases, zoo rows, prototypes without counts (Snell et al., NeurIPS 2017), and
two linear maps of the features that are learnt on the zoo: *Reptile* (Nichol et al., 2018), a map
trained together with a fresh head on a few labels of a task, whose start moves towards where that
ends; and the *functional meta-base*, a metric for class deviations, trained through the
cross-entropy of held-out records over simulated plants (what MetaOptNet and R2-D2 have apart from a
solver: Lee et al., CVPR 2019; Bertinetto et al., ICLR 2019). Heads are rows and biases of
``features - centre``, where ``centre`` is the mean that BLUP predicts for the site.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import softmax

from wg_common import streams
from wg_common.inference.discriminants import centred, lda, scaled, unit_rows
from wg_common.inference.posterior import SiteEvidence
from wg_common.streams import Stream
from wg_server.generator.prior import blup, conditioning, retrieval
from wg_server.generator.prior.blup import Floats, Prediction, Priors
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.retrieval import ZooIndex
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Episode

Head = tuple[Floats, Floats]
_REPTILE_ROUNDS = 400
_ROUNDS = 4
_BATCH = 16
_INNER = 12
_OUTER = 0.1
_SHOTS = (2, 5, 10, 20)
_SHARPNESS = 12.0
_HEAD_RATE = 0.2
_MAP_RATE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a baseline may use.

    Attributes:
        priors: Variances of the mixed model.
        sites: Evidence, own site first.
        estimate: BLUP of all sites.
        zoo_index: Heads and class deviations of the zoo.
    """

    priors: Priors
    sites: Sequence[SiteEvidence]
    estimate: Prediction
    zoo_index: ZooIndex


Baseline = Callable[[Context], Head]


def closed_form_own(context: Context) -> Head:
    """BLUP of the plant's own release only."""
    own = blup.predict(context.priors, context.sites[:1])
    return own.weight, own.bias + own.weight @ (context.estimate.centre - own.centre)


def cosine_without_counts(context: Context) -> Head:
    """Cosine prototypes of the sums' directions: every site counts alike, no count is asked.

    Sums are brought to the site's own mean sum before their directions are added up.
    """
    shape = context.estimate.weight.shape
    total = np.zeros(shape)
    for site in context.sites:
        sums = site.means * site.counts[:, None]
        known = site.present > 1e-3
        if known.sum() < 2:
            continue
        away = np.where(known[:, None], sums - sums[known].mean(axis=0), 0.0)
        total += away / (np.linalg.norm(away) + 1e-12)
    rows = unit_rows(total)
    return rows, np.zeros(shape[0])


BASELINES: Mapping[str, Baseline] = {
    "closed-form-own": closed_form_own,
    "closed-form": lambda context: (context.estimate.weight, context.estimate.bias),
    "blend": lambda context: conditioning.prior_mixture(
        FittedPriors(context.priors, context.zoo_index), context.estimate
    ),
    "cosine-no-counts": cosine_without_counts,
    "retrieval-5nn": lambda context: retrieval.retrieve(
        context.zoo_index, context.priors, context.estimate.deviations, 5
    ),
}
"""Without training."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """Prototypes in a learnt metric.

    Attributes:
        matrix: Symmetric, positive, ``[d, d]``.
    """

    matrix: Floats

    def __call__(self, context: Context) -> Head:
        """Rows ``A delta`` and biases ``-delta' A delta / 2`` of BLUP's class deviations."""
        deviations = context.estimate.deviations
        return scaled(*centred(*lda(deviations, self.matrix)))

    @property
    def map(self) -> Floats:
        """The linear map of features whose inner products the metric is, ``[d, d]``."""
        values, vectors = np.linalg.eigh(self.matrix)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def functional_metric(
    priors: Priors, episodes: Sequence[Episode], rng: np.random.Generator
) -> Metric:
    """Train the metric on simulated plants, from the public whitener on."""
    start = np.linalg.cholesky(priors.whitener / np.trace(priors.whitener) * len(priors.whitener))
    root = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    sharpness = torch.tensor(float(np.log(_SHARPNESS)), requires_grad=True)
    optimiser = torch.optim.Adam([root, sharpness], lr=0.01)
    steps = _ROUNDS * max(1, len(episodes) // _BATCH)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        matrix = root @ root.T
        losses = []
        for index in rng.integers(0, len(episodes), _BATCH):
            episode = episodes[int(index)]
            deviations = torch.tensor(episode.estimate.deviations, dtype=torch.float32)
            weight = deviations @ matrix
            bias = -0.5 * (weight * deviations).sum(dim=1)
            # Without any evidence deviations are 0: no gradient may come from their length.
            size = ((weight - weight.mean(dim=0)).square().sum(dim=1).mean() + 1e-9).sqrt()
            queries = torch.from_numpy(episode.queries - episode.condition.centre)
            logits = (queries @ weight.T + bias) / size * sharpness.exp()
            losses.append(F.cross_entropy(logits, torch.from_numpy(episode.answers)))
        optimiser.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        return Metric((root @ root.T).numpy().astype(np.float64))


def reptile(tasks: Sequence[ZooTask], rounds: int, rng: np.random.Generator) -> Metric:
    """Train the map that heads start from, by Reptile over zoo tasks; plain gradient steps."""
    d = tasks[0].features.shape[1]
    start = np.eye(d)
    for turn in range(rounds):
        task = tasks[int(rng.integers(len(tasks)))]
        shots = _SHOTS[int(rng.integers(len(_SHOTS)))]
        rows = np.concatenate(
            [
                rng.permutation(np.flatnonzero(task.y == label))[:shots]
                for label in range(len(task.labels))
            ]
        )
        x = task.features[rows].astype(np.float64)
        x = _SHARPNESS * (x - x.mean(axis=0))
        hot = np.eye(len(task.labels))[task.y[rows]]
        fast, head = start.copy(), np.zeros((len(task.labels), d))
        for _ in range(_INNER):
            seen = x @ fast
            error = (softmax(seen @ head.T, axis=1) - hot) / len(x)
            moved = head - _HEAD_RATE * error.T @ seen
            fast -= _MAP_RATE * x.T @ error @ head
            head = moved
        start = start + _OUTER * (1 - turn / rounds) * (fast - start)
    return Metric(start @ start.T)


def trained(
    priors: Priors, tasks: Sequence[ZooTask], episodes: Sequence[Episode], seed: int
) -> dict[str, Metric]:
    """The two maps by name, trained on the families that the generator is trained on."""
    rng = streams.rng(Stream.BASELINE_TRAINING, seed)
    return {
        "reptile": reptile(tasks, _REPTILE_ROUNDS, rng),
        "meta-base": functional_metric(priors, episodes, rng),
    }
