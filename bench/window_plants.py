"""The generator on real sensor windows: ``python -m bench.window_plants --home HOME``.

As in ``bench.generator``, with data sets of windows: each is cut by groups into a plant,
same-family sites with other sensors, and held-out test records. Nothing is fitted on any of them.
``cwru_type`` asks for the type of a bearing's fault at a size without training records at any
plant.

Baselines are those of the server that need no training, and local training; methods that use a
plant's labels without a server are compared in ``bench.alone``.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench import installed, tables
from bench.measure import save_settings
from bench.methods import TUNED_HEADS, Cell, draw_plant, score_heads
from bench.plants import CLASSES, SAME_FAMILY_SITES, Ints, Plants, first_rows
from bench.plants import split_groups as cut_by_groups
from bench.rows import Row, Rows, evaluate_jobs, split_by_cell, write_table
from bench.selected import THEN_LOCAL, selected_heads, train_locally
from numpy.typing import NDArray

from wg_client.fitting.trunk_features import scale_encoder_features
from wg_common.modalities import sensors
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_server.generator.weights.head_generation import HeadGenerator

VERSION = 6
DATASETS = (
    "cwru_de",
    "cwru_type",
    "skab_valve1",
    "plaid",
    "tep",
    "cmapss_fd001",
    "italy_power",
    "basic_motions",
    "trace",
)
FILES = tuple(name for name in DATASETS if name != "cwru_type")
"""Data sets with a file; ``cwru_type`` uses the records of ``cwru_de`` with other classes."""
TESTS = 200
_PER_CLASS = {"own": 60, "sister": 24}
CELLS = (
    *(Cell(scenario="S1 few labels", epsilon=e, shots=n) for e in (1.0, 4.0) for n in (5, 20)),
    Cell(scenario="S1 few labels", epsilon=4.0, shots=60),
    *(
        Cell(scenario="S2 classes never seen", epsilon=e, shots=20, missing_share=0.3)
        for e in (1.0, 4.0)
    ),
    *(Cell(scenario="S3 no labels", epsilon=e, shots=20, has_labels=False) for e in (1.0, 4.0)),
)

Windows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlants:
    """Plants of one data set of windows, and the layout of their features.

    Attributes:
        plants: Features of plant, same-family sites and test records.
        scaled: Number of features that have a public scale.
        blocks: Sizes of the blocks of the other features.
    """

    plants: Plants
    scaled: int
    blocks: tuple[int, ...]


def main() -> None:
    """Evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, of windows")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/windows.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=DATASETS, help="data sets")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    generator, _ = installed.load_cached(options.home)
    save_settings(options.results, generator=generator.id, version=VERSION)
    jobs = [
        (
            f"w{VERSION} {generator.id[:16]} {name} {seed}",
            options.home,
            options.datasets,
            name,
            seed,
        )
        for seed in range(options.seeds)
        for name in options.only
    ]
    cell_rows = list(
        split_by_cell(evaluate_jobs(Rows(options.results), _job, jobs, options.processes))
    )
    title = f"Generator {generator.id[:16]}; `python -m bench.window_plants --home HOME`"
    write_table("\n".join(tables.table(cell_rows, title)), options.table)


def _job(job: tuple[str, Path, Path, str, int]) -> Row | None:
    key, folder, datasets, name, seed = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    generator, encoder = installed.load_cached(folder)
    plants = cut_data_set(encoder, datasets, name, seed, 0.0)
    if plants is None:
        return None
    scores = {cell.name: evaluate_plant(generator, plants, cell, seed) for cell in CELLS}
    return {"key": key, "dataset": name, "cell": "", "scores": scores}


def cut_data_set(
    encoder: Encoder,
    root: Path,
    name: str,
    seed: int,
    strength: float,
    *,
    test_windows: int = TESTS,
) -> WindowPlants | None:
    """Cut a data set into plants; None if it is missing.

    Args:
        name: Name of the data set, or ``cwru_type``.
        strength: Deviation of the plant's own sensors from the original ones, 0 to 1.
        test_windows: Largest number of test records.
    """
    found = cut_window_records(root, name, seed, strength, test_windows=test_windows)
    if found is None:
        return None
    names, parts, groups = found
    encoded = [(encoder.encode_local(list(own)).astype(np.float64), y) for own, y in parts]
    plants = Plants(names, encoder.dimension, encoded[1], tuple(encoded[2:]), encoded[0], groups)
    return WindowPlants(plants, encoder.scaled_dimension, encoder.local_block_sizes)


def cut_window_records(
    root: Path, name: str, seed: int, strength: float, *, test_windows: int = TESTS
) -> tuple[tuple[str, ...], list[tuple[Windows, Ints]], Ints] | None:
    """Return class names, windows with classes of each part, and the plant's groups; or None.

    The parts are the test records, the plant and same-family sites.

    Args:
        name: Name of the data set, or ``cwru_type``.
        strength: Deviation of the plant's own sensors from the original ones, 0 to 1.
        test_windows: Largest number of test records; a smaller number returns the first of them.
    """
    path = root / ("cwru_de" if name == "cwru_type" else name) / "data.npz"
    if not path.is_file():
        return None
    rng = np.random.default_rng((seed, 1))
    with np.load(path, allow_pickle=False) as archive:
        windows = archive["x"].astype(np.float32)
        labels = archive["y_type" if name == "cwru_type" else "y"].astype(np.int64)
        groups = np.arange(len(labels))
        if "group" in archive:
            groups = np.unique(archive["group"], return_inverse=True)[1]
        size = archive["size_mil"] if name == "cwru_type" else None
    part_of, usable = cut_by_groups(labels, groups, rng)
    if size is not None:
        # The test part is one size of fault, and normal records of its own.
        asked = (7, 14, 21)[seed % 3]
        other = rng.choice([1, 1, 2, 3, 4], groups.max() + 1)[groups]
        part_of = np.where(size == asked, 0, np.where(size == 0, part_of, other))
        usable = np.unique(labels)
    chosen = np.sort(rng.permutation(usable)[:CLASSES])
    lookup = {int(c): i for i, c in enumerate(chosen)}
    found, own_groups = [], np.zeros(0, dtype=np.int64)
    for part in range(2 + SAME_FAMILY_SITES):
        rows = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        most = _PER_CLASS["own" if part == 1 else "sister"]
        kept = first_rows(rows, labels, test_windows if part == 0 else None, most)
        power = strength if part < 2 else 0.6
        own = windows[kept]
        own_groups = groups[kept] if part == 1 else own_groups
        if power and kept:
            sensor_rng = np.random.default_rng((seed, 3, max(part, 1)))
            chain = sensors.draw_sensor_chain(
                sensor_rng, np.eye(own.shape[1]), 1.0, power, is_direct=True
            )
            noise_rng = np.random.default_rng((seed, 2, part))
            own = sensors.measure_signals(noise_rng, own.astype(np.float64), chain)
        y = np.array([lookup[int(labels[row])] for row in kept], dtype=np.int64)
        found.append((own, y))
    return tuple(f"class-{c}" for c in chosen), found, own_groups


def evaluate_plant(
    generator: HeadGenerator, window_plants: WindowPlants, cell: Cell, seed: int
) -> dict[str, float]:
    """Accuracy of every method on the plant's test records, and on classes it has never seen."""
    plants = window_plants.plants
    one = draw_plant(generator, plants, cell, seed)
    trunk = scale_encoder_features(
        one.x, plants.dimension, window_plants.scaled, window_plants.blocks
    )
    outcome = one.select(trunk, plants.dimension)
    heads = one.heads | selected_heads(outcome)
    if cell.has_labels:
        heads |= {
            f"{n}{THEN_LOCAL}": train_locally(heads[n], one.x, one.y, one.unseen_classes)
            for n in TUNED_HEADS
            if n in heads
        }
    return score_heads(heads, plants.test, one.unseen_classes)


if __name__ == "__main__":
    main()
