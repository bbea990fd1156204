"""Real bearing of ``cwru_de`` as plants, with held-out sizes of damage and recordings as units.

SKF 6205 at the drive end, with four loads, each at its own speed, and damages of three sizes in all
conditions. One recording, at no load, is of a sound machine; it provides the sound records at each
load. A plant's records have all sizes but one, and are from the first half of the sound recording;
it is tested on the size left out and on the second half.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wg_common.machines import bearing
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder.reading_map import ReadingMap, window_readings
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_server.generator.weights.machine_test_set import (
    EVEN_MIXTURE,
    LABELLED_WINDOWS,
    MOSTLY_SOUND,
    MachineTestSet,
    SimulatedTestPlants,
)

SPEEDS = (1797, 1772, 1750, 1730)  # Turns a minute, by load
SIZES = (7, 14, 21)  # Thousandths of an inch
NO_SOUND = "no healthy record"
SOUND_SHARES = {MOSTLY_SOUND: 0.9, EVEN_MIXTURE: 0.25, NO_SOUND: 0.0}


def bearing_sheet(speed: int) -> DataSheet:
    """Data sheet of the bearing at a speed in rpm."""
    return DataSheet(
        rotating_machine=RotatingMachine(
            shaft_speed_rpm=Decimal(speed),
            sampling_hz=Decimal(12000),
            rolling_elements=9,
            rolling_element_diameter_mm=Decimal("7.94"),
            pitch_diameter_mm=Decimal("39.04"),
            contact_angle_deg=Decimal(0),
        )
    )


def test_sets(path: Path, reading_map: ReadingMap, seed: int) -> Iterator[MachineTestSet]:
    """Yield a test set for each load and held-out size, with a plant for each mixture."""
    with np.load(path) as archive:
        data = {name: torch.from_numpy(archive[name].astype(np.int64)) for name in _COLUMNS}
        inputs = torch.from_numpy(spectrum_lines.prepare_windows(archive["x"].astype(np.float64)))
    generator = torch.Generator().manual_seed(seed)
    sound = data["y_type"] == 0
    early = sound & (sound.cumsum(dim=0) <= sound.sum() // 2)
    for load, speed in enumerate(SPEEDS):
        at_load = (data["load_hp"] == load) & ~sound
        for size in SIZES:
            held = (at_load & (data["size_mil"] == size)) | (sound & ~early)
            known = (at_load & (data["size_mil"] != size)) | early
            templates = bearing.line_templates(bearing.read_figures(bearing_sheet(speed)))
            records, conditions = inputs[known], data["y_type"][known]
            numbers = reading_map(window_readings(records[None], templates))[0]
            order = torch.randperm(len(records), generator=generator)
            labelled = [order[conditions[order] == label][:LABELLED_WINDOWS] for label in range(4)]
            yield MachineTestSet(
                figures=bearing.read_figures(bearing_sheet(speed)),
                hidden_figures=torch.zeros(1, 0),
                templates=templates,
                test_inputs=inputs[held][None],
                labels=data["y_type"][held],
                window_weights=balanced_weights(data["y_type"][held], data["group"][held]),
                labelled_inputs=torch.stack([records[rows] for rows in labelled])[None],
                plants={
                    mixture: _plant(records, numbers, _record_weights(conditions, share))
                    for mixture, share in SOUND_SHARES.items()
                },
            )


_COLUMNS = ("y_type", "size_mil", "load_hp", "group")


def balanced_weights(labels: Tensor, recordings: Tensor) -> Tensor:
    """Weights ``[n]`` of windows, equal over conditions, and over the recordings of a condition."""
    weights = torch.zeros(len(labels))
    for label in torch.unique(labels):
        groups = torch.unique(recordings[labels == label])
        for group in groups:
            rows = (labels == label) & (recordings == group)
            weights[rows] = 1 / len(torch.unique(labels)) / len(groups) / rows.sum()
    return weights


def _record_weights(conditions: Tensor, sound: float) -> Tensor:
    """Weights ``[n]`` of records: ``sound`` in total for sound ones, equal over damages."""
    damages = [label for label in torch.unique(conditions).tolist() if label]
    weights = torch.zeros(len(conditions))
    for label in (0, *damages):
        rows = conditions == label
        weights[rows] = (sound if label == 0 else (1 - sound) / len(damages)) / rows.sum()
    return weights


def _plant(records: Tensor, numbers: Tensor, shares: Tensor) -> SimulatedTestPlants:
    mean, square = shares @ records, shares @ records.square()
    return SimulatedTestPlants(
        feature_means=(shares @ numbers)[None],
        input_means=mean[None],
        input_spreads=(square - mean.square()).clamp(min=0).sqrt()[None],
    )
