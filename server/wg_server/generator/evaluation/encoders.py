"""Encoders compared before one is chosen: on tasks of plans, which may be the operator's records.

For each candidate: how accurate few labels are on its local features (linear discriminants with one
shrinkage: a plant's own learner does somewhat better on all), and what released numbers foretell at
two epsilons, by the BLUP estimate with priors of the other tasks. Candidates see the same tasks,
records and draws, so that differences are paired.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.block_scale import block_scale
from wg_common.inference.discriminants import fit_ldas
from wg_common.inference.posterior import discriminant
from wg_common.nets.encoder import package
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.streams import Stream
from wg_core.errors import VerificationError
from wg_core.privacy import mechanism
from wg_core.privacy.schema import default_schema
from wg_core.privacy.simulate import simulate_statistics
from wg_server.generator.prior import blup
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.zoo import build, sources
from wg_server.zoo.plan import ZooPlan, tasks
from wg_server.zoo.task_spec import FILES, TaskSpec
from wg_server.zoo.workers import open_workers

LABELS = (5, 20)
EPSILONS = (1.0, 4.0)
_DELTA = 1e-5
_SHRINKAGE = 0.5
_BETTER = 2.0  # Standard errors of the difference that a recommendation asks for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFigures:
    """Figures of one candidate.

    Attributes:
        plan: Name of its plan's file.
        trunks: Names of what it stands on, with licences of those that came from files.
        local: Mean accuracy at each of ``LABELS`` a class; NaN where no task has so many.
        released: The same at each of ``EPSILONS``.
        milliseconds: For a record.
        megabytes: Size of the package, 10^6 bytes.
        recommended: True for the one to take.
    """

    plan: str
    trunks: tuple[str, ...]
    local: tuple[float, ...]
    released: tuple[float, ...]
    milliseconds: float
    megabytes: float
    recommended: bool = False


def compare(
    plans: Sequence[tuple[Path, ZooPlan]], *, workers: int, families: int = 24
) -> list[EncoderFigures]:
    """Judge the encoders of plans on tasks of the first, of which the operator's own come first.

    The first plan's encoder is recommended, unless another is surely better: in the mean of local
    accuracy at the fewest labels and released accuracy at the largest epsilon, by ``_BETTER``
    standard errors over tasks.

    Args:
        families: Most families of which a task is judged.

    Raises:
        DataError, ConfigError, DecodeError, VerificationError: As of ``trunks.read``, or a trunk is
            not deterministic to the bit.
    """
    judged_tasks = [sources.load(spec) for spec in _judging_tasks(tasks(plans[0][1]), families)]
    rows: list[EncoderFigures] = []
    scores: list[Floats] = []
    for path, plan in plans:
        with open_workers(workers) as processes:
            data = build.make_encoder(plan, processes)
        encoder = load_encoder(data)
        _check_bits(encoder, judged_tasks[0])
        start = time.perf_counter()
        local = [encoder.encode_batched(task.records).astype(np.float64) for task in judged_tasks]
        seconds = time.perf_counter() - start
        accuracies = np.array(list(_accuracies(encoder, judged_tasks, local)))  # [tasks, 4]
        means = [_share(column[np.isfinite(column)]) for column in accuracies.T]
        rows.append(
            EncoderFigures(
                plan=path.name,
                trunks=package.read_about(data).trunk_names,
                local=tuple(means[: len(LABELS)]),
                released=tuple(means[len(LABELS) :]),
                milliseconds=1000 * seconds / sum(len(task.records) for task in judged_tasks),
                megabytes=len(data) / 1e6,
            )
        )
        scores.append((accuracies[:, 0] + accuracies[:, -1]) / 2)
    best_index = best_candidate(np.array(scores))
    return [replace(row, recommended=number == best_index) for number, row in enumerate(rows)]


def best_candidate(scores: Floats) -> int:
    """Which candidate to take, by scores ``[candidates, tasks]`` that may be NaN."""
    best, gain = 0, 0.0
    for number in range(1, len(scores)):
        differences = scores[number] - scores[0]
        differences = differences[np.isfinite(differences)]
        if len(differences) < 2:
            continue
        error = float(differences.std(ddof=1)) / len(differences) ** 0.5
        if differences.mean() > max(gain, _BETTER * error):
            best, gain = number, float(differences.mean())
    return best


def _judging_tasks(specs: Sequence[TaskSpec], most: int) -> list[TaskSpec]:
    """One task of each of the operator's families, then of rendered ones, spread over all."""
    first_spec = {spec.family: spec for spec in reversed(specs)}
    families = list(first_spec.values())
    operator_specs = [spec for spec in families if spec.kind in FILES][:most]
    rendered_specs = [spec for spec in families if spec.kind not in FILES]
    count = min(most - len(operator_specs), len(rendered_specs))
    spread = np.linspace(0, len(rendered_specs) - 1, count).astype(int)
    return operator_specs + [rendered_specs[row] for row in spread]


def _check_bits(encoder: Encoder, task: sources.Task) -> None:
    """Refuse an encoder of which a row depends on more than its record."""
    records = task.records[:4]
    forwards = encoder.encode_local(records)
    if forwards.tobytes() != encoder.encode_local(records[::-1])[::-1].tobytes():
        raise VerificationError("encoder: rows differ from one run to another")


def _accuracies(
    encoder: Encoder, tasks: Sequence[sources.Task], local: Sequence[Floats]
) -> Iterator[list[float]]:
    """Yield each task's local accuracy at ``LABELS`` and released accuracy at ``EPSILONS``."""
    d = encoder.dimension
    for number, (task, x) in enumerate(zip(tasks, local, strict=True)):
        other_rows = [row for row in range(len(tasks)) if row != number] or [number]
        priors = blup.fit_priors(
            [local[row][:, :d] for row in other_rows], [tasks[row].labels for row in other_rows]
        )
        scores = []
        for labels in LABELS:
            train, test = _split(task.labels, labels, number)
            scores.append(_local(encoder, x, task.labels, train, test))
        train, test = _split(task.labels, max(LABELS), number)
        for epsilon in EPSILONS:
            rng = streams.rng(Stream.ENCODER_COMPARISON, 0, then=(number, round(1000 * epsilon)))
            schema = default_schema(
                encoder=encoder.id, dimension=d, labels=task.names, clip_radius=encoder.clip_radius
            )
            sigma = mechanism.sigma_for(schema, epsilon, _DELTA)
            noisy = simulate_statistics(schema, x[train, :d], task.labels[train], sigma, rng)
            means = blup.predict(priors, [site_evidence(noisy, task.names)])
            weight, bias = discriminant(means.deviations, priors.whitener)
            estimate = ((x[test, :d] - means.centre) @ weight.T + bias).argmax(axis=1)
            scores.append(_share(estimate == task.labels[test]))
        yield scores


def _split(labels: Ints, count: int, seed: int) -> tuple[Ints, Ints]:
    """So many records of each class, or half of fewer, and all others."""
    order = streams.rng(Stream.ENCODER_COMPARISON, 0, then=(seed, count)).permutation(len(labels))
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        size = min(count, len(of_class) // 2)
        rank[of_class[:size]] = 1
    return np.flatnonzero(rank == 1), np.flatnonzero(rank == 0)


def _local(encoder: Encoder, x: Floats, labels: Ints, train: Ints, test: Ints) -> float:
    """Accuracy of discriminants on the local features, scaled as a plant scales them."""
    start = encoder.scaled_dimension if encoder.local_blocks else 0
    columns = x[:, start:] - x[train, start:].mean(axis=0)
    blocks = encoder.local_blocks or (columns.shape[1],)
    columns = columns * block_scale(columns[train].std(axis=0), blocks)
    classes, dense = np.unique(labels[train], return_inverse=True)
    ((weight, bias),) = fit_ldas(columns[train], dense, len(classes), (_SHRINKAGE,))
    return _share(classes[(columns[test] @ weight.T + bias).argmax(axis=1)] == labels[test])


def _share(right: NDArray[Any]) -> float:
    """The mean, or NaN of nothing."""
    return float(right.mean()) if len(right) else float("nan")
