"""Heads for plants of kinds that the operator knows, through the product (S5, S6k).

Run with ``python -m bench.known_kinds --home HOME --datasets SETS``. The operator has records of a
kind; a plant of that kind has twenty records a class of its own, of which some are labelled, under
the operator's camera or under a strong one that nobody has seen; or behind sensors. It releases
alone. ``--home`` is a home of images or of windows whose zoo has the training part of data sets, as
``bench.family_sets --out DIR`` cuts them; ``--datasets`` is that folder, and plants are cut from
the other part.

Judged: local-only; what comes, and what the plant's model selection keeps, with the family's
network beside the encoder and without it; and how often the family is found. A plant without
labels whose family is not found has no model, and counts as chance. Where there is no label, what
comes is also standardised by the records of another plant of the kind: a wrong condition.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench import installed, plants
from bench.rows import Row, Rows, write_table
from bench.rows import judged as done
from bench.selected import family_at, inputs_for, network_of, plant_trunk, right, selected
from bench.tables import Results, markdown
from numpy.typing import NDArray

from wg_client.methods.names import LOCAL
from wg_common.catalogue import SAME_FAMILY
from wg_common.inference.hostile_tensors import apart
from wg_common.modalities import cameras, sensors
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality as modality_of
from wg_common.modalities.windows import Windows
from wg_common.nets import family_network
from wg_common.nets.encoder import package as encoders
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.nets.encoder.trunk import Records
from wg_core.errors import NotAcceptedError
from wg_server.generator.weights.head_generation import Generated, Generator, generate
from wg_server.site.home import ServerHome

FOUND = "found"
DELIVERED, KEPT = "delivered", "kept"
HEAD = ", head alone"
WRONG = "delivered, by another plant's records"
PLACES = {Images.name: "camera", Windows.name: "sensors"}
"""What stands between a plant's things and its records."""
_OWN, _OTHER_SITE, _TESTS = 20, 60, 300

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        name: Title in tables.
        epsilon: Of every release.
        shots: Labels of a class at the plant.
        named: Whether the plant uses the zoo's class names.
        camera: Strength of the plant's own camera.
    """

    name: str
    epsilon: float
    shots: int
    named: bool = True
    camera: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A data set cut up: labels, own and test records."""

    labels: tuple[str, ...]
    own: tuple[Records, Ints]
    test: tuple[Records, Ints]


def cells(modality: str) -> Iterator[Cell]:
    """For plants of a modality."""
    for where, epsilon, shots, named in (
        ("new", 4.0, 0, True),
        ("new", 4.0, 5, True),
        ("new", 4.0, 20, True),
        ("new", 1.0, 5, True),
        ("new", 4.0, 5, False),
        ("same", 4.0, 0, True),
        ("same", 4.0, 5, True),
        ("same", 4.0, 20, True),
        ("same", 4.0, 5, False),
    ):
        hidden = "" if named else ", names hidden"
        yield Cell(
            name=f"{where} {PLACES[modality]} eps={epsilon:g} n={shots}{hidden}",
            epsilon=epsilon,
            shots=shots,
            camera=1.0 if where == "new" else 0.0,
            named=named,
        )


def main(words: Sequence[str] | None = None) -> None:
    """Judge and print; the words of the command line unless others are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="its zoo has the sets' other part")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of bench.family_sets")
    parser.add_argument("--results", type=Path, default=Path("bench/results/known_kinds.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", default="", help="run only cells whose name has this in it")
    parser.add_argument("--sets", default="", help="run only these sets, with commas")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(words)
    home = ServerHome(options.home)
    made_by = installed.heads(home).id[:16]
    modality = encoders.read_modality(home.read_encoder())
    jobs = [
        (f"{made_by} {name} {seed} {cell.name}", options.home, options.datasets, name, seed, cell)
        for name in owned(home)
        if not options.sets or name in options.sets.split(",")
        for seed in range(options.seeds)
        for cell in cells(modality)
        if options.cells in cell.name
    ]
    found = done(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(found)), options.table)


def owned(home: ServerHome) -> list[str]:
    """Data sets that the operator has heads of."""
    families = installed.heads(home).parts.operator_families
    return [] if families is None else sorted(name.removesuffix("-0") for name in families.heads)


def _job(job: tuple[str, Path, Path, str, int, Cell]) -> Row | None:
    key, folder, datasets, name, seed, cell = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    row: Row = {"key": key, "dataset": name, "seed": seed, "cell": cell.name, "scores": {}}
    if not (datasets / name / "data.npz").is_file():
        return None
    home = ServerHome(folder)
    generator, encoder = installed.heads(home), load_encoder(home.read_encoder())
    windows = encoder.modality == Windows.name
    of = cut_windows if windows else cut
    data = of(datasets, name, seed, cell)
    if len(data.labels) > 1:  # else no class has enough records for a plant and for its tests
        others = None if cell.shots else of(datasets, name, abs(seed - 1), cell).own[0]
        row["scores"] = judge(generator, encoder, data, cell, seed, others)
    return row


def cut(root: Path, name: str, seed: int, cell: Cell) -> Cut:
    """Cut a plant from the test part of a set by groups.

    Args:
        root: Folder of ``bench.family_sets``.
    """
    with np.load(root / name / "data.npz", allow_pickle=False) as archive:
        images, labels = list(archive["x"]), archive["y"].astype(np.int64)
        names = [str(c) for c in archive["classes"]]
        groups = archive["group"] if "group" in archive else np.arange(len(labels))
        rows = np.flatnonzero(archive["split"] == 1)
    images, labels = [images[row] for row in rows], labels[rows]
    groups = np.unique(groups[rows], return_inverse=True)[1]
    rng = np.random.default_rng((seed, 61))
    part_of = (rng.random(groups.max() + 1) < 0.5).astype(np.int64)[groups]
    counts = np.stack([np.bincount(labels[part_of == p], minlength=len(names)) for p in (0, 1)])
    usable = np.flatnonzero(counts.min(axis=0) >= 3)
    chosen = np.sort(rng.permutation(usable)[: plants.CLASSES])
    parts = []
    for part in (0, 1):
        mine = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        most = _OWN if part == 1 else _OTHER_SITE
        kept = plants.first_of(mine, labels, _TESTS if part == 0 else None, most)
        pictures = [images[row] for row in kept]
        if cell.camera:
            camera = cameras.draw_camera(
                np.random.default_rng((seed, 62, 1)), strength=cell.camera, mounted=False
            )
            pictures = [plants.see(p, camera, rng) for p in pictures]
        parts.append((pictures, np.searchsorted(chosen, labels[kept])))
    called = tuple(names[c] if cell.named else f"class-{c}" for c in chosen)
    return Cut(called, parts[1], parts[0])


def cut_windows(root: Path, name: str, seed: int, cell: Cell) -> Cut:
    """As ``cut``, for windows, which sensors of the plant's own observe."""
    data = cut(root, name, seed, replace(cell, camera=0.0))
    if not cell.camera or not len(data.own[0]):
        return data
    own, test = (np.stack(list(part[0])).astype(np.float64) for part in (data.own, data.test))
    rng = np.random.default_rng((seed, 62))
    chain = sensors.draw(rng, np.eye(own.shape[1]), 1.0, cell.camera, direct=True)
    seen, tests = (list(sensors.observe(rng, part, chain)) for part in (own, test))
    return replace(data, own=(seen, data.own[1]), test=(tests, data.test[1]))


def judge(
    generator: Generator,
    encoder: Encoder,
    data: Cut,
    cell: Cell,
    seed: int,
    others: Records | None,
) -> dict[str, float]:
    """Accuracy of each model on new records of one plant.

    Args:
        others: Records of the plant of another seed; None: they have no part.
    """
    k, (records, truth) = len(data.labels), data.own
    labels = _labelled(truth, cell.shots)
    local = encoder.encode_local(records).astype(np.float64)
    drawn = np.random.default_rng((seed, 92))
    released = plants.release(
        encoder.id, local[:, : encoder.dimension], labels, data.labels, cell.epsilon, drawn
    )
    made = generate(generator, released, [], data.labels)
    test = inputs_for(made, encoder, k, data.test[0], records), data.test[1]
    scores = {FOUND: float(any(c.source == SAME_FAMILY for c in made.candidates))}
    trunk = plant_trunk(encoder, local)
    for ending, variant in (("", made), (HEAD, _without_network(made))):
        if ending and network_of(made.candidates[0].tensors, encoder, k, records) is None:
            scores |= {name + HEAD: scores[name] for name in (DELIVERED, KEPT)}
            continue  # it is the same
        family = family_at(encoder, local, trunk, k, records)
        first = variant.candidates[0]
        if first.source == SAME_FAMILY:
            view, head = family(first.tensors)
            head = view.outward(head)
            scores[DELIVERED + ending] = right(head, test)
        else:  # nothing but what other sites say, and there are none
            scores[DELIVERED + ending] = 1 / k
        if others is not None and first.source == SAME_FAMILY and variant is made:
            scores[WRONG] = _misled(encoder, made, data, others)
        try:
            outcome = selected(
                variant,
                trunk,
                labels,
                encoder.dimension,
                own=True,
                others=False,
                learners=modality_of(encoder.modality).learners,
                family=family,
            )
        except NotAcceptedError:  # no label, and nobody knows the plant's kind: it has no model
            scores[KEPT + ending] = 1 / k
            continue
        scores[KEPT + ending] = right(outcome.models[outcome.kept].head, test)
        if LOCAL in outcome.models:
            scores[LOCAL] = right(outcome.models[LOCAL].head, test)
    return scores


def _misled(encoder: Encoder, made: Generated, data: Cut, others: Records) -> float:
    """Accuracy of what comes, standardised by another plant's records."""
    k = len(data.labels)
    local = encoder.encode_local(others).astype(np.float64)
    family = family_at(encoder, local, plant_trunk(encoder, local), k, others)
    view, head = family(made.candidates[0].tensors)
    seen = inputs_for(made, encoder, k, data.test[0], others)
    return right(view.outward(head), (seen, data.test[1]))


def _labelled(truth: NDArray[np.int64], shots: int) -> NDArray[np.int64]:
    """The first labels of each class; -1 for the others."""
    labels = np.full(len(truth), -1)
    for label in np.unique(truth):
        labels[np.flatnonzero(truth == label)[:shots]] = label
    return labels


def _without_network(made: Generated) -> Generated:
    """The same without the network that came with a family's head."""
    return replace(
        made,
        candidates=tuple(
            replace(each, tensors=_own(each.tensors)) if each.source == SAME_FAMILY else each
            for each in made.candidates
        ),
    )


def _own(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return apart(tensors, family_network.PREFIX)[0]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Accuracy in each cell, and paired differences over data sets."""
    results = Results(rows)
    models = (LOCAL, DELIVERED + HEAD, DELIVERED, KEPT + HEAD, KEPT)
    pairs = (
        (DELIVERED, DELIVERED + HEAD),
        (KEPT, KEPT + HEAD),
        (KEPT, LOCAL),
        (WRONG, DELIVERED),
    )
    found = []
    for cell in results.cells:
        known = [
            f"{value:.3f}" if np.isfinite(value := results.accuracy(cell, m)[0]) else "-"
            for m in (FOUND, *models)
        ]
        size = "{}, {}".format(*results.size(cell))
        differences = [
            str(results.paired(cell, *pair))
            if np.isfinite([results.accuracy(cell, name)[0] for name in pair]).all()
            else "-"
            for pair in pairs
        ]
        found.append((cell, size, *known, *differences))
    heads = ("plants", "number, sets", FOUND, *models, *(f"{a} minus {b}" for a, b in pairs))
    yield from markdown(heads, found)


if __name__ == "__main__":
    main()
