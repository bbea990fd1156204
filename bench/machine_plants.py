"""Networks from data sheets, through the plant's own model selection.

``python -m bench.machine_plants --home HOME --datasets DIR``, with a home of windows whose
generator makes networks for machines. Nobody releases anything. A plant has twenty windows of each
condition, of which n are labelled, from several recordings, which are its privacy units, and states
its bearing; what comes is what the server makes of that, and what is kept is what ``wg-client``
keeps. Plants are simulated machines that no training saw, each recording as loud as it comes, and
the real bearing of ``cwru_de`` at its four loads, each size of damage held out in turn, in three
mixtures: even; mostly sound, where only labelled windows are damaged, and one of each damage; no
sound window. Each plant is also asked what it would do with the sheet of another machine.

The second table has what n labels change of what no label kept, plant by plant.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator
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
from torch import Tensor

from wg_client.data.recipient import Features
from wg_client.methods.base import SHEET_LIMIT, LabelledRecords
from wg_client.methods.names import GENERATED, LOCAL
from wg_client.methods.package import read_package
from wg_client.selection.model_selection import select_model
from wg_common import catalogue
from wg_common.catalogue import Inputs
from wg_common.machines import bearing
from wg_common.modalities.windows import Windows
from wg_common.nets import network, spectrum_lines
from wg_common.nets.encoder.module import load_encoder
from wg_common.weights_package import Candidate
from wg_core.errors import NotAcceptedError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_server.generator import versions
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import sheet_generation
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.machine_model import TREATMENTS, MachineModel
from wg_server.generator.weights.machine_networks import View
from wg_server.generator.weights.machine_statistic import no_statistics
from wg_server.site.home import ServerHome

NAMES = ("normal", "ball", "inner", "outer")
MEAN, KEPT = "raw-mean", "kept"
FIXED, TEMPLATE = "fixed", "template"  # By treatment of inputs
VETOED, VETOED_WRONG = "own sheet vetoed", "another's vetoed"
MOSTLY_SOUND = "simulated, 9 in 10 sound"
SOURCES = ("kept: delivered", "kept: trained on", "kept: local-only")
OWN, TESTS, SOUND = 20, 60, 520  # Windows of a condition; further sound ones where most are
RECORDING, LOUDNESS = 4, 4.0  # Windows of a simulated one; spread of its damage's loudness, dB
LABELS, SIZES = (0, 2, 5, 20), (7, 14, 21)
EVEN, MOSTLY_SOUND_REAL, NO_SOUND = "real, even", "real, mostly sound", "real, no sound window"
MIXTURES = (EVEN, MOSTLY_SOUND_REAL, NO_SOUND)
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MachinePlant:
    """A bearing, its sheet and windows ``[n, 1, T]``.

    Attributes:
        names: Classes.
        sheet: What is stated of it.
        own: Windows and labels of the plant.
        units: Recording of each.
        test: Windows and labels that it is judged by.
        another: Sheet of another machine.
    """

    names: tuple[str, ...]
    sheet: DataSheet
    own: tuple[NDArray[np.float32], Ints]
    units: tuple[str, ...]
    test: tuple[NDArray[np.float32], Ints]
    another: DataSheet


def stated(*figures: Decimal) -> DataSheet:
    """A data sheet of these fields, in their order."""
    names = [field.name for field in dataclasses.fields(RotatingMachine)]
    values = dict(zip(names, figures, strict=True))
    machine = RotatingMachine(**values | {"rolling_elements": int(figures[2])})  # type: ignore[arg-type]
    return DataSheet(rotating_machine=machine)


def simulated(number: int, seed: int, further_sound: int = 0) -> MachinePlant:
    """A machine that no training saw, in recordings of which each is as loud as it comes.

    Args:
        number: Of the machine.
        seed: Of all machines.
        further_sound: Sound windows beyond ``OWN``, which are never labelled.
    """
    workshop = simulation.Workshop(1000 * seed + number)
    machine = workshop.machines(1)
    draws = torch.Generator().manual_seed(number)
    recordings = []
    for _ in range((OWN + TESTS) // RECORDING):
        loudness = LOUDNESS * torch.randn(machine.severity.shape, generator=draws)
        louder = dataclasses.replace(machine, severity=machine.severity + loudness)
        recordings.append(workshop.windows(louder, RECORDING)[0])
    windows = torch.cat(recordings, dim=1).numpy()
    own, test = (
        (part.reshape(-1, 1, part.shape[-1]), np.repeat(np.arange(len(NAMES)), part.shape[1]))
        for part in (windows[:, :OWN], windows[:, OWN:])
    )
    units = tuple(f"{label} {row % OWN // RECORDING}" for row, label in enumerate(own[1]))
    mixed = np.random.default_rng(number).permutation(len(units))
    sound = own[0][:0]
    if further_sound:
        sound = workshop.windows(machine, further_sound)[0, 0, :, None].numpy()
    return MachinePlant(
        names=NAMES,
        sheet=_sheet_of(machine),
        own=(
            np.concatenate([own[0][mixed], sound]),
            np.concatenate([own[1][mixed], np.zeros(further_sound, dtype=np.int64)]),
        ),
        units=(*(units[row] for row in mixed), *(f"sound {n}" for n in range(further_sound))),
        test=test,
        another=_sheet_of(workshop.machines(1)),
    )


def _sheet_of(machine: simulation.Machines) -> DataSheet:
    *figures, load = machine.figures[0].tolist()
    return stated(*(Decimal(f"{value:.6g}") for value in (*figures, 100 * load)))


def real(path: Path, seed: int, mixture: str, labelled: int) -> Iterator[MachinePlant]:
    """The bearing of ``cwru_de`` (SKF 6205), at each load and with each size of damage held out.

    One recording is of a sound machine: its first half is each plant's, its second judges.

    Args:
        path: The data set's file.
        seed: Seed of the windows that a plant has.
        mixture: One of ``MIXTURES``.
        labelled: Number of labelled windows of a damage.
    """
    with np.load(path) as archive:
        data = {name: archive[name] for name in archive.files}
    kinds, rng = data["y_type"], np.random.default_rng(seed)
    sound = np.flatnonzero(kinds == 0)
    early, late = np.array_split(sound, 2)
    for load, speed in enumerate((1797, 1772, 1750, 1730)):
        for size in SIZES:
            at_load = (kinds > 0) & (data["load_hp"] == load)
            mixed = rng.permutation(np.flatnonzero(at_load & (data["size_mil"] != size)))
            of_damage = max(labelled, 1) if mixture == MOSTLY_SOUND_REAL else OWN
            parts = [mixed[kinds[mixed] == kind][:of_damage] for kind in range(1, len(NAMES))]
            own_sound = {NO_SOUND: 0, EVEN: OWN}.get(mixture, len(early))
            chosen = np.concatenate([rng.permutation(early)[:own_sound], *parts])
            tests = np.concatenate([np.flatnonzero(at_load & (data["size_mil"] == size)), late])
            windows = data["x"].astype(np.float32)
            figures = speed, 12000, 9, "7.94", "39.04", 0, 50
            yield MachinePlant(
                names=NAMES,
                sheet=stated(*(Decimal(value) for value in figures)),
                own=(windows[chosen], kinds[chosen].astype(np.int64)),
                units=tuple(str(group) for group in data["group"][chosen]),
                test=(windows[tests], kinds[tests].astype(np.int64)),
                another=_sheet_of(simulation.Workshop(int(rng.integers(1 << 31))).machines(1)),
            )


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/machine_plants.jsonl"))
    parser.add_argument("--machines", type=int, default=60)
    parser.add_argument("--draws", type=int, default=3, help="Of windows of the real bearing.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    home = ServerHome(options.home)
    version = versions.installed_version(home)
    jobs = [
        (f"{version.id[:16]} {seed} {kind} {number}", kind, number, seed, options)
        for kind, number, seed in plants(options)
    ]
    rows = judged(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(list(by_cell(rows)))), options.table)


def plants(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Kind, number and seed of each plant that is asked for and whose data are there."""
    for kind in ("simulated", MOSTLY_SOUND):
        yield from ((kind, number, options.seed) for number in range(options.machines))
    if not (options.datasets / "cwru_de/data.npz").is_file():
        print("cwru_de: not here, left out")
        return
    for seed in range(options.seed, options.seed + options.draws):
        for number in range(4 * len(SIZES)):
            yield from ((kind, number, seed) for kind in MIXTURES)


def _job(job: tuple[str, str, int, int, argparse.Namespace]) -> Row:
    key, kind, number, seed, options = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(options.home)
    generator = sheet_generation.unpack(versions.installed_version(home).sheets.read_bytes())
    encoder, scores = home.read_encoder(), {}
    for labelled in LABELS[:1] if kind == MOSTLY_SOUND else LABELS:
        plant = (
            list(real(options.datasets / "cwru_de/data.npz", seed, kind, labelled))[number]
            if kind in MIXTURES
            else simulated(number, seed, SOUND if kind == MOSTLY_SOUND else 0)
        )
        judge = Judge(encoder, generator.generate, plant, number)
        delivered = _delivered(generator.kinds[bearing.KIND.name].model, plant)
        scores[f"{kind}, n={labelled}"] = judge.scores(labelled) | delivered
    return {"key": key, "dataset": number + 1000 * seed, "cell": "", "scores": scores}


class Judge:
    """One plant's own choice among what is made for its sheet.

    Args:
        encoder_package: The encoder.
        generate: Makes candidates of a data sheet, class names and a seed.
        plant: The plant.
        seed: Of samples.
    """

    def __init__(
        self,
        encoder_package: bytes,
        generate: Callable[..., tuple[GeneratedCandidate, ...]],
        plant: MachinePlant,
        seed: int,
    ) -> None:
        self._generate, self._plant, self._seed = generate, plant, seed
        encoder = load_encoder(encoder_package)
        self._encoded = encoder.encode_batched(list(plant.test[0]))
        self._recipient: Any = SimpleNamespace(
            features=Features(
                local=encoder.encode_local(list(plant.own[0])).astype(np.float32),
                dimension=encoder.dimension,
                scaled=encoder.scaled_dimension,
                clip_radius=CLIP_RADIUS,
            ),
            encoder_package=encoder_package,
        )

    def scores(self, labelled: int) -> dict[str, float]:
        """Share right by model, and which one is kept, with so many labels of a condition."""
        plant = self._plant
        records, package = self._package(plant.sheet, labelled)
        policy = AcceptanceConfig(standard_errors=Windows().standard_errors)
        vetoes = {} if labelled else self._vetoes(package)
        try:
            outcome = select_model(records, package, policy)
        except NotAcceptedError:
            return vetoes
        network_features = package.network.module.features(list(self._plant.test[0]))
        features = np.hstack([self._encoded, network_features]).astype(np.float64)
        heads = {
            name: outcome.models[model].head
            for name, model in ((KEPT, outcome.kept), (LOCAL, LOCAL))
            if model in outcome.models
        }
        right = {
            name: _balanced(head.logits(features[:, : head.weight.shape[1]]), plant.test[1])
            for name, head in heads.items()
        }
        source = {LOCAL: SOURCES[2], GENERATED: SOURCES[0]}.get(outcome.kept, SOURCES[1])
        kept = {name: float(name == source) for name in SOURCES}
        return right | kept | vetoes

    def _vetoes(self, package: Any) -> dict[str, float]:
        """Whether records speak against their own sheet, and against another machine's."""
        wrong = self._package(self._plant.another, 0)[1]
        fits = {VETOED: package.sheet_fit, VETOED_WRONG: wrong.sheet_fit}
        return {name: float(fit < SHEET_LIMIT) for name, fit in fits.items() if fit is not None}

    def _package(self, sheet: DataSheet, labelled: int) -> tuple[LabelledRecords, Any]:
        plant, labels = self._plant, np.full(len(self._plant.own[1]), -1)
        for label in range(len(plant.names)):
            labels[np.flatnonzero(plant.own[1] == label)[:labelled]] = label
        self._recipient.data = SimpleNamespace(
            labels=labels,
            label_names=plant.names,
            units=plant.units,
            records=list(plant.own[0]),
            modality=Windows.name,
        )
        made = self._generate(sheet, plant.names, seed=self._seed)
        candidates = tuple(
            Candidate(
                name=candidate.name,
                source=candidate.source,
                architecture=catalogue.SPECTRUM_LINES,
                inputs=candidate.inputs,
            )
            for candidate in made
        )
        manifest: Any = SimpleNamespace(
            labels=plant.names,
            candidates=candidates,
            pool_releases=0,
            condition=SimpleNamespace(data_sheet=sheet.kind),
        )
        tensors = {candidate.name: candidate.tensors for candidate in made}
        return read_package(self._recipient, manifest, tensors)


def _delivered(model: MachineModel, plant: MachinePlant) -> dict[str, float]:
    """Share right of networks as they come: those that see no condition, and the mean.

    Standardised inputs are so by the plant's own windows.
    """
    architecture = catalogue.SPECTRUM_LINES
    own, test = (network.prepared(architecture, list(x[0])) for x in (plant.own, plant.test))
    by_treatment: dict[Inputs, Tensor] = {
        "raw": torch.from_numpy(test),
        "standardised": spectrum_lines.standardised_by(
            torch.from_numpy(test),
            torch.from_numpy(own.mean(axis=0)),
            torch.from_numpy(own.std(axis=0)),
        ),
    }
    rows = [NAMES.index(name) for name in plant.names]
    figures = bearing.figures(plant.sheet)
    templates, scores = bearing.templates(figures), {}
    with torch.inference_mode():
        for treatment in TREATMENTS:
            view = View.of(by_treatment[treatment][None], templates)
            scores[f"{FIXED}, {treatment}"] = model.fixed[treatment](view.inputs)
            scores[f"{TEMPLATE}, {treatment}"] = model.template_for(treatment)(1).logits(view)
        networks = model.made_for("raw")
        mean = networks.networks(networks.condition(figures, no_statistics(1)))
        scores[MEAN] = mean.logits(View.of(by_treatment["raw"][None], templates))
    return {
        name: _balanced(value[0][:, rows].numpy(), plant.test[1]) for name, value in scores.items()
    }


def _balanced(logits: NDArray[np.floating], truth: Ints) -> float:
    """Mean over classes of the share right."""
    hits = logits.argmax(axis=1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))


def table(rows: list[Row]) -> Iterator[str]:
    """Shares right in each cell, differences over plants, and what labels changed."""
    results = Results(rows)
    rivals = [f"{name}, {treatment}" for name in (FIXED, TEMPLATE) for treatment in TREATMENTS]
    methods = (LOCAL, *rivals, MEAN, KEPT, *SOURCES, VETOED, VETOED_WRONG)

    def best(cell: str, name: str) -> str:
        treatments = [f"{name}, {treatment}" for treatment in TREATMENTS]
        return max(treatments, key=lambda treatment: results.accuracy(cell, treatment)[0])

    yield from markdown(
        (
            "plants",
            "number",
            *methods,
            *(f"{KEPT} minus {name}" for name in (LOCAL, f"best {FIXED}", f"best {TEMPLATE}")),
        ),
        (
            (
                cell,
                results.size(cell)[0],
                *(
                    f"{value:.3f}" if np.isfinite(value := results.accuracy(cell, m)[0]) else "-"
                    for m in methods
                ),
                *(
                    results.paired(cell, KEPT, rival)
                    for rival in (LOCAL, best(cell, FIXED), best(cell, TEMPLATE))
                ),
            )
            for cell in results.cells
        ),
    )
    yield ""
    yield from markdown(
        ("labels", "plants", "kept(n) - kept(0), points", "worst plant", "more than 2 worse, %"),
        _changes(rows),
    )


def _changes(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    """What labels changed of what no label kept, over plants."""
    kept = {
        (row["cell"], row["dataset"]): row["scores"][KEPT] for row in rows if KEPT in row["scores"]
    }
    for kind in ("simulated", *MIXTURES):
        for labelled in LABELS[1:]:
            cell, none = f"{kind}, n={labelled}", f"{kind}, n=0"
            plants = [number for name, number in kept if name == cell and (none, number) in kept]
            if len(plants) < 2:
                continue
            change = 100 * np.array([kept[cell, n] - kept[none, n] for n in plants])
            error = change.std(ddof=1) / len(change) ** 0.5
            yield (
                cell,
                str(len(change)),
                f"{change.mean():+.1f} ± {error:.1f}",
                f"{change.min():+.1f}",
                f"{100 * np.mean(change < -2):.0f}",
            )


if __name__ == "__main__":
    main()
