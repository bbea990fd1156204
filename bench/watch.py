"""Rate of alarms of ``watch``, with and without a cause: ``python -m bench.watch --home HOME``.

Data sets are cut as in ``bench.acceptance``. Sixty records of a plant are frozen; thirty others are
watched, many times: of the *same* distribution (random records, so each alarm is false), of *other
parts* of the same plant (other groups: tiles, boards, recordings; the plant's own variation),
through *another camera*, and of a *class that is not frozen*. The table has the share of alarms, by
the rule of the program, and by each of its tests.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from bench import plants
from bench.plants import DATASETS, Floats, Plants
from bench.tables import markdown

from wg_client.models import drift, novelty
from wg_client.operation.watch import FALSE_ALARM_RATE, TEST_COUNT
from wg_common.inference.family_head import FeatureLayout
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_server.site.home import ServerHome

_RECORDS = {"own": 60, "sister": 60}
_TESTS = 500
FROZEN, WATCHED = 60, 30


def main() -> None:
    """Draw, test and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home of images")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(ServerHome(options.home).read_encoder())
    found: dict[str, list[tuple[bool, bool]]] = {}
    for name in DATASETS:
        cut = plants.cut_data_set(
            encoder,
            encoder.id,
            options.datasets,
            name,
            0,
            0.0,
            options.cache,
            per_class=_RECORDS,
            test_records=_TESTS,
        )
        if cut is None:
            continue
        rng = np.random.default_rng(11)
        for _ in range(options.draws):
            for what, frozen, new in watched_batches(cut, rng):
                found.setdefault(what, []).append(test_alarms(encoder, frozen, new, rng))
        print(f"{name}: done", flush=True)
    heads = ("new records", "batches", "alarms", "by features", "by new records")
    print("\n".join(markdown(heads, (_row(what, each) for what, each in found.items()))))


def watched_batches(cut: Plants, rng: np.random.Generator) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield the title of each comparison, the frozen records, and the new ones."""
    x, y = cut.own
    order = rng.permutation(len(y))
    if len(order) >= FROZEN + WATCHED:
        frozen = x[order[:FROZEN]]
        yield "the same", frozen, x[order[FROZEN : FROZEN + WATCHED]]
        yield "other parts", frozen, _random_rows(cut.test[0], rng)
        yield "another camera", frozen, _random_rows(cut.same_family[0][0], rng)
        gone = int(rng.choice(np.unique(y)))
        rest = order[y[order] != gone][:FROZEN]
        yield "a class that is not frozen", x[rest], _random_rows(x[y == gone], rng)


def _random_rows(x: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(x[rng.permutation(len(x))[:WATCHED]])


def test_alarms(
    encoder: Encoder, frozen_features: Floats, new_features: Floats, rng: np.random.Generator
) -> tuple[bool, bool]:
    """Return whether features, and whether the number of new records, raise an alarm."""
    level = FALSE_ALARM_RATE / TEST_COUNT
    dimension, layout = (
        encoder.dimension,
        FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes),
    )
    shift = drift.test_for_shift(
        frozen_features[:, :dimension], new_features[:, :dimension], level, rng
    )
    known = novelty.fit_novelty_test(frozen_features, layout, None)
    if known is None:
        return shift.p < level, False
    count = int((known.score(new_features) > known.score_limit(novelty.LARGEST_NEW_LIKENESS)).sum())
    return shift.p < level, drift.new_record_p_value(
        count, len(new_features), novelty.LARGEST_NEW_LIKENESS, len(known.scores)
    ) < level


def _row(title: str, alarms: list[tuple[bool, bool]]) -> tuple[object, ...]:
    table = np.array(alarms)
    shares = (table.any(axis=1), table[:, 0], table[:, 1])
    return title, len(alarms), *(f"{100 * each.mean():.1f} %" for each in shares)


if __name__ == "__main__":
    main()
