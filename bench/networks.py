"""Whole small networks on real plants (scenarios S5 and S6). Run with ``python -m bench.networks``.

Two questions, two homes:

* ``--home`` is a home whose zoo has rendered images only: every data set is a kind of plant that
  the zoo has never seen. The plant and three sisters under other cameras release statistics.
* ``--sister-home`` is a home whose zoo also has the *training* part of each data set: its operator
  owns data of this kind of plant. The plant is cut from the *test* part, and releases
  alone. Its class names are those of the zoo, or hidden, so that names cannot help. Some sets have
  groups on both sides of their split: ``bench.sister_sets`` writes sets that have none, for the
  zoo's sources and for ``--datasets``.

Every network starts from the same base or its deltas. Each is judged as delivered, after its head
is fitted to the plant's labels, and after 5, 20, 60 and 200 steps of LP-FT. The rival is the base
with the plant's own labels, by the same code. ``encoder`` is what the plant has without any network
of its own: the best head that its labels give on the encoder's local features. ``chosen`` is the
candidate that the plant's contest takes by its labels. Rows are kept in
``--results``; a run goes on where it stopped. Differences are paired, errors clustered by data set;
architectures that were run on the same plants are compared with the first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import plants
from numpy.typing import NDArray
from torch import nn

from wg_client.fitting.backbone import network_trunk
from wg_client.fitting.delivered import delivered_loss, fixed
from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.folds import stratified
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.network_tuning import fine_tune
from wg_client.selection import compare
from wg_client.selection.entrants import Offer
from wg_common.catalogue import GENERATED_SOURCES
from wg_common.modalities import cameras
from wg_common.nets import network
from wg_common.nets.encoder.module import Encoder, Records, load_encoder
from wg_common.privacy.statistics import NoisyStatistics
from wg_common.wire import canonical
from wg_server.generator.heads.generate import GeneratedCandidate, SiteRelease, load_generator
from wg_server.generator.networks.generate import (
    NetworkGenerator,
    generate_networks,
    load_networks,
)
from wg_server.generator.statistics import clustered
from wg_server.site.home import ServerHome

STEPS = (0, 5, 20, 60, 200)
CHOSEN = "chosen"
"""The candidate that the plant's contest takes for its best; most often ``network``."""
JUDGED = ("network", CHOSEN, "sample-0", "sample-mean", "closed-form", "retrieval")
BRIEF = ("network", CHOSEN, "retrieval")
BASE = "base"
ENCODER = "encoder"
_OWN, _SISTER, _TESTS = 20, 60, 300

Pictures = Sequence[NDArray[np.uint8]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        name: Title in tables.
        epsilon: Of every release.
        shots: Labels of a class at the plant.
        sister: Whether the zoo has this kind of plant.
        named: Whether the plant uses the zoo's class names.
        camera: Strength of the plant's own camera.
    """

    name: str
    epsilon: float
    shots: int
    sister: bool
    named: bool = True
    camera: float = 0.0


CELLS = (
    Cell(name="S5 unseen eps=4 n=5", epsilon=4.0, shots=5, sister=False),
    Cell(name="S5 unseen eps=1 n=5", epsilon=1.0, shots=5, sister=False),
    Cell(name="S5 sister eps=4 n=5", epsilon=4.0, shots=5, sister=True),
    Cell(name="S5 sister, names hidden eps=4 n=5", epsilon=4.0, shots=5, sister=True, named=False),
    Cell(name="S6 sister, new camera eps=4 n=5", epsilon=4.0, shots=5, sister=True, camera=1.0),
    Cell(name="S5 sister eps=1 n=20", epsilon=1.0, shots=20, sister=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A data set cut up: labels, own and test records, and those of sister plants."""

    labels: tuple[str, ...]
    own: tuple[Records, Ints]
    test: tuple[Records, Ints]
    sisters: tuple[tuple[Records, Ints], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="zoo of rendered images only")
    parser.add_argument(
        "--sister-home", type=Path, help="zoo that has the data sets' training part"
    )
    parser.add_argument("--architecture", default="cnn-m", help="one, or several with commas")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/networks.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cells", default="", help="run only cells whose name has this in it")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="local steps judged")
    parser.add_argument("--brief", action="store_true", help="network, retrieval and base only")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    jobs = []
    judged = BRIEF if options.brief else JUDGED
    steps = tuple(map(int, options.steps.split(",")))
    done = read_rows(options.results)
    for cell in CELLS:
        home = options.sister_home if cell.sister else options.home
        if home is None or options.cells not in cell.name:
            continue
        made_by = canonical.sha256_hex(ServerHome(home).networks.read_bytes())[:16]
        plan = itertools.product(
            options.architecture.split(","), plants.DATASETS, range(options.seeds)
        )
        for architecture, name, seed in plan:
            key = f"{made_by} {architecture} {name} {seed} {cell.name}"
            if key not in done:
                where = (key, home, options.datasets, name, seed)
                jobs.append((*where, cell, architecture, steps, judged))
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.processes) as pool:
        for row in pool.map(_job, jobs):
            with options.results.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            done[str(row["key"])] = row
            print(row["key"], flush=True)
    text = "\n".join(table([row for row in done.values() if row["scores"]], steps))
    print(text)
    if options.table:
        options.table.write_text(text + "\n")


def _job(
    job: tuple[str, Path, Path, str, int, Cell, str, tuple[int, ...], tuple[str, ...]],
) -> dict[str, object]:
    key, folder, datasets, name, seed, cell, architecture, steps, judged = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(folder)
    row: dict[str, object] = {
        "key": key,
        "architecture": architecture,
        "dataset": name,
        "seed": seed,
        "cell": cell.name,
        "scores": {},
    }
    if not (datasets / name / "data.npz").is_file():
        return row
    generator = load_networks(home.networks, load_generator(home.generator))
    if cell.sister and not any(f.startswith(name) for f in _families(generator, architecture)):
        return row  # the zoo does not have this kind of plant
    encoder = load_encoder(home.encoder.read_bytes())
    data = cut(datasets, name, seed, cell)
    if len(data.labels) > 1:  # else no class has enough records for a plant and for its tests
        row["scores"] = judge(generator, encoder, architecture, data, cell, seed, steps, judged)
    return row


def _families(generator: NetworkGenerator, architecture: str) -> tuple[str, ...]:
    return generator.parts.bundles[architecture].fitted_priors.index.families


def cut(root: Path, name: str, seed: int, cell: Cell) -> Cut:
    """Cut a data set by groups; for sister cells nothing of its training part is used."""
    with np.load(root / name / "data.npz", allow_pickle=False) as archive:
        images, labels = list(archive["x"]), archive["y"].astype(np.int64)
        names = [str(c) for c in archive["classes"]]
        groups = archive["group"] if "group" in archive else np.arange(len(labels))
        keep = archive["split"] == 1 if cell.sister else np.ones(len(labels), bool)
    rows = np.flatnonzero(keep)
    images, labels = [images[row] for row in rows], labels[rows]
    groups = np.unique(groups[rows], return_inverse=True)[1]
    rng = np.random.default_rng((seed, 61))
    if cell.sister:
        part_of = (rng.random(groups.max() + 1) < 0.5).astype(np.int64)[groups]
        table = np.stack([np.bincount(labels[part_of == p], minlength=len(names)) for p in (0, 1)])
        usable = np.flatnonzero(table.min(axis=0) >= 3)
    else:
        part_of, usable = plants.parts(labels, groups, rng)
    chosen = np.sort(rng.permutation(usable)[: plants.CLASSES])
    found = []
    for part in range(2 if cell.sister else 2 + plants.SISTERS):
        mine = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        most = (_TESTS, _OWN, _SISTER)[min(part, 2)]
        kept: list[int] = []
        seen: dict[int, int] = defaultdict(int)
        for row in mine:
            if len(kept) < _TESTS if part == 0 else seen[labels[row]] < most:
                kept.append(int(row))
                seen[labels[row]] += 1
        pictures = [images[row] for row in kept]
        power = cell.camera if part < 2 else 0.6
        if power:
            camera = cameras.draw_camera(
                np.random.default_rng((seed, 62, max(part, 1))), strength=power, mounted=False
            )
            pictures = [plants.see(p, camera, rng) for p in pictures]
        found.append((pictures, np.searchsorted(chosen, labels[kept])))
    called = tuple(names[c] if cell.named else f"class-{c}" for c in chosen)
    return Cut(called, found[1], found[0], tuple(found[2:]))


def judge(
    generator: NetworkGenerator,
    encoder: Encoder,
    architecture: str,
    data: Cut,
    cell: Cell,
    seed: int,
    steps: Sequence[int] = STEPS,
    judged: Sequence[str] = JUDGED,
) -> dict[str, float]:
    """Accuracy of each start, as delivered and after each number of local steps."""
    rng = np.random.default_rng((seed, 63))
    k = len(data.labels)
    records, y = labelled(data, cell)

    def release(images: Records, labels: Ints) -> NoisyStatistics:
        features = encoder.encode(images).astype(np.float64)
        return plants.release(encoder.id, features, labels, data.labels, cell.epsilon, rng)

    made = generate_networks(
        generator,
        architecture,
        release(records, y),
        [SiteRelease(f"sister-{i}", release(*sister)) for i, sister in enumerate(data.sisters)],
        data.labels,
        samples=4,
        seed=seed,
    )
    own, test = (network.prepared(architecture, x) for x in (records, data.test[0]))
    folds = stratified(y, np.random.default_rng(5))
    local, new = (encoder.encode_local(x).astype(np.float64) for x in (records, data.test[0]))
    alone = fit_local(local, y, k, folds).head.logits(new)
    scores = {ENCODER: float((alone.argmax(axis=1) == data.test[1]).mean())}
    offers = [_offer(architecture, candidate, encoder, own) for candidate in made.candidates]
    losses = {o.name: delivered_loss(o.head, o.trunk.features, y) for o in offers}
    chosen = compare.best(offers, losses, GENERATED_SOURCES)
    taken = "" if chosen is None or CHOSEN not in judged else chosen.name
    for offer in offers:
        if offer.name not in (*judged, taken, BASE):
            continue
        found = {}
        if offer.name == BASE:
            fitted = fit_local(offer.trunk.features, y, k, folds)
        else:
            trunk = network.load_trunk(architecture, dict(offer.trunk.tensors))
            found["delivered"] = _right(trunk, offer.head, test, data.test[1])
            fitted = fit_finetuned(
                fixed(offer.head), offer.trunk.features, y, folds, unseen_mass=0.0
            ).fitted
        head = fitted.head.scaled(fitted.factor)
        stream = np.random.default_rng((seed, 64))
        for snapshot in fine_tune(architecture, offer.trunk.tensors, head, own, y, steps, stream):
            after = network.load_trunk(architecture, snapshot.trunk)
            found[str(snapshot.steps)] = _right(after, snapshot.head, test, data.test[1])
        if offer.name in (*judged, BASE):
            scores |= {f"{offer.name} {stop}": right for stop, right in found.items()}
        if offer.name == taken:
            scores |= {f"{CHOSEN} {stop}": right for stop, right in found.items()}
    return scores


def _offer(
    architecture: str, candidate: GeneratedCandidate, encoder: Encoder, own: network.Batch
) -> Offer:
    """A candidate as the plant sees it."""
    tensors = network.complete(architecture, candidate.tensors, encoder)
    return Offer(
        candidate.name,
        candidate.source,
        network_trunk(architecture, tensors, own),
        head_from_tensors(candidate.tensors),
    )


def labelled(data: Cut, cell: Cell) -> tuple[list[NDArray[Any]], Ints]:
    """The plant's records and labels in a cell."""
    k = len(data.labels)
    rows = np.concatenate([np.flatnonzero(data.own[1] == c)[: cell.shots] for c in range(k)])
    return [data.own[0][row] for row in rows], data.own[1][rows]


def _right(trunk: nn.Module, head: LinearHead, batch: network.Batch, labels: Ints) -> float:
    logits = head.logits(network.features(trunk, batch).astype(np.float64))
    return float((logits.argmax(axis=1) == labels).mean())


def table(rows: Sequence[Mapping[str, Any]], stops: Sequence[int] = STEPS) -> Iterator[str]:
    """Accuracy, and paired difference to the base after as many local steps."""
    cells: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["cell"]][row.get("architecture", "")].append(row)
    for cell, by_architecture in cells.items():
        for architecture, found in by_architecture.items():
            title = ", ".join(filter(None, (cell, architecture)))
            yield from _part(title, found, stops)
        first, *others = by_architecture.values()
        for other in others:
            yield from _compared(first, other, stops)


def _part(title: str, found: Sequence[Mapping[str, Any]], stops: Sequence[int]) -> Iterator[str]:
    clusters = [str(row["dataset"]) for row in found]
    scores: list[dict[str, float]] = [dict(row["scores"]) for row in found]
    starts = [s for s in JUDGED if all(f"{s} 0" in score for score in scores)]
    yield f"### {title} ({len(set(clusters))} data sets, {len(found)} runs)"
    yield ""
    yield "| start | delivered | " + " | ".join(f"{s} steps" for s in stops) + " |"
    yield "|---" * (len(stops) + 2) + "|"
    for start in (BASE, *starts):
        columns = []
        for steps in ("delivered", *map(str, stops)):
            if f"{start} {steps}" not in scores[0]:
                columns.append("")
                continue
            values = np.array([s[f"{start} {steps}"] for s in scores])
            rival = "0" if steps == "delivered" else steps
            base = np.array([s[f"{BASE} {rival}"] for s in scores])
            gain, error = clustered(100 * (values - base), clusters)
            mean = clustered(values, clusters)[0]
            columns.append(
                f"{mean:.3f}" + ("" if start == BASE else f" ({gain:+.1f} ± {error:.1f})")
            )
        yield f"| {start} | " + " | ".join(columns) + " |"
    yield ""
    if all(ENCODER in score for score in scores):
        mean = clustered(np.array([score[ENCODER] for score in scores]), clusters)[0]
        yield f"Labels alone on the encoder's local features: {mean:.3f}. Minus that, points: " + (
            ", ".join(
                f"{start} {steps}: {_gain(scores, f'{start} {steps}', scores, ENCODER, clusters)}"
                for start in (BASE, *starts)
                for steps in ("delivered", "0", str(stops[-1]))
                if f"{start} {steps}" in scores[0]
            )
        )
        yield ""
    for rival in ("retrieval", "closed-form"):
        if rival in starts:
            yield _against(rival, scores, clusters, stops[-1])
    yield ""


def _compared(
    first: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], stops: Sequence[int]
) -> Iterator[str]:
    """Two architectures on the plants that both were run on."""
    plants_of = {(row["dataset"], row["seed"]): row["scores"] for row in first}
    rows = [row for row in other if (row["dataset"], row["seed"]) in plants_of]
    if not rows:
        return
    one = [plants_of[row["dataset"], row["seed"]] for row in rows]
    two = [row["scores"] for row in rows]
    clusters = [str(row["dataset"]) for row in rows]
    found = [
        f"{key}: {_gain(two, key, one, key, clusters)}"
        for start in (BASE, *JUDGED)
        for key in (f"{start} {steps}" for steps in ("delivered", "0", str(stops[-1])))
        if key in one[0] and key in two[0]
    ]
    names = other[0]["architecture"], first[0]["architecture"]
    yield f"{names[0]} minus {names[1]}, {len(rows)} plants, points: " + ", ".join(found)
    yield ""


def _gain(
    ours: Sequence[Mapping[str, float]],
    mine: str,
    theirs: Sequence[Mapping[str, float]],
    rival: str,
    clusters: Sequence[str],
) -> str:
    pairs = np.array([a[mine] - b[rival] for a, b in zip(ours, theirs, strict=True)])
    gain, error = clustered(100 * pairs, clusters)
    return f"{gain:+.1f} ± {error:.1f}"


def _against(
    rival: str, scores: Sequence[Mapping[str, float]], clusters: Sequence[str], last: int
) -> str:
    found = [
        f"{steps}: {_gain(scores, f'network {steps}', scores, f'{rival} {steps}', clusters)}"
        for steps in ("delivered", "0", str(last))
    ]
    return f"Network minus {rival}, points: " + ", ".join(found) + "  "


def read_rows(path: Path) -> dict[str, dict[str, object]]:
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {str(row["key"]): row for row in rows}


if __name__ == "__main__":
    main()
