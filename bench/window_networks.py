"""Whole 1-D networks on real sensor windows. Run with ``python -m bench.window_networks``.

As ``bench.networks`` (whose code judges), and like it with two homes. The zoo of ``--home`` is of
rendered windows only: every data set, cut as in ``bench.window_plants``, is a kind of plant that it
has never seen; the plant and three same-family sites behind other sensors release statistics. The
zoo of ``--family-home`` also has the training part of each data set, as ``bench.family_sets``
writes them, for its sources and for ``--family-sets``; the plant is cut from the test part, and
releases alone.

Every start is judged as delivered, after its head is fitted to the plant's labels, and after steps
of LP-FT. ``base`` is what the plant can do alone with the same architecture. A line below each
table has what its labels give on the encoder, and MiniRocket with ridge regression without either.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import installed, minirocket, networks, window_plants
from bench.networks import Cell, Cut
from bench.rows import Row, Rows, write_table
from bench.selected import own_folds, plant_trunk
from bench.tables import Results, set_by_set

from wg_client.fitting.local_models import fit_local
from wg_common.modalities import sensors
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.nets.encoder.window_course import WindowCourse
from wg_server.site.home import ServerHome

STEPS = (0, 20, 60)
FAMILY_STEPS = (0, 20, 60, 200)
ALONE = ("encoder", "minirocket-ridge")
CELLS = (
    Cell(name="windows, unseen eps=4 n=5", epsilon=4.0, shots=5, same_family=False),
    Cell(name="windows, unseen eps=1 n=5", epsilon=1.0, shots=5, same_family=False),
    Cell(name="windows, unseen eps=4 n=20", epsilon=4.0, shots=20, same_family=False),
    Cell(name="windows, sister eps=4 n=5", epsilon=4.0, shots=5, same_family=True),
    Cell(
        name="windows, sister, names hidden eps=4 n=5",
        epsilon=4.0,
        shots=5,
        same_family=True,
        named=False,
    ),
    Cell(
        name="windows, sister, other sensors eps=4 n=5",
        epsilon=4.0,
        shots=5,
        same_family=True,
        camera=1.0,
    ),
    Cell(name="windows, sister eps=1 n=20", epsilon=1.0, shots=20, same_family=True),
)


def main(words: Sequence[str] | None = None) -> None:
    """Judge and print; the words of the command line unless others are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="zoo of rendered windows only")
    parser.add_argument("--family-home", type=Path, help="zoo that has the sets' training part")
    parser.add_argument("--family-sets", type=Path, help="folder of bench.family_sets")
    parser.add_argument("--architecture", choices=["cnn1d-s", "cnn1d-m"], default="cnn1d-m")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/window_networks.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=window_plants.DATASETS, help="data sets")
    parser.add_argument("--cells", default="", help="only cells whose name has this in it")
    options = parser.parse_args(words)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if (options.family_home is None) != (options.family_sets is None):
        parser.error("--family-home and --family-sets go together")
    rows = Rows(options.results)
    used = []
    for same_family, folder in ((False, options.home), (True, options.family_home)):
        if folder is not None:
            used.append(_run(ServerHome(folder), same_family, options, rows))
    title = f"{options.architecture}, generators {', '.join(used)}"
    write_table("\n".join([title, "", *_tables(rows.of(*used))]), options.table)


def _run(home: ServerHome, same_family: bool, options: argparse.Namespace, rows: Rows) -> str:
    """Judge what is not done yet; the beginning of these rows' keys."""
    made_by = installed.networks(home).id[:16]
    generator = installed.networks(home)
    encoder = load_encoder(home.read_encoder())
    prefix = f"{made_by} {options.architecture} "
    known = generator.parts.bundles[options.architecture].fitted_priors.index.families
    cells = [c for c in CELLS if c.same_family == same_family and options.cells in c.name]
    for seed in range(options.seeds):
        for name in options.only:
            if same_family and f"{name}-0" not in known:
                continue  # the zoo does not have this kind of plant
            for cell in cells:
                key = f"{prefix}{name} {seed} {cell.name}"
                data = None if key in rows else cut(options, name, seed, cell)
                if data is None or len(data.labels) < 2:
                    continue
                scores = networks.judge(
                    generator,
                    encoder,
                    options.architecture,
                    data,
                    cell,
                    seed,
                    FAMILY_STEPS if same_family else STEPS,
                    networks.BRIEF if same_family else networks.JUDGED,
                )
                scores |= alone(encoder, data, cell, seed)
                rows.add({"key": key, "dataset": name, "cell": cell.name, "scores": scores})
                print(key, flush=True)
    return prefix


def cut(options: argparse.Namespace, name: str, seed: int, cell: Cell) -> Cut | None:
    """A data set cut into plants; for same-family cells the plant alone, from the test part."""
    if not cell.same_family:
        found = window_plants.cut_windows(options.datasets, name, seed, 0.0)
        if found is None:
            return None
        labels, parts, _ = found
        return Cut(labels, parts[1], parts[0], tuple(parts[2:]))
    return cut_known(options.family_sets, name, seed, cell)


def cut_known(sets: Path, name: str, seed: int, cell: Cell) -> Cut:
    """A plant of a kind that the operator knows, from the test part of a set.

    Args:
        sets: Folder of ``bench.family_sets``.
    """
    data = networks.cut(sets, name, seed, replace(cell, camera=0.0))
    if not cell.camera or not len(data.own[0]):
        return data
    own, test = (np.stack(list(part[0])).astype(np.float64) for part in (data.own, data.test))
    rng = np.random.default_rng((seed, 62))
    chain = sensors.draw(rng, np.eye(own.shape[1]), 1.0, cell.camera, direct=True)
    seen, tests = (list(sensors.observe(rng, part, chain)) for part in (own, test))
    return replace(data, own=(seen, data.own[1]), test=(tests, data.test[1]))


def alone(encoder: Encoder, data: Cut, cell: Cell, seed: int) -> dict[str, float]:
    """Accuracy of the plant's labels without any small network."""
    records, y = networks.labelled(data, cell)
    own, test = np.stack(records), np.asarray(data.test[0])
    encoder = encoder.with_beside(WindowCourse(own.shape[1]))
    features = encoder.encode_local(records)
    trunk = plant_trunk(encoder, features)
    local = fit_local(trunk.features, y, len(data.labels), own_folds(y))
    head = trunk.outward(local.head)
    rocket = minirocket.MiniRocket(own, np.random.default_rng((seed, 9)))
    guessed = minirocket.ridge(rocket.features(own), y, rocket.features(test))
    logits = head.logits(encoder.encode_local(list(test)).astype(np.float64))
    found = zip(ALONE, (logits.argmax(axis=1), guessed), strict=True)
    return {name: float((estimate == data.test[1]).mean()) for name, estimate in found}


def _tables(rows: Sequence[Row]) -> list[str]:
    """Tables of cells, each with its line, and the data sets one by one."""
    lines: list[str] = []
    for cell in CELLS:
        mine = [row for row in rows if row["cell"] == cell.name]
        if not mine:
            continue
        steps = FAMILY_STEPS if cell.same_family else STEPS
        results = Results(mine)
        means = (f"{name} {results.accuracy(cell.name, name)[0]:.3f}" for name in ALONE)
        lines += networks.table(mine, steps)
        lines += [f"Without a small network, the plant's labels alone: {', '.join(means)}", ""]
        shown = [*(f"base {n}" for n in (0, steps[-1])), "network delivered"]
        shown += [*(f"network {n}" for n in (0, steps[-1])), *ALONE]
        lines += set_by_set(mine, cell.name, shown)
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
