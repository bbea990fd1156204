"""Whole small networks on real plants (scenarios S5 and S6). Run with ``python -m bench.networks``.

Two questions, two homes:

* ``--home`` is a home whose zoo has rendered images only: every data set is of a family that the
  zoo has never seen. The plant and three same-family sites under other cameras release statistics.
* ``--family-home`` is a home whose zoo also has the *training* part of each data set: its operator
  has data of this family. The plant is cut from the *test* part, and releases
  alone. Its class names are those of the zoo, or hidden, so that names cannot help. Some sets have
  groups on both sides of their split: ``bench.family_sets`` writes sets that have none, for the
  zoo's sources and for ``--datasets``.

Every network starts from the same base or its deltas. Each is judged as delivered, after its head
is fitted to the plant's labels, and after 5, 20, 60 and 200 steps of LP-FT. It is compared with the
base with the plant's own labels, by the same code. ``kept`` and ``local-only`` are what the plant's
own model selection makes of the whole package. ``encoder`` is what the plant has without any
network of its own: the best head that its labels give on the encoder's local features. Rows are
kept in ``--results``; a run goes on where it stopped. Differences are paired, errors clustered by
data set; architectures that were run on the same plants are compared with the first.
"""

import argparse
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import installed, plants
from bench.rows import Row, Rows, write_table
from bench.rows import judged as done
from bench.selected import own_folds, right, selected_network
from bench.tables import Results, markdown
from numpy.typing import NDArray

from wg_client.fitting.backbone import Tensors, network_trunk
from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.network_tuning import fine_tune
from wg_client.methods.base import Candidate
from wg_client.methods.names import LOCAL
from wg_client.methods.package import network_candidate
from wg_common.modalities import cameras
from wg_common.nets import network
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.nets.encoder.trunk import Records
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.generator.weights.head_generation import SiteRelease
from wg_server.generator.weights.makers import GeneratedCandidate
from wg_server.generator.weights.network_generation import (
    NetworkGenerator,
    generate_networks,
)
from wg_server.site.home import ServerHome

STEPS = (0, 5, 20, 60, 200)
JUDGED = ("network", "sample-0", "sample-mean", "closed-form", "retrieval")
BRIEF = ("network", "retrieval")
BASE = "base"
KEPT = "kept"
ENCODER = "encoder"
_OWN, _OTHER_SITE, _TESTS = 20, 60, 300

Pictures = Sequence[NDArray[np.uint8]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        name: Title in tables.
        epsilon: Of every release.
        shots: Labels of a class at the plant.
        same_family: Whether the zoo has this kind of plant.
        named: Whether the plant uses the zoo's class names.
        camera: Strength of the plant's own camera.
    """

    name: str
    epsilon: float
    shots: int
    same_family: bool
    named: bool = True
    camera: float = 0.0


CELLS = (
    Cell(name="S5 unseen eps=4 n=5", epsilon=4.0, shots=5, same_family=False),
    Cell(name="S5 unseen eps=1 n=5", epsilon=1.0, shots=5, same_family=False),
    Cell(name="S5 sister eps=4 n=5", epsilon=4.0, shots=5, same_family=True),
    Cell(
        name="S5 sister, names hidden eps=4 n=5",
        epsilon=4.0,
        shots=5,
        same_family=True,
        named=False,
    ),
    Cell(
        name="S6 sister, new camera eps=4 n=5", epsilon=4.0, shots=5, same_family=True, camera=1.0
    ),
    Cell(name="S5 sister eps=1 n=20", epsilon=1.0, shots=20, same_family=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A data set cut up: labels, own and test records, and those of same-family sites."""

    labels: tuple[str, ...]
    own: tuple[Records, Ints]
    test: tuple[Records, Ints]
    same_family: tuple[tuple[Records, Ints], ...]


def main(words: Sequence[str] | None = None) -> None:
    """Judge and print; the words of the command line unless others are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="zoo of rendered images only")
    parser.add_argument(
        "--family-home", type=Path, help="zoo that has the data sets' training part"
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
    options = parser.parse_args(words)
    jobs = []
    judged = BRIEF if options.brief else JUDGED
    steps = tuple(map(int, options.steps.split(",")))
    for cell in CELLS:
        home = options.family_home if cell.same_family else options.home
        if home is None or options.cells not in cell.name:
            continue
        made_by = installed.networks(ServerHome(home)).id[:16]
        plan = itertools.product(
            options.architecture.split(","), plants.DATASETS, range(options.seeds)
        )
        for architecture, name, seed in plan:
            key = f"{made_by} {architecture} {name} {seed} {cell.name}"
            where = (key, home, options.datasets, name, seed)
            jobs.append((*where, cell, architecture, steps, judged))
    found = done(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(found, steps)), options.table)


def _job(
    job: tuple[str, Path, Path, str, int, Cell, str, tuple[int, ...], tuple[str, ...]],
) -> Row | None:
    key, folder, datasets, name, seed, cell, architecture, steps, judged = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(folder)
    row: Row = {
        "key": key,
        "architecture": architecture,
        "dataset": name,
        "seed": seed,
        "cell": cell.name,
        "scores": {},
    }
    if not (datasets / name / "data.npz").is_file():
        return None
    generator = installed.networks(home)
    families = generator.parts.bundles[architecture].fitted_priors.index.families
    if cell.same_family and not any(family.startswith(name) for family in families):
        return row  # the zoo does not have this kind of plant
    encoder = load_encoder(home.encoder.read_bytes())
    data = cut(datasets, name, seed, cell)
    if len(data.labels) > 1:  # else no class has enough records for a plant and for its tests
        row["scores"] = judge(generator, encoder, architecture, data, cell, seed, steps, judged)
    return row


def cut(root: Path, name: str, seed: int, cell: Cell) -> Cut:
    """Cut a data set by groups; for same-family cells nothing of its training part is used."""
    with np.load(root / name / "data.npz", allow_pickle=False) as archive:
        images, labels = list(archive["x"]), archive["y"].astype(np.int64)
        names = [str(c) for c in archive["classes"]]
        groups = archive["group"] if "group" in archive else np.arange(len(labels))
        keep = archive["split"] == 1 if cell.same_family else np.ones(len(labels), bool)
    rows = np.flatnonzero(keep)
    images, labels = [images[row] for row in rows], labels[rows]
    groups = np.unique(groups[rows], return_inverse=True)[1]
    rng = np.random.default_rng((seed, 61))
    if cell.same_family:
        part_of = (rng.random(groups.max() + 1) < 0.5).astype(np.int64)[groups]
        table = np.stack([np.bincount(labels[part_of == p], minlength=len(names)) for p in (0, 1)])
        usable = np.flatnonzero(table.min(axis=0) >= 3)
    else:
        part_of, usable = plants.parts(labels, groups, rng)
    chosen = np.sort(rng.permutation(usable)[: plants.CLASSES])
    found = []
    for part in range(2 if cell.same_family else 2 + plants.SAME_FAMILY_SITES):
        mine = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        most = _OWN if part == 1 else _OTHER_SITE
        kept = plants.first_of(mine, labels, _TESTS if part == 0 else None, most)
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
        [SiteRelease(f"sister-{i}", release(*site)) for i, site in enumerate(data.same_family)],
        data.labels,
        samples=4,
        seed=seed,
    )
    own, test = (network.prepared(architecture, x) for x in (records, data.test[0]))
    folds = own_folds(y)
    local, new = (encoder.encode_local(x).astype(np.float64) for x in (records, data.test[0]))
    scores = {ENCODER: right(fit_local(local, y, k, folds).head, (new, data.test[1]))}
    candidates = [_candidate(architecture, given, encoder, own) for given in made.candidates]
    chosen = selected_network(
        architecture, candidates, own, y, own=True, others=bool(data.same_family)
    )
    for name, model in ((KEPT, chosen.kept), (LOCAL, LOCAL)):
        tensors, head = chosen.models[model].trunk.tensors, chosen.models[model].head
        scores[name] = _right(architecture, tensors, head, test, data)
    for candidate in candidates:
        name, trunk = candidate.name, candidate.trunk
        if name not in (*judged, BASE):
            continue
        found = {}
        if name == BASE:
            fitted = fit_local(trunk.features, y, k, folds)
        else:
            found["delivered"] = _right(architecture, trunk.tensors, candidate.head, test, data)
            base = fixed(candidate.head)
            fitted = fit_finetuned(base, trunk.features, y, folds, unseen_mass=0.0)
        stream = np.random.default_rng((seed, 64))
        for snapshot in fine_tune(architecture, trunk.tensors, fitted.head, own, y, steps, stream):
            found[str(snapshot.steps)] = _right(
                architecture, snapshot.trunk, snapshot.head, test, data
            )
        scores |= {f"{name} {stop}": value for stop, value in found.items()}
    return scores


def _candidate(
    architecture: str, given: GeneratedCandidate, encoder: Encoder, own: network.Batch
) -> Candidate:
    """A candidate as the plant sees it."""
    tensors = network.complete(architecture, given.tensors, encoder)
    trunk = network_trunk(architecture, tensors, own)
    return network_candidate(architecture, given.name, given.source, given.tensors, trunk)


def labelled(data: Cut, cell: Cell) -> tuple[list[NDArray[Any]], Ints]:
    """The plant's records and labels in a cell."""
    k = len(data.labels)
    rows = np.concatenate([np.flatnonzero(data.own[1] == c)[: cell.shots] for c in range(k)])
    return [data.own[0][row] for row in rows], data.own[1][rows]


def _right(
    architecture: str, tensors: Tensors, head: LinearHead, test: network.Batch, data: Cut
) -> float:
    features = network_trunk(architecture, tensors, test).features
    return right(head, (features, data.test[1]))


def table(rows: Sequence[Row], stops: Sequence[int] = STEPS) -> Iterator[str]:
    """Accuracy, and paired difference to the base after as many local steps."""
    architectures = dict.fromkeys(row.get("architecture", "") for row in rows)
    titles = {a: f", {a}" if a else "" for a in architectures}
    named = [row | {"cell": row["cell"] + titles[row.get("architecture", "")]} for row in rows]
    results = Results(named)
    for title in results.cells:
        yield from _part(results, title, stops)
    first, *others = architectures or ("",)
    for cell in dict.fromkeys(row["cell"] for row in rows):
        for other in others:
            mine = [row for row in rows if row["cell"] == cell]
            yield from _compared(mine, first, other, stops)


def _part(results: Results, title: str, stops: Sequence[int]) -> Iterator[str]:
    runs, sets = results.size(title)
    columns = ("delivered", *map(str, stops))
    starts = [s for s in (BASE, *JUDGED) if np.isfinite(results.accuracy(title, f"{s} 0")[0])]
    yield f"### {title} ({sets} data sets, {runs} runs)"
    yield ""
    heads = ("start", "delivered", *(f"{stop} steps" for stop in stops))
    yield from markdown(
        heads, ((start, *(_entry(results, title, start, c) for c in columns)) for start in starts)
    )
    yield ""
    shown = ("delivered", "0", str(stops[-1]))
    alone = results.accuracy(title, ENCODER)[0]
    if np.isfinite(alone):
        keys = [f"{start} {column}" for start in starts for column in shown]
        gains = _differences(results, title, [(key, ENCODER) for key in keys])
        yield f"Labels alone on the encoder's local features: {alone:.3f}."
        yield f"Minus that, points: {gains}"
        yield ""
    kept, by_labels = (results.accuracy(title, name)[0] for name in (KEPT, LOCAL))
    if np.isfinite(kept):
        yield f"The plant's own selection: local-only {by_labels:.3f}, kept {kept:.3f}."
        yield f"Kept minus local-only, points: {_differences(results, title, [(KEPT, LOCAL)])}"
        yield ""
    for name in ("retrieval", "closed-form"):
        if name in starts:
            pairs = [(f"network {column}", f"{name} {column}") for column in shown]
            yield f"Network minus {name}, points: {_differences(results, title, pairs)}  "
    yield ""


def _entry(results: Results, title: str, start: str, column: str) -> str:
    """Accuracy of a start, and how much more than the base it is after as many steps."""
    accuracy, _ = results.accuracy(title, f"{start} {column}")
    if not np.isfinite(accuracy):
        return ""
    base = f"{BASE} {'0' if column == 'delivered' else column}"
    gain = results.paired(title, f"{start} {column}", base)
    return f"{accuracy:.3f}" + ("" if start == BASE else f" ({gain})")


def _differences(results: Results, title: str, pairs: Sequence[tuple[str, str]]) -> str:
    found = ((one, results.paired(title, one, two)) for one, two in pairs)
    return ", ".join(f"{one}: {gain}" for one, gain in found if gain is not None)


def _compared(rows: Sequence[Row], first: str, other: str, stops: Sequence[int]) -> Iterator[str]:
    """Two architectures on the plants that both were run on."""
    scores: dict[str, dict[tuple[str, int], dict[str, float]]] = defaultdict(dict)
    for row in rows:
        scores[row.get("architecture", "")][row["dataset"], row["seed"]] = row["scores"]
    both = [plant for plant in scores[other] if plant in scores[first]]
    if not both:
        return
    results = Results(
        [
            {
                "cell": "",
                "dataset": plant[0],
                "scores": scores[other][plant]
                | {f"{first} {key}": value for key, value in scores[first][plant].items()},
            }
            for plant in both
        ]
    )
    shown = ("delivered", "0", str(stops[-1]))
    keys = [f"{start} {column}" for start in (BASE, *JUDGED) for column in shown]
    found = _differences(results, "", [(key, f"{first} {key}") for key in keys])
    yield f"{other} minus {first}, {len(both)} plants, points: {found}"
    yield ""


if __name__ == "__main__":
    main()
