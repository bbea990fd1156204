"""MiniRocket with ridge regression as a baseline: this project's implementation against aeon's.

aeon needs numba, which requires an older numpy than this project has. Both are evaluated on the
draws of ``bench.alone``::

    python -m venv AEON && AEON/bin/pip install aeon
    python -m bench.minirocket --aeon AEON/bin/python --datasets DIR
"""

import argparse
import itertools
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from bench.rows import Row, write_table
from bench.tables import Results, accuracy_by_data_set, markdown
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifierCV

from wg_common.nets.encoder.minirocket import MiniRocket

Features = NDArray[np.floating]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AEON = """
import sys
from pathlib import Path
import numpy as np
from aeon.transformations.collection.convolution_based import MiniRocket
for path in map(Path, sys.argv[1:]):
    with np.load(path) as windows:
        rocket = MiniRocket(random_state=int(windows["seed"]))
        train = rocket.fit_transform(windows["train"])
        np.savez(path.with_suffix(".out.npz"), train=train, test=rocket.transform(windows["test"]))
"""


def classify_by_ridge(
    train: Floats, labels: Ints, test: Floats, *, standardise: bool = True
) -> Ints:
    """Classify test records by ridge regression, with its penalty from leave-one-out errors."""
    if len(np.unique(labels)) < 2:
        return np.full(len(test), labels[0])
    if standardise:
        mean, std = train.mean(axis=0), train.std(axis=0)
        std = std + 1e-2 * float(std.mean()) + 1e-9
        train, test = (train - mean) / std, (test - mean) / std
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = RidgeClassifierCV(np.logspace(-3, 5, 17)).fit(train, labels)
    return np.asarray(model.predict(test), dtype=np.int64)


def main() -> None:
    """Evaluate both on the same draws, and write the table."""
    from bench import alone  # which needs this module

    parser = argparse.ArgumentParser(description="MiniRocket against aeon's, on the same draws")
    parser.add_argument("--aeon", required=True, help="a Python interpreter that has aeon")
    parser.add_argument("--datasets", type=Path, nargs="*", default=[Path("../shared/datasets")])
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--labels", nargs="*", type=int, default=(5, 20), help="of a class")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path] = []
        for name, cut, draws in alone.split_data_sets(options.datasets, "windows", options.seeds):
            windows = cut.records.astype(np.float32)
            for seed, labels in itertools.product(draws, options.labels):
                chosen = alone.draw_labelled_rows(cut, labels, seed)
                if chosen is None:
                    continue
                train, test = windows[chosen], windows[cut.is_test]
                rocket = MiniRocket.fit(train, np.random.default_rng((seed, 9)))
                features = rocket.features(train), rocket.features(test)
                paths.append(Path(folder) / f"{len(paths)}.npz")
                np.savez(paths[-1], train=train, test=test, seed=seed)
                truth = cut.labels[chosen], cut.labels[cut.is_test]
                rows.append(
                    {
                        "dataset": name,
                        "cell": f"{labels} labels a class",
                        "scores": {"here": _test_accuracy(features, truth)},
                        "truth": truth,
                    }
                )
        subprocess.run([options.aeon, "-c", _AEON, *paths], check=True)
        for row, path in zip(rows, paths, strict=True):
            with np.load(path.with_suffix(".out.npz")) as both:
                row["scores"]["aeon"] = _test_accuracy((both["train"], both["test"]), row["truth"])
    results, lines = Results(rows), ["# MiniRocket here and in aeon"]
    for cell in results.cells:
        of_cell = [row for row in rows if row["cell"] == cell]
        lines += ["", f"### {cell}", "", *accuracy_by_data_set(of_cell, cell, ["here", "aeon"]), ""]
        difference = [("aeon", results.paired_difference(cell, "here", "aeon"))]
        lines += markdown(("here minus", "points, ± error over sets"), difference)
    write_table("\n".join(lines), options.table)


def _test_accuracy(features: tuple[Features, Features], truth: tuple[Ints, Ints]) -> float:
    """Accuracy on test windows, from features and labels of training and test windows."""
    train, test = (part.astype(np.float64) for part in features)
    return float((classify_by_ridge(train, truth[0], test) == truth[1]).mean())


if __name__ == "__main__":
    main()
