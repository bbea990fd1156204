"""Settings of DP-SGD, on rendered sites: ``python -m bench.contribution_settings --home DIR``.

Which learning rate suits which price, and what recalibration is worth, judged on the zoo of a home:
no record of a plant has a part in it. Prints the tables of docs/decisions/0173.

*Rates.* The sites of a family count as one; three quarters of the records train a head by DP-SGD
(``contributions.dp_head``), the others judge it. By the sum of all steps' rates, at 10, 30 and 100
steps of full batches.

*Recalibration.* Sites of a family but the first train a head, with default settings at the noise of
as many records and such a price; the first has some labels a class for ``recalibration``, and its
other records judge.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench.contributions import dp_head
from bench.plants import DELTA, Floats, Ints
from bench.tables import markdown

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.contributed import recalibration
from wg_client.release.dp_training import LARGEST_RATE, STEPS, DpTrainingPlan, plan_for
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo

EPSILONS = (1.0, 4.0, 16.0)
TOTALS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Sums of all steps' rates."""
TRIED = (10, 30, 100)
"""Steps."""
RATIOS = (100.0, 700.0, 2400.0)
"""Records over the noise of one release."""
LABELS = (5, 10)

Family = list[tuple[Floats, Ints]]


def families(root: Path) -> dict[str, Family]:
    """Released features and labels of the sites of each family with several sites."""
    zoo, found = Zoo(root), defaultdict(list)
    for entry in zoo.entries():
        found[entry.family].append(entry)
    read: dict[str, Family] = {}
    for name, entries in sorted(found.items()):
        if len(entries) > 1 and len({entry.labels for entry in entries}) == 1:
            weights = [zoo.read(entry) for entry in entries]
            read[name] = [(one.features.astype(np.float64), one.labels) for one in weights]
    return read


def rates(all_sites: list[Family]) -> Iterator[str]:
    """Accuracy by price, steps and sum of rates."""
    cuts = []
    for family in all_sites:
        x, y = np.concatenate([p for p, _ in family]), np.concatenate([p for _, p in family])
        order = np.random.default_rng(1).permutation(len(y))
        train, test = np.split(order, [len(y) * 3 // 4])
        cuts.append((x[train], y[train], x[test], y[test]))
    rows = []
    for epsilon in EPSILONS:
        for steps in TRIED:
            noise = plan_for(epsilon, DELTA, expected_batch=1.0, steps=steps).noise_multiplier
            ratio = np.mean([len(y) for _, y, _, _ in cuts]) / noise * np.sqrt(steps)
            found = []
            for total in TOTALS:
                right = []
                for x, y, tx, ty in cuts:
                    plan = DpTrainingPlan(
                        sampling_probability=1.0,
                        noise_multiplier=noise,
                        steps=steps,
                        clip_norm=1.0,
                        learning_rate=total / steps,
                        expected_batch=float(len(y)),
                    )
                    head = dp_head(x, y, int(y.max()) + 1, plan, 0)
                    right.append((head.logits(tx).argmax(axis=1) == ty).mean())
                found.append(f"{np.mean(right):.3f}")
            rows.append((f"{epsilon:g}", steps, f"{ratio:.0f}", *found))
    yield from markdown(("epsilon", "steps", "n / s", *(f"r = {r:g}" for r in TOTALS)), rows)


def recalibrated(all_sites: list[Family]) -> Iterator[str]:
    """Accuracy as it came and recalibrated, at other equipment."""
    rows = []
    for ratio in RATIOS:
        heads = [_given(family[1:], ratio) for family in all_sites]
        for n in LABELS:
            pairs = [
                _accuracies(*family[0], head, n)
                for family, head in zip(all_sites, heads, strict=True)
            ]
            came, better = np.array(pairs).T
            gain = 100 * (better - came)
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            shown = f"{gain.mean():+.1f} ± {error:.1f}"
            rows.append((f"{ratio:g}", n, f"{came.mean():.3f}", f"{better.mean():.3f}", shown))
    yield from markdown(("n / s", "labels a class", "as it came", "recalibrated", "gain"), rows)


def _given(others: Family, ratio: float) -> LinearHead:
    x, y = np.concatenate([p for p, _ in others]), np.concatenate([p for _, p in others])
    plan = DpTrainingPlan(
        sampling_probability=1.0,
        noise_multiplier=len(y) / ratio * np.sqrt(STEPS),
        steps=STEPS,
        clip_norm=1.0,
        learning_rate=min(ratio / STEPS, LARGEST_RATE),
        expected_batch=float(len(y)),
    )
    return dp_head(x, y, int(y.max()) + 1, plan, 1)


def _accuracies(x: Floats, y: Ints, head: LinearHead, n: int) -> tuple[float, float]:
    rng = np.random.default_rng(3)
    own = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:n] for c in np.unique(y)])
    rest = np.setdiff1d(np.arange(len(y)), own)
    factor, constants = recalibration(head.logits(x[own]), y[own])
    logits = head.logits(x[rest])
    came = (logits.argmax(axis=1) == y[rest]).mean()
    return float(came), float(((factor * logits + constants).argmax(axis=1) == y[rest]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with a zoo")
    parser.add_argument("--families", type=int, default=12, help="of the table of rates")
    options = parser.parse_args()
    found = list(families(ServerHome(options.home).zoo).values())
    every = max(1, len(found) // options.families)
    print("\n".join(rates(found[::every][: options.families])), flush=True)
    print()
    print("\n".join(recalibrated(found)))


if __name__ == "__main__":
    main()
