"""A plant's model against what an engineer would do without us. ``make bench-plant``.

Every data set of a folder x 5, 20, 100 labels a class x 3 draws. Groups (a tile, a board, a
machine) stand on one side of the test split. All see the same labels. *Local-only* sees nothing
else; the other models of the plant have what the home's generator makes of two releases at epsilon
4, the plant's own and one of another site, and *kept* is what model selection makes of all.
Baselines are those of ``bench.alone``, and so is the cut, of more records.

A kind of records is left out where no server's home is named for it. Features and rows are kept
under ``bench/out``: a run goes on where it stopped.
"""

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bench import alone, installed
from bench.acceptance import HARM
from bench.alone import Draw, Floats, Ints
from bench.measure import describe
from bench.methods import Cell
from bench.methods import draw as drawn_plant
from bench.plants import Plants
from bench.rows import Row, Rows, judged, write_table
from bench.tables import Results, markdown, set_by_set
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from wg_client.fitting.backbone import encoder_trunk
from wg_client.methods.names import LOCAL
from wg_client.methods.registry import METHODS
from wg_client.selection.gain import Accuracy
from wg_server.generator.weights.head_generation import Generator

VERSION = 5
LABELS = (5, 20, 100)
EPSILON = 4.0
KEPT = "kept"
POOL, TESTS = 200, 500  # Records of a class that labels are drawn from, and test records, at most


def of_plant(
    generator: Generator, draw: Draw, seed: int
) -> tuple[dict[str, Ints], str, Accuracy | None]:
    """What the plant's models say of the test records, which is kept, and the accuracy told.

    The other site has records of the pool without a label here, of other groups than those with.
    """
    cut, (released, *_) = draw.cut, draw.layout
    rest = ~cut.test & ~np.isin(cut.groups, cut.groups[draw.rows])

    def part(rows: NDArray[np.generic]) -> tuple[Floats, Ints]:
        return draw.features[rows].astype(np.float64), cut.labels[rows]

    classes = tuple(f"class-{label}" for label in range(int(cut.labels.max()) + 1))
    others = (part(rest),) if rest.any() else ()
    cell = Cell(scenario="S1", epsilon=EPSILON, shots=len(draw.rows), same_family=len(others))
    test = part(cut.test)
    found = Plants(classes, released, part(draw.rows), others, test, cut.groups[draw.rows])
    one = drawn_plant(generator, found, cell, seed)
    trunk = encoder_trunk(one.x, *draw.layout)
    outcome = one.select(trunk, released)
    said = {
        name: outcome.models[name].head.logits(test[0]).argmax(axis=1)
        for name in (LOCAL, *outcome.comparisons)
    }
    return said | {KEPT: said[outcome.kept]}, outcome.kept, outcome.accuracy(outcome.kept)


def _judge(job: tuple[str, str, str, Path, int, int, Path, Path]) -> Row:
    """A row: one data set, number of labels and draw; without scores where it is not of these."""
    key, modality, name, file, labels, seed, folder, cache = job
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    data_set = alone.cut(file, modality, POOL, TESTS)
    rows = None if data_set is None else alone.drawn(data_set, labels, seed)
    if data_set is None or rows is None:
        return {"key": key, "dataset": name, "scores": {}}
    generator, encoder = installed.loaded(folder)
    path = cache / f"{name}-{encoder.id[:16]}-{VERSION}.npy"
    if path.is_file():
        features = np.load(path)
    else:
        features = encoder.encode_batched(list(np.ascontiguousarray(data_set.records)))
        half = path.with_suffix(f".{os.getpid()}.npy")
        np.save(half, features)
        half.replace(path)
    blocks = encoder.local_blocks, encoder.trunk_blocks
    layout = encoder.dimension, encoder.scaled_dimension, *blocks
    truth = data_set.labels[data_set.test]
    draw = Draw(data_set, features, layout, rows, seed)
    said, kept, told = of_plant(generator, alone.at_plant(draw), seed)
    said |= alone.RIVALS[modality](draw)
    return {
        "key": key,
        "dataset": name,
        "cell": f"{modality}, {labels} labels a class",
        "scores": {each: float((estimate == truth).mean()) for each, estimate in said.items()},
        "kept": kept,
        "told": (0.0, 1.0) if told is None else (told.low, told.high),
        "mixed": _mixed(said[KEPT] == truth, truth, draw.labels),
    }


def _mixed(right: NDArray[np.bool_], truth: Ints, own: Ints) -> float:
    """Accuracy on test records if classes came as often as among the plant's labels."""
    classes, count = np.unique(own, return_counts=True)
    known = np.isin(classes, truth)
    recalls = [right[truth == label].mean() for label in classes[known]]
    return float(np.average(recalls, weights=count[known]))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Set by set, means, and local-only minus each baseline, paired, with errors over sets."""
    results = Results(rows)
    for cell in sorted(results.cells, key=lambda c: (c.split(",")[0], int(c.split()[1]))):
        own = [row for row in rows if row["cell"] == cell]
        names = list(dict.fromkeys(name for row in own for name in row["scores"]))
        runs, sets = results.size(cell)
        yield from ("", f"### {cell}: {sets} data sets, {runs} runs", "")
        yield from set_by_set(own, cell, names)
        yield ""
        plant = (LOCAL, KEPT, *(method.name for method in METHODS))
        baselines = [name for name in names if name not in plant]
        pairs = [(LOCAL, name) for name in baselines]
        pairs += [(name, LOCAL) for name in names if name in plant and name != LOCAL]
        header = ("difference", "points, ± error over sets", "worst set")
        yield from markdown(
            header,
            ((f"{a} minus {b}", results.paired(cell, a, b), _worst(own, a, b)) for a, b in pairs),
        )
        yield from ("", f"Best baseline: {results.best(cell, baselines)}. {_keeps(own)}")


def _keeps(rows: Sequence[Row]) -> str:
    kept = [row["scores"] for row in rows if row["kept"] != LOCAL]
    harm = sum(scores[KEPT] < scores[LOCAL] - HARM for scores in kept)
    held, mixed = (
        100 * np.mean([low <= true <= high for (low, high), true in told])
        for told in (
            [(row["told"], row["scores"][KEPT]) for row in rows],
            [(row["told"], row["mixed"]) for row in rows],
        )
    )
    return (
        f"Delivered weights were kept in {len(kept)} of {len(rows)} runs, and more than"
        f" {100 * HARM:g} points worse in {harm}. The interval that the plant is told holds the"
        f" test accuracy in {mixed:.0f} % if classes of the test count as often as among the"
        f" plant's labels, in {held:.0f} % as they come."
    )


def _worst(rows: Sequence[Row], one: str, two: str) -> str:
    gains: dict[str, list[float]] = {}
    for row in rows:
        if one in row["scores"] and two in row["scores"]:
            gain = row["scores"][one] - row["scores"][two]
            gains.setdefault(row["dataset"], []).append(gain)
    means = {name: float(np.mean(found)) for name, found in gains.items()}
    name = min(means, key=lambda each: means[each])
    return f"{100 * means[name]:+.1f} ({name})"


def main() -> None:
    """Judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a server's home, trained")
    parser.add_argument("--windows", type=Path, help="the same, of windows")
    parser.add_argument("--datasets", type=Path, nargs="*", default=[Path("../shared/datasets")])
    parser.add_argument("--out", type=Path, default=Path("bench/out/plant"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="data sets")
    parser.add_argument("--labels", nargs="*", type=int, default=LABELS, help="of a class")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.out / "rows.jsonl")
    describe(options.out / "rows.jsonl", version=VERSION)
    homes = {"images": options.images, "windows": options.windows}
    jobs = [
        (
            f"p{VERSION} {installed.loaded(home)[0].id[:16]} {name} {labels} {seed}",
            modality,
            name,
            file,
            labels,
            seed,
            home,
            options.out,
        )
        for modality, home in homes.items()
        if home is not None
        for seed in range(options.seeds)
        for labels in options.labels
        for name, file in alone.files(options.datasets)
        if not options.only or name in options.only
    ]
    judged_rows = judged(rows, _judge, jobs, options.workers)
    write_table("\n".join(["`make bench-plant`", *table(judged_rows)]), options.table)


if __name__ == "__main__":
    main()
