"""Networks from data sheets, through the plant's own model selection.

``python -m bench.machine_plants --home HOME --datasets DIR``, with a home of windows whose
generator is of the plan ``machines``. Nobody releases anything. A plant has twenty windows of each
condition, of which n are labelled, and states its bearing; what comes is what the server makes of
that, and what is kept is what ``wg-client`` keeps. Plants are simulated machines that no training
saw, and the real bearing of ``cwru_de`` at its four loads, each size of damage held out in turn.
"""

import argparse
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from bench.rows import Row, Rows, by_cell, judged, write_table
from bench.tables import Results, markdown
from numpy.typing import NDArray

from wg_client.data.recipient import Features
from wg_client.methods.names import LOCAL
from wg_client.methods.package import read_package
from wg_client.selection.model_selection import select_model
from wg_common import catalogue
from wg_common.machines import bearing
from wg_common.modalities.windows import Windows
from wg_common.nets import network
from wg_common.nets.encoder.module import load_encoder
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_server.generator import versions
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import sheet_generation
from wg_server.generator.weights.machine_model import MachineModel
from wg_server.generator.weights.machine_networks import View
from wg_server.generator.weights.machine_statistic import no_statistics
from wg_server.site.home import ServerHome

NAMES = ("normal", "ball", "inner", "outer")
FIXED, MEAN, KEPT = "fixed", "raw-mean", "kept"
SOURCES = ("kept: mean", "kept: a sample", "kept: local-only")
OWN, TESTS = 20, 60  # Windows of a condition
LABELS, SIZES = (0, 2, 5, 20), (7, 14, 21)
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MachinePlant:
    """A bearing: what is stated of it, its windows ``[n, 1, T]``, and those it is judged by."""

    names: tuple[str, ...]
    sheet: DataSheet
    own: tuple[NDArray[np.float32], Ints]
    units: tuple[str, ...] | None = None
    test: tuple[NDArray[np.float32], Ints]


def stated(*figures: Decimal) -> DataSheet:
    """A data sheet of these fields, in their order."""
    names = [field.name for field in dataclasses.fields(RotatingMachine)]
    values = dict(zip(names, figures, strict=True))
    machine = RotatingMachine(**values | {"rolling_elements": int(figures[2])})  # type: ignore[arg-type]
    return DataSheet(rotating_machine=machine)


def simulated(number: int, seed: int) -> MachinePlant:
    """A machine that no training saw."""
    workshop = simulation.Workshop(1000 * seed + number)
    machine = workshop.machines(1)
    windows = workshop.windows(machine, OWN + TESTS)[0].numpy()
    own, test = (
        (part.reshape(-1, 1, part.shape[-1]), np.repeat(np.arange(len(NAMES)), part.shape[1]))
        for part in (windows[:, :OWN], windows[:, OWN:])
    )
    *figures, load = machine.figures[0].tolist()
    sheet = stated(*(Decimal(f"{value:.6g}") for value in (*figures, 100 * load)))
    return MachinePlant(names=NAMES, sheet=sheet, own=own, test=test)


def real(path: Path, seed: int) -> Iterator[MachinePlant]:
    """The bearing of ``cwru_de`` (SKF 6205); sound windows are of one load."""
    with np.load(path) as archive:
        data = {name: archive[name] for name in archive.files}
    rng = np.random.default_rng(seed)
    for load, speed in enumerate((1797, 1772, 1750, 1730)):
        for size in SIZES:
            part = rng.integers(0, 2, len(data["x"]))
            held_out = np.where(data["size_mil"] == 0, part == 1, data["size_mil"] == size)
            rows = np.flatnonzero(data["load_hp"] == load)
            kinds, labels = np.unique(data["y_type"][rows], return_inverse=True)
            mixed = rng.permutation(len(rows))
            chosen = np.concatenate(
                [
                    [row for row in mixed if labels[row] == kind and not held_out[rows[row]]][:OWN]
                    for kind in range(len(kinds))
                ]
            )
            tests = np.flatnonzero(held_out[rows])
            windows = data["x"][rows].astype(np.float32)
            figures = speed, 12000, 9, "7.94", "39.04", 0, 50
            sheet = stated(*(Decimal(value) for value in figures))
            yield MachinePlant(
                names=tuple(NAMES[kind] for kind in kinds),
                sheet=sheet,
                own=(windows[chosen], labels[chosen].astype(np.int64)),
                units=tuple(str(group) for group in data["group"][rows][chosen]),
                test=(windows[tests], labels[tests].astype(np.int64)),
            )


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/machine_plants.jsonl"))
    parser.add_argument("--machines", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    version = versions.installed(ServerHome(options.home)).id[:16]
    plants = [("simulated", number) for number in range(options.machines)]
    if (options.datasets / "cwru_de/data.npz").is_file():
        plants += [("real", number) for number in range(4 * len(SIZES))]
    else:
        print("cwru_de: not here, left out")
    jobs = [
        (f"{version} {options.seed} {kind} {number}", kind, number, options)
        for kind, number in plants
    ]
    rows = judged(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(list(by_cell(rows)))), options.table)


def _job(job: tuple[str, str, int, argparse.Namespace]) -> Row:
    key, kind, number, options = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if kind == "real":
        plant = list(real(options.datasets / "cwru_de/data.npz", options.seed))[number]
    else:
        plant = simulated(number, options.seed)
    by_labels = judge(ServerHome(options.home), plant, number)
    scores = {f"{kind}, n={labelled}": each for labelled, each in by_labels.items()}
    return {"key": key, "dataset": number, "cell": "", "scores": scores}


def judge(home: ServerHome, plant: MachinePlant, seed: int) -> dict[int, dict[str, float]]:
    """Share right by model, and which one is kept, by number of labels of a condition."""
    encoder_package = home.read_encoder()
    encoder = load_encoder(encoder_package)
    sheets = sheet_generation.unpack(versions.installed(home).sheets.read_bytes())
    nets = sheets.generate(plant.sheet, plant.names, seed=seed)
    windows, tests = list(plant.own[0]), list(plant.test[0])
    recipient: Any = SimpleNamespace(
        features=Features(
            local=encoder.encode_local(windows).astype(np.float32),
            dimension=encoder.dimension,
            scaled=encoder.scaled_dimension,
            clip_radius=CLIP_RADIUS,
        ),
        encoder_package=encoder_package,
    )
    manifest: Any = SimpleNamespace(
        architecture=catalogue.SPECTRUM_LINES, labels=plant.names, candidates=nets, pool_releases=0
    )
    policy = AcceptanceConfig(standard_errors=Windows().standard_errors)
    encoded, delivered, scores = (
        encoder.encode_batched(tests),
        _delivered(sheets.kinds[bearing.KIND.name].model, plant),
        {},
    )
    for labelled in LABELS:
        labels = np.full(len(windows), -1)
        for label in range(len(plant.names)):
            labels[np.flatnonzero(plant.own[1] == label)[:labelled]] = label
        recipient.data = SimpleNamespace(
            labels=labels, units=plant.units, records=windows, modality=Windows.name
        )
        records, package = read_package(recipient, manifest, {c.name: c.tensors for c in nets})
        outcome = select_model(records, package, policy)
        assert package.network is not None  # noqa: S101 - a package of networks names one
        further = package.network.module.features(tests)
        features = np.hstack([encoded, further]).astype(np.float64)
        kept = outcome.kept
        heads = {
            name: outcome.models[model].head
            for name, model in ((KEPT, kept), (LOCAL, LOCAL))
            if model in outcome.models
        }
        right = {
            name: _balanced(head.logits(features[:, : head.weight.shape[1]]), plant.test[1])
            for name, head in heads.items()
        }
        source = SOURCES[2]
        if kept != LOCAL:
            source = SOURCES[0 if package.candidates[0].name == MEAN else 1]
        scores[labelled] = right | delivered | {name: float(name == source) for name in SOURCES}
    return scores


def _delivered(model: MachineModel, plant: MachinePlant) -> dict[str, float]:
    """Share right of networks as they come: the best that never saw a sheet, and the mean."""
    rows = [NAMES.index(name) for name in plant.names]
    batch = network.prepared(catalogue.SPECTRUM_LINES, list(plant.test[0]))
    inputs, figures = torch.from_numpy(batch)[None], bearing.figures(plant.sheet)
    with torch.inference_mode():
        networks = model.made_for("raw")
        mean = networks.networks(networks.condition(figures, no_statistics(1)))
        logits = {
            FIXED: model.fixed["raw"](inputs),
            MEAN: mean.logits(View.of(inputs, bearing.templates(figures))),
        }
        return {
            name: _balanced(value[0][:, rows].numpy(), plant.test[1])
            for name, value in logits.items()
        }


def _balanced(logits: NDArray[np.floating], truth: Ints) -> float:
    """Mean over classes of the share right."""
    hits = logits.argmax(axis=1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))


def table(rows: list[Row]) -> Iterator[str]:
    """Shares right in each cell, differences over plants, and which models are kept."""
    results = Results(rows)
    methods = (LOCAL, FIXED, MEAN, KEPT, *SOURCES)
    pairs = ((KEPT, LOCAL), (KEPT, FIXED), (KEPT, MEAN))
    yield from markdown(
        ("plants", "number", *methods, *(f"{a} minus {b}" for a, b in pairs)),
        (
            (
                cell,
                results.size(cell)[0],
                *(
                    f"{value:.3f}" if np.isfinite(value := results.accuracy(cell, m)[0]) else "-"
                    for m in methods
                ),
                *(results.paired(cell, *pair) for pair in pairs),
            )
            for cell in results.cells
        ),
    )


if __name__ == "__main__":
    main()
