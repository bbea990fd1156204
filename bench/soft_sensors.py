"""Soft sensors at unseen process units without laboratory values, compared with all rivals.

``python -m bench.soft_sensors --seed 1`` trains the network that the product contains
(``sensor_network``) and rivals on simulated units of each kind, on the same windows and statistics,
and evaluates them on 100 unseen units. Plants have 300 records without a value, and release at
epsilon 1. Errors are in the logarithm of a quantity, so that units of any size have the same
weight; a row's *ratio* is the error variance of the product's network over the row's, with its
standard error over units (delta method). ``--choose`` prints the table of the models that a plant
with laboratory values selects at other units, on which the rule was chosen.

``python -m bench.soft_sensors --home HOME --seed 1`` evaluates a server's trained home instead, at
120 heat exchangers from the simulator of the demo.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench.rows import write_table
from demo.sensors import measure_soft_sensors
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from wg_client.fitting import sensor_models
from wg_common.machines.process import ProcessUnit
from wg_server.generator.weights import sensor_training, training
from wg_server.generator.weights.machine_networks import initialise_parameters, three_layer_network
from wg_server.generator.weights.machine_statistic import StatisticBatch, absent_statistics
from wg_server.generator.weights.process_simulation import PROCESS_SIMULATORS
from wg_server.generator.weights.sensor_network import SensorModel
from wg_server.generator.weights.sensor_training import (
    PLANT_RECORDS,
    RELEASE_EPSILON,
    TEST_WINDOWS,
    SensorPlants,
)
from wg_server.generator.weights.training import Evaluation, TrainingSchedule

UNITS, WIDTH, EXCHANGERS = 100, 64, 120
LABELLED = 100  # Windows of a unit with a laboratory's value
LABELS = (5, 20, 100)
UNITS_BY_LABELS = {5: 100, 20: 100, 100: 25}
"""Number of units by number of laboratory values each, for the tables of ``--choose``."""
RAW, STANDARDISED = "raw", "standardised"
FIXED, SHEET = "fixed on balances", "sheet as input"
SHIPPED = "delivered: sheet and statistic as inputs, standardised"
MEAN = "the unit's own mean"
Rows = dict[str, Tensor]
"""Scores (scaled estimates) of Q quantities in n windows of m units, ``[m, n, Q]``, or squared
errors on each unit, ``[m, Q]``, by method."""


class Rivals(nn.Module):
    """The product's network and its rivals, trained on the same windows.

    Attributes:
        shipped: Network and reading map of the product.
        rivals: Networks on the sheet's balances, by name and by the scaling of readings.
    """

    def __init__(self, shipped: SensorModel, seed: int) -> None:
        super().__init__()
        unit = shipped.network.unit
        self.unit, self.shipped, self.rivals = unit, shipped, nn.ModuleDict()
        for name, scaling in itertools.product((FIXED, SHEET), (RAW, STANDARDISED)):
            stated = unit.figure_feature_count if name == SHEET else 0
            network = three_layer_network(unit.reading_count + stated, WIDTH, len(unit.quantities))
            self.rivals[f"{name}, {scaling}"] = network
        initialise_parameters(self.rivals, torch.Generator().manual_seed(seed))

    def forward(self, plants: SensorPlants, statistics: StatisticBatch) -> Rows:
        """Return, by method, the scores ``[m, n, Q]`` of n windows of each of m plants."""
        stated = self.unit.figure_features(plants.figures)[:, None]
        rows = {}
        for name, network in self.rivals.items():
            inputs = plants.raw_readings if name.endswith(RAW) else plants.standardised_readings
            if name.startswith(SHEET):
                inputs = torch.cat([inputs, stated.expand(-1, inputs.shape[1], -1)], dim=2)
            rows[name] = network(inputs)
        rows[SHIPPED] = self.shipped.network(
            plants.standardised_readings, plants.figures, statistics
        )
        return rows


class Objective:
    """Training objective of ``Rivals``; the best step is that of the product's network.

    Attributes:
        model: Model to be trained.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self._shipped = sensor_training.SensorObjective(kind, None, 60, seed)
        self.model, self._seed = Rivals(self._shipped.model, seed), seed

    def loss(self, step: int) -> Tensor:
        """Sum of the losses of all methods, which share no parameters."""
        plants, statistics = self._shipped.draw_batch(step)
        rows = self.model(plants, statistics)
        return torch.stack(
            [F.smooth_l1_loss(row, plants.true_scores) for row in rows.values()]
        ).sum()

    def evaluate(self, model: Rivals) -> Evaluation:
        """Return validation loss and R² of the product's network; rivals do not count."""
        return self._shipped.evaluate(model.shipped)


def predict_by_ridge(readings: Tensor, true_quantities: Tensor, test_readings: Tensor) -> Tensor:
    """Predict quantities ``[m, n, Q]`` of windows by a ridge regression at each plant.

    Args:
        readings: Standardised readings of labelled windows, ``[m, k, R]``.
        true_quantities: Quantities of labelled windows, ``[m, k, Q]``.
        test_readings: Readings of the windows to predict, ``[m, n, R]``.
    """
    ridge = RidgeCV(np.geomspace(0.1, 1e4, 11))
    fits = zip(
        readings.double().numpy(),
        true_quantities.double().numpy(),
        test_readings.double(),
        strict=True,
    )
    return torch.from_numpy(
        np.stack([ridge.fit(known, truth).predict(new.numpy()) for known, truth, new in fits])
    ).float()


def unseen_unit_errors(model: Rivals, seed: int) -> Rows:
    """Squared errors of every method on unseen units."""
    generator = torch.Generator().manual_seed(seed)
    plants = sensor_training.draw_sensor_plants(
        PROCESS_SIMULATORS[model.unit.name](seed + 102),
        UNITS,
        LABELLED + TEST_WINDOWS,
        PLANT_RECORDS,
    )
    released = plants.simulate_releases(model.shipped.map, RELEASE_EPSILON, generator)
    exact = plants.simulate_releases(model.shipped.map, 0, generator)
    rows, truths = model(plants, released), plants.true_scores
    network, known = model.shipped.network, plants.standardised_readings
    for name, statistics in (
        ("delivered, another unit's statistic", released.shift_to_next_machine()),
        ("delivered, no statistic", absent_statistics(UNITS)),
        ("delivered, exact statistic", exact),
    ):
        rows[name] = network(known, plants.figures, statistics)
    for name in (f"{SHEET}, {RAW}", SHIPPED):
        shift = (truths[:, :5] - rows[name][:, :5]).sum(dim=1, keepdim=True) / 6
        rows[f"{name}, shifted by 5 values"] = rows[name] + shift
    rows = {name: values[:, LABELLED:] for name, values in rows.items()}
    judged = truths[:, LABELLED:]
    rows[MEAN] = judged.mean(dim=1, keepdim=True).expand_as(judged)
    for count in LABELS:
        rows[f"ridge on {count} values"] = predict_by_ridge(
            known[:, :count], truths[:, :count], known[:, LABELLED:]
        )
    return {name: (value - judged).square().mean(dim=1) for name, value in rows.items()}


def selected_model_errors(model: Rivals, seed: int, values: int, count: int) -> dict[str, Tensor]:
    """Squared errors ``[count, Q]`` of the local-only, the delivered and the selected model.

    Args:
        values: Number of laboratory values of a plant.
        count: Number of units, all unseen.
    """
    generator = torch.Generator().manual_seed(seed)
    simulator = PROCESS_SIMULATORS[model.unit.name](seed + 203)
    plants = sensor_training.draw_sensor_plants(
        simulator, count, values + TEST_WINDOWS, PLANT_RECORDS
    )
    released = plants.simulate_releases(model.shipped.map, RELEASE_EPSILON, generator)
    scores = model.shipped.network(plants.standardised_readings, plants.figures, released)
    errors: dict[str, list[float]] = {"local-only": [], "delivered": [], "kept": []}
    recordings = np.arange(values)  # Windows are drawn one by one
    for row, place in itertools.product(range(count), range(len(model.unit.quantities))):
        features = plants.standardised_readings[row].double().numpy()
        truths, delivered = (
            part[row, :, place].double().numpy() for part in (plants.true_scores, scores)
        )
        average = sensor_models.average_with_delivered(
            features[:values], truths[:values], recordings, delivered[:values]
        )
        predictions = {
            "local-only": average.local_model.predict(features[values:], delivered[values:]),
            "delivered": delivered[values:],
            "kept": average.predict(features[values:], delivered[values:]),
        }
        for name, predicted in predictions.items():
            errors[name].append(float(np.square(predicted - truths[values:]).mean()))
    return {name: torch.tensor(part).reshape(count, -1) for name, part in errors.items()}


def selected_table(model: Rivals, seed: int) -> Iterator[str]:
    """Tabulate errors with laboratory values, and the selected model's variance ratio."""
    unit = model.unit
    yield f"\n{unit.name}, kept by a plant's values, error in %\n"
    last_head = "variance relative to the better of the two"
    yield f"| quantity, values | local-only | delivered | kept | {last_head} |"
    yield "|---|---|---|---|---|"
    for values, count in UNITS_BY_LABELS.items():
        rows = selected_model_errors(model, seed, values, count)
        for place, quantity in enumerate(unit.quantities):
            means = {name: float(part[:, place].mean()) for name, part in rows.items()}
            cells = [
                f"{100 * math.sqrt(mean) / quantity.log_ratio_factor:.2f}"
                for mean in means.values()
            ]
            better = min(("local-only", "delivered"), key=means.__getitem__)
            over, error = variance_ratio(rows["kept"][:, place], rows[better][:, place])
            cells.append(f"{over:.2f} ± {error:.2f}")
            yield f"| {quantity.name}, {values} | " + " | ".join(cells) + " |"


def variance_ratio(errors: Tensor, other: Tensor) -> tuple[float, float]:
    """Ratio of two error variances of paired units ``[m]``, and its standard error."""
    value = float(errors.mean() / other.mean())
    residual = errors - value * other
    return value, float(residual.std() / other.mean() / math.sqrt(len(errors)))


def quantity_table(unit: ProcessUnit, rows: Rows) -> Iterator[str]:
    """Tabulate root mean squared error, R² and *ratio* of every method."""
    for place, quantity in enumerate(unit.quantities):
        spread = rows[MEAN][:, place].mean()
        meaning = "ratio: error variance of the delivered network divided by the method's"
        yield f"\n{unit.name}, {quantity.name} ({meaning})\n"
        yield "| method | error, % | R² within units | ratio |"
        yield "|---|---|---|---|"
        for name, errors in rows.items():
            error = 100 * math.sqrt(float(errors[:, place].mean())) / quantity.log_ratio_factor
            gain, deviation = variance_ratio(rows[SHIPPED][:, place], errors[:, place])
            within = 1 - float(errors[:, place].mean() / spread)
            yield f"| {name} | {error:.2f} | {within:.3f} | {gain:.2f} ± {deviation:.2f} |"


def home_table(home: Path, seed: int) -> Iterator[str]:
    """Tabulate a home's share of hours within 5 % of the true heat duty, by soft sensor."""
    measured = measure_soft_sensors(home, seed, EXCHANGERS)
    yield f"\nSeed {seed}, {measured['count']} exchangers of the demo's simulator.\n"
    yield "| sensor | hours within 5 %, % | own statistic over it, points |"
    yield "|---|---|---|"
    for name, share in measured["share"].items():
        gain = measured["over"].get(name)
        cell = f"{100 * gain['mean']:+.1f} ± {100 * gain['se']:.1f}" if gain else ""
        yield f"| {name.replace('_', ' ')} | {100 * share:.1f} | {cell} |"


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=list(PROCESS_SIMULATORS), action="append")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.home:
        write_table("\n".join(home_table(options.home, options.seed)), options.table)
        return
    lines = []
    for kind in options.kind or PROCESS_SIMULATORS:
        objective = Objective(kind, options.seed)
        state = training.train_module(
            objective,
            TrainingSchedule(steps=options.steps),
            lambda *words: print(*words, flush=True),
        )
        model, seed = objective.model, options.seed
        lines.append(f"\nSeed {seed}, {kind}: {state.steps} steps, {state.seconds:.0f} s.")
        with torch.inference_mode():
            if options.choose:
                lines += selected_table(model, seed + 1000)
                continue
            lines += quantity_table(model.unit, unseen_unit_errors(model, seed))
            lines += selected_table(model, seed)
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
