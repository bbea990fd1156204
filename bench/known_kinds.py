"""Heads for plants of kinds that the operator has records of, with the product's code (S5, S6k).

Run with ``python -m bench.known_kinds --home HOME --datasets SETS``. The operator has records of a
kind; a plant of that kind has twenty records per class, of which some are labelled, with the
operator's camera or with a strongly different unseen one, or with other sensors. Nobody releases
statistics. ``--home`` is a home of images or of windows whose zoo has the training part of data
sets, as ``bench.family_sets --out DIR`` cuts them; ``--datasets`` is that folder, and plants are
cut from the other part.

Results are recalls averaged over classes: in the tests of some sets eleven of twelve records are of
one class, so a constant prediction would seem good. The table has local-only; the delivered model,
and the model that the plant selects, with the family's network and without it; how often the right
family is selected, and how often the plant's records refuse it. A plant without labels that selects
no family has no model, and counts as chance. ``--rival`` is a home of the same plan made by
``bench.ordinary``: fixed models trained with ordinary augmentation, which plants standardise and
evaluate in the same way; ``--no-veto`` suits it best, since its simulated sites have one camera.
Without labels, the delivered model is also standardised by the records of another plant of the
kind: a wrong condition. Under *false names* the plant's classes have the names of another kind: of
its family, another of the operator's, or of a set that the operator does not have.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench import installed, optics, plants, window_plants
from bench.rows import Row, Rows, write_table
from bench.rows import evaluate_jobs as done
from bench.selected import (
    family_candidate,
    mean_recall,
    offered_families,
    plant_network,
    plant_trunk,
    select_for_plant,
)
from bench.tables import Results, markdown
from numpy.typing import NDArray

from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.methods.operator_families import choose_family
from wg_common.modalities import cameras, sensors
from wg_common.modalities.images import Images
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder import package as encoders
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.encoder.trunk import Records
from wg_core.errors import NotAcceptedError
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads
from wg_server.site.home import ServerHome

RIGHT_KIND = "right kind"
REFUSED = "refused"
DELIVERED, KEPT = "delivered", "kept"
HEAD, RIVAL = ", head alone", ", ordinary"
WRONG_CONDITION = "delivered, by another plant's records"
DEVICES = {Images.name: "camera", Windows.name: "sensors"}
"""Device that differs between plants, in the names of cells."""
_OWN, _OTHER_SITE, _TESTS = 20, 60, 300

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Configuration of a plant.

    Attributes:
        name: Title in tables.
        shots: Number of labels per class at the plant.
        uses_zoo_names: True if the plant uses the zoo's class names.
        camera_strength: Strength of the plant's own camera, 0 to 1.
        has_false_names: True if the class names are those of another kind.
        has_foreign_camera: True if the camera is one of ``bench.optics``, not the product's code.
    """

    name: str
    shots: int
    uses_zoo_names: bool = True
    camera_strength: float = 0.0
    has_false_names: bool = False
    has_foreign_camera: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CutPlant:
    """Plant cut from a data set: name, class names, own and test records."""

    name: str
    labels: tuple[str, ...]
    own: tuple[Records, Ints]
    test: tuple[Records, Ints]


def plant_cells(modality: str) -> Iterator[Cell]:
    """Yield the configurations for plants of a modality."""
    for where, camera in (("new", 1.0), ("same", 0.0)):
        place = f"{where} {DEVICES[modality]}"
        for shots in (0, 5, 20):
            yield Cell(name=f"{place} n={shots}", shots=shots, camera_strength=camera)
        yield Cell(
            name=f"{place} n=5, names hidden", shots=5, camera_strength=camera, uses_zoo_names=False
        )
        yield Cell(
            name=f"{place} n=0, false names", shots=0, camera_strength=camera, has_false_names=True
        )
    for shots in (0, 5) if modality == Images.name else ():
        name = f"another program's camera n={shots}"
        yield Cell(name=name, shots=shots, has_foreign_camera=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate and print; ``arguments`` replaces the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="its zoo has the sets' other part")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of bench.family_sets")
    parser.add_argument("--rival", type=Path, help="a home of bench.ordinary")
    parser.add_argument("--no-veto", action="store_true", help="labels alone judge what came")
    parser.add_argument("--results", type=Path, default=Path("bench/results/known_kinds.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", default="", help="run only cells whose name has this in it")
    parser.add_argument("--sets", default="", help="run only these sets, with commas")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    home = ServerHome(options.home)
    homes = [options.home, *([options.rival] if options.rival else [])]
    made_by = "+".join(installed.head_generator(ServerHome(each)).id[:16] for each in homes)
    made_by += "+no-veto" * options.no_veto
    modality = encoders.read_modality(home.read_encoder())
    jobs = [
        (f"{made_by} {name} {seed} {cell.name}", homes, options, name, seed, cell)
        for name in (plants.DATASETS if modality == Images.name else window_plants.FILES)
        if not options.sets or name in options.sets.split(",")
        for seed in range(options.seeds)
        for cell in plant_cells(modality)
        if options.cells in cell.name and (cell.has_false_names or name in operator_data_sets(home))
    ]
    found = done(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(found)), options.table)


def operator_data_sets(home: ServerHome) -> list[str]:
    """Names of data sets for which the operator has heads."""
    families = installed.head_generator(home).package.operator_families
    return [] if families is None else [name.removesuffix("-0") for name in families.families]


def _job(job: tuple[str, list[Path], argparse.Namespace, str, int, Cell]) -> Row | None:
    key, homes, options, name, seed, cell = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    row: Row = {"key": key, "dataset": name, "seed": seed, "cell": cell.name, "scores": {}}
    if not (options.datasets / name / "data.npz").is_file():
        return None
    generator, encoder = installed.load_cached(homes[0])
    of = cut_window_plant if encoder.modality == Windows.name else cut_plant
    data = of(options.datasets, name, seed, cell)
    if len(data.labels) < 2:  # no class has enough records for a plant and for its tests
        return row
    if cell.has_false_names:
        row["scores"] = measure_refusals(generator, encoder, data)
        return row
    others = None if cell.shots else of(options.datasets, name, abs(seed - 1), cell).own[0]
    veto = not options.no_veto
    row["scores"] = evaluate_plant(generator, encoder, data, cell, others, veto)
    for rival in homes[1:]:
        scores = evaluate_plant(*installed.load_cached(rival), data, cell, None, veto)
        row["scores"] |= {f"{of}{RIVAL}": scores[of] for of in (DELIVERED, KEPT)}
    return row


def cut_plant(root: Path, name: str, seed: int, cell: Cell) -> CutPlant:
    """Cut a plant from the test part of a data set by groups.

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
        kept = plants.first_rows(mine, labels, _TESTS if part == 0 else None, most)
        pictures = [images[row] for row in kept]
        if cell.camera_strength:
            camera = cameras.draw_camera(
                np.random.default_rng((seed, 62, 1)),
                strength=cell.camera_strength,
                may_turn=False,
            )
            pictures = [plants.photograph(p, camera, rng) for p in pictures]
        elif cell.has_foreign_camera:
            pictures = list(map(optics.draw_camera(np.random.default_rng((seed, 62, 1))), pictures))
        parts.append((pictures, np.searchsorted(chosen, labels[kept])))
    called = tuple(names[c] if cell.uses_zoo_names else f"class-{c}" for c in chosen)
    return CutPlant(name, called, parts[1], parts[0])


def cut_window_plant(root: Path, name: str, seed: int, cell: Cell) -> CutPlant:
    """Cut a plant as ``cut_plant`` does, for windows, with simulated sensors of its own."""
    data = cut_plant(root, name, seed, replace(cell, camera_strength=0.0))
    if not cell.camera_strength or not len(data.own[0]):
        return data
    own, test = (np.stack(list(part[0])).astype(np.float64) for part in (data.own, data.test))
    rng = np.random.default_rng((seed, 62))
    chain = sensors.draw_sensor_chain(
        rng, np.eye(own.shape[1]), 1.0, cell.camera_strength, is_direct=True
    )
    seen, tests = (list(sensors.measure_signals(rng, part, chain)) for part in (own, test))
    return replace(data, own=(seen, data.own[1]), test=(tests, data.test[1]))


def measure_refusals(
    generator: HeadGenerator, encoder: Encoder, data: CutPlant
) -> dict[str, float]:
    """Test for each of the operator's families whether a plant with its class names refuses it."""
    operator = generator.package.operator_families
    local = encoder.encode_local(data.own[0])
    known = operator is not None and f"{data.name}-0" in operator.families
    shares = []
    for family, kind in ({} if operator is None else operator.families).items():
        k = min(len(data.labels), len(kind.labels))
        if family != f"{data.name}-0":
            made = generate_heads(generator, [], kind.labels[:k])
            taken = choose_family(
                offered_families(made, encoder, local, k), np.full(len(local), -1), k
            )
            shares.append(float(taken is None or taken.is_too_unlike))
    return {f"{REFUSED}, {'other own kinds' if known else 'kinds unknown'}": float(np.mean(shares))}


def evaluate_plant(
    generator: HeadGenerator,
    encoder: Encoder,
    data: CutPlant,
    cell: Cell,
    others: Records | None,
    may_refuse: bool,
) -> dict[str, float]:
    """Mean recall of each model on test records of one plant.

    Args:
        others: Records of another plant of the kind, to standardise by; None to omit this test.
        may_refuse: True if the plant's records may refuse a family.
    """
    k, (records, truth) = len(data.labels), data.own
    labels = _labelled(truth, cell.shots)
    local = encoder.encode_local(records).astype(np.float64)
    made = generate_heads(generator, [], data.labels)
    families = offered_families(made, encoder, local, k)
    family, trunk = choose_family(families, labels, k), plant_trunk(encoder, local)
    test = encoder.encode_local_batched(data.test[0]).astype(np.float64)
    network = None if family is None else plant_network(family, encoder, records)
    scores = {REFUSED: float(family is None or family.is_too_unlike)}
    operator = generator.package.operator_families
    if operator is not None and family is not None:
        kinds = [n for n, kind in operator.families.items() if len(kind.labels) >= k]
        place = families.index(family)
        scores[RIGHT_KIND] = float(family.is_matched_by_name or kinds[place] == f"{data.name}-0")
    for ending, beside in (("", network), (HEAD, None)):
        candidate = None if family is None else family_candidate(family, encoder, trunk, beside)
        candidate = (
            candidate
            if may_refuse or candidate is None
            else replace(candidate, family_unlikeness=0.0)
        )
        further = [] if beside is None else [beside.trunk_module.features(data.test[0])]
        seen = np.hstack([test, *further]), data.test[1]
        scores[DELIVERED + ending] = 1 / k
        if candidate is not None and candidate.has_declared_row_order:
            scores[DELIVERED + ending] = mean_recall(
                candidate.trunk.to_local_head(candidate.head), seen
            )
        if others is not None and family is not None and not ending:
            scores[WRONG_CONDITION] = _wrong_condition_recall(encoder, made, data, others)
        try:
            outcome = select_for_plant(
                made, trunk, labels, encoder.dimension, others_released=False, family=candidate
            )
        except NotAcceptedError:  # no label, and no kind that its records are like: no model
            scores[KEPT + ending] = 1 / k
            continue
        scores[KEPT + ending] = mean_recall(outcome.models[outcome.kept_name].head, seen)
        if LOCAL_ONLY in outcome.models:
            scores[LOCAL_ONLY] = mean_recall(outcome.models[LOCAL_ONLY].head, seen)
    return scores


def _wrong_condition_recall(
    encoder: Encoder, made: Sequence[GeneratedCandidate], data: CutPlant, others: Records
) -> float:
    """Mean recall of the delivered model, standardised by another plant's records."""
    local = encoder.encode_local(others).astype(np.float64)
    family = offered_families(made, encoder, local, len(data.labels))[0]
    network = plant_network(family, encoder, others)
    candidate = family_candidate(family, encoder, plant_trunk(encoder, local), network)
    parts = [encoder.encode_local_batched(data.test[0])]
    parts += [] if network is None else [network.trunk_module.features(data.test[0])]
    seen = np.hstack(parts).astype(np.float64), data.test[1]
    return mean_recall(candidate.trunk.to_local_head(candidate.head), seen)


def _labelled(truth: NDArray[np.int64], shots: int) -> NDArray[np.int64]:
    """Keep the first ``shots`` labels of each class; -1 for the other records."""
    labels = np.full(len(truth), -1)
    for label in np.unique(truth):
        labels[np.flatnonzero(truth == label)[:shots]] = label
    return labels


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate mean recall in each cell, and paired differences over data sets."""
    results = Results(rows)
    refusals = (REFUSED, f"{REFUSED}, other own kinds", f"{REFUSED}, kinds unknown")
    models = (
        LOCAL_ONLY,
        DELIVERED + HEAD,
        DELIVERED,
        DELIVERED + RIVAL,
        KEPT + HEAD,
        KEPT,
        KEPT + RIVAL,
    )
    pairs = (
        (DELIVERED, DELIVERED + HEAD),
        (KEPT, KEPT + HEAD),
        (KEPT, LOCAL_ONLY),
        (KEPT, DELIVERED),
        (DELIVERED, DELIVERED + RIVAL),
        (KEPT, KEPT + RIVAL),
        (WRONG_CONDITION, DELIVERED),
    )
    found = []
    for cell in results.cells:
        known = [
            f"{value:.3f}" if np.isfinite(value := results.accuracy(cell, m)[0]) else "-"
            for m in (RIGHT_KIND, *refusals, *models)
        ]
        size = "{}, {}".format(*results.size(cell))
        differences = [
            str(results.paired_difference(cell, *pair))
            if np.isfinite([results.accuracy(cell, name)[0] for name in pair]).all()
            else "-"
            for pair in pairs
        ]
        found.append((cell, size, *known, *differences))
    heads = (
        "plants",
        "number, sets",
        RIGHT_KIND,
        *refusals,
        *models,
        *(f"{a} minus {b}" for a, b in pairs),
    )
    yield from markdown(heads, found)


if __name__ == "__main__":
    main()
