"""What a plant's labels make of samples beside the mean of the networks for its machine.

``python -m bench.sample_choice --home HOME --kind KIND``, with a home of windows whose generator
makes networks for machines. Plants are those of ``bench.machine_plants``: simulated, twenty windows
of each condition, n of them labelled. Networks are chosen by ``methods.network_choice``, with the
samples and without.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bench.machine_drawing import OWN, SHEETS, MachinePlant, simulated
from bench.tables import markdown

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.methods import network_choice
from wg_client.methods.base import Candidate, LabelledRecords
from wg_common import catalogue
from wg_common.nets import network
from wg_server.generator import versions
from wg_server.generator.weights import sheet_generation
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.site.home import ServerHome

LABELS = (2, 5, OWN)


def chosen(
    plant: MachinePlant, made: Sequence[GeneratedCandidate], labelled: int
) -> tuple[bool, float]:
    """Whether labels choose a sample, and the share right of what they choose."""
    architecture = catalogue.SPECTRUM_LINES
    own, test = (
        network.prepare_batch(architecture, list(part[0])) for part in (plant.own, plant.test)
    )
    labels = np.full(len(own), -1)
    for label in range(len(plant.names)):
        labels[np.flatnonzero(plant.own[1] == label)[:labelled]] = label
    candidates, features = [], []
    for one in made:
        trunk = network.trunk_at(architecture, one.tensors, one.inputs, own)
        module = network.load_trunk(architecture, trunk)
        of_own, of_test = (network.features(module, batch) for batch in (own, test))
        features.append(of_test)
        head = head_from_tensors(one.tensors)
        candidates.append(
            Candidate(
                one.name, one.source, Trunk(of_own.astype(np.float64)), head, inputs=one.inputs
            )
        )
    encoder = Trunk(np.zeros((len(own), 1)))
    records = LabelledRecords(
        all_labels=labels, classes=len(plant.names), public=encoder, units=plant.units
    )
    choice = network_choice.choose(candidates, records, encoder)
    x = np.hstack([np.zeros((len(test), 1)), *(features[number] for number in choice.numbers)])
    right = choice.candidate.head.logits(x).argmax(axis=1) == plant.test[1]
    is_sample = made[choice.numbers[0]].name.rpartition("-")[2].isdigit()
    return is_sample, float(right.mean())


def table(rows: Sequence[dict[str, tuple[bool, float]]]) -> Iterator[str]:
    """How many plants take a sample, and what that changes."""
    lines = []
    for labelled in LABELS:
        taken, right_with = zip(*(row[f"{labelled}"] for row in rows), strict=True)
        right_without = [row[f"{labelled} bare"][1] for row in rows]
        change = 100 * np.subtract(right_with, right_without)
        error = change.std(ddof=1) / len(rows) ** 0.5
        lines.append(
            (
                str(labelled),
                str(len(rows)),
                str(sum(taken)),
                f"{np.mean(right_without):.3f}",
                f"{change.mean():+.1f} ± {error:.1f}",
            )
        )
    heads = ("labels", "plants", "take a sample", "right without samples", "with samples, points")
    yield from markdown(heads, lines)


def main() -> None:
    """Choose at every plant, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--kind", choices=tuple(SHEETS), required=True)
    parser.add_argument("--machines", type=int, default=60)
    parser.add_argument("--seed", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    version = versions.installed_version(ServerHome(options.home))
    generator = sheet_generation.unpack(version.sheets.read_bytes())
    rows = []
    for number in range(options.machines):
        plant = simulated(options.kind, number, options.seed)
        made = generator.generate(plant.sheet, plant.names, seed=number)
        bare = [one for one in made if not one.name.rpartition("-")[2].isdigit()]
        rows.append(
            {f"{n}": chosen(plant, made, n) for n in LABELS}
            | {f"{n} bare": chosen(plant, bare, n) for n in LABELS}
        )
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
