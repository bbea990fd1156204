"""Compare a plant's own model with standard methods, without a server.

    python -m bench.alone windows --datasets DIR

All data sets of the modality in a folder are used, with a fixed number of labels per class and
three random draws, whose records are the same for all methods; all records of a group are on the
same side of the test split. Where a data set states sizes of damage, types of damage are also
predicted at a size without labels. Local-only is the product's, on the default trunks; its interval
is that of correct predictions among the test records. Baselines for images are *two lines* of
scikit-learn (logistic regression, C = 10, on the normalised last feature map of EfficientNet-Lite0
at 128 pixels, at 224, and on both), linear discriminants with shrinkage, and five nearest
neighbours; for windows MiniRocket with ridge regression, raw and standardised, and discriminants on
statistics of each channel; for texts logistic regression on each encoder's vectors, on both, and on
TF-IDF of words and parts of words, and local-only without e5. Trunks named in a zoo's plan are
compared with the default ones. Rows are stored in ``--results``, and a run continues from them.
"""

import argparse
import csv
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from bench.minirocket import classify_by_ridge
from bench.rows import Row, Rows, write_table
from bench.tables import Results, accuracy_by_data_set, markdown
from numpy.typing import NDArray
from scipy import sparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from wg_client.fitting.trunk_features import scale_encoder_features
from wg_client.methods.base import PlantRecords
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.selection.gain import estimate_model_accuracy
from wg_common.modalities.registry import find_modality, modality_of_array
from wg_common.nets.encoder.builtin_encoder import unfitted_encoder
from wg_common.nets.encoder.minirocket import MiniRocket
from wg_common.nets.encoder.object_trunk import ObjectTrunk
from wg_common.nets.encoder.plant_trunk import PlantTrunk
from wg_common.nets.encoder.projected_trunk import compute_raw_features, plant_features
from wg_common.nets.encoder.trunk import default_trunks, find_trunk
from wg_e5.trunk import E5Trunk
from wg_server.zoo import trunks
from wg_server.zoo.plan import read_plan

VERSION = 8
POOL_PER_CLASS, TEST_LIMIT, CLASS_COUNT = (
    25,
    250,
    12,
)  # Records of a class to draw from, test records, classes
DIMENSION = 64
SIZES = 7, 14, 21  # Of damage, in thousandths of an inch: each is held out in a draw

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SplitDataSet:
    """Records of a data set, split by groups into a pool for training and test records.

    Attributes:
        records: Pool and test records.
        labels: Classes 0 to K-1, ``[n]``.
        groups: Group of each record, ``[n]``.
        is_test: Mask of the test records, ``[n]``.
    """

    records: NDArray[np.generic]
    labels: Ints
    groups: Ints
    is_test: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Random draw of a plant's labelled records from a data set.

    Attributes:
        data: The data set.
        features: Local features of all records, float32 ``[n, D]``.
        layout: Number of released features, number of features with a public scale, sizes of blocks
            of local features, and number of blocks of each trunk.
        labelled_rows: Indices of the labelled records, ``[m]``.
        seed: Seed of the draw.
    """

    data: SplitDataSet
    features: NDArray[np.float32]
    layout: tuple[int, int, tuple[int, ...], tuple[int, ...]]
    labelled_rows: Ints
    seed: int

    @property
    def labels(self) -> Ints:
        """Classes of the labelled records, ``[m]``."""
        return self.data.labels[self.labelled_rows]

    @property
    def unscaled_block(self) -> NDArray[np.float32]:
        """First block of local features without a public scale."""
        start = self.layout[1]
        return self.features[:, start : start + self.layout[2][0]]


def split_data_sets(
    folders: Sequence[Path], kind: str, seeds: int, only: Sequence[str] | None = None
) -> Iterator[tuple[str, SplitDataSet, Sequence[int]]]:
    """Yield name, split records and seeds of all data sets of a modality (``kind``).

    Where a data set states sizes of damage, each seed also has a cut whose test records have a size
    that is not in training.
    """
    for name, path in data_set_files(folders):
        by_sizes = f"{name}, by sizes"
        whole = split_data_set(path, kind) if not only or name in only else None
        if whole is not None:
            yield name, whole, range(seeds)
        for seed in range(seeds):
            sized = split_data_set(path, kind, seed=seed) if not only or by_sizes in only else None
            if sized is not None:
                yield by_sizes, sized, [seed]


def split_data_set(  # long: reading, then the search for a split
    path: Path,
    kind: str,
    pool_per_class: int = POOL_PER_CLASS,
    test_limit: int = TEST_LIMIT,
    *,
    seed: int | None = None,
) -> SplitDataSet | None:
    """Cut a data set by its own split, or else by groups.

    None if it has another modality, or if a class lacks records of groups on both sides, which is
    printed. Classes with a single recording are omitted, which is printed too.

    Args:
        seed: Selects the size of damage (``size_mil``) of the test records, whose types
            (``y_type``) are the classes; None to ignore sizes.
    """
    held_out = None
    if path.suffix == ".csv" and seed is not None:
        return None
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(encoding="utf-8")))
        x, names = np.array([row["text"] for row in rows]), np.array([row["label"] for row in rows])
        split = np.array([int(row.get("split", -1)) for row in rows])
        found_groups = np.arange(len(rows))
    else:
        with np.load(path, allow_pickle=False) as archive:
            if seed is not None and "size_mil" not in archive:
                return None
            x, names = archive["x"], archive["y" if seed is None else "y_type"]
            split = archive["split"] if "split" in archive else np.full(len(names), -1)
            found_groups = archive["group"] if "group" in archive else np.arange(len(names))
            if seed is not None:
                held_out = archive["size_mil"] == SIZES[seed % len(SIZES)]
    x = x.astype(np.float32) if x.dtype.kind in "if" else x
    if not find_modality(kind).matches_array(x):
        return None
    classes, labels = np.unique(names, return_inverse=True)
    groups = np.unique(found_groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    recorded = np.bincount(pairs[0]) > 1
    if not recorded.all():
        alone = ", ".join(map(str, classes[~recorded]))
        print(f"{path}: classes of one recording are left out: {alone}")
    several = np.flatnonzero(recorded)
    several = several[np.linspace(0, len(several) - 1, min(CLASS_COUNT, len(several))).astype(int)]
    for attempt in range(50):
        side = np.random.default_rng(attempt).random(groups.max() + 1)[groups] < 0.4
        test = ((split == 1) & ~np.isin(groups, groups[split == 0])) if attempt == 0 else side
        test = test if held_out is None else held_out
        counts = [np.bincount(labels[part], minlength=several.max() + 1) for part in (test, ~test)]
        if counts[0][several].min() >= 1 and counts[1][several].min() >= 5 and test.sum() > 20:
            break
    else:
        print(f"{path}: cannot be cut: a class lacks records of groups on both sides")
        return None
    rng = np.random.default_rng(0)
    pool = [
        rng.permutation(np.flatnonzero(~test & (labels == one)))[:pool_per_class] for one in several
    ]
    asked = rng.permutation(np.flatnonzero(test & np.isin(labels, several)))[:test_limit]
    rows_kept = np.concatenate([*pool, asked])
    dense = np.searchsorted(several, labels[rows_kept])
    is_test = np.arange(len(rows_kept)) >= len(rows_kept) - len(asked)
    return SplitDataSet(x[rows_kept], dense, groups[rows_kept], is_test)


def draw_labelled_rows(data: SplitDataSet, shots: int, seed: int) -> Ints | None:
    """Draw rows of ``shots`` records per class, or of all; None if most classes have fewer."""
    pool = np.flatnonzero(~data.is_test)
    each = [pool[data.labels[pool] == label] for label in np.unique(data.labels)]
    if np.median([len(rows) for rows in each]) < shots:
        return None
    rng = np.random.default_rng((seed, shots))
    return np.sort(np.concatenate([rng.permutation(rows)[:shots] for rows in each]))


def add_plant_trunk(draw: Draw) -> Draw:
    """Add the features of the trunk that a plant fits to its own records, if there is one."""
    kind = modality_of_array(draw.data.records)
    if kind is None or not kind.fits_plant_trunk:
        return draw
    fitted = PlantTrunk.fit(list(draw.data.records[draw.labelled_rows]))
    further = plant_features(fitted, kind.name, list(draw.data.records))
    released, scaled, blocks, counts = draw.layout
    layout = released, scaled, *fitted.extend_layout(blocks, counts)
    return replace(draw, features=np.hstack([draw.features, further]), layout=layout)


def predict_local_only(draw: Draw) -> tuple[Ints, tuple[float, float]]:
    """Predict test records' classes by local-only; also return its reported accuracy interval."""
    draw = add_plant_trunk(draw)
    trunk = scale_encoder_features(draw.features[draw.labelled_rows], *draw.layout)
    kind = modality_of_array(draw.data.records)
    patterns = (
        None if kind is None else kind.repetition_keys(list(draw.data.records[draw.labelled_rows]))
    )
    records = PlantRecords(
        all_labels=draw.labels,
        class_count=int(draw.data.labels.max()) + 1,
        encoder_features=trunk,
        privacy_units=None
        if patterns
        else [str(group) for group in draw.data.groups[draw.labelled_rows]],
        repetition_keys=patterns,
    )
    fitted, told = records.local_only_model, (0.0, 1.0)
    if fitted is None:
        raise ValueError("a draw without labels")
    if fitted.out_of_fold is not None:
        interval = estimate_model_accuracy(
            records, fitted.out_of_fold, new_count=int(draw.data.is_test.sum())
        )
        told = interval.low, interval.high
    logits = trunk.to_local_head(fitted.head).logits(
        draw.features[draw.data.is_test].astype(np.float64)
    )
    return logits.argmax(axis=1), told


def _fit_and_predict(model: object, train: Floats, draw: Draw, test: Floats) -> Ints:
    fitted = model.fit(train, draw.labels)  # type: ignore[attr-defined]
    return np.asarray(fitted.predict(test), dtype=np.int64)


def predict_images(draw: Draw) -> dict[str, Ints]:
    """Predict the classes of the test records by each baseline for images, by its name."""
    rows = normalize(draw.unscaled_block.astype(np.float64))
    large = _trunk_features(draw.data, "images", ObjectTrunk.label).astype(np.float64)
    train, test = rows[draw.labelled_rows], rows[draw.data.is_test]
    models = {
        "two lines": LogisticRegression(C=10, max_iter=2000),
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "kNN": KNeighborsClassifier(min(5, len(train))),
    }
    said = {name: _fit_and_predict(model, train, draw, test) for name, model in models.items()}
    said["two lines, 224"] = _regression(draw, large)
    said["two lines, both"] = _regression(draw, np.hstack([rows, large]))
    return said


def predict_windows(draw: Draw) -> dict[str, Ints]:
    """Predict the classes of the test records by each baseline for windows, by its name."""
    windows = draw.data.records.astype(np.float32)
    own, asked = windows[draw.labelled_rows], windows[draw.data.is_test]
    rocket = MiniRocket.fit(own, np.random.default_rng((draw.seed, 9)))
    train, test = (rocket.features(part).astype(np.float64) for part in (own, asked))
    scale = StandardScaler().fit(channel_statistics(own))
    discriminants = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    discriminants.fit(scale.transform(channel_statistics(own)), draw.labels)
    return {
        "MiniRocket": classify_by_ridge(train, draw.labels, test, standardise=False),
        "MiniRocket, standardised": classify_by_ridge(train, draw.labels, test),
        "statistics, LDA": discriminants.predict(scale.transform(channel_statistics(asked))),
    }


def channel_statistics(windows: NDArray[np.float32]) -> Floats:
    """Return 13 statistics of each of C channels, such as mean and quantiles, ``[n, 13 C]``."""
    x = windows.astype(np.float64)
    steps = np.diff(x, axis=2)
    quantiles = np.quantile(x, (0.05, 0.25, 0.5, 0.75, 0.95), axis=2)
    ends = x[:, :, 0], x[:, :, -1], x.min(axis=2), x.max(axis=2)
    spread = x.mean(axis=2), x.std(axis=2), np.abs(steps).mean(axis=2), steps.std(axis=2)
    return np.concatenate([*ends, *spread, *quantiles], axis=1)


def _regression(draw: Draw, columns: Floats | sparse.csr_matrix) -> Ints:
    model = LogisticRegression(C=10, max_iter=2000).fit(columns[draw.labelled_rows], draw.labels)
    return np.asarray(model.predict(columns[np.flatnonzero(draw.data.is_test)]))


def predict_texts(draw: Draw) -> dict[str, Ints]:
    """Predict the classes of the test records by each baseline for texts, by its name."""
    texts = [str(text).lower() for text in draw.data.records]
    own = [texts[row] for row in draw.labelled_rows]
    counters = (
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
    )
    weighted = sparse.hstack([counter.fit(own).transform(texts) for counter in counters]).tocsr()
    vectors = draw.unscaled_block.astype(np.float64)
    e5 = _trunk_features(draw.data, "texts", E5Trunk.label)
    released, scaled, blocks, counts = draw.layout
    layout = released, scaled, blocks[:-1], counts[:-1]
    first = replace(draw, features=draw.features[:, : -blocks[-1]], layout=layout)
    return {
        f"{LOCAL_ONLY}, without e5": predict_local_only(first)[0],
        "USE, LR": _regression(draw, vectors),
        "TF-IDF, LR": _regression(draw, weighted),
        "e5, LR": _regression(draw, e5),
        "both, LR": _regression(draw, np.hstack([vectors, e5])),
    }


@lru_cache(maxsize=1)
def _trunk_features(data: SplitDataSet, modality_name: str, label: str) -> NDArray[np.float32]:
    """Compute or read from a cache the raw features of a data set.

    Raises:
        ConfigError: The trunk is not installed.
    """
    trunk = find_trunk(modality_name, label)
    return compute_raw_features(list(data.records), modality=modality_name, trunk=trunk)


RIVALS: Mapping[str, Callable[[Draw], dict[str, Ints]]] = {
    "images": predict_images,
    "windows": predict_windows,
    "texts": predict_texts,
}


def data_set_files(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield names and files of the data sets in some folders."""
    for folder in folders:
        if not folder.is_dir():
            print(f"{folder}: not here, left out")
            continue
        for path in sorted(folder.iterdir()):
            inside = [path / name for name in ("data.npz", "shard0.npz", "records.csv")]
            for file in (path, *inside) if path.suffix == ".npz" else inside:
                if file.is_file():
                    yield path.stem, file
                    break


def _prefix(options: argparse.Namespace) -> str:
    plan = f"{options.plan.stem} " if options.plan else ""
    return f"{plan}{options.modality} {VERSION} "


def evaluate_missing(options: argparse.Namespace, rows: Rows) -> None:
    """Evaluate all draws that have no row yet."""
    encoder = unfitted_encoder(options.modality)
    listed = trunks.read_plan_trunks(read_plan(options.plan)) if options.plan else ()
    usual_labels = {kind.label for kind in default_trunks(options.modality)}
    further = [kind for kind in listed if kind.label not in usual_labels]
    blocks = (*encoder.local_block_sizes, *(kind.width for kind in further))
    counts = (*encoder.trunk_block_counts, *(1 for _ in further))
    layout = encoder.dimension, encoder.scaled_dimension, blocks, counts
    for name, records, draws in split_data_sets(
        options.datasets, options.modality, options.seeds, options.only
    ):
        keys = {
            f"{_prefix(options)}{name} {labels} {seed}": (labels, seed)
            for labels in options.labels
            for seed in draws
        }
        if all(key in rows for key in keys):
            continue
        inputs = list(records.records)
        parts = [
            compute_raw_features(inputs, modality=options.modality, trunk=kind) for kind in further
        ]
        features = np.hstack([encoder.encode_local_batched(inputs), *parts])
        for key, (labels, seed) in keys.items():
            chosen = draw_labelled_rows(records, labels, seed)
            if chosen is None or key in rows:
                continue
            draw = Draw(records, features, layout, chosen, seed)
            truth = records.labels[records.is_test]
            own, told = predict_local_only(draw)
            said = {LOCAL_ONLY: own, **RIVALS[options.modality](draw)}
            scores = {each: float((estimate == truth).mean()) for each, estimate in said.items()}
            cell = f"{options.modality}, {labels} labels a class"
            rows.add({"key": key, "dataset": name, "cell": cell, "scores": scores, "told": told})
        print(name, flush=True)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate accuracy by data set, and local-only minus each baseline, with its error."""
    results = Results(rows)
    for cell in results.cells:
        of_cell = [row for row in rows if row["cell"] == cell]
        names = list(dict.fromkeys(name for row in of_cell for name in row["scores"]))
        yield from ("", f"### {cell}: {results.size(cell)[1]} data sets", "")
        yield from accuracy_by_data_set(of_cell, cell, names)
        yield ""
        rivals = [name for name in names if not name.startswith(LOCAL_ONLY)]
        others = [
            (name, results.paired_difference(cell, LOCAL_ONLY, name))
            for name in names
            if name != LOCAL_ONLY
        ]
        yield from markdown((f"{LOCAL_ONLY} minus", "points, ± error over sets"), others)
        yield from ("", _compare_with_best(of_cell, LOCAL_ONLY, rivals), "")
        held = [row["told"][0] <= row["scores"][LOCAL_ONLY] <= row["told"][1] for row in of_cell]
        yield f"The 95 % interval that the plant states is right in {np.mean(held):.0%}."


def _compare_with_best(rows: Sequence[Row], method: str, rivals: Sequence[str]) -> str:
    """Compare a model with the best baseline of each data set, and name its worst data set."""
    gaps = {}
    for name in dict.fromkeys(row["dataset"] for row in rows):
        scores = [row["scores"] for row in rows if row["dataset"] == name]
        means = [np.mean([score[who] for score in scores]) for who in (method, *rivals)]
        gaps[name] = 100 * (means[0] - max(means[1:]))
    error = np.std(list(gaps.values()), ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.nan
    worst = min(gaps, key=lambda name: gaps[name])
    return (
        "Local-only minus the best baseline of each set: "
        f"{np.mean(list(gaps.values())):+.1f} ± {error:.1f};"
        f" worst set {gaps[worst]:+.1f} ({worst})."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("modality", choices=sorted(RIVALS))
    parser.add_argument("--datasets", type=Path, nargs="*", default=[Path("../shared/datasets")])
    parser.add_argument("--results", type=Path, default=Path("bench/out/alone.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--plan", type=Path, help="a zoo's, for its further trunks")
    parser.add_argument("--only", nargs="*", help="data sets")
    parser.add_argument("--labels", nargs="*", type=int, default=(5, 20), help="of a class")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = Rows(options.results)
    evaluate_missing(options, rows)
    write_table("\n".join(table(rows.with_prefix(_prefix(options)))), options.table)


if __name__ == "__main__":
    main()
