"""Centred releases against plain ones, at one price. Run with ``python -m bench.release``.

Both are made of the same records of plants cut from real data sets, at the same epsilon and delta,
by the code of real releases with simulated noise: ``plain`` sums features about the origin, and
their squares (schema version 1, moments ``diagonal``); ``centred`` is what plants release
today. Judged are

* class means as the server reads them: mean squared distance from the exact means of the records
  that were released, records of a class inferred; printed as a share of that of the plain release;
* heads on the plant's test records, by T-BLUP and by the generator, from its release alone and with
  those of three same-family sites: accuracy, differences paired by plant and seed.

A generator is best on releases of the kind that it was trained on: ``--plain-home`` names the home
whose generator reads plain ones. Where a class has fewer records than are asked for, they are drawn
with replacement: the noise of many records, the sampling error of few.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from bench import plants as cuts
from bench import window_plants
from bench.measure import machine
from bench.plants import Floats, Ints, Plants
from bench.tables import Paired, markdown

from wg_client.fitting.linear_head import head_from_tensors
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.privacy.statistics import NoisyStatistics
from wg_server.generator.heads.generate import Generator, SiteRelease, generate, load_generator
from wg_server.generator.prior import blup
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.statistics import clustered
from wg_server.site.home import ServerHome

SAME_FAMILY_SHOTS = 60
EPSILONS = (0.5, 1.0, 4.0)
SHOTS = (5, 20, 100)
HEADS = ("T-BLUP", "T-BLUP, sisters", "generated", "generated, sisters")

Kind = Literal["plain", "centred"]
KINDS: tuple[Kind, Kind] = ("plain", "centred")
_MOMENTS: dict[Kind, Literal["diagonal", "centre"]] = {"plain": "diagonal", "centred": "centre"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One plant, seed, epsilon and number of records, in both kinds."""

    dataset: str  # The data set
    epsilon: float  # Of every release
    shots: int  # Records of a class
    error: dict[Kind, float]  # Mean squared error of class means, by kind
    accuracy: dict[Kind, dict[str, float]]  # Of heads, by kind and head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--plain-home", type=Path, help="one trained on plain releases")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", help="with commas; all of the home's modality if left out")
    parser.add_argument("--no-heads", action="store_true", help="T-BLUP alone, no generator")
    parser.add_argument("--results", type=Path, help="JSON lines: the configuration, then rows")
    options = parser.parse_args()
    homes = {"centred": options.home, "plain": options.plain_home or options.home}
    generators = {kind: load_generator(ServerHome(homes[kind]).generator) for kind in KINDS}
    encoder = load_encoder(ServerHome(options.home).read_encoder())
    rows = []
    windows = encoder.modality == "windows"
    every = window_plants.DATASETS if windows else cuts.DATASETS
    for name in options.sets.split(",") if options.sets else every:
        found = _judge(generators, encoder, name, options)
        rows += found
        print(
            f"{name}: {len(found)} plants" if found else f"{name}: not here, left out", flush=True
        )
    if options.results:
        settings = {
            "generators": {kind: generators[kind].id for kind in KINDS},
            "seeds": options.seeds,
            "machine": machine(),
        }
        lines = [json.dumps(settings), *(json.dumps(dataclasses.asdict(row)) for row in rows)]
        options.results.write_text("\n".join(lines) + "\n")
    print("\n".join(table(rows)))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: shares of the error, then differences of accuracy in points."""
    cells: dict[tuple[float, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.epsilon, row.shots)):
        cells.setdefault((row.epsilon, row.shots), []).append(row)
    names = sorted({row.dataset for row in rows})

    def shares(here: Sequence[Row]) -> Iterator[str]:
        found = [_share([row for row in here if row.dataset == name]) for name in names]
        yield from (f"{share:.2f}" for share in (float(np.exp(np.mean(np.log(found)))), *found))

    yield from ("Mean squared error of class means, centred over plain:", "")
    yield from markdown(
        ("ε", "n", "all", *names), ((f"{e:g}", n, *shares(here)) for (e, n), here in cells.items())
    )
    heads = [head for head in HEADS if head in rows[0].accuracy["centred"]]
    yield from (
        "",
        "Accuracy of plain releases, and what centred ones gain, points (worst data set):",
    )
    yield ""
    yield from markdown(
        ("ε", "n", *heads),
        ((f"{e:g}", n, *(_gain(here, h) for h in heads)) for (e, n), here in cells.items()),
    )


def _share(rows: Sequence[Row]) -> float:
    centred, plain = (sum(row.error[kind] for row in rows) for kind in ("centred", "plain"))
    return centred / plain


def _gain(rows: Sequence[Row], head: str) -> str:
    names = [row.dataset for row in rows]
    change = np.array([row.accuracy["centred"][head] - row.accuracy["plain"][head] for row in rows])
    mean, error = clustered(change, names)
    worst = min((change[[n == name for n in names]].mean(), name) for name in set(names))
    before = clustered(np.array([row.accuracy["plain"][head] for row in rows]), names)[0]
    gained = Paired(mean, error, len(set(names)))
    return f"{before:.3f} {gained} ({100 * worst[0]:+.1f} {worst[1]})"


def _judge(
    generators: dict[Kind, Generator], encoder: Encoder, name: str, options: argparse.Namespace
) -> list[Row]:
    if encoder.modality == "windows":
        found = window_plants.cut(encoder, options.datasets, name, 0, 0.0)
        plants = found.plants if found else None
    else:
        plants = cuts.cut(encoder, encoder.id, options.datasets, name, 0, 0.0, options.cache)
    if plants is None:
        return []
    rows = []
    for seed in range(options.seeds):
        for epsilon in EPSILONS:
            for shots in SHOTS:
                entropy = (zlib.crc32(name.encode()), seed, shots)
                x, y = _drawn(plants, shots, np.random.default_rng((1, *entropy)))
                error: dict[Kind, float] = {}
                accuracy: dict[Kind, dict[str, float]] = {}
                for kind in KINDS:
                    rng = np.random.default_rng((2, *entropy))
                    own, others = _releases(generators[kind], plants, x, y, epsilon, kind, rng)
                    error[kind] = _error(own, x[:, : plants.dimension], y, plants.labels)
                    accuracy[kind] = _heads(
                        generators[kind], plants, own, others, seed, generated=not options.no_heads
                    )
                rows.append(
                    Row(dataset=name, epsilon=epsilon, shots=shots, error=error, accuracy=accuracy)
                )
    return rows


def _drawn(plants: Plants, shots: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Own records, ``shots`` of each class that the plant has."""
    x, y = plants.own
    found = [np.flatnonzero(y == c) for c in np.unique(y)]
    rows = np.concatenate([rng.choice(r, shots, replace=shots > len(r)) for r in found])
    return x[rows], y[rows]


def _releases(
    generator: Generator,
    plants: Plants,
    x: Floats,
    y: Ints,
    epsilon: float,
    kind: Kind,
    rng: np.random.Generator,
) -> tuple[NoisyStatistics, list[NoisyStatistics]]:
    d, encoder, found = plants.dimension, generator.parts.encoder, []
    sites = [(x, y)]
    for sx, sy in plants.same_family:
        if not len(sy):
            continue
        kept = np.concatenate([np.flatnonzero(sy == c)[:SAME_FAMILY_SHOTS] for c in np.unique(sy)])
        sites.append((sx[kept], sy[kept]))
    for sx, sy in sites:
        moments = _MOMENTS[kind]
        found.append(
            cuts.release(encoder, sx[:, :d], sy, plants.labels, epsilon, rng, moments=moments)
        )
    return found[0], found[1:]


def _error(own: NoisyStatistics, x: Floats, y: Ints, labels: tuple[str, ...]) -> float:
    read = site_evidence(own, labels)
    exact = np.stack([x[y == c].mean(axis=0) for c in np.unique(y)])
    return float(np.square(read.means[np.unique(y)] - exact).sum(axis=1).mean())


def _heads(
    generator: Generator,
    plants: Plants,
    own: NoisyStatistics,
    others: Sequence[NoisyStatistics],
    seed: int,
    *,
    generated: bool,
) -> dict[str, float]:
    tx, ty = plants.test[0][:, : plants.dimension], plants.test[1]
    found = {}
    for suffix, released in (("", ()), (", sisters", tuple(others))):
        evidence = [site_evidence(s, plants.labels) for s in (own, *released)]
        estimate = blup.predict(generator.parts.priors, evidence)
        logits = (tx - estimate.centre) @ estimate.weight.T + estimate.bias
        found[f"T-BLUP{suffix}"] = float((logits.argmax(axis=1) == ty).mean())
        if generated:
            sites = [SiteRelease(f"sister-{i}", s) for i, s in enumerate(released)]
            made = generate(generator, own, sites, plants.labels, samples=1, seed=seed)
            head = next(
                head_from_tensors(c.tensors) for c in made.candidates if c.name == "network"
            )
            right = head.logits(tx).argmax(axis=1) == ty
            found[f"generated{suffix}"] = float(right.mean())
    return found


if __name__ == "__main__":
    main()
