"""A plant's model against what an engineer would do without us. ``make bench-plant``.

Every development set x 5, 20, 100 labels a class x 3 draws. Groups (a tile, a board, a machine)
stand on one side of the test split. All see the same labels. *Local-only* sees nothing else; the
other models of the plant have what the home's generator makes of two releases at epsilon 4, the
plant's own and one of another site, and *kept* is what model selection makes of all.

Baselines of images: *two lines* of scikit-learn, which are logistic regression (C = 10) on the
normalised last map of EfficientNet-Lite0 at 128 pixels; shrunk linear discriminants and five
nearest neighbours on the same features. Baselines of windows: MiniRocket at its full size with
ridge regression, as it is and standardised; discriminants on it, and one nearest neighbour on
standardised windows. ``COLUMNS`` is where a column is added.

A kind of records is left out where no server's home is named for it. Features and rows are kept
under ``bench/out``: a run goes on where it stopped.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench import installed
from bench.acceptance import HARM
from bench.measure import machine
from bench.methods import Cell
from bench.methods import draw as drawn_plant
from bench.minirocket import MiniRocket, ridge
from bench.plants import Plants
from bench.rows import Row, Rows, judged, write_table
from bench.tables import Results, markdown, set_by_set
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from wg_client.fitting.backbone import encoder_trunk
from wg_client.methods.names import LOCAL
from wg_client.methods.registry import METHODS
from wg_client.selection.gain import Accuracy
from wg_common.nets.encoder.module import load_encoder
from wg_server.generator.weights.head_generation import Generator
from wg_server.site.home import ServerHome

VERSION = 4
IMAGES = (
    "trashnet",
    "cifar10",
    "gtsrb",
    "neu_det",
    "deeppcb_a",
    "elpv_mono",
    "magnetic_tile",
    "bridge_crack",
    "fashion_mnist",
    "mnist10k",
    "omniglot_small",
    "tiny_imagenet",
)
WINDOWS = (
    "cwru_de",
    "skab_valve1",
    "plaid",
    "tep",
    "cmapss_fd001",
    "italy_power",
    "basic_motions",
    "trace",
)
FEW_CLASSES = {"gtsrb": 10, "omniglot_small": 10}
LABELS = (5, 20, 100)
EPSILON = 4.0
KEPT = "kept"
POOL, TESTS = 200, 500  # Records of a class that labels are drawn from, and test records, at most

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A data set: records to draw labels from, and test records, none of a group of those.

    Attributes:
        records: Of both.
        labels: ``[n]`` in 0..K-1.
        groups: ``[n]``.
        test: Which are test records, ``[n]``.
    """

    records: NDArray[np.generic]
    labels: Ints
    groups: Ints
    test: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One plant of the bench.

    Attributes:
        cut: Its data set.
        features: Local features of all records, float32 ``[n, D]``.
        layout: Numbers (released, with a public scale), sizes of blocks of local features, and
            numbers of blocks of each trunk.
        rows: The records that have a label, ``[m]``.
        seed: Of the draw.
    """

    cut: Cut
    features: NDArray[np.float32]
    layout: tuple[int, int, tuple[int, ...], tuple[int, ...]]
    rows: Ints
    seed: int

    @property
    def labels(self) -> Ints:
        """Of the labelled records, ``[m]``."""
        return self.cut.labels[self.rows]

    @property
    def block(self) -> NDArray[np.float32]:
        """The first block of local features without a public scale."""
        start = self.layout[1]
        return self.features[:, start : start + self.layout[2][0]]


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


def _classifier(model: object, train: Floats, draw: Draw, test: Floats) -> Ints:
    fitted = model.fit(train, draw.labels)  # type: ignore[attr-defined]
    return np.asarray(fitted.predict(test), dtype=np.int64)


def of_images(draw: Draw) -> dict[str, Ints]:
    """What the baselines of images say of the test records."""
    rows = normalize(draw.block.astype(np.float64))
    train, test = rows[draw.rows], rows[draw.cut.test]
    models = {
        "two lines": LogisticRegression(C=10, max_iter=2000),
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "kNN": KNeighborsClassifier(min(5, len(train))),
    }
    return {name: _classifier(model, train, draw, test) for name, model in models.items()}


def of_windows(draw: Draw) -> dict[str, Ints]:
    """What the baselines of windows say of the test records."""
    windows = draw.cut.records.astype(np.float32)
    own, asked = windows[draw.rows], windows[draw.cut.test]
    rocket = MiniRocket(own, np.random.default_rng((draw.seed, 9)))
    train, test = rocket.features(own), rocket.features(asked)
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    mean, std = flat[draw.rows].mean(axis=0), flat[draw.rows].std(axis=0) + 1e-9
    near = (flat - mean) / std
    discriminants = LinearDiscriminantAnalysis(solver="svd")
    return {
        "MiniRocket": ridge(train, draw.labels, test, standardise=False),
        "MiniRocket, standardised": ridge(train, draw.labels, test),
        "LDA": _classifier(discriminants, train, draw, test),
        "kNN": _classifier(KNeighborsClassifier(1), near[draw.rows], draw, near[draw.cut.test]),
    }


COLUMNS: Mapping[str, Callable[[Draw], dict[str, Ints]]] = {
    "images": of_images,
    "windows": of_windows,
}
"""Baselines of each modality; a column more is an entry more of the dictionary that one returns."""


def cut(root: Path, name: str) -> Cut | None:
    """The data set, cut by its own split; None if it is not there.

    A test record whose group has records on the other side is left out. Where that leaves few
    (boards of which each is on both sides), the smallest groups that hold every class are the test.
    """
    path = root / name / ("shard0.npz" if name == "tiny_imagenet" else "data.npz")
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        records, labels, split = archive["x"], archive["y"].astype(np.int64), archive["split"]
        groups = archive["group"] if "group" in archive else np.arange(len(labels))
    if records.dtype != np.uint8:
        records = records.astype(np.float32)
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    if name in FEW_CLASSES:
        classes = np.unique(labels)
        chosen = classes[np.linspace(0, len(classes) - 1, FEW_CLASSES[name]).astype(int)]
        kept = np.isin(labels, chosen)
        records, split, groups = records[kept], split[kept], groups[kept]
        labels = np.searchsorted(chosen, labels[kept])
    test = (split == 1) & ~np.isin(groups, groups[split == 0])
    if test.sum() < min(100, int((split == 1).sum())):
        test[:] = False
        sizes = np.bincount(groups)
        for group in np.argsort(sizes, kind="stable"):
            test |= groups == group
            if len(np.unique(labels[test])) == len(np.unique(labels)):
                break
        split = np.where(test, 1, 0)
    rng = np.random.default_rng(0)
    pool = [np.flatnonzero((split == 0) & (labels == label)) for label in np.unique(labels)]
    own = np.concatenate([rng.permutation(rows)[:POOL] for rows in pool])
    asked = rng.permutation(np.flatnonzero(test))[:TESTS]
    rows = np.concatenate([np.sort(own), np.sort(asked)])
    return Cut(records[rows], labels[rows], groups[rows], np.arange(len(rows)) >= len(own))


def drawn(found: Cut, labels: int, seed: int) -> Ints | None:
    """So many labelled records of each class, or all; None if most classes have fewer."""
    pool = np.flatnonzero(~found.test)
    each = [pool[found.labels[pool] == label] for label in np.unique(found.labels)]
    if np.median([len(rows) for rows in each]) < labels:
        return None
    rng = np.random.default_rng((seed, labels))
    return np.sort(np.concatenate([rng.permutation(rows)[:labels] for rows in each]))


def _judge(job: tuple[str, str, str, int, int, Path, Path, Path]) -> Row | None:
    """A row: one data set, number of labels and draw."""
    key, modality, name, labels, seed, root, folder, cache = job
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    found, home = cut(root, name), ServerHome(folder)
    if found is None:
        return None
    encoder, generator = load_encoder(home.read_encoder()), installed.heads(home)
    path = cache / f"{name}-{encoder.id[:16]}-{VERSION}.npy"
    if path.is_file():
        features = np.load(path)
    else:
        features = encoder.encode_batched(list(np.ascontiguousarray(found.records)))
        half = path.with_suffix(f".{os.getpid()}.npy")
        np.save(half, features)
        half.replace(path)
    blocks = encoder.local_blocks, encoder.trunk_blocks
    layout = encoder.dimension, encoder.scaled_dimension, *blocks
    rows, truth = drawn(found, labels, seed), found.labels[found.test]
    if rows is None:
        return {"key": key, "dataset": name, "scores": {}}
    draw = Draw(found, features, layout, rows, seed)
    said, kept, told = of_plant(generator, draw, seed)
    said |= COLUMNS[modality](draw)
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a server's home, trained")
    parser.add_argument("--windows", type=Path, help="the same, of windows")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--out", type=Path, default=Path("bench/out/plant"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=IMAGES + WINDOWS, help="data sets")
    parser.add_argument("--labels", nargs="*", type=int, default=LABELS, help="of a class")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only-table", action="store_true", help="judge nothing, only write")
    options = parser.parse_args()
    started = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.out / "rows.jsonl")
    jobs, prefixes = [], []
    for modality, names in (("images", IMAGES), ("windows", WINDOWS)):
        home = getattr(options, modality)
        if home is None:
            continue
        prefixes.append(f"p{VERSION} {installed.heads(ServerHome(home)).id[:16]}")
        jobs += [
            (f"{prefixes[-1]} {name} {n} {seed}", modality, name, n, seed, options.datasets, home)
            for seed in range(options.seeds)
            for n in options.labels
            for name in names
            if name in options.only
        ]
    if not options.only_table:
        todo = [(*job, options.out) for job in jobs]
        judged(rows, _judge, todo, options.workers)
        spent = time.monotonic() - started
        settings = {"version": VERSION, "seconds": spent, "machine": machine()}
        (options.out / "rows.config.json").write_text(json.dumps(settings, indent=2) + "\n")
    lines = ["`make bench-plant`", *table([row for row in rows.of(*prefixes) if row["scores"]])]
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
