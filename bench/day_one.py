"""Networks for a machine without labels (day one, S0), compared with other uses of its data sheet.

``python -m bench.day_one --datasets DIR`` trains a reading map, the generator and its rivals on the
same simulated machines of a kind, and evaluates them on 100 unseen ones; those for bearings also on
a real one (``cwru_de``). Plants have 300 records and release at epsilon 1.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from bench import real_bearing
from bench.local_only import local_only_logits
from bench.rows import write_table
from torch import Tensor

from wg_common.machines import bearing
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_server.generator.weights import data_sheet_card, machine_test_set, training
from wg_server.generator.weights.data_sheet_card import SHEET_AND_STATISTIC, TEMPLATE, card_row_name
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import NetworkSizes
from wg_server.generator.weights.machine_test_set import MachineTestSet
from wg_server.generator.weights.machine_training import MachineObjective, SimulatedMachineCounts
from wg_server.generator.weights.reading_map_training import ReadingMapObjective
from wg_server.generator.weights.simulators import SIMULATORS
from wg_server.generator.weights.training import TrainingSchedule

EPSILON = 1.0
MAP_STEPS = 800  # As of the zoo's plan
_REFERENCE_ROW = card_row_name(TEMPLATE, "standardised")
Rows = dict[str, Tensor]


def measure_mixture(model: MachineModel, trial: MachineTestSet, mixture: str, seed: int) -> Rows:
    """Measure the accuracy of each method on each machine, at plants of one mixture."""
    rows = data_sheet_card.measure_method_accuracies(model, trial, mixture, EPSILON, seed)
    plants = trial.plants[mixture]
    with torch.inference_mode():
        for count in data_sheet_card.LABEL_COUNTS:
            logits = local_only_logits(trial, plants, count)
            rows[f"local-only on the readings, {count} labels"] = trial.accuracies(logits)
    return rows


def table(by_mixture: dict[str, Rows]) -> Iterator[str]:
    """Tabulate every method at each mixture, with its difference to the template network."""
    mixtures = list(by_mixture)
    yield "| method | " + " | ".join(f"{name} | minus template" for name in mixtures) + " |"
    yield "|---" * (1 + 2 * len(mixtures)) + "|"
    for name in next(iter(by_mixture.values())):
        cells = [name]
        for rows in by_mixture.values():
            gain, error = data_sheet_card.mean_difference_and_error(
                rows[name], rows[_REFERENCE_ROW]
            )
            cells += [f"{float(rows[name].mean()):.3f}", f"{100 * gain:+.1f} ± {100 * error:.1f}"]
        yield "| " + " | ".join(cells) + " |"


def gain_over_fixed(by_mixture: dict[str, Rows]) -> Iterator[str]:
    """Tabulate the gain of networks made for a condition over the best fixed network."""
    for mixture, rows in by_mixture.items():
        fixed = max(
            (card_row_name(data_sheet_card.FIXED_NETWORK, scaling) for scaling in INPUT_SCALINGS),
            key=lambda name: float(rows[name].mean()),
        )
        for scaling in INPUT_SCALINGS:
            gain, error = data_sheet_card.mean_difference_and_error(
                rows[card_row_name(SHEET_AND_STATISTIC, scaling)], rows[fixed]
            )
            yield (
                f"* {mixture}, {scaling}: {100 * gain:+.1f} ± {100 * error:.1f} over the {fixed}"
            )


def real_bearing_tables(
    model: MachineModel, path: Path, reading_map: ReadingMap, seed: int
) -> list[str]:
    """Tabulate results for the real bearing, whose machines are its loads and sizes of damage."""
    trials = list(real_bearing.test_sets(path, reading_map, seed))
    by_mixture = {}
    for mixture in real_bearing.SOUND_SHARES:
        cells = [measure_mixture(model, trial, mixture, seed) for trial in trials]
        # With one machine in a trial another's condition is its own.
        others = (
            data_sheet_card.OTHER_STATISTIC,
            data_sheet_card.OTHER_SHEET,
            data_sheet_card.TEMPLATE_OTHER,
        )
        by_mixture[mixture] = {
            name: torch.cat([cell[name] for cell in cells])
            for name in cells[0]
            if not name.startswith(others)
        }
    return [*table(by_mixture), "", *gain_over_fixed(by_mixture)]


def print_step(step: int, text: str) -> None:
    """Print a step of the training."""
    print(step, text, flush=True)


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--kind", choices=list(SIMULATORS), default=bearing.MACHINE_KIND.name)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed, draws = options.seed, SimulatedMachineCounts()
    map_objective = ReadingMapObjective(options.kind, NetworkSizes(), draws, seed)
    training.train_module(map_objective, TrainingSchedule(steps=MAP_STEPS), print_step)
    reading_map = map_objective.model.map
    objective = MachineObjective(options.kind, reading_map, NetworkSizes(), draws, seed)
    state = training.train_module(objective, TrainingSchedule(steps=options.steps), print_step)
    model = objective.model
    trial = machine_test_set.draw_test_set(
        SIMULATORS[options.kind](seed + 102), reading_map, draws.test
    )
    _, card = data_sheet_card.select_networks(model, trial, seed)
    by_mixture = {mixture: measure_mixture(model, trial, mixture, seed) for mixture in trial.plants}
    lines = [
        f"Seed {seed}, {options.kind}: {MAP_STEPS} steps of the map, {state.steps} of networks,"
        f" {state.seconds:.0f} s. Simulated:",
        "",
        *table(by_mixture),
        "",
        *gain_over_fixed(by_mixture),
        "",
        *(f"* {line.strip()}" for line in data_sheet_card.difference_text_lines(card)),
    ]
    path = options.datasets / "cwru_de/data.npz"
    if options.kind == bearing.MACHINE_KIND.name and path.is_file():
        lines += ["", "Real (`cwru_de`):", "", *real_bearing_tables(model, path, reading_map, seed)]
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
