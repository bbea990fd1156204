"""Accuracy of soft sensors for exchangers: with their own statistic, another unit's, and none.

A value is right if its relative error is below ``_RELATIVE_TOLERANCE``; the true duty is known to
the simulator, and no instrument shows it. The figures of the demo's plant come from its commands;
those of other exchangers are computed here, with the network that the server uses for all.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demo import exchangers
from demo.evaluation import CorrectMask, standard_error
from demo.exchangers import Exchanger
from demo.plants import SOFT_SENSOR, Plant
from wg_client.methods.method_names import GENERATED
from wg_common.machines import exchanger as kinds
from wg_common.machines import process
from wg_common.nets.encoder import package as encoders
from wg_server.generator import versions
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.machine_statistic import absent_statistics
from wg_server.generator.weights.sensor_training import SensorPlants
from wg_server.site.home import ServerHome

EPSILON = 1.0
QUANTITY, COLUMN = "heat duty", "heat duty [kW]"
_RELATIVE_TOLERANCE = 0.05
_OTHERS, _RECORDS, _JUDGED = 40, 300, 60
Floats = NDArray[np.float64]


def evaluate(
    plant: Plant, own_values: Path, sheet_values: Path, other_exchanger_results: dict[str, Any]
) -> dict[str, Any]:
    """Evaluate a plant's soft sensor; return the plant's entry in the summary.

    Args:
        plant: The plant.
        own_values: File of estimates for its test log, by the soft sensor made with its statistic.
        sheet_values: File of estimates by the soft sensor made from its data sheet alone.
        other_exchanger_results: Results of ``measure`` at other exchangers.
    """
    with np.load(plant.test_file, allow_pickle=False) as archive:
        truths, by_hand = archive["duty"], archive["by_hand"]
    values = {
        "own": _read_estimates(own_values),
        "none": _read_estimates(sheet_values),
        "by_hand": by_hand,
    }
    right = {key: _correct_mask(value, truths) for key, value in values.items()}
    errors = {key: _relative_error(value, truths) for key, value in values.items()}
    return {
        "name": plant.name,
        "story": SOFT_SENSOR,
        "title": plant.records_description,
        "records": plant.record_count,
        "labels_per_class": 0,
        "classes": list(plant.classes),
        "missing_classes": [],
        "test_records": len(truths),
        "pool": 0,
        "condition": {
            "data_sheet": kinds.PROCESS_UNIT.name,
            "statistic": own_values.name,
            "epsilon": "1",
        },
        "told": False,
        "alone": None,
        "unseen": None,
        "best_other": None,
        "instead": float(right["by_hand"].mean()),
        "sheet_alone": float(right["none"].mean()),
        "kept": float(right["own"].mean()),
        "kept_source": GENERATED,
        "gain": _gain(right["own"], right["by_hand"]),
        "over_none": _gain(right["own"], right["none"]),
        "error": errors,
        "others": other_exchanger_results,
        "accuracy": {GENERATED: float(right["own"].mean())},
        "accuracy_se": {
            GENERATED: standard_error(right["own"]),
            "none": standard_error(right["none"]),
        },
    }


def measure_soft_sensors(server: Path, seed: int, count: int = _OTHERS) -> dict[str, Any]:
    """Measure soft sensors at other exchangers: own statistic, another unit's, none, and by hand.

    Returns shares of right values, and gains of the own statistic over the other three.

    Args:
        server: Home of the server that makes soft sensors.
        seed: Seed of the simulated exchangers and of the noise on their statistics.
        count: Number of exchangers.
    """
    torch.set_num_threads(1)
    home = ServerHome(server)
    reading_map = encoders.unpack_encoder(home.read_encoder()).reading_maps[kinds.PROCESS_UNIT.name]
    packed = versions.installed_version(home).sheets_path.read_bytes()
    network = data_sheet_generation.unpack_sheet_generator(packed).sensor_networks[
        kinds.PROCESS_UNIT.name
    ]
    rng = np.random.default_rng(seed)
    drawn = [exchangers.draw_exchanger(rng) for _ in range(count)]
    parts = [exchangers.simulate_records(each, _RECORDS + _JUDGED, rng) for each in drawn]
    plants = _sensor_plants(drawn, np.stack([values for values, _ in parts]))
    truths = np.stack([duty[:_JUDGED] for _, duty in parts])
    own = plants.simulate_releases(reading_map, EPSILON, torch.Generator().manual_seed(seed))
    right = {}
    for key, statistics in (
        ("own", own),
        ("another", own.shift_to_next_machine()),
        ("none", absent_statistics(len(drawn))),
    ):
        with torch.inference_mode():
            scores = network(plants.standardised_readings, plants.figures, statistics)
            values = (
                kinds.PROCESS_UNIT.quantity_scale(plants.figures)
                .value(scores)[..., 0]
                .double()
                .numpy()
            )
        right[key] = _correct_mask(values, truths).mean(axis=1)
    by_hand = [
        exchangers.duty_by_balances(each, values[:_JUDGED])
        for each, (values, _) in zip(drawn, parts, strict=True)
    ]
    right["by_hand"] = _correct_mask(np.stack(by_hand), truths).mean(axis=1)
    return {
        "count": len(drawn),
        "share": {key: float(part.mean()) for key, part in right.items()},
        "over": {key: _gain(right["own"], right[key]) for key in ("none", "another", "by_hand")},
    }


def _sensor_plants(drawn: list[Exchanger], values: Floats) -> SensorPlants:
    """Convert exchangers with their records ``[m, n, channels, samples]`` to network inputs."""
    figures = torch.tensor([[each.sheet[name] for name in kinds.FIGURE_NAMES] for each in drawn])
    readings = kinds.PROCESS_UNIT.unit_readings(torch.from_numpy(values).float(), figures)
    known, records = readings[:, :_JUDGED], readings[:, _JUDGED:]
    return SensorPlants(
        figures, known, process.standardise_readings(known, records), torch.empty(0), records
    )


def _read_estimates(path: Path) -> Floats:
    with path.open(encoding="utf-8", newline="") as stream:
        return np.array([float(row[COLUMN]) for row in csv.DictReader(stream)])


def _correct_mask(values: Floats, true_values: Floats) -> CorrectMask:
    right: CorrectMask = np.abs(values / true_values - 1) < _RELATIVE_TOLERANCE
    return right


def _relative_error(values: Floats, true_values: Floats) -> float:
    return float(np.sqrt(np.mean((values / true_values - 1) ** 2)))


def _gain(own: NDArray[Any], other: NDArray[Any]) -> dict[str, float]:
    difference = own.astype(float) - other
    return {"mean": float(difference.mean()), "se": standard_error(difference)}
