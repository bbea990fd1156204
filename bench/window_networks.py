"""Whole 1-D networks on real sensor windows. Run with ``python -m bench.window_networks``.

As ``bench.networks`` (whose code judges), with the data sets and cuts of ``bench.window_plants``:
the zoo is of rendered windows only, so that every data set is a kind of plant that it has never
seen; the plant and three sisters behind other sensors release statistics. Every start is judged as
delivered, after its head is fitted to the plant's labels, and after 20 and 60 steps of LP-FT: with
many channels a step is dear. ``base`` is what the plant can do alone with the same architecture. A
line below each table has what its labels give on the encoder, and MiniRocket with ridge regression
without either.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bench import networks, window_plants
from bench.networks import Cell, Cut

from wg_client.baseline import fit_local
from wg_client.folds import stratified
from wg_client.trunks import encoder_trunk
from wg_common import canonical
from wg_common.nets import whole
from wg_common.nets.encoder import Encoder, load_encoder
from wg_server.generator.card import clustered
from wg_server.generator.generate import load_generator
from wg_server.generator.networks.generate import load_networks
from wg_server.home import ServerHome

STEPS = (0, 20, 60)
ALONE = ("encoder", "minirocket-ridge")
CELLS = (
    Cell(name="windows, unseen eps=4 n=5", epsilon=4.0, shots=5, sister=False),
    Cell(name="windows, unseen eps=1 n=5", epsilon=1.0, shots=5, sister=False),
    Cell(name="windows, unseen eps=4 n=20", epsilon=4.0, shots=20, sister=False),
)
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, of windows")
    parser.add_argument("--architecture", choices=list(whole.WINDOWS.widths), default="cnn1d-m")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/window_networks.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(options.home)
    made_by = canonical.sha256_hex(home.networks.read_bytes())[:16]
    generator = load_networks(home.networks, load_generator(home.generator))
    encoder = load_encoder(home.read_encoder())
    done = networks.read_rows(options.results)
    prefix = f"{made_by} {options.architecture}"
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for name in window_plants.DATASETS:
            found = window_plants.cut_windows(options.datasets, name, seed, 0.0)
            if found is None:
                continue
            labels, parts = found
            data = Cut(labels, parts[1], parts[0], tuple(parts[2:]))
            for cell in CELLS:
                key = f"{prefix} {name} {seed} {cell.name}"
                if key in done:
                    continue
                scores = networks.judge(
                    generator, encoder, options.architecture, data, cell, seed, STEPS
                )
                row: Row = {"key": key, "dataset": name, "cell": cell.name}
                row["scores"] = scores | _alone(encoder, data, cell, seed)
                with options.results.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                done[key] = row
                print(key, flush=True)
    rows = [row for key, row in done.items() if key.startswith(f"{prefix} ")]
    text = "\n".join([f"{options.architecture}, generator {made_by}", "", *_tables(rows)])
    print(text)
    if options.table:
        options.table.write_text(text + "\n")


def _alone(encoder: Encoder, data: Cut, cell: Cell, seed: int) -> dict[str, float]:
    """Accuracy of the plant's labels without any small network."""
    records, y = networks.labelled(data, cell)
    own, test = np.stack(records), np.asarray(data.test[0])
    features = encoder.encode_local(records)
    trunk = encoder_trunk(features, encoder.dimension, encoder.scaled_dimension)
    folds = stratified(y, np.random.default_rng(5))
    head = trunk.outward(fit_local(trunk.features, y, len(data.labels), folds).head)
    rocket = window_plants.MiniRocket(own, np.random.default_rng((seed, 9)))
    guessed = window_plants.ridge(rocket.features(own), y, rocket.features(test))
    logits = head.logits(encoder.encode_local(list(test)).astype(np.float64))
    found = zip(ALONE, (logits.argmax(axis=1), guessed), strict=True)
    return {name: float((guess == data.test[1]).mean()) for name, guess in found}


def _tables(rows: Sequence[Row]) -> list[str]:
    """Tables of cells, each with its line, and the data sets one by one."""
    lines: list[str] = []
    for cell in CELLS:
        mine = [row for row in rows if row["cell"] == cell.name]
        if not mine:
            continue
        lines += networks.table(mine, STEPS)
        scores: list[dict[str, float]] = [dict(row["scores"]) for row in mine]  # type: ignore[call-overload]
        names = [str(row["dataset"]) for row in mine]
        means = {n: clustered(np.array([s[n] for s in scores]), names)[0] for n in ALONE}
        said = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        lines += [f"Without a small network, the plant's labels alone: {said}", ""]
        shown = ("base 0", "base 60", "network delivered", "network 0", "network 60", *ALONE)
        lines += ["| data set | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
        for name in dict.fromkeys(names):
            own = [s for s, n in zip(scores, names, strict=True) if n == name]
            values = [float(np.mean([s[column] for s in own])) for column in shown]
            lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
