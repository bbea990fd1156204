"""Local-only soft sensors on real signals: ``python -m bench.number_sets --datasets DIR``.

One measured channel is estimated from the others, on recordings without training records. The table
has root mean squared errors relative to ridge regression on lagged signals, boosted trees, ridge
regression on MiniRocket, and ``wg_client.fitting.sensor_models``; and the share of test windows
whose value is in the 90 % interval.
"""

import argparse
from pathlib import Path

import numpy as np
from bench.rows import write_table
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from wg_client.fitting import sensor_models
from wg_client.fitting.sensor_models import RegressionQuality
from wg_common.nets.encoder.minirocket import MiniRocket

DATASETS = ("tep", "cmapss_fd001", "skab_valve1")
CHANNELS = 3  # Of each set that are told, evenly over all that vary
WINDOWS = 300  # Most of a set's training that is learnt from
OURS = "kept local-only"
RIVALS = {"ridge": sensor_models.untrained_ridge, "trees": sensor_models.untrained_trees}
Floats = NDArray[np.float64]


def minirocket_values(train: Floats, values: Floats, test: Floats, seed: int) -> Floats:
    """Estimate values of test windows by ridge regression on MiniRocket features."""
    spread = train.std(axis=(0, 2), keepdims=True) + 1e-9
    known_windows, new_windows = ((part / spread).astype(np.float32) for part in (train, test))
    rocket = MiniRocket.fit(known_windows, np.random.default_rng(seed))
    known = rocket.features(known_windows)
    scale = known.std(axis=0) + 1e-3
    ridge = RidgeCV(np.geomspace(1, 1e6, 10)).fit(known / scale, values)
    return np.asarray(ridge.predict(rocket.features(new_windows) / scale))


def evaluate_channels(path: Path, seed: int) -> list[dict[str, float]]:
    """Return a row per channel: errors by method relative to the best rival, coverage, R²."""
    with np.load(path) as archive:
        x, split = archive["x"].astype(np.float64), archive["split"]
        recordings = archive["group"]
    varying = np.flatnonzero(x.mean(axis=2).std(axis=0) > 1e-6)
    rows = []
    rng = np.random.default_rng(seed)
    train = np.sort(rng.permutation(np.flatnonzero(split == 0))[:WINDOWS])
    test = np.flatnonzero(split == 1)
    for channel in varying[np.linspace(0, len(varying) - 1, CHANNELS).astype(int)]:
        values, others = x[:, channel].mean(axis=1), np.delete(x, channel, axis=1)
        features = sensor_models.lagged_signals(others)
        model = sensor_models.fit_value_regression(
            features[train], values[train], recordings[train]
        )
        predictions = {
            OURS: model.predict(features[test], np.zeros(len(test))),
            **{
                name: rival().fit(features[train], values[train]).predict(features[test])
                for name, rival in RIVALS.items()
            },
            "MiniRocket": minirocket_values(others[train], values[train], others[test], seed),
        }
        by_method = {
            name: RegressionQuality.evaluate(part, values[test])
            for name, part in predictions.items()
        }
        best = min(one.error for name, one in by_method.items() if name != OURS)
        row = {name: one.error / best for name, one in by_method.items()}
        inside = np.abs(predictions[OURS] - values[test]) <= model.interval_half_width
        rows.append({**row, "coverage": float(inside.mean()), "R²": by_method[OURS].r2})
    return rows


def main() -> None:
    """Evaluate every available data set, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    lines, rows = [], []
    for name in DATASETS:
        path = options.datasets / name / "data.npz"
        if not path.is_file():
            print(f"{name}: not here, left out")
            continue
        of_set = evaluate_channels(path, options.seed)
        rows += of_set
        for row in of_set:
            lines.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |")
            print(lines[-1], flush=True)
    if rows:
        means = [float(np.mean([row[key] for row in rows])) for key in rows[0]]
        head = f"| set | {' | '.join(rows[0])} |\n|{'---|' * (len(means) + 1)}"
        mean = "| mean | " + " | ".join(f"{value:.3f}" for value in means) + " |"
        write_table("\n".join([head, *lines, mean]), options.table)


if __name__ == "__main__":
    main()
