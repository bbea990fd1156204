"""Which helps others more, class sums or a head? ``python -m bench.contributions --home DIR``.

A same-family site of 600, 1,000 or 5,000 labelled records, under the same camera, spends epsilon on
a release of class sums, which the home's generator turns into heads, or on a head that is trained
by DP-SGD on the released features. Printed for each data set and as means: accuracy on the other
plant's test records as delivered, and what that plant keeps with 5 and with 20 labels a class,
where the contributed head is one more candidate beside what the server makes without that release.

DP-SGD is simulated by the closed form of the gradient and NumPy's noise: the mechanism of
``wg_client.release.dp_training`` without its grid. For each number of records and price the best of
several settings *on the test records* is taken, which no plant could do: what class sums win
against that, they win.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from bench import plants
from bench.methods import Cell, draw
from bench.plants import DELTA, Floats, Ints, Plants
from bench.selected import right, selected
from bench.tables import markdown

from wg_client.fitting.backbone import encoder_trunk
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.names import LOCAL
from wg_client.release.dp_training import plan_for
from wg_common.catalogue import SAME_FAMILY
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.heads.generate import (
    Generated,
    GeneratedCandidate,
    Generator,
    load_generator,
)
from wg_server.site.home import ServerHome

SETTINGS = ((0.1, 200, 2.0), (0.1, 200, 10.0), (0.2, 100, 10.0), (0.2, 100, 40.0))
"""Sampling probability, steps, learning rate."""
SIZES = (600, 1000, 5000)
"""Records of the contributing site."""
EPSILONS = (1.0, 4.0)
LABELS = (5, 20)
_OWN, _TESTS = 20, 500
DATASETS = ("fashion_mnist", "deeppcb_a", "mnist10k")
"""Those with enough records."""


def split(encoder: Encoder, root: Path, name: str, cache: Path) -> Plants | None:
    """A data set as a plant, one other site and test records; None if it is not there."""
    path = cache / f"contributions-{name}-{encoder.id[:16]}.npz"
    if not path.is_file():
        data = plants.load_images(root, name)
        if data is None:
            return None
        images, labels, _ = data
        rng = np.random.default_rng(4)
        order = rng.permutation(np.flatnonzero(labels >= 0))
        rank = np.zeros(len(labels), dtype=np.int64)
        for label in np.unique(labels[order]):
            rows = order[labels[order] == label]
            rank[rows] = np.arange(len(rows))
        own, rest = order[rank[order] < _OWN], order[rank[order] >= _OWN]
        parts = {"own": own, "test": rest[:_TESTS], "other": rest[_TESTS : _TESTS + max(SIZES)]}
        arrays = {key: encoder.encode_batched([images[r] for r in of]) for key, of in parts.items()}
        arrays |= {f"{key}_labels": labels[of] for key, of in parts.items()}
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as found:
        own_, test, other = (
            (found[key].astype(np.float64), found[f"{key}_labels"])
            for key in ("own", "test", "other")
        )
    names = tuple(f"class-{label}" for label in range(int(own_[1].max()) + 1))
    return Plants(names, encoder.dimension, own_, (other,), test, np.arange(len(own_[1])))


def sigmas() -> dict[tuple[float, float, int], float]:
    """Noise multipliers by epsilon, sampling probability and steps."""
    wanted = {(e, q, t) for e, (q, t, _) in product(EPSILONS, SETTINGS)}
    return {
        (e, q, t): plan_for(
            e, DELTA, sampling_probability=q, steps=t, expected_batch=1.0
        ).noise_multiplier
        for e, q, t in sorted(wanted)
    }


def dp_head(
    x: Floats, y: Ints, k: int, sigma: float, setting: tuple[float, int, float], seed: int
) -> LinearHead:
    """The mean of the second half of the iterates of DP-SGD from zeros, clip norm 1."""
    rng = np.random.default_rng((seed, 9))
    q, steps, rate = setting
    inputs, targets = np.hstack([x, np.ones((len(x), 1))]), np.eye(k)[y]
    lengths = np.linalg.norm(inputs, axis=1)
    weight, kept = np.zeros((k, inputs.shape[1])), np.zeros((k, inputs.shape[1]))
    for step in range(steps):
        rows = np.flatnonzero(rng.random(len(x)) < q)
        logits = inputs[rows] @ weight.T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True) - targets[rows]
        norms = np.linalg.norm(error, axis=1) * lengths[rows]
        total = (error / np.maximum(norms, 1.0)[:, None]).T @ inputs[rows]
        total += rng.normal(0, sigma, total.shape)
        weight = weight - rate / (q * len(x)) * total
        if step >= steps // 2:
            kept += weight / (steps - steps // 2)
    return LinearHead(kept[:, :-1], kept[:, -1])


def judged(
    generator: Generator,
    encoder: Encoder,
    cut: Plants,
    noise: dict[tuple[float, float, int], float],
) -> Iterator[dict[str, float]]:
    """A row for each size and price."""
    d, k = cut.dimension, len(cut.labels)
    ((all_x, all_y),) = cut.same_family
    for size, epsilon in product(SIZES, EPSILONS):
        x, y = all_x[:size], all_y[:size]
        family = replace(cut, same_family=((x, y),))
        made_heads = [
            dp_head(x[:, :d], y, k, noise[epsilon, q, t], (q, t, rate), 0)
            for q, t, rate in SETTINGS
        ]
        wide = [head.padded(x.shape[1]) for head in made_heads]
        best = int(np.argmax([right(head, cut.test) for head in wide]))
        row = {"size": size, "epsilon": epsilon, "contribution": right(wide[best], cut.test)}
        for n in LABELS:
            cell = Cell(scenario="S1", epsilon=epsilon, shots=n, same_family=1)
            both = draw(generator, family, cell, 0, {}, samples=1, most=size)
            alone = draw(generator, replace(cut, same_family=()), cell, 0, {}, samples=1)
            if n == LABELS[0]:
                row["class sums"] = right(both.heads["network"].padded(x.shape[1]), cut.test)
            trunk = encoder_trunk(both.x, d, encoder.scaled_dimension, encoder.local_blocks)
            for name, made in (
                ("sums", both.made),
                ("head", with_head(alone.made, made_heads[best])),
            ):
                outcome = selected(made, trunk, both.y, d, own=True, others=True)
                kept, local = outcome.models[outcome.kept].head, outcome.models[LOCAL].head
                row[f"{name}, {n}"] = right(kept, cut.test)
                row[f"local, {n}"] = right(local, cut.test)
        yield row


def with_head(made: Generated, head: LinearHead) -> Generated:
    """What a server makes, with a contributed head, which the plant's records judge."""
    given = GeneratedCandidate("contribution", SAME_FAMILY, head.tensors(), 0.0)
    return replace(made, candidates=(given, *made.candidates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--sets", nargs="*", default=DATASETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = ServerHome(options.home)
    generator, encoder = load_generator(home.generator), load_encoder(home.read_encoder())
    noise, rows = sigmas(), []
    for name in options.sets:
        cut = split(encoder, options.datasets, name, options.cache)
        for row in [] if cut is None else judged(generator, encoder, cut, noise):
            rows.append({"set": name} | row)
            print(rows[-1], flush=True)
    heads = [key for key in rows[0] if key not in ("set", "size", "epsilon")]
    table = []
    for size, epsilon in product(SIZES, EPSILONS):
        own = [row for row in rows if (row["size"], row["epsilon"]) == (size, epsilon)]
        means = [f"{100 * np.mean([row[key] for row in own]):.1f}" for key in heads]
        table.append((f"{size} records, epsilon {epsilon:g}", len(own), *means))
    print("\n".join(markdown(("site", "sets", *heads), table)))


if __name__ == "__main__":
    main()
