"""Which helps others more, class sums or a head? ``python -m bench.contributions --home DIR``.

One same-family site with 60 records a class, or all that it has up to 1,000, under other equipment
than the plant (``contribution_sites``), spends epsilon on a release of class sums, which the home's
generator turns into a package, or on a head by DP-SGD on the released features, which the server
puts into the package as it came. The plant has 5 or 20 labels a class, and keeps a model by its own
rule. Printed: accuracy on test records of local-only, of both as delivered, and of what is kept.

DP-SGD is simulated: the closed form of the gradient and NumPy's noise, otherwise the steps of
``wg_client.release.dp_training`` (its tests compare both), with the settings that a plant gets by
default. Beside it stands the best of four settings of docs/decisions/0172 *on the test records*,
which no plant could choose.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from bench.contribution_sites import DATASETS, MOST, Sites, sites
from bench.methods import Cell, draw_records
from bench.plants import DELTA, Floats, Ints, release
from bench.rows import Row, Rows
from bench.selected import right, zeros
from bench.tables import markdown

from wg_client.fitting.backbone import encoder_trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.methods.base import Candidate, LabelledRecords, Package
from wg_client.methods.names import CONTRIBUTED, CONTRIBUTED_FINETUNED, ENSEMBLE, LOCAL
from wg_client.release.dp_training import DpTrainingPlan, plan_for
from wg_client.selection.model_selection import Outcome, select_model
from wg_client.site.config import AcceptanceConfig
from wg_common.catalogue import CONTRIBUTED as CONTRIBUTED_SOURCE
from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import from_tensors
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.heads.generate import (
    Generated,
    Generator,
    SiteRelease,
    generate,
    load_generator,
)
from wg_server.site.home import ServerHome

FORMER = ((0.1, 200, 2.0), (0.1, 200, 10.0), (0.2, 100, 10.0), (0.2, 100, 40.0))
"""Sampling probability, steps and learning rate of the settings of docs/decisions/0172."""
EACH = (60, MOST)  # Most records of a class at the contributing site
EPSILONS = (1.0, 4.0)
LABELS = (5, 20)
SHOWN = ("local", "sums as delivered", "head as delivered", "former best", "sums kept", "head kept")


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """A trained home, opened."""

    generator: Generator
    encoder: Encoder


@cache
def plan(epsilon: float, n: int, setting: tuple[float, int, float] | None = None) -> DpTrainingPlan:
    """A plan for n records: the default one, or of a setting."""
    if setting is None:
        return plan_for(epsilon, DELTA, expected_batch=n)
    q, steps, rate = setting
    return plan_for(
        epsilon,
        DELTA,
        sampling_probability=q,
        steps=steps,
        expected_batch=q * n,
        learning_rate=rate,
    )


def dp_head(x: Floats, y: Ints, k: int, plan: DpTrainingPlan, seed: int) -> LinearHead:
    """The mean of the second half of the iterates of DP-SGD from zeros."""
    rng = np.random.default_rng((seed, 9))
    q, steps, clip = plan.sampling_probability, plan.steps, plan.clip_norm
    inputs, targets = np.hstack([x, np.ones((len(x), 1))]), np.eye(k)[y]
    lengths = np.linalg.norm(inputs, axis=1)
    weight, kept = np.zeros((k, inputs.shape[1])), np.zeros((k, inputs.shape[1]))
    for step in range(steps):
        rows = np.flatnonzero(rng.random(len(x)) < q)
        logits = inputs[rows] @ weight.T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True) - targets[rows]
        norms = np.linalg.norm(error, axis=1) * lengths[rows]
        total = (error / np.maximum(norms / clip, 1.0)[:, None]).T @ inputs[rows]
        total += rng.normal(0, plan.noise_multiplier * clip, total.shape)
        weight = weight - plan.learning_rate / plan.expected_batch * total
        if step >= steps // 2:
            kept += weight / (steps - steps // 2)
    return LinearHead(kept[:, :-1], kept[:, -1])


def judged(server: Server, cut: Sites, name: str, seed: int, rows: Rows) -> Iterator[Row]:
    """A row for each number of labels, size and price that has none yet."""
    encoder, d, k = server.encoder, server.encoder.dimension, len(cut.labels)
    test = cut.test
    for n in LABELS:
        rng = np.random.default_rng((seed, 4))
        chosen, _ = draw_records(cut.own[1], k, Cell(scenario="S1", epsilon=1.0, shots=n), rng)
        x, y = cut.own[0][chosen], cut.own[1][chosen]
        trunk = encoder_trunk(x, d, encoder.scaled_dimension, encoder.local_blocks)
        units = [str(group) for group in cut.groups[chosen]]
        records = LabelledRecords(all_labels=y, classes=k, public=trunk, units=units)
        for each in EACH:
            order = np.random.default_rng((seed, 5)).permutation(len(cut.other[1]))
            inside = [order[cut.other[1][order] == c][:each] for c in range(k)]
            many = np.concatenate(inside)
            for epsilon in EPSILONS:
                key = f"{name} {seed} n={n} each={each} eps={epsilon:g}"
                if key in rows:
                    continue
                other = cut.other[0][many], cut.other[1][many]
                scored = _scores(server, cut.labels, (x, y), other, records, test, epsilon, seed)
                least = min(len(part) for part in inside)
                yield {
                    "key": key,
                    "dataset": name,
                    "labels": n,
                    "each": each,
                    "epsilon": epsilon,
                    "classes": k,
                    "records": len(many),
                    "scarcest": least,
                    "scores": scored,
                }


def _scores(
    server: Server,
    labels: tuple[str, ...],
    own: tuple[Floats, Ints],
    other: tuple[Floats, Ints],
    records: LabelledRecords,
    test: tuple[Floats, Ints],
    epsilon: float,
    seed: int,
) -> dict[str, float]:
    """Accuracy on test records; ``kept: NAME`` is what would be kept with that method alone."""
    d, k, width = server.encoder.dimension, len(labels), own[0].shape[1]
    rng = np.random.default_rng((seed, 6))

    def released(x: Floats, y: Ints) -> SiteRelease:
        found = release(server.encoder.id, x[:, :d], y, labels, epsilon, rng)
        return SiteRelease("sister", found)

    mine, theirs = released(*own), released(*other)
    scores = {}
    head = dp_head(*other, k, plan(epsilon, len(other[1])), seed)
    former = [dp_head(*other, k, plan(epsilon, len(other[1]), each), seed) for each in FORMER]
    scores["head as delivered"] = right(head.padded(width), test)
    scores["former best"] = max(right(each.padded(width), test) for each in former)
    for arm, others, given in (("sums", [theirs], None), ("head", [], head)):
        made = generate(server.generator, mine.statistics, others, labels, samples=1, seed=seed)
        outcome = select(made, given, records, d, others=bool(others))
        kept = outcome.models[outcome.kept]
        scores[f"{arm} kept"] = right(kept.head, test)
        scores["local"] = right(outcome.models[LOCAL].head, test)
        for name in (ENSEMBLE, CONTRIBUTED, CONTRIBUTED_FINETUNED):
            if name in outcome.comparisons:
                scores[f"{arm}: {name}"] = right(outcome.models[name].head, test)
                shown = outcome.comparisons[name].gain.shown(AcceptanceConfig().standard_errors)
                model = outcome.models[name if shown else LOCAL]
                scores[f"{arm} kept: {name}"] = right(model.head, test)
        if others:
            delivered = next(c for c in made.candidates if c.source == "network")
            found = head_from_tensors(delivered.tensors).padded(width)
            scores["sums as delivered"] = right(found, test)
    return scores


def select(
    made: Generated, given: LinearHead | None, records: LabelledRecords, d: int, *, others: bool
) -> Outcome:
    """What the plant keeps of a package with, perhaps, a contributed head."""
    trunk, k = records.public, records.classes
    width = trunk.features.shape[1]

    def candidate(name: str, source: str, head: LinearHead) -> Candidate:
        return Candidate(name, source, trunk, head.padded(width))

    candidates = [
        candidate(c.name, c.source, head_from_tensors(c.tensors))
        for c in made.candidates
        if c.source != POSTERIOR
    ]
    if given is not None:
        candidates.append(candidate("contribution", CONTRIBUTED_SOURCE, given))
    posterior = next(c.tensors for c in made.candidates if c.source == POSTERIOR)
    package = Package(
        candidates=candidates,
        reference=Candidate("", "", trunk, zeros(k, width)),
        posterior=from_tensors(posterior, k, d),
        own_release=True,
        others_released=others,
    )
    return select_model(records, package, AcceptanceConfig())


def table(rows: Sequence[Row]) -> list[str]:
    """Means over seeds of each set, and over sets, in points."""
    lines = []
    for n in LABELS:
        for each in EACH:
            for epsilon in EPSILONS:
                of = (n, each, epsilon)
                cell = [r for r in rows if (r["labels"], r["each"], r["epsilon"]) == of]
                if not cell:
                    continue
                sets = sorted({row["dataset"] for row in cell})
                means = np.array(
                    [
                        [
                            np.mean(
                                [r["scores"].get(s, np.nan) for r in cell if r["dataset"] == name]
                            )
                            for s in SHOWN
                        ]
                        for name in sets
                    ]
                )
                gap = means[:, SHOWN.index("head kept")] - means[:, SHOWN.index("sums kept")]
                error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
                lines += [
                    "",
                    f"{n} labels a class, at most {each} a class there, epsilon {epsilon:g}",
                ]
                body = [
                    (name, *(f"{100 * value:.1f}" for value in row), f"{100 * g:+.1f}")
                    for name, row, g in zip(sets, means, gap, strict=True)
                ]
                mean = [f"{100 * value:.1f}" for value in means.mean(axis=0)]
                body.append(("mean", *mean, f"{100 * gap.mean():+.1f} ± {100 * error:.1f}"))
                lines += ["", *markdown(("set", *SHOWN, "head - sums, kept"), body)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, nargs="*", default=[], help="servers' homes, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/contributions.jsonl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--equipment", default="other", choices=["other", "same"])
    parser.add_argument("--sets", nargs="*", help="data sets; all that a home's records are of")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(options.results)
    for root in options.home:
        home = ServerHome(root)
        server = Server(load_generator(home.generator), load_encoder(home.read_encoder()))
        names = [
            name
            for name in DATASETS[server.encoder.modality]
            if not options.sets or name in options.sets
        ]
        for seed in range(options.seeds):
            for name in names:
                cut = sites(
                    server.encoder, options.datasets, name, options.equipment, options.cache
                )
                for row in [] if cut is None else judged(server, cut, name, seed, rows):
                    rows.add(row | {"equipment": options.equipment})
                    print(row["key"], flush=True)
    print("\n".join(table(rows.of())))


if __name__ == "__main__":
    main()
