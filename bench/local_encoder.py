"""What a local encoder adds to a plant's local-only model: ``python -m bench.local_encoder``.

EfficientNet-Lite2 as one block more of local features (*with Lite2*), and as the only block (*on
Lite2*), against local-only as it is; and two lines of scikit-learn, logistic regression (C = 10) on
normalised last maps, of either network and of both side by side. Data sets, cuts and draws are
those of ``bench.plant``; no release, and nothing delivered. Only records that a draw or a test
needs are encoded. Features and rows are kept under ``bench/out``: a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bench.plant import IMAGES, Cut, cut, drawn
from bench.rows import Row, Rows, judged, write_table
from bench.tables import Results, markdown, set_by_set
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from wg_client.fitting.backbone import encoder_trunk
from wg_client.methods.base import LabelledRecords
from wg_common.nets.encoder.local_encoder import Lite2
from wg_common.nets.encoder.module import load_encoder

VERSION = 1
TESTS = 300  # Test records of a data set, at most
LABELS = (5, 20)
LOCAL, WITH, ALONE = "local-only", "with Lite2", "on Lite2"
LINES0, LINES2, LINES = "two lines, Lite0", "two lines, Lite2", "two lines, both"
PAIRS = (
    (WITH, LOCAL),
    (ALONE, LOCAL),
    (WITH, LINES),
    (WITH, LINES2),
    (LINES2, LINES0),
)

Features = NDArray[np.float32]
Draws = dict[tuple[int, int], NDArray[np.int64]]
Layout = tuple[int, int, tuple[int, ...]]


def local_only(features: Features, layout: Layout, found: Cut, rows: NDArray[np.int64]) -> float:
    """Test accuracy of the plant's own learner on the labelled rows."""
    trunk = encoder_trunk(features[rows], *layout)
    units = [str(group) for group in found.groups[rows]]
    classes = int(found.labels.max()) + 1
    fitted = LabelledRecords(
        all_labels=found.labels[rows], classes=classes, public=trunk, units=units
    ).local
    if fitted is None:
        raise SystemExit("no labels")
    logits = fitted.head.logits(trunk.inward(features[found.test]))
    return float((logits.argmax(axis=1) == found.labels[found.test]).mean())


def two_lines(features: Features, found: Cut, rows: NDArray[np.int64]) -> float:
    """Test accuracy of logistic regression."""
    model = LogisticRegression(C=10, max_iter=2000).fit(features[rows], found.labels[rows])
    return float((model.predict(features[found.test]) == found.labels[found.test]).mean())


def needed(root: Path, name: str, seeds: int) -> tuple[Cut, Draws] | None:
    """A data set reduced to the records of some draws and its tests, and the draws."""
    found = cut(root, name)
    if found is None:
        return None
    draws: Draws = {}
    for n, seed in itertools.product(LABELS, range(seeds)):
        labelled = drawn(found, n, seed)
        if labelled is not None:
            draws[n, seed] = labelled
    test = np.flatnonzero(found.test)
    test = test[np.linspace(0, len(test) - 1, min(len(test), TESTS)).astype(int)]
    rows = np.unique(np.concatenate([test, *draws.values()]))
    few = Cut(found.records[rows], found.labels[rows], found.groups[rows], found.test[rows])
    return few, {key: np.searchsorted(rows, own) for key, own in draws.items()}


def _judge(job: tuple[str, str, int, Path, Path, Path]) -> Row:
    key, name, seeds, root, package, cache = job
    torch.set_num_threads(1)
    seen = needed(root, name, seeds)
    if seen is None:
        return {"key": key, "dataset": name, "scores": {}, "rows": []}
    found, draws = seen
    encoder = load_encoder(package.read_bytes())
    both = encoder.with_beside(Lite2(int(encoder.settings["pixels"])))
    path = cache / f"{name}-{encoder.id[:16]}-{seeds}-{VERSION}.npy"
    if path.is_file():
        features = np.load(path)
    else:
        started = time.process_time()
        features = both.encode_batched(list(np.ascontiguousarray(found.records)))
        print(f"{name}: {len(features) / (time.process_time() - started):.0f} images a second")
        half = path.with_suffix(f".{os.getpid()}.npy")
        np.save(half, features)
        half.replace(path)
    d, scaled, own = encoder.dimension, encoder.scaled_dimension, encoder.local_dimension
    alone = np.concatenate([features[:, :scaled], features[:, own:]], axis=1)
    last0, last2 = features[:, scaled : scaled + encoder.local_blocks[0]], features[:, own:]
    rows = []
    for (n, seed), labelled in draws.items():
        scores = {
            LOCAL: local_only(
                features[:, :own], (d, scaled, encoder.local_blocks), found, labelled
            ),
            WITH: local_only(features, (d, scaled, both.local_blocks), found, labelled),
            ALONE: local_only(alone, (d, scaled, both.local_blocks[-1:]), found, labelled),
            LINES0: two_lines(normalize(last0), found, labelled),
            LINES2: two_lines(last2, found, labelled),
            LINES: two_lines(np.hstack([normalize(last0), last2]), found, labelled),
        }
        rows.append({"cell": f"{n} labels a class", "seed": seed, "scores": scores})
    return {"key": key, "dataset": name, "scores": {"": 0.0}, "rows": rows}


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Set by set, and paired differences with errors over sets."""
    results = Results(rows)
    for cell in sorted(results.cells, key=lambda c: int(c.split()[0])):
        own = [row for row in rows if row["cell"] == cell]
        runs, sets = results.size(cell)
        yield from ("", f"### {cell}: {sets} data sets, {runs} runs", "")
        yield from set_by_set(own, cell, list(own[0]["scores"]))
        yield ""
        header = ("difference", "points, ± error over sets")
        yield from markdown(
            header, ((f"{a} minus {b}", results.paired(cell, a, b)) for a, b in PAIRS)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="an encoder package of images")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--out", type=Path, default=Path("bench/out/local_encoder"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=IMAGES, help="data sets")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = Rows(options.out / "rows.jsonl")
    places = options.datasets, options.encoder, options.out
    jobs = [
        (f"l{VERSION} {name} {options.seeds}", name, options.seeds, *places)
        for name in options.only
    ]
    judged(kept, _judge, jobs, options.workers)
    keys = {job[0] for job in jobs}
    rows = [
        {**one, "key": f"{row['key']} {number}", "dataset": row["dataset"]}
        for row in kept.of()
        if row["key"] in keys
        for number, one in enumerate(row["rows"])
    ]
    write_table("\n".join(["`python -m bench.local_encoder`", *table(rows)]), options.table)


if __name__ == "__main__":
    main()
