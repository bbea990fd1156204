"""D2NWG's experiment on a small scale: ``python -m bench.headline --home HOME --datasets DIR``.

Soro et al. (ICLR 2025, arXiv 2402.18153) generate weights for unseen data sets from encodings of
these sets, and report accuracy by steps of fine-tuning. Here weights are linear heads of five
classes on the 64 features that a home's encoder releases; the zoo of heads consists of class
subsets of forty classes of ``tiny_imagenet``, trained to convergence. Test tasks are five classes
of sets used in no training: the other classes of ``tiny_imagenet``, and image sets under simulated
cameras. The condition is the mean of fifty records of each class, exact or released at epsilon 4;
the plant has five labels of each, on which all heads are fine-tuned by Adam. The learning rate of
each method is selected on sites of rendered families, as in ``bench.federated``, and all is
repeated with three seeds.

The methods are ``random``; ``pretrained``, a random head of the zoo; ``nearest``, the zoo's head
with the most similar class means; ``D2NWG``, its recipe (an autoencoder of flattened heads, a
diffusion on its latents conditioned on the set, one sample) and the mean of sixteen samples;
``closed form``, discriminants of shrunken means, with variances of the zoo's classes;
``weightgate``, the product's head for the release, with variances of rendered pictures, aligned to
the plant's records without labels. ``five labels alone`` is a logistic regression. Differences are
to ``closed form``; errors are over data sets.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench import kinds
from bench.federated import FAMILIES, cached_rendered_kind
from bench.kinds import Kind
from bench.measure import describe_machine
from bench.plants import DATASETS, DELTA, Floats, simulate_release
from bench.rows import write_table
from bench.tables import markdown
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from wg_common.inference.posterior import mean_aligned_head_fitter
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_core.privacy import calibration
from wg_server.generator.pipeline import load_tasks
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.blup import ModelVariances, fit_variances
from wg_server.site.home import ServerHome
from wg_server.zoo.store import ZooStore

WAYS, ZOO_CLASSES, ZOO_HEADS, CONDITION_RECORDS, LABELS_PER_CLASS = 5, 40, 1000, 50, 5
EPSILONS = float("inf"), 4.0
STEPS = 0, 1, 5, 10, 50
RATES = 0.003, 0.03, 0.3
TASKS, DRAWS = 6, 3  # Draws of five classes a set; of zoo, recipe, noise and tasks
LATENT, TRAINING_STEPS, SAMPLES, FLOW_STEPS = 64, 1000, 16, 12
ALONE = "five labels alone"


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Five classes of a plant: features ``[5, n, d]`` for each use.

    Attributes:
        shown: Records of the condition.
        few: Labelled records for fine-tuning.
        test: Test records.
    """

    shown: Floats
    few: Floats
    test: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """N heads, ``[N, 5, d + 1]``, bias last, and class means ``[N, 5, d]`` of training records."""

    means: Tensor
    heads: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """Covariances ``[d, d]`` of the zoo's classes.

    Attributes:
        within: Covariance of records around their class mean.
        between: Covariance of class means.
    """

    within: Floats
    between: Floats

    @staticmethod
    def estimate(records: Floats) -> Variances:
        """Estimate from records ``[K, n, d]``, shrunk by a tenth to the mean variance."""
        k, n, d = records.shape
        means = records.mean(axis=1)
        residuals = (records - means[:, None]).reshape(-1, d)
        deviations = means - means.mean(axis=0)
        within = residuals.T @ residuals / (k * (n - 1))
        between = deviations.T @ deviations / (k - 1) - within / n
        return Variances(*(0.9 * c + 0.1 * np.trace(c) / d * np.eye(d) for c in (within, between)))


def logits(heads: Tensor, x: Tensor) -> Tensor:
    """Compute logits ``[n, r, 5]`` of r records each, ``[n, r, d]``, by heads ``[n, 5, d + 1]``."""
    return x @ heads[..., :-1].transpose(-1, -2) + heads[..., None, :, -1]


def fine_tune(
    start: Tensor, x: Tensor, y: Tensor, rate: float, steps: int
) -> Iterator[tuple[int, Tensor]]:
    """Fine-tune heads by Adam on records ``x`` and classes ``y``; yield step, heads before it."""
    heads = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([heads], rate)
    for step in range(steps + 1):
        yield step, heads.detach()
        loss = F.cross_entropy(logits(heads, x).flatten(0, 1), y.flatten(), reduction="sum")
        loss = loss / x.shape[1] + 1e-3 * heads[..., :-1].square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def sorted_classes(tasks: int, records: int) -> Tensor:
    """Return for each task 0 to 4, each repeated ``records`` times, ``[tasks, 5 records]``."""
    return torch.arange(WAYS).repeat_interleave(records).expand(tasks, -1)


def train_zoo(records: Floats, rng: np.random.Generator) -> Heads:
    """Train heads on random subsets of five classes of the records ``[40, n, d]``."""
    means, heads = [], []
    for _ in range(ZOO_HEADS // 250):
        chosen = np.array([rng.permutation(ZOO_CLASSES)[:WAYS] for _ in range(250)])
        rows = rng.permuted(np.tile(np.arange(records.shape[1]), (250, WAYS, 1)), axis=2)
        x = torch.tensor(
            records[chosen[..., None], rows[..., :CONDITION_RECORDS]], dtype=torch.float32
        )
        start = torch.zeros(250, WAYS, x.shape[-1] + 1)
        steps = list(
            fine_tune(start, x.flatten(1, 2), sorted_classes(250, CONDITION_RECORDS), 0.5, 40)
        )
        means.append(x.mean(dim=2))
        heads.append(steps[-1][1] - steps[-1][1].mean(dim=1, keepdim=True))
    return Heads(torch.cat(means), torch.cat(heads))


def mlp(*widths: int) -> nn.Sequential:
    """Build fully connected layers of the given widths, with GELU between them."""
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Linear(into, out), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class HeadDiffusion:
    """D2NWG's recipe: an autoencoder of flattened heads, and a diffusion on its latents."""

    def __init__(self, zoo: Heads, variances: Variances) -> None:
        self.basis = whitening_matrix(variances.between)
        flat = zoo.heads.flatten(1)
        size, width = flat.shape[1], WAYS * zoo.means.shape[2] + 1
        self.centre, self.scale = flat.mean(0), flat.std()
        self.encoder, self.decoder = mlp(size, 256, 256, 2 * LATENT), mlp(LATENT, 256, 256, size)
        self.denoiser = mlp(LATENT + 1 + width, 384, 384, LATENT)
        self.fit([self.encoder, self.decoder], lambda rows: self.reconstruction(flat[rows]))
        with torch.no_grad():
            latents = self.encoder((flat - self.centre) / self.scale)[:, :LATENT]
        self.spread = latents.std()

        def denoised(rows: Tensor) -> Tensor:
            clean, noise = latents[rows] / self.spread, 0.0
            if torch.rand(()) < 0.5:
                noise = release_noise(4.0)
            means = zoo.means[rows] + noise * torch.randn_like(zoo.means[rows])
            time = torch.sigmoid(torch.randn(len(rows), 1))
            noisy = (1 - time) * clean + time * torch.randn_like(clean)
            inputs = torch.cat([noisy, time, self.condition(means, noise)], dim=1)
            loss: Tensor = (self.denoiser(inputs) - clean).square().mean()
            return loss

        self.fit([self.denoiser], denoised)

    @staticmethod
    def fit(networks: Sequence[nn.Module], objective: Callable[[Tensor], Tensor]) -> None:
        """Train networks on random batches of row numbers of the zoo."""
        parameters = [p for network in networks for p in network.parameters()]
        optimiser = torch.optim.AdamW(parameters, 1e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, TRAINING_STEPS)
        for _ in range(TRAINING_STEPS):
            loss = objective(torch.randint(ZOO_HEADS, (64,)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    def reconstruction(self, flat: Tensor) -> Tensor:
        """Return the loss of the autoencoder (VAE) on flattened heads, ``[n, 5 (d + 1)]``."""
        x = (flat - self.centre) / self.scale
        mean, spread = self.encoder(x).chunk(2, -1)
        spread = spread.clamp(-10, 2)
        latents = mean + (0.5 * spread).exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean**2 + spread.exp() - 1 - spread).sum(-1).mean()
        loss: Tensor = (self.decoder(latents) - x).square().mean() + 1e-4 * divergence
        return loss

    def condition(self, means: Tensor, noise: float) -> Tensor:
        """Return conditions ``[n, 5 d + 1]`` from class means ``[n, 5, d]`` and noise deviation."""
        known = ((means - means.mean(1, keepdim=True)) @ self.basis).flatten(1)
        return torch.cat([known, torch.full((len(means), 1), 10 * noise)], dim=1)

    @torch.no_grad()
    def sample_heads(self, means: Tensor, noise: float) -> Tensor:
        """Sample heads ``[SAMPLES, n, 5, d + 1]`` for class means."""
        condition = self.condition(means, noise).repeat(SAMPLES, 1)
        state = torch.randn(len(condition), LATENT)
        for now, then in itertools.pairwise(torch.linspace(1, 0, FLOW_STEPS + 1)):
            time = now.expand(len(state), 1)
            clean = self.denoiser(torch.cat([state, time, condition], dim=1))
            state = clean + (state - clean) * (then / now)
        heads = self.decoder(state * self.spread) * self.scale + self.centre
        return torch.as_tensor(heads.view(SAMPLES, len(means), WAYS, -1))


def release_noise(epsilon: float) -> float:
    """Standard deviation of the noise on a class mean of ``CONDITION_RECORDS`` records."""
    return (
        0.0 if np.isinf(epsilon) else 1 / calibration.largest_mu(epsilon, DELTA) / CONDITION_RECORDS
    )


def whitening_matrix(covariance: Floats) -> Tensor:
    """Return a matrix that transforms a covariance to the identity."""
    values, vectors = np.linalg.eigh(covariance)
    return torch.tensor(vectors / np.sqrt(np.maximum(values, 1e-9)), dtype=torch.float32)


def nearest_heads(zoo: Heads, means: Tensor, variances: Variances) -> Tensor:
    """Select the zoo's head whose class means are nearest, with its classes reordered to match."""
    basis = whitening_matrix(variances.within)
    known, found = (zoo.means - zoo.means.mean(1, keepdim=True)) @ basis, []
    for mean in (means - means.mean(1, keepdim=True)) @ basis:
        distance = torch.cdist(mean[None], known)
        close = distance.min(dim=-1).values.sum(dim=-1).topk(25, largest=False).indices
        matched = {}
        for row in close.tolist():
            mine, theirs = linear_sum_assignment(distance[row].numpy())
            matched[float(distance[row].numpy()[mine, theirs].sum())] = zoo.heads[row][theirs]
        found.append(matched[min(matched)])
    return torch.stack(found)


def closed_form_heads(means: Tensor, noise: float, variances: Variances) -> Tensor:
    """Compute discriminants from the best linear prediction of class deviations."""
    x, (within, between) = means.double().numpy(), (variances.within, variances.between)
    d = within.shape[0]
    blur = (within / CONDITION_RECORDS + noise**2 * np.eye(d)) * (WAYS - 1) / WAYS
    gain = between @ np.linalg.inv(between + blur)
    centre = x.mean(axis=1, keepdims=True)
    deviations = (x - centre) @ gain.T
    weight = deviations @ np.linalg.inv(within + between - gain @ between)
    bias = -0.5 * (deviations * weight).sum(axis=2) - (weight * centre).sum(axis=2)
    heads = np.concatenate([weight, bias[..., None]], axis=2)
    return torch.tensor(heads, dtype=torch.float32)


def product_heads(
    tasks: Sequence[Task], priors: ModelVariances, epsilon: float, seed: int
) -> Tensor:
    """Compute the product's heads: a release, BLUP, and alignment to records without labels."""
    heads, names = [], tuple(f"class-{k}" for k in range(WAYS))
    y = np.repeat(np.arange(WAYS), CONDITION_RECORDS)
    for number, task in enumerate(tasks):
        rng = np.random.default_rng((seed, number))
        x = task.shown.reshape(-1, task.shown.shape[-1])
        released = simulate_release("ab" * 32, x, y, names, epsilon, rng)
        pools = evidence_pools.pools_of_releases(priors, None, [released])
        own = task.few.reshape(-1, x.shape[1])
        posterior = evidence_pools.posterior_from_pools(priors, pools, names)
        weight, bias = mean_aligned_head_fitter(posterior)(own, np.full(len(own), -1))
        heads.append(np.concatenate([weight, bias[:, None]], axis=1))
    return torch.tensor(np.array(heads), dtype=torch.float32)


def draw_tasks(classes: Mapping[str, Sequence[Floats]], rng: np.random.Generator) -> list[Task]:
    """Draw tasks from classes, whose records are given for each use of ``Task``."""
    drawn = []
    for _ in range(TASKS):
        chosen = rng.permutation(len(classes["test"]))[:WAYS]
        parts = {}
        for part, size in (("shown", CONDITION_RECORDS), ("few", LABELS_PER_CLASS), ("test", 20)):
            records = [classes[part][k] for k in chosen]
            parts[part] = np.array([x[np.resize(rng.permutation(len(x)), size)] for x in records])
        drawn.append(Task(**parts))
    return drawn


def kind_records(kind: Kind) -> dict[str, list[Floats]]:
    """Return records by use of ``Task`` and class: other plants', the plant's, and test records."""
    others = [np.concatenate(part) for part in zip(*kind.sites[1:], strict=True)]
    parts = {"shown": others, "few": kind.sites[0], "test": kind.test}
    count = range(len(kind.labels))
    return {part: [x[y == k] for k in count] for part, (x, y) in parts.items()}


def tiny_imagenet_features(encoder: Encoder, root: Path, cache: Path) -> Floats | None:
    """Features ``[60, 100, d]`` of classes of tiny_imagenet; None if the data set is missing."""
    files = sorted((root / "tiny_imagenet").glob("*.npz"))
    if not files:
        return None
    path = cache / f"tiny-{encoder.id[:24]}.npy"
    if not path.is_file():
        found = []
        for file in files:
            with np.load(file, allow_pickle=False) as archive:
                images, labels = archive["x"], archive["y"]
            found += [
                encoder.encode(list(images[labels == k][:100]), one_by_one=False)
                for k in np.unique(labels)
            ]
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array(found))
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Rivals:
    """Zoo, D2NWG's trained diffusion, and variances, from which all methods make heads."""

    zoo: Heads
    diffusion: HeadDiffusion
    variances: Variances
    rendered: ModelVariances

    def heads(self, tasks: Sequence[Task], epsilon: float) -> dict[str, Tensor]:
        """Make a head for each task by every method, ``[tasks, 5, d + 1]`` by its name."""
        noise = release_noise(epsilon)
        means = torch.tensor(np.array([task.shown.mean(axis=1) for task in tasks])).float()
        means = means + noise * torch.randn_like(means)
        samples = self.diffusion.sample_heads(means, noise)
        picked = torch.randint(ZOO_HEADS, (len(tasks),))
        return {
            "random": 0.05 * torch.randn_like(self.zoo.heads[picked]),
            "pretrained": self.zoo.heads[picked],
            "nearest": nearest_heads(self.zoo, means, self.variances),
            "D2NWG": samples[0],
            "D2NWG, mean of 16": samples.mean(dim=0),
            "closed form": closed_form_heads(means, noise, self.variances),
            "weightgate": product_heads(tasks, self.rendered, epsilon, 57),
        }


Scores = dict[tuple[float, str, float, int], float]
"""Accuracy by epsilon, method, learning rate and step."""


def score_methods(
    rivals: Rivals, tasks: Sequence[Task], rates: Mapping[str, Sequence[float]]
) -> Scores:
    """Fine-tune and evaluate all methods on the tasks of a data set."""
    few, test = (
        torch.tensor(np.array([part.reshape(-1, part.shape[-1]) for part in parts])).float()
        for parts in ([task.few for task in tasks], [task.test for task in tasks])
    )
    y, truth = (
        sorted_classes(len(tasks), LABELS_PER_CLASS),
        sorted_classes(len(tasks), test.shape[1] // WAYS),
    )
    scores: Scores = {}
    for epsilon in EPSILONS:
        for way, heads in rivals.heads(tasks, epsilon).items():
            for rate in rates.get(way, RATES):
                for step, now in fine_tune(heads, few, y, rate, max(STEPS)):
                    if step in STEPS:
                        hits = (logits(now, test).argmax(-1) == truth).float().mean()
                        scores[epsilon, way, rate, step] = float(hits)
        alone = [
            LogisticRegression(C=100, max_iter=300).fit(x, y[0]).score(q, truth[0])
            for x, q in zip(few.numpy(), test.numpy(), strict=True)
        ]
        scores[epsilon, ALONE, 0.0, max(STEPS)] = float(np.mean(alone))
    return scores


def table(results: Mapping[str, Scores], rates: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Tabulate accuracy by step, and the difference to the closed form at step 0."""
    rows = []
    for epsilon, way in itertools.product(EPSILONS, rates):
        steps = STEPS if way != ALONE else STEPS[-1:]
        values = {
            step: np.array([s[epsilon, way, rates[way][0], step] for s in results.values()])
            for step in steps
        }
        gaps = []
        for step in (0, 10):
            rate = rates["closed form"][0]
            bar = np.array([s[epsilon, "closed form", rate, step] for s in results.values()])
            gap = 100 * (values.get(step, values[steps[-1]]) - bar)
            gaps.append(f"{gap.mean():+.1f} ± {gap.std(ddof=1) / len(gap) ** 0.5:.1f}")
        shown = [f"{values[s].mean():.3f}" if s in values else None for s in STEPS]
        rows.append(("exact" if np.isinf(epsilon) else f"{epsilon:g}", way, *shown, *gaps))
    header = [f"step {step}" for step in STEPS]
    yield from markdown(
        ("ε", "way", *header, "minus closed form, step 0", "minus closed form, step 10"), rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with a zoo")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    options = parser.parse_args()
    started, home = time.monotonic(), ServerHome(options.home)
    encoder, cache = load_encoder(home.read_encoder()), options.cache
    photos = tiny_imagenet_features(encoder, options.datasets, cache)
    if photos is None:
        raise SystemExit(f"{options.datasets}: tiny_imagenet is not here")
    tasks = load_tasks(ZooStore(home.zoo_folder), home.encoder_sha256())
    rendered = fit_variances([task.features for task in tasks], [task.y for task in tasks])
    families = [cached_rendered_kind(encoder, family, cache) for family in FAMILIES]
    cuts = {name: kinds.cut_kind(encoder, options.datasets, name, cache) for name in DATASETS}
    sets = {name: kind for name, kind in cuts.items() if kind and len(kind.labels) >= WAYS}
    print("Not here, or fewer than five classes:", ", ".join(set(cuts) - set(sets)))
    rates: dict[str, Sequence[float]] = {}
    every: list[dict[str, Scores]] = []
    for seed in range(57, 57 + DRAWS):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        shuffled = photos[rng.permutation(len(photos))]
        known = shuffled[:ZOO_CLASSES]
        zoo, variances = train_zoo(known, rng), Variances.estimate(known)
        rivals = Rivals(zoo, HeadDiffusion(zoo, variances), variances, rendered)
        if not rates:
            trials = [draw_tasks(kind_records(k), rng) for k in families if len(k.labels) >= WAYS]
            rates = best_rates([score_methods(rivals, trial, {}) for trial in trials])
        places = {"shown": slice(60), "few": slice(60, 65), "test": slice(65, None)}
        unseen = {part: [x[rows] for x in shuffled[ZOO_CLASSES:]] for part, rows in places.items()}
        drawn = {"tiny_imagenet": score_methods(rivals, draw_tasks(unseen, rng), rates)}
        for name, kind in sets.items():
            drawn[name] = score_methods(rivals, draw_tasks(kind_records(kind), rng), rates)
        every.append(drawn)
    results = {
        name: {key: float(np.mean([drawn[name][key] for drawn in every])) for key in scores}
        for name, scores in every[0].items()
    }
    about = f"Sets: {', '.join(results)}; {time.monotonic() - started:.0f} s."
    chosen = ", ".join(f"{way} {rate[0]:g}" for way, rate in rates.items() if way != ALONE)
    lines = [*table(results, rates), "", about, "", f"Rates: {chosen}.", ""]
    write_table("\n".join([*lines, f"`{json.dumps(describe_machine())}`"]), options.table)


def best_rates(trials: Sequence[Scores]) -> dict[str, Sequence[float]]:
    """Select each method's learning rate by the mean over all trials, epsilons and steps."""
    trial = {key: sum(each[key] for each in trials) for key in trials[0]}
    ways = dict.fromkeys(way for _, way, _, _ in trial)
    rates: dict[str, Sequence[float]] = {ALONE: (0.0,)}
    for way in ways:
        if way != ALONE:
            mean = {r: sum(v for k, v in trial.items() if k[1:3] == (way, r)) for r in RATES}
            rates[way] = (max(RATES, key=lambda rate: mean[rate]),)
    return {way: rates[way] for way in ways}


if __name__ == "__main__":
    main()
