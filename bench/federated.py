"""Flower's FedAvg with Opacus against one release: ``python -m bench.federated --home HOME``.

``--home`` is a home for images with a zoo (``zoo build --plan demo``); nothing is fitted on
``--datasets``. Three or eight plants with different cameras have twenty labelled records of each of
up to eight classes. With FedAvg (McMahan et al., AISTATS 2017; Flower's strategy) each trains a
softmax on the released features by DP-SGD as in Opacus, with all of its records in each step, which
is the least noise for so few; all rounds together cost (epsilon, 1e-5), counted exactly (``mu^2``
of all steps together). With the product each plant releases its statistics once at the same
epsilon, from which the nearest class mean and BLUP are computed.

Another plant receives the result. *No labels*: it has records without labels; FedAvg's head is also
tested with biases that distribute them evenly over classes. *Never seen*: it has labels of half of
the classes; FedAvg's head is also tested after the plant's own local training. Steps per round,
learning rate and the choice between the two heads are selected on sites of rendered families, for
each number of plants and rounds, each epsilon and each cell. Bytes are those of one plant, in both
directions; seconds are those of training all plants, or of making one package, on one thread.
Errors are over data sets.
"""

import argparse
import functools
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench import kinds
from bench.kinds import CLASSES, OTHERS, RECORDS, Kind, Site
from bench.measure import describe_machine
from bench.plants import DATASETS, DELTA, Floats, Ints, simulate_release
from bench.rows import write_table
from bench.selected import head_accuracy, train_locally
from bench.tables import markdown
from bench.text_plants import nearest_mean_head
from flwr.common import (
    Code,
    FitRes,
    NDArrays,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.strategy import FedAvg
from scipy.special import softmax

from wg_client.fitting.linear_head import LinearHead
from wg_common.inference.posterior import mean_aligned_head_fitter, posterior_head
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_common.weights_package import pack_tensors
from wg_core.privacy import calibration
from wg_server.generator.pipeline import load_tasks
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.blup import ModelVariances, fit_variances
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.zoo import sources
from wg_server.zoo.store import ZooStore
from wg_server.zoo.task_spec import TaskSpec

PLANTS = 3, OTHERS
EPSILONS = 1.0, 4.0
ROUNDS: Mapping[int, Sequence[int]] = {1: (4, 16, 64), 5: (1, 4, 16), 20: (1, 4, 16), 50: (1, 4)}
"""Numbers of local steps per round that are tried, by number of rounds."""
RATES = 0.25, 1.0, 4.0, 16.0
DRAWS = 3
FAMILIES = 2, 3, 6
NO_LABELS, NEVER_SEEN = "no labels", "never seen"
BLUP, NEAREST = "one release, BLUP", "one release, nearest mean"
FEATURE_SCALE = (
    3.0  # Factor on features of norm 1 before training, as in the product's private heads
)

Cell = tuple[int, float, str]
"""Number of plants, epsilon, and what the receiving plant lacks."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Local steps per round, learning rate, and whether the plant adapts the received head."""

    steps: int
    rate: float
    is_adapted: bool


@dataclass(frozen=True, slots=True)
class Training:
    """Settings of a run of FedAvg: number of plants and rounds, and local steps in each round.

    ``draw`` is the seed of the noise.
    """

    plants: int
    epsilon: float
    rounds: int
    steps: int
    rate: float
    draw: int


@dataclass(frozen=True, slots=True)
class Result:
    """Accuracy, accuracy on classes never seen, transferred bytes, and seconds."""

    accuracy: float
    unseen_accuracy: float
    transferred_bytes: int
    seconds: float


def render_kind(encoder: Encoder, family: int) -> Kind:
    """Render sites of a family that is in no plan's zoo."""
    sites = []
    for number in range(1 + OTHERS):
        task = sources.load_task(
            TaskSpec(
                seed=57,
                kind="procedural",
                family=family,
                site=number,
                sites=1 + OTHERS,
                per_class=RECORDS if number else 2 * RECORDS,
                strength="0.7",
                only="",
                path="",
                name="procedural",
                licence="none",
            )
        )
        keep = np.flatnonzero(task.labels < CLASSES)
        x = encoder.encode(task.records_at(keep), one_by_one=False).astype(np.float64)
        sites.append((x, task.labels[keep]))
    (x, y), odd = sites[0], np.arange(len(sites[0][1])) % 2 == 1
    names = tuple(map(str, range(y.max() + 1)))
    return Kind([(x[~odd], y[~odd]), *sites[1:]], (x[odd], y[odd]), names)


def train_privately(
    site: Site, head: NDArrays, training: Training, noise: float, rng: np.random.Generator
) -> NDArrays:
    """Train a softmax at a plant by DP-SGD, starting from a head of ``[K, d]`` and ``[K]``.

    The gradient of a record is an outer product, so its norm is computed without forming it;
    clipped and noisy sums equal those of Opacus' optimiser (``tests/bench/test_federated.py``).

    Args:
        noise: Standard deviation on the sum of gradients that are clipped to 1.
    """
    x, y = np.hstack([FEATURE_SCALE * site[0], np.ones((len(site[1]), 1))]), site[1]
    weight, hot = np.hstack([head[0], head[1][:, None]]), np.eye(len(head[1]))[y]
    length = np.linalg.norm(x, axis=1)
    for _ in range(training.steps):
        error = softmax(x @ weight.T, axis=1) - hot
        norm = np.linalg.norm(error, axis=1) * length
        error *= np.minimum(1, 1 / (norm + 1e-6))[:, None]
        gradient = error.T @ x + noise * rng.standard_normal(weight.shape)
        weight = weight - training.rate / len(y) * gradient
    return [weight[:, :-1], weight[:, -1]]


def cached_rendered_kind(encoder: Encoder, family: int, cache: Path) -> Kind:
    """Render sites of a family, or read them from the cache."""
    kind = kinds.cached_kind(
        encoder, f"family {family}", cache, lambda: render_kind(encoder, family)
    )
    if kind is None:
        raise SystemExit("nothing was rendered")
    return kind


def head_parameters(head: NDArrays) -> Parameters:
    """Convert a head to Flower's parameters, in single precision."""
    return ndarrays_to_parameters([part.astype(np.float32) for part in head])


@functools.cache
def run_fedavg(kind: Kind, training: Training) -> tuple[LinearHead, int, float]:
    """Run FedAvg; return the head on raw features, a plant's transferred bytes, and seconds."""
    rng = np.random.default_rng((training.draw, 58))
    started, size = time.perf_counter(), 0
    steps = training.rounds * training.steps
    noise = steps**0.5 / calibration.largest_mu(training.epsilon, DELTA)
    strategy = FedAvg(fit_metrics_aggregation_fn=lambda _: {})
    classes = len(kind.labels)
    head: NDArrays = [np.zeros((classes, kind.test[0].shape[1])), np.zeros(classes)]
    for number in range(training.rounds):
        answers = [
            FitRes(Status(Code.OK, ""), head_parameters(new), len(site[1]), {})
            for site in kind.sites[1 : 1 + training.plants]
            for new in [train_privately(site, head, training, noise, rng)]
        ]
        # The strategy asks the proxies of plants nothing.
        merged, _ = strategy.aggregate_fit(number + 1, [(None, a) for a in answers], [])  # type: ignore[misc]
        if merged is None:
            raise SystemExit("FedAvg gave nothing")
        head = parameters_to_ndarrays(merged)
        size += sum(len(part) for part in [*answers[0].parameters.tensors, *merged.tensors])
    seconds = time.perf_counter() - started
    return (
        LinearHead(FEATURE_SCALE * head[0].astype(np.float64), head[1].astype(np.float64)),
        size,
        seconds,
    )


def even_biases(head: LinearHead, x: Floats) -> LinearHead:
    """Change biases until the predictions for records without labels are evenly distributed."""
    bias = head.bias.copy()
    for _ in range(30):
        bias -= 0.5 * np.log(softmax(x @ head.weight.T + bias, axis=1).mean(axis=0) + 1e-9)
    return LinearHead(head.weight, bias)


def plant_records(kind: Kind, cell: Cell) -> tuple[Site, Ints]:
    """Return features and labels (-1: none) of a cell's plant, and the classes it never sees."""
    x, y = kind.sites[0]
    if cell[2] == NO_LABELS:
        return (x, np.full(len(y), -1)), np.zeros(0, np.int64)
    return (x[y % 2 == 0], y[y % 2 == 0]), np.arange(1, len(kind.labels), 2)


def evaluate_head(kind: Kind, cell: Cell, head: LinearHead, size: int, seconds: float) -> Result:
    """Evaluate a head on the plant's test records."""
    x, y = kind.test
    odd = y % 2 == 1
    return Result(
        head_accuracy(head, kind.test), head_accuracy(head, (x[odd], y[odd])), size, seconds
    )


def evaluate_fedavg(kind: Kind, cell: Cell, training: Training, is_adapted: bool) -> Result:
    """Evaluate FedAvg's head as received, or adapted at the plant."""
    head, size, seconds = run_fedavg(kind, training)
    if is_adapted:
        (x, y), gone = plant_records(kind, cell)
        head = even_biases(head, x) if cell[2] == NO_LABELS else train_locally(head, x, y, gone)
    return evaluate_head(kind, cell, head, size, seconds)


def evaluate_releases(
    kind: Kind, cell: Cell, priors: ModelVariances, draw: int
) -> dict[str, Result]:
    """Evaluate BLUP's head and the nearest mean, from one release of each plant, by name."""
    count, epsilon, _ = cell
    rng, names = np.random.default_rng((draw, 57)), kind.labels
    others = [
        simulate_release("ab" * 32, x, y, names, epsilon, rng) for x, y in kind.sites[1 : 1 + count]
    ]
    started = time.perf_counter()
    pools = evidence_pools.pools_of_releases(priors, None, others)
    posterior = evidence_pools.posterior_from_pools(priors, pools, names)
    down = len(pack_tensors({"posterior": posterior.tensors()}))
    seconds = time.perf_counter() - started
    (x, y), _ = plant_records(kind, cell)
    finish = mean_aligned_head_fitter(posterior) if cell[2] == NO_LABELS else None
    head = LinearHead(*(finish(x, y) if finish else posterior_head(posterior, x, y)))
    up = others[0].integers.nbytes
    nearest = nearest_mean_head([site_evidence(each, names) for each in others])
    return {
        BLUP: evaluate_head(kind, cell, head, up + down, seconds),
        NEAREST: evaluate_head(kind, cell, nearest, up + nearest.weight.nbytes, seconds),
    }


def all_cells() -> Iterator[Cell]:
    """Yield all cells."""
    yield from itertools.product(PLANTS, EPSILONS, (NO_LABELS, NEVER_SEEN))


def score_recipes(job: tuple[Path, Path, int]) -> dict[tuple[Cell, int, Recipe], float]:
    """Return the accuracy of each recipe on one rendered family, by cell and number of rounds."""
    torch.set_num_threads(1)
    folder, cache, family = job
    encoder, scores = load_encoder(ServerHome(folder).read_encoder()), {}
    kind = cached_rendered_kind(encoder, family, cache)
    for cell, (rounds, choices) in itertools.product(all_cells(), ROUNDS.items()):
        for recipe in itertools.starmap(Recipe, itertools.product(choices, RATES, (False, True))):
            training = Training(*cell[:2], rounds, recipe.steps, recipe.rate, 0)
            result = evaluate_fedavg(kind, cell, training, recipe.is_adapted)
            scores[cell, rounds, recipe] = result.accuracy
    return scores


def evaluate_data_set(
    job: tuple[Path, Path, Path, str, Mapping[tuple[Cell, int], Recipe]],
) -> dict[tuple[Cell, str], Result] | None:
    """Evaluate all methods on one data set, averaged over draws of noise; None if missing."""
    folder, root, cache, name, recipes = job
    torch.set_num_threads(1)
    home = ServerHome(folder)
    kind = kinds.cut_kind(load_encoder(home.read_encoder()), root, name, cache)
    if kind is None:
        return None
    tasks = load_tasks(ZooStore(home.zoo_folder), home.encoder_sha256())
    priors = fit_variances([task.features for task in tasks], [task.y for task in tasks])
    found = defaultdict(list)
    for draw in range(DRAWS):
        for cell in all_cells():
            for way, result in evaluate_releases(kind, cell, priors, draw).items():
                found[cell, way].append(result)
            for rounds in ROUNDS:
                recipe = recipes[cell, rounds]
                training = Training(*cell[:2], rounds, recipe.steps, recipe.rate, draw)
                result = evaluate_fedavg(kind, cell, training, recipe.is_adapted)
                found[cell, fedavg_name(rounds)].append(result)
    return {
        key: Result(
            *np.mean(
                [[r.accuracy, r.unseen_accuracy, r.transferred_bytes, r.seconds] for r in results],
                axis=0,
            )
        )
        for key, results in found.items()
    }


def best_recipes(
    scores: Sequence[Mapping[tuple[Cell, int, Recipe], float]],
) -> dict[tuple[Cell, int], Recipe]:
    """Select each cell's recipe, by number of rounds, with the best mean over rendered families."""
    chosen: dict[tuple[Cell, int], tuple[float, Recipe]] = {}
    for cell, rounds, recipe in scores[0]:
        mean = float(np.mean([score[cell, rounds, recipe] for score in scores]))
        if (cell, rounds) not in chosen or mean > chosen[cell, rounds][0]:
            chosen[cell, rounds] = mean, recipe
    return {key: recipe for key, (_, recipe) in chosen.items()}


def fedavg_name(rounds: int) -> str:
    """Name of FedAvg with a number of rounds in tables."""
    return f"FedAvg, rounds: {rounds}"


def table(
    results: Mapping[str, Mapping[tuple[Cell, str], Result]],
    recipes: Mapping[tuple[Cell, int], Recipe],
) -> Iterator[str]:
    """Tabulate each cell, the recipes, and the differences to BLUP."""
    recipe_of = {(cell, fedavg_name(rounds)): r for (cell, rounds), r in recipes.items()}
    ways = dict.fromkeys(way for _, way in next(iter(results.values())))
    rows = []
    for cell, way in itertools.product(all_cells(), ways):
        mine = [by_way[cell, way] for by_way in results.values()]
        gap = np.array([by_way[cell, BLUP].accuracy for by_way in results.values()])
        gap = 100 * (gap - [result.accuracy for result in mine])
        error = gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else np.nan
        means = np.mean(
            [[r.accuracy, r.unseen_accuracy, r.transferred_bytes, r.seconds] for r in mine], axis=0
        )
        recipe = recipe_of.get((cell, way))
        rows.append(
            (
                f"{cell[2]}, ε {cell[1]:g}, {cell[0]} plants",
                way,
                f"{recipe.steps}, {recipe.rate:g}{', adapted' * recipe.is_adapted}"
                if recipe
                else None,
                f"{means[0]:.3f}",
                f"{means[1]:.3f}" if cell[2] == NEVER_SEEN else None,
                f"{gap.mean():+.1f} ± {error:.1f}" if way != BLUP else None,
                f"{means[2]:,.0f}",
                f"{means[3]:.2f}",
            )
        )
    yield from markdown(
        (
            "cell",
            "way",
            "steps a round, rate",
            "accuracy",
            "of classes never seen",
            "BLUP minus this way",
            "bytes",
            "seconds",
        ),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with a zoo")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        scores = list(
            pool.map(score_recipes, [(options.home, options.cache, family) for family in FAMILIES])
        )
        recipes = best_recipes(scores)
        places = options.home, options.datasets, options.cache
        jobs = [(*places, name, recipes) for name in DATASETS]
        results = dict(zip(DATASETS, pool.map(evaluate_data_set, jobs), strict=True))
    here = {name: found for name, found in results.items() if found is not None}
    if not here:
        raise SystemExit(f"{options.datasets}: none of {', '.join(DATASETS)} is here")
    about = f"Sets: {', '.join(here)}; {time.monotonic() - started:.0f} s."
    lines = [*table(here, recipes), "", about, "", f"`{json.dumps(describe_machine())}`"]
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
