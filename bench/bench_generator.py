"""The generator against its rivals on real plants. Run with ``python -m bench.bench_generator``.

Every data set under ``../shared/datasets`` is cut into a plant, sister plants under other cameras,
and test records that nobody else sees; groups stay on one side. Nothing is fitted on any of these
data sets: encoder, priors and generator come from the home's zoo, so each set is left out of
everything that is judged on it. Releases are simulated with the code and the scale of real ones.

Finished cells are kept in ``--results`` (JSON lines), so that a run goes on where it stopped.
Differences to each rival are paired; standard errors are clustered by data set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wg_client.baseline import fit_local
from wg_client.finetune import fit_finetuned
from wg_client.folds import stratified
from wg_client.heads import LinearHead
from wg_common.errors import DataError
from wg_common.nets.encoder import Encoder, load_encoder
from wg_common.nets.registry import HEAD_BIAS, HEAD_WEIGHT
from wg_common.privacy import mechanism
from wg_common.privacy.exact import exact_statistics
from wg_common.privacy.schema import default_schema
from wg_common.privacy.simulate import simulate_release
from wg_common.privacy.statistics import NoisyStatistics
from wg_server.generator import rivals
from wg_server.generator.card import clustered
from wg_server.generator.condition import condition
from wg_server.generator.evidence import nothing, site_evidence
from wg_server.generator.generate import Generator, Memory, generate, load_generator
from wg_server.home import ServerHome
from wg_server.zoo.procedural import cameras

DELTA = 1e-5
CLASSES = 10
SISTERS = 3
SISTER_SHOTS = 60
TESTS = 300
DATASETS = (
    "neu_det",
    "elpv_mono",
    "deeppcb_a",
    "magnetic_tile",
    "bridge_crack",
    "trashnet",
    "mnist10k",
    "fashion_mnist",
    "gtsrb",
    "cifar10",
    "omniglot_small",
    "digits",
)
QUICK = ("neu_det", "elpv_mono", "deeppcb_a", "bridge_crack", "mnist10k", "digits")
JUDGED = ("network", "sample-0", "sample-mean")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        scenario: S1 few labels, S2 classes never seen, S3 no labels, S6 sister, strong camera.
        epsilon: Of every release.
        shots: Labels of a class at the plant.
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
    sisters: int = SISTERS

    @property
    def name(self) -> str:
        """Its title in tables."""
        return f"{self.scenario} eps={self.epsilon:g} n={self.shots}"


CELLS = (
    *(Cell(scenario="S1 few labels", epsilon=e, shots=n) for e in (1.0, 4.0) for n in (5, 20)),
    *(Cell(scenario="S1 alone", epsilon=4.0, shots=n, sisters=0) for n in (20,)),
    *(Cell(scenario="S2 classes never seen", epsilon=e, shots=20, missing=0.3) for e in (1.0, 4.0)),
    *(Cell(scenario="S3 no labels", epsilon=e, shots=20, labelled=False) for e in (1.0, 4.0)),
    *(Cell(scenario="S6 new camera", epsilon=4.0, shots=n, camera=1.0) for n in (5, 20)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Plants:
    """Features of one data set, cut up: own, sisters, and test under the own camera."""

    labels: tuple[str, ...]
    own: tuple[Floats, NDArray[np.int64]]
    sisters: tuple[tuple[Floats, NDArray[np.int64]], ...]
    test: tuple[Floats, NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/generator.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="six data sets, two seeds")
    parser.add_argument("--local", action="store_true", help="also train at the plant (slower)")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(options.home)
    generator = load_generator(home.generator)
    encoder = load_encoder(home.encoder.read_bytes())
    names = QUICK if options.quick else DATASETS
    seeds = range(2 if options.quick else options.seeds)
    done = _read(options.results)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = _load(options.datasets, name)
        if data is None:
            print(f"{name}: not here, left out")
            continue
        for seed in seeds:
            cache: dict[float, Plants] = {}
            for cell in CELLS:
                key = f"{generator.id[:16]} {name} {seed} {cell.name} local={options.local}"
                if key in done:
                    continue
                if cell.camera not in cache:
                    cache[cell.camera] = _cut(encoder, data, seed, cell.camera)
                scores = _judge(generator, cache[cell.camera], cell, seed, local=options.local)
                row: dict[str, object] = {
                    "key": key,
                    "dataset": name,
                    "cell": cell.name,
                    "scores": scores,
                }
                with options.results.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                done[key] = row
        print(f"{name}: done", flush=True)
    mine = [row for key, row in done.items() if key.startswith(generator.id[:16])]
    text = "\n".join(_table(mine, generator, options))
    print(text)
    if options.table:
        options.table.write_text(text + "\n")


def _load(
    root: Path, name: str
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64], NDArray[np.int64]] | None:
    """Images, labels and groups."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.kron(digits.images, np.ones((1, 4, 4))) * 15.9
        return list(images.astype(np.uint8)), digits.target, np.arange(len(digits.target))
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["x"], archive["y"].astype(np.int64)
        if "group" in archive:
            groups = np.unique(archive["group"], return_inverse=True)[1]
        else:
            groups = np.arange(len(labels))
    return list(images), labels, groups


def _cut(
    encoder: Encoder,
    data: tuple[list[NDArray[np.uint8]], NDArray[np.int64], NDArray[np.int64]],
    seed: int,
    strength: float,
) -> Plants:
    images, labels, groups = data
    rng = np.random.default_rng((seed, 1))
    part_of, usable = _parts(labels, groups, rng)
    chosen = np.sort(rng.permutation(usable)[:CLASSES])
    lookup = {int(c): i for i, c in enumerate(chosen)}
    found = []
    for part in range(2 + SISTERS):
        rows = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        limit = TESTS if part == 0 else 80 * len(chosen)
        kept: list[int] = []
        seen: dict[int, int] = defaultdict(int)
        for row in rows:
            if len(kept) < limit and (part == 0 or seen[labels[row]] < 70):
                kept.append(int(row))
                seen[labels[row]] += 1
        pictures = [images[row] for row in kept]
        own_rng = np.random.default_rng((seed, 2, min(part, 1) + 10 * max(0, part - 1)))
        power = strength if part < 2 else 0.6
        if power:
            camera_rng = np.random.default_rng((seed, 3, max(part, 1)))
            camera = cameras.draw_camera(camera_rng, strength=power, mounted=False)
            pictures = [_see(p, camera, own_rng) for p in pictures]
        y = np.array([lookup[int(labels[row])] for row in kept], dtype=np.int64)
        found.append((encoder.encode(pictures).astype(np.float64), y))
    names = tuple(f"class-{c}" for c in chosen)
    return Plants(names, found[1], tuple(found[2:]), found[0])


def _parts(
    labels: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part of each record (test, own, sisters; groups whole), and classes that parts share.

    Of twenty draws the one with most shared classes: with few groups most draws are no use.
    """
    best: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    for _ in range(20):
        part_of = rng.choice(2 + SISTERS, groups.max() + 1, p=[0.3, 0.25, 0.15, 0.15, 0.15])[groups]
        table = np.zeros((2, labels.max() + 1), dtype=np.int64)
        for part in (0, 1):
            table[part] = np.bincount(labels[part_of == part], minlength=table.shape[1])
        usable = np.flatnonzero(table.min(axis=0) >= 3)
        if best is None or len(usable) > len(best[1]):
            best = part_of, usable
    if best is None or len(best[1]) < 2:
        raise DataError("a data set has too few groups to be cut into plants")
    return best


def _see(
    image: NDArray[np.uint8], camera: cameras.Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    grey = image.astype(np.float32) / 255
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    side = min(grey.shape) // 4 * 4
    return np.asarray(cameras.photograph(rng, grey[None, :side, :side], camera)[0])


def _release(
    generator: Generator,
    x: Floats,
    y: NDArray[np.int64],
    labels: tuple[str, ...],
    epsilon: float,
    rng: np.random.Generator,
) -> NoisyStatistics:
    schema = default_schema(
        encoder=generator.parts.encoder, dimension=x.shape[1], labels=labels, clip_radius=1.0
    )
    sigma = mechanism.sigma_for(schema, epsilon, DELTA)
    return NoisyStatistics(
        schema, simulate_release(exact_statistics(schema, x, y), sigma, rng), sigma
    )


def _judge(
    generator: Generator, plants: Plants, cell: Cell, seed: int, *, local: bool
) -> dict[str, float]:
    """Accuracy of every method on the plant's test records."""
    rng = np.random.default_rng((seed, 4))
    k = len(plants.labels)
    gone = rng.permutation(k)[: round(cell.missing * k)]
    x, y = plants.own
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(y == c))[: cell.shots] for c in range(k) if c not in gone]
    )
    x, y = x[rows], y[rows]
    said = y if cell.labelled else np.full(len(y), -1)
    own = _release(generator, x, said, plants.labels, cell.epsilon, rng)
    memory = []
    for number, (sx, sy) in enumerate(plants.sisters[: cell.sisters]):
        keep = np.concatenate([np.flatnonzero(sy == c)[:SISTER_SHOTS] for c in range(k)])
        release = _release(generator, sx[keep], sy[keep], plants.labels, cell.epsilon, rng)
        memory.append(Memory(f"sister-{number}", release))
    made = generate(generator, own, memory, plants.labels, samples=8, seed=seed)
    heads = {
        c.name: LinearHead(
            c.tensors[HEAD_WEIGHT].astype(np.float64), c.tensors[HEAD_BIAS].astype(np.float64)
        )
        for c in made.candidates
        if c.name in JUDGED
    }
    parts = generator.parts
    sites = [site_evidence(own, plants.labels)]
    sites += [site_evidence(m.statistics, plants.labels) for m in memory]
    _, guess = condition(parts.knowledge, sites)
    context = rivals.Context(parts.priors, sites, guess, parts.memory, rng)
    for name, rival in rivals.RIVALS.items():
        weight, bias = rival(context)
        heads[name] = LinearHead(weight, bias - weight @ guess.centre)
    tx, ty = plants.test
    unseen = np.isin(ty, gone)
    scores = {}
    for name, head in heads.items():
        right = head.logits(tx).argmax(axis=1) == ty
        scores[name] = float(right.mean())
        if unseen.any():
            scores[f"{name} (unseen)"] = float(right[unseen].mean())
    if local and cell.labelled:
        scores |= _local(heads, x, y, plants, k, len(gone) / k)
        if cell.sisters:
            blind = [nothing(k, x.shape[1]), *sites[1:]]
            _, other = condition(parts.knowledge, blind)
            head = LinearHead(other.weight, other.bias - other.weight @ other.centre)
            scores |= _local({"closed-form-others": head}, x, y, plants, k, len(gone) / k)
    return scores


def _local(
    heads: Mapping[str, LinearHead],
    x: Floats,
    y: NDArray[np.int64],
    plants: Plants,
    classes: int,
    unseen: float,
) -> dict[str, float]:
    """Accuracy after local training: alone, and from each of three heads."""
    tx, ty = plants.test
    folds = stratified(y, np.random.default_rng(5))
    found = {"local-only": fit_local(x, y, classes, folds).head}
    for name in ("network", "sample-mean", "closed-form", "closed-form-others"):
        if name in heads:
            tuned = fit_finetuned(heads[name], x, y, folds, unseen_mass=unseen)
            found[f"{name} (trained locally)"] = tuned.fitted.head
    return {n: float((h.logits(tx).argmax(axis=1) == ty).mean()) for n, h in found.items()}


def _table(
    rows: Sequence[Mapping[str, object]], generator: Generator, options: argparse.Namespace
) -> Iterator[str]:
    yield f"Generator {generator.id[:16]}; {platform.machine()}, torch {torch.__version__}, CPU."
    yield ""
    yield (
        "Command: `python -m bench.bench_generator"
        + (" --quick" if options.quick else "")
        + (" --local`" if options.local else "`")
    )
    cells: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for row in rows:
        cells[str(row["cell"])].append(row)
    for cell, found in cells.items():
        clusters = [str(row["dataset"]) for row in found]
        scores = [row["scores"] for row in found]
        methods = sorted({m for s in scores if isinstance(s, dict) for m in s})
        yield ""
        yield f"### {cell} ({len(set(clusters))} data sets, {len(found)} runs)"
        yield ""
        yield "| method | accuracy | network minus it |"
        yield "|---|---|---|"
        lines = []
        for method in methods:
            pairs = [
                (
                    c,
                    s[method],
                    s["network"],
                    s.get("network (trained locally)"),
                    s.get("network (unseen)"),
                )
                for c, s in zip(clusters, scores, strict=True)
                if isinstance(s, dict) and method in s
            ]
            names = [p[0] for p in pairs]
            values = np.array([p[1] for p in pairs])
            column = 3 if "local" in method else 4 if "unseen" in method else 2
            base = np.array([p[column] for p in pairs], dtype=np.float64)
            mean, error = clustered(values, names)
            gain, gain_error = clustered(base - values, names)
            lines.append(
                (mean, f"| {method} | {mean:.3f} ± {error:.3f} | {gain:+.3f} ± {gain_error:.3f} |")
            )
        for _, line in sorted(lines, reverse=True):
            yield line


def _read(path: Path) -> dict[str, dict[str, object]]:
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {str(row["key"]): row for row in rows}


if __name__ == "__main__":
    main()
