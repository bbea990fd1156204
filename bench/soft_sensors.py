"""Soft sensors and faults at process units never seen, without a label, against all their rivals.

``python -m bench.soft_sensors --seed 1`` trains networks for a sheet and a statistic, and their
rivals, on simulated units of each kind, and judges them on 100 that none has seen. Plants have 300
records without a label, and release at epsilon 1. Errors are in the logarithm of a quantity, so
that units of any size weigh alike; a row's *ratio* is its error variance over the one that it is
compared with, and its standard error is over units (delta method). ``--faults`` tells conditions in
place of stating quantities, at plants whose records are sound in nine of ten and evenly mixed.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from bench.rows import write_table
from sklearn.linear_model import RidgeCV
from torch import Tensor

from wg_client.fitting import numbers
from wg_server.generator.weights import machine_statistic, training
from wg_server.generator.weights.machine_networks import Sizes, Weights, run
from wg_server.generator.weights.machine_statistic import Statistics, no_statistics, noisy
from wg_server.generator.weights.process_simulation import PROCESS_SIMULATORS
from wg_server.generator.weights.sensor_model import TREATMENTS, Moments, SensorModel
from wg_server.generator.weights.sensor_training import SensorObjective
from wg_server.generator.weights.training import Schedule

UNITS, RECORDS, EPSILON = 100, 300, 1.0
LABELLED, JUDGED = 100, 60  # Windows of a unit: with a laboratory's value, and judged
LABELS = (5, 20, 100)
KEPT = {5: 100, 20: 100, 100: 25}
"""Units that have so many laboratory values each, where what is kept is measured."""
SOUND = 0.9
MADE, ANOTHER = "sheet and statistic", "another unit's statistic"
SHEET, WITHOUT, EXACT = "sheet alone", "no statistic", "sheet and exact statistic"
Rows = dict[str, Tensor]
"""By method: squared errors on each unit ``[m, Q]``, or shares right ``[m]``."""


def outputs(
    model: SensorModel, views: Rows, figures: Tensor, releases: tuple[Statistics, Statistics]
) -> Rows:
    """Outputs ``[m, n, outputs]`` of every method that needs no label.

    Args:
        releases: At ``EPSILON``, and exact.
    """
    released, exact = releases
    methods = model.rivals(views, figures, released)
    for treatment in TREATMENTS:
        networks = model.made_for(treatment)
        for name, statistics in (
            (MADE, released),
            (ANOTHER, released.roll()),
            (WITHOUT, no_statistics(len(figures))),
            (EXACT, exact),
        ):
            condition = networks.condition(figures, statistics)
            made = networks.networks(condition)
            methods[f"{name}, {treatment}"] = run(Weights(*made), views[treatment])
    return methods


def by_ridge(readings: Tensor, truths: Tensor, judged: Tensor) -> Tensor:
    """Quantities of judged windows by a ridge regression at each plant, ``[m, n, Q]``.

    Args:
        readings: Standardised ones of labelled windows, ``[m, k, R]``.
        truths: Their quantities, ``[m, k, Q]``.
        judged: Readings of judged windows.
    """
    ridge = RidgeCV(np.geomspace(0.1, 1e4, 11))
    fits = zip(readings.double().numpy(), truths.double().numpy(), judged.double(), strict=True)
    return torch.from_numpy(
        np.stack([ridge.fit(known, truth).predict(new.numpy()) for known, truth, new in fits])
    ).float()


def quantities(model: SensorModel, seed: int) -> Rows:
    """Squared errors of every method on units never seen."""
    generator, parts = torch.Generator().manual_seed(seed), []
    shop, unit = PROCESS_SIMULATORS[model.unit.name](seed + 102), model.unit
    for _ in range(4):
        units = shop.units(UNITS // 4)
        windows = shop.windows(units, torch.zeros(LABELLED + JUDGED + RECORDS, dtype=torch.long))
        readings = unit.readings(windows.values, units.figures)
        truths = unit.scores(windows.truths, units.figures)
        records = readings[:, LABELLED + JUDGED :]
        shares = torch.full(records.shape[:2], 1 / RECORDS)
        views = Moments.of(records, shares).views(readings, unit.plain_count)
        released = release(model, records, shares, generator)
        judged = truths[:, LABELLED : LABELLED + JUDGED]
        rows = {"the unit's own mean": judged.mean(dim=1, keepdim=True).expand_as(judged)}
        for name, values in outputs(model, views, units.figures, released).items():
            rows[name] = values[:, LABELLED : LABELLED + JUDGED]
            if name in (SHEET, f"{MADE}, standardised"):
                shift = (truths[:, :5] - values[:, :5]).sum(dim=1, keepdim=True) / 6
                rows[f"{name}, shifted by 5 values"] = rows[name] + shift
        known = views["standardised"]
        for count in LABELS:
            rows[f"ridge on {count} values"] = by_ridge(
                known[:, :count], truths[:, :count], known[:, LABELLED : LABELLED + JUDGED]
            )
        parts.append({name: (value - judged).square().mean(dim=1) for name, value in rows.items()})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def kept(model: SensorModel, seed: int, values: int, count: int) -> dict[str, Tensor]:
    """Squared errors ``[count, Q]`` of local-only, of what is delivered, and of what is kept.

    Args:
        values: Laboratory values of a plant.
        count: Units, none of which has been seen.
    """
    generator = torch.Generator().manual_seed(seed)
    shop, unit = PROCESS_SIMULATORS[model.unit.name](seed + 203), model.unit
    units = shop.units(count)
    windows = shop.windows(units, torch.zeros(values + JUDGED + RECORDS, dtype=torch.long))
    readings = unit.readings(windows.values, units.figures)
    truths = unit.scores(windows.truths, units.figures)
    shares = torch.full((count, RECORDS), 1 / RECORDS)
    records = readings[:, values + JUDGED :]
    views = Moments.of(records, shares).views(readings[:, : values + JUDGED], unit.plain_count)
    released, _ = release(model, records, shares, generator)
    networks = model.made_for("standardised")
    made = networks.networks(networks.condition(units.figures, released))
    delivered = run(Weights(*made), views["standardised"]).double().numpy()
    features, answers = (part.double().numpy() for part in (views["standardised"], truths))
    errors: dict[str, list[float]] = {"local-only": [], "delivered": [], "kept": []}
    recordings = np.arange(values)  # Windows are drawn one by one
    for row, place in itertools.product(range(count), range(len(unit.quantities))):
        known, new = answers[row, :values, place], answers[row, values : values + JUDGED, place]
        model_of_plant = numbers.fit(features[row, :values], known, recordings)
        local = model_of_plant.predict(features[row, values:]) - new
        of_delivered = delivered[row, :, place] - answers[row, : values + JUDGED, place]
        stays = numbers.keeps_delivered(
            of_delivered[:values], model_of_plant.out_of_fold - known, recordings
        )
        errors["local-only"].append(float(np.square(local).mean()))
        errors["delivered"].append(float(np.square(of_delivered[values:]).mean()))
        errors["kept"].append(errors["delivered" if stays else "local-only"][-1])
    return {name: torch.tensor(part).reshape(count, -1) for name, part in errors.items()}


def kept_table(model: SensorModel, seed: int) -> Iterator[str]:
    """Error variances with laboratory values, and what is kept over the better of both."""
    yield f"\n{model.unit.name}, kept by a plant's values, error in %\n"
    yield "| quantity, values | local-only | delivered | kept | variance over the better |"
    yield "|---|---|---|---|---|"
    for values, count in KEPT.items():
        rows = kept(model, seed, values, count)
        for place, quantity in enumerate(model.unit.quantities):
            means = {name: float(part[:, place].mean()) for name, part in rows.items()}
            cells = [f"{100 * math.sqrt(mean) / quantity.scale:.2f}" for mean in means.values()]
            better = min(("local-only", "delivered"), key=means.__getitem__)
            over, error = ratio(rows["kept"][:, place], rows[better][:, place])
            cells.append(f"{over:.2f} ± {error:.2f}")
            yield f"| {quantity.name}, {values} | " + " | ".join(cells) + " |"


def conditions(model: SensorModel, seed: int) -> dict[str, Rows]:
    """Shares right of every method at units never seen, by the mixture of their records."""
    generator = torch.Generator().manual_seed(seed)
    shop, unit = PROCESS_SIMULATORS[model.unit.name](seed + 102), model.unit
    kinds = len(unit.conditions)
    units = shop.units(UNITS)
    truths = torch.arange(kinds).repeat_interleave(JUDGED // kinds)
    mixtures = {
        "nine in ten sound": (
            RECORDS * SOUND,
            *[RECORDS * (1 - SOUND) / (kinds - 1)] * (kinds - 1),
        ),
        "even": (RECORDS / kinds,) * kinds,
    }
    results = {}
    for name, counts in mixtures.items():
        of_records = torch.cat(
            [torch.full((round(count),), place) for place, count in enumerate(counts)]
        )
        windows = shop.windows(units, torch.cat([truths, of_records]))
        readings = unit.readings(windows.values, units.figures)
        records = readings[:, len(truths) :]
        shares = torch.full(records.shape[:2], 1 / records.shape[1])
        views = Moments.of(records, shares).views(readings[:, : len(truths)], unit.plain_count)
        released = release(model, records, shares, generator)
        results[name] = {
            method: (values.argmax(dim=2) == truths).float().mean(dim=1)
            for method, values in outputs(model, views, units.figures, released).items()
        }
    return results


def release(
    model: SensorModel, records: Tensor, shares: Tensor, generator: torch.Generator
) -> tuple[Statistics, Statistics]:
    """Statistics of plants' records, as a release at ``EPSILON`` gives them, and exact."""
    numbers = (shares[..., None] * model.map(records)).sum(dim=1)
    counts = torch.full((len(records),), float(RECORDS))
    noises = torch.tensor(machine_statistic.release_noise(EPSILON)).expand(len(records), 2)
    released = noisy(numbers, counts, noises, generator)
    return released, noisy(numbers, counts, torch.zeros(len(records), 2), generator)


def ratio(errors: Tensor, other: Tensor) -> tuple[float, float]:
    """Ratio of two error variances of paired units ``[m]``, and its standard error."""
    value = float(errors.mean() / other.mean())
    residual = errors - value * other
    return value, float(residual.std() / other.mean() / math.sqrt(len(errors)))


def quantity_table(model: SensorModel, rows: Rows) -> Iterator[str]:
    """Root of the mean squared error of every method, R², and what it has over the best one."""
    best = f"{MADE}, standardised"
    best = min((f"{MADE}, {name}" for name in TREATMENTS), key=lambda name: rows[name].mean())
    for place, quantity in enumerate(model.unit.quantities):
        spread = rows["the unit's own mean"][:, place].mean()
        yield f"\n{model.unit.name}, {quantity.name} (variance ratio: {best} over the method)\n"
        yield "| method | error, % | R² within units | ratio |"
        yield "|---|---|---|---|"
        for name, errors in rows.items():
            error = 100 * math.sqrt(float(errors[:, place].mean())) / quantity.scale
            gain, deviation = ratio(rows[best][:, place], errors[:, place])
            within = 1 - float(errors[:, place].mean() / spread)
            yield f"| {name} | {error:.2f} | {within:.3f} | {gain:.2f} ± {deviation:.2f} |"


def condition_table(model: SensorModel, by_mixture: dict[str, Rows]) -> Iterator[str]:
    """Shares right, and how far the better network for a condition is from each method."""
    yield f"\n{model.unit.name}, conditions\n"
    yield "| method | " + " | ".join(f"{name} | made minus it" for name in by_mixture) + " |"
    yield "|---" * (1 + 2 * len(by_mixture)) + "|"
    best = max(
        (f"{MADE}, {name}" for name in TREATMENTS),
        key=lambda name: sum(float(rows[name].mean()) for rows in by_mixture.values()),
    )
    for name in next(iter(by_mixture.values())):
        cells = [name]
        for rows in by_mixture.values():
            pairs = 100 * (rows[best] - rows[name])
            cells.append(f"{float(rows[name].mean()):.3f}")
            cells.append(f"{float(pairs.mean()):+.1f} ± {float(pairs.std()) / UNITS**0.5:.1f}")
        yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=list(PROCESS_SIMULATORS), action="append")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for kind in options.kind or PROCESS_SIMULATORS:
        objective = SensorObjective(kind, Sizes(), options.seed, options.faults)
        state = training.train(
            objective, Schedule(steps=options.steps), lambda *words: print(*words, flush=True)
        )
        model = objective.model
        lines.append(f"\nSeed {options.seed}, {kind}: {state.steps} steps, {state.seconds:.0f} s.")
        with torch.inference_mode():
            lines += (
                condition_table(model, conditions(model, options.seed))
                if options.faults
                else itertools.chain(
                    quantity_table(model, quantities(model, options.seed)),
                    kept_table(model, options.seed),
                )
            )
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
