"""Networks from data sheets, through the plant's own model selection.

``python -m bench.machine_plants --home HOME --datasets DIR``, with a home of windows whose
generator makes networks for machines. Nobody releases statistics. A plant has twenty windows of
each condition, of which n are labelled, from several recordings, which are its privacy units, and
states its machine's data sheet; the delivered model is the server's answer to the sheet, and the
selected model is the one that ``wg-client`` selects. Plants are simulated unseen machines, with
bearings whose recordings have random loudness, and the real bearing of ``cwru_de`` at its four
loads, with each size of damage held out in turn, in three mixtures: even; mostly sound, where only
labelled windows are damaged, and one of each damage; no sound window. The selection of each plant
is also evaluated with another machine's sheet.

The second table has the change from no label to n labels, plant by plant. ``--weights`` prints
another one, with plants' own sheets and with other machines': the selected models by the prior
weight of a delivered network (``wg_client.selection.precedence``).
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from bench.machine_drawing import (
    FURTHER_SOUND,
    MIXTURES,
    SHEETS,
    SIZES,
    Ints,
    MachinePlant,
    real_plants,
    simulate_plant,
)
from bench.rows import Row, Rows, evaluate_jobs, split_by_cell, write_table
from bench.tables import Results, markdown
from numpy.typing import NDArray
from torch import Tensor

from wg_client.data.recipient_plant import EncodedRecords
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.methods import registry
from wg_client.methods.base import SHEET_FIT_LIMIT, FittedMethod, PlantRecords, PreparedPackage
from wg_client.methods.method_names import GENERATED, LOCAL_ONLY
from wg_client.methods.package import prepare_package
from wg_client.methods.sheet_fit import measure_sheet_fit
from wg_client.selection import precedence
from wg_client.selection.model_selection import select_model
from wg_common import catalogue
from wg_common.catalogue import InputScaling
from wg_common.inference.family_head import FeatureLayout
from wg_common.machines import bearing
from wg_common.machines.registry import declared_machine_kind
from wg_common.modalities.windows import Windows
from wg_common.nets import network, spectrum_lines
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.weights_package import Candidate
from wg_core.errors import NotAcceptedError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator import versions
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.data_sheet_generation import DataSheetGenerator
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import WindowInputs
from wg_server.generator.weights.machine_statistic import absent_statistics
from wg_server.site.home import ServerHome

MEAN, KEPT = "raw-mean", "kept"
FIXED, TEMPLATE = "fixed", "template"  # By scaling of inputs
VETOED, VETOED_WRONG = "own sheet in doubt", "another's in doubt"
SIMULATED, MOSTLY_SOUND = "simulated", "simulated, 9 in 10 sound"
SAMPLE_TAKEN = "a sample taken"
OWN_SHEET, ANOTHER_SHEET = "own sheet", "another machine's sheet"
POLICY = AcceptanceConfig(standard_errors=Windows().default_standard_errors)
WEIGHTS = {f"{weight:g}": weight for weight in (0.5, 2.0, 8.0)}
DELIVERED = "delivered"
SOURCES = ("kept: delivered", "kept: trained on", "kept: local-only")
LABELS = (0, 2, 5, 20)
OWN_FIT, ANOTHER_FIT = "own sheet's fit", "another's fit"
Generate = Callable[..., tuple[GeneratedCandidate, ...]]
"""Function that makes networks from a data sheet and class names."""


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/machine_plants.jsonl"))
    parser.add_argument("--machines", type=int, default=60)
    parser.add_argument("--draws", type=int, default=3, help="Of windows of the real bearing.")
    parser.add_argument("--mixtures", nargs="+", choices=MIXTURES, default=MIXTURES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kind", choices=tuple(SHEETS), default=bearing.MACHINE_KIND.name)
    parser.add_argument("--weights", action="store_true", help="Of a delivered network's word.")
    parser.add_argument("--vetoes", action="store_true", help="Fits of sheets alone.")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    home = ServerHome(options.home)
    version = versions.installed_version(home)
    work, prefix, lines = _job, "", table
    if options.weights:
        work, prefix, lines = _weights_job, "weights ", weight_table
    if options.vetoes:
        work, prefix, lines = _vetoes_job, "vetoes ", veto_table
    jobs = [
        (
            f"{version.id[:16]} {prefix}{options.kind} {seed} {mixture} {n}",
            mixture,
            n,
            seed,
            options,
        )
        for mixture, n, seed in requested_plants(options)
    ]
    rows = evaluate_jobs(Rows(options.results), work, jobs, options.processes)
    write_table("\n".join(lines(list(split_by_cell(rows)))), options.table)


def requested_plants(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Yield mixture, number and seed of each requested plant whose data are available."""
    for mixture in (SIMULATED,) if options.weights else (SIMULATED, MOSTLY_SOUND):
        yield from ((mixture, number, options.seed) for number in range(options.machines))
    if options.vetoes or options.kind != bearing.MACHINE_KIND.name:
        return
    if not (options.datasets / "cwru_de/data.npz").is_file():
        print("cwru_de: not here, left out")
        return
    for seed in range(options.seed, options.seed + options.draws):
        for number in range(4 * len(SIZES)):
            yield from ((mixture, number, seed) for mixture in options.mixtures)


def _job(job: tuple[str, str, int, int, argparse.Namespace]) -> Row:
    key, mixture, number, seed, options = job
    encoder, generator = _load_home(options.home)
    scores = {}
    for labelled in LABELS[:1] if mixture == MOSTLY_SOUND else LABELS:
        plant = _plant(mixture, number, seed, labelled, options)
        judge = PlantEvaluation(encoder, generator.generate_networks, plant, number)
        delivered = _delivered_accuracies(generator.machine_generators[options.kind].model, plant)
        scores[f"{mixture}, n={labelled}"] = judge.scores(labelled) | delivered
    return {"key": key, "dataset": number + 1000 * seed, "cell": "", "scores": scores}


def _plant(
    mixture: str, number: int, seed: int, labelled: int, options: argparse.Namespace
) -> MachinePlant:
    if mixture in MIXTURES:
        return list(real_plants(options.datasets / "cwru_de/data.npz", seed, mixture, labelled))[
            number
        ]
    return simulate_plant(
        options.kind, number, seed, FURTHER_SOUND if mixture == MOSTLY_SOUND else 0
    )


def _weights_job(job: tuple[str, str, int, int, argparse.Namespace]) -> Row:
    key, mixture, number, seed, options = job
    encoder, generator = _load_home(options.home)
    place, scores = "" if mixture == SIMULATED else f"{mixture}, ", {}
    for labelled in LABELS[1:]:
        plant = _plant(mixture, number, seed, labelled, options)
        judge = PlantEvaluation(encoder, generator.generate_networks, plant, number)
        for words, sheet in ((OWN_SHEET, plant.sheet), (ANOTHER_SHEET, plant.other_sheet)):
            scores[f"{place}{words}, n={labelled}"] = judge.by_weight(sheet, labelled)
    return {"key": key, "dataset": number + 1000 * seed, "cell": "", "scores": scores}


def _vetoes_job(job: tuple[str, str, int, int, argparse.Namespace]) -> Row:
    key, mixture, number, seed, options = job
    _, generator = _load_home(options.home)
    plant = simulate_plant(
        options.kind, number, seed, FURTHER_SOUND if mixture == MOSTLY_SOUND else 0
    )
    scores = {mixture: measure_vetoes(generator.generate_networks, plant)}
    return {"key": key, "dataset": number + 1000 * seed, "cell": "", "scores": scores}


def _load_home(root: Path) -> tuple[bytes, DataSheetGenerator]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(root)
    data = versions.installed_version(home).sheets_path.read_bytes()
    return home.read_encoder(), data_sheet_generation.unpack_sheet_generator(data)


def measure_vetoes(generate: Generate, plant: MachinePlant) -> dict[str, float]:
    """Measure the fit of a plant's own sheet and of another machine's, and if each is refused."""
    found: dict[str, float] = {}
    architecture = catalogue.SPECTRUM_LINES_NETWORK
    batch = network.prepare_batch(architecture, list(plant.own[0]))
    for sheet, fit, vetoed in (
        (plant.sheet, OWN_FIT, VETOED),
        (plant.other_sheet, ANOTHER_FIT, VETOED_WRONG),
    ):
        candidate = generate(sheet, plant.names, samples=0)[-1]  # On inputs as they are read
        trunk = {k: v for k, v in candidate.tensors.items() if k.startswith("trunk.")}
        module = network.load_trunk(architecture, trunk)
        value = measure_sheet_fit(architecture, module, head_from_tensors(candidate.tensors), batch)
        if value is not None:
            found |= {fit: value, vetoed: float(value < SHEET_FIT_LIMIT)}
    return found


@dataclass(frozen=True, slots=True)
class _FittedModel:
    """Method whose model is already fitted."""

    name: str
    title: str
    is_reference: bool
    model: FittedMethod | None

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Return the fitted model, whatever the records and the package."""
        del records, package
        return self.model


class _PlantData(SimpleNamespace):
    """Records of a plant without a home."""

    def __len__(self) -> int:
        return len(self.labels)


class PlantEvaluation:
    """Evaluation of one plant's model selection among the networks for its data sheet.

    Args:
        encoder_package: The encoder.
        generate: Makes candidates from a data sheet, class names and a seed.
        plant: The plant.
        seed: Seed of samples.
    """

    def __init__(
        self,
        encoder_package: bytes,
        generate: Generate,
        plant: MachinePlant,
        seed: int,
    ) -> None:
        self._generate, self._plant, self._seed = generate, plant, seed
        self._encoder = encoder = load_encoder(encoder_package)
        self._encoded: NDArray[np.floating] | None = None
        self._recipient: Any = SimpleNamespace(
            features=EncodedRecords(
                local_features=encoder.encode_local(list(plant.own[0])).astype(np.float32),
                released_width=encoder.dimension,
                scaled_width=encoder.scaled_dimension,
                clip_radius=CLIP_RADIUS,
            ),
            layout=FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes),
            encoder_package=encoder_package,
        )

    def scores(self, labelled: int) -> dict[str, float]:
        """Accuracy by model, and the selected model, with ``labelled`` labels per condition."""
        records, package = self._package(self._plant.sheet, labelled)
        vetoes = {} if labelled else measure_vetoes(self._generate, self._plant)
        try:
            outcome = select_model(records, package, POLICY)
        except NotAcceptedError:
            return vetoes
        heads = {
            name: outcome.models[model].head
            for name, model in ((KEPT, outcome.kept_name), (LOCAL_ONLY, LOCAL_ONLY))
            if model in outcome.models
        }
        right = self._accuracies(records, package, heads)
        source = {LOCAL_ONLY: SOURCES[2], GENERATED: SOURCES[0]}.get(outcome.kept_name, SOURCES[1])
        kept = {name: float(name == source) for name in SOURCES}
        sample = package.candidates[0].name.rpartition("-")[2].isdigit()
        return right | kept | {SAMPLE_TAKEN: float(sample)} | vetoes

    def by_weight(self, sheet: DataSheet, labelled: int) -> dict[str, float]:
        """Accuracy of local-only, of the delivered network, and of the selected model by weight."""
        records, package = self._package(sheet, labelled)
        fits = tuple(
            _FittedModel(
                method.name, method.title, method.is_reference, method.fit(records, package)
            )
            for method in registry.METHODS
        )
        kept = {LOCAL_ONLY: LOCAL_ONLY, DELIVERED: GENERATED}
        for name, weight in WEIGHTS.items():
            with (
                patch.object(registry, "METHODS", fits),
                patch.object(precedence, "HEAD_START_SCORE", weight),
            ):
                kept[name] = select_model(records, package, POLICY).kept_name
        models = {fit.name: fit.model for fit in fits}
        heads = {name: model.head for name, of in kept.items() if (model := models[of])}
        return self._accuracies(records, package, heads)

    def _accuracies(
        self, records: PlantRecords, package: Any, heads: dict[str, LinearHead]
    ) -> dict[str, float]:
        tests = list(self._plant.test[0])
        if self._encoded is None:  # The trunk behind the encoder needs no label
            trunk = records.plant_trunk
            encoder = self._encoder if trunk is None else self._encoder.with_plant_trunk(trunk)
            self._encoded = encoder.encode_local_batched(tests)
        network_features = package.network.module.features(tests)
        features = np.hstack([self._encoded, network_features]).astype(np.float64)
        return {
            name: _mean_recall(
                head.logits(features[:, : head.weight.shape[1]]), self._plant.test[1]
            )
            for name, head in heads.items()
        }

    def _package(self, sheet: DataSheet, labelled: int) -> tuple[PlantRecords, Any]:
        plant, labels = self._plant, np.full(len(self._plant.own[1]), -1)
        for label in range(len(plant.names)):
            labels[np.flatnonzero(plant.own[1] == label)[:labelled]] = label
        self._recipient.data = _PlantData(
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
                architecture=catalogue.SPECTRUM_LINES_NETWORK,
                inputs=candidate.input_scaling,
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
        return prepare_package(self._recipient, manifest, tensors)


def _delivered_accuracies(model: MachineModel, plant: MachinePlant) -> dict[str, float]:
    """Accuracy of delivered networks that receive no condition, and of the mean network.

    Standardised inputs are standardised by the plant's own windows.
    """
    architecture = catalogue.SPECTRUM_LINES_NETWORK
    own, test = (network.prepare_batch(architecture, list(x[0])) for x in (plant.own, plant.test))
    by_treatment: dict[InputScaling, Tensor] = {
        "raw": torch.from_numpy(test),
        "standardised": spectrum_lines.standardise_inputs(
            torch.from_numpy(test),
            torch.from_numpy(own.mean(axis=0)),
            torch.from_numpy(own.std(axis=0)),
        ),
    }
    kind = declared_machine_kind(plant.sheet)
    figures = kind.read_figures(plant.sheet)
    templates, scores = kind.line_templates(figures), {}
    with torch.inference_mode():
        for scaling in INPUT_SCALINGS:
            view = WindowInputs.from_inputs(by_treatment[scaling][None], templates)
            scores[f"{FIXED}, {scaling}"] = model.fixed[scaling](view.inputs)
            scores[f"{TEMPLATE}, {scaling}"] = model.template_network_for(scaling)(1).logits(view)
        networks = model.conditioned_networks_for("raw")
        mean = networks.decode_networks(networks.embed_condition(figures, absent_statistics(1)))
        scores[MEAN] = mean.logits(WindowInputs.from_inputs(by_treatment["raw"][None], templates))
    return {name: _mean_recall(value[0].numpy(), plant.test[1]) for name, value in scores.items()}


def _mean_recall(logits: NDArray[np.floating], truth: Ints) -> float:
    """Mean recall over classes."""
    hits = logits.argmax(axis=1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))


def table(rows: list[Row]) -> Iterator[str]:
    """Tabulate accuracy in each cell, differences over plants, and the effect of labels."""
    results = Results(rows)
    rivals = [f"{name}, {scaling}" for name in (FIXED, TEMPLATE) for scaling in INPUT_SCALINGS]
    methods = (LOCAL_ONLY, *rivals, MEAN, KEPT, *SOURCES, SAMPLE_TAKEN, VETOED, VETOED_WRONG)

    def best(cell: str, name: str) -> str:
        treatments = [f"{name}, {scaling}" for scaling in INPUT_SCALINGS]
        return max(treatments, key=lambda scaling: results.accuracy(cell, scaling)[0])

    yield from markdown(
        (
            "plants",
            "number",
            *methods,
            *(f"{KEPT} minus {name}" for name in (LOCAL_ONLY, f"best {FIXED}", f"best {TEMPLATE}")),
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
                    results.paired_difference(cell, KEPT, rival)
                    for rival in (LOCAL_ONLY, best(cell, FIXED), best(cell, TEMPLATE))
                ),
            )
            for cell in results.cells
        ),
    )
    yield ""
    yield from markdown(
        ("labels", "plants", "kept(n) - kept(0), points", "worst plant", "more than 2 worse, %"),
        _label_effects(rows),
    )


def weight_table(rows: list[Row]) -> Iterator[str]:
    """Tabulate the selected models by weight of a delivered network, and the differences."""
    results, present = Results(rows), f"{precedence.HEAD_START_SCORE:g}"
    others = [name for name in WEIGHTS if name != present]
    yield from markdown(
        (
            "plants",
            "number",
            LOCAL_ONLY,
            DELIVERED,
            *WEIGHTS,
            *(f"{name} minus {present}" for name in others),
            f"{present} minus {LOCAL_ONLY}",
        ),
        (
            (
                cell,
                results.size(cell)[0],
                *(
                    f"{results.accuracy(cell, name)[0]:.3f}"
                    for name in (LOCAL_ONLY, DELIVERED, *WEIGHTS)
                ),
                *(results.paired_difference(cell, name, present) for name in others),
                results.paired_difference(cell, present, LOCAL_ONLY),
            )
            for cell in results.cells
        ),
    )


def veto_table(rows: list[Row]) -> Iterator[str]:
    """Tabulate the fits of true and of wrong sheets, and the number below some limits."""
    lowest = min(row["scores"][OWN_FIT] for row in rows)
    limits = (SHEET_FIT_LIMIT, lowest, 4 / 3 * lowest)
    cells = sorted({row["cell"] for row in rows})
    lines = []
    for cell in cells:
        for fit in (OWN_FIT, ANOTHER_FIT):
            values = np.array([row["scores"][fit] for row in rows if row["cell"] == cell])
            quantiles = [f"{value:+.3f}" for value in np.quantile(values, (0, 0.1, 0.5, 1))]
            refused = [f"{int((values < limit).sum())}" for limit in limits]
            lines.append((cell, fit, str(len(values)), *quantiles, *refused))
    heads = ("least", "tenth", "median", "most", *(f"below {limit:+.3f}" for limit in limits))
    yield from markdown(("plants", "sheet", "number", *heads), lines)


def _label_effects(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    """Tabulate the change in accuracy from no label to n labels, over plants."""
    kept = {
        (row["cell"], row["dataset"]): row["scores"][KEPT] for row in rows if KEPT in row["scores"]
    }
    for mixture in (SIMULATED, *MIXTURES):
        for labelled in LABELS[1:]:
            cell, none = f"{mixture}, n={labelled}", f"{mixture}, n=0"
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
