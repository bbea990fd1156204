"""Test of a plant's data sheet against its records; needs no label.

A network for a declared machine distinguishes records by spectrum lines at the frequencies that the
sheet implies. If it reads the spectrum at the lines' frequencies for another speed, it should
distinguish less. Let ``I`` be the mutual information between records and answers
(``network_choice.mutual_information``), and ``J`` its mean over several other speeds::

    fit = INFORMATION_SHARE * I - J    (nats)

A fit below ``base.SHEET_FIT_LIMIT`` means that the network does not use the declared lines: the
sheet is in doubt, and the plant is warned. The limit is a third below the lowest fit of 96 correct
sheets of simulated bearings; 5 of 48 correct sheets of a real bearing are below it. Another
machine's sheet is in doubt at three of ten simulated plants with balanced conditions, and at none
where nine in ten records are healthy, since healthy machines hardly show lines. Other kinds of
machine get no result: the limit was not measured on them. ``bench.machine_plants`` counts both
rates.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import DeliveredCandidate
from wg_client.methods.network_choice import mutual_information
from wg_common.nets import network

INFORMATION_SHARE = 0.5
TESTED_MACHINE_KINDS = ("rotating_machine",)  # Machine kinds on which the limit was selected
FEWEST_RECORDS = 20  # Fewest records with which a fit is measured
SAMPLE_RECORDS = 300  # Most records that are used, evenly spaced: more change nothing
SPEED_FACTORS = (0.7, 0.8, 0.9, 1.12, 1.25, 1.4)
"""Factors on the frequencies of lines; those of real machines deviate by a few per cent."""


def measure_sheet_fit(
    architecture: str, trunk: nn.Module, head: LinearHead, inputs: NDArray[np.float32]
) -> float | None:
    """Return how well the lines of a data sheet fit a plant's records, nats; higher is better.

    Args:
        architecture: Architecture of the network for the sheet, on raw inputs.
        trunk: Trunk of the network, in evaluation mode.
        head: Head of the network.
        inputs: Inputs of all of the plant's records, as the architecture prepares them.

    Returns:
        None if there are too few records, or the architecture does not use spectrum lines.
    """
    at_speed = network.network_kind(architecture).rescale_to_speed
    if at_speed is None or len(inputs) < FEWEST_RECORDS:
        return None
    rows = np.linspace(0, len(inputs) - 1, min(len(inputs), SAMPLE_RECORDS)).round().astype(np.intp)
    sample = inputs[rows]

    def information_of(rescaled: NDArray[np.float32]) -> float:
        features = network.compute_trunk_features(trunk, rescaled).astype(np.float64)
        return mutual_information(DeliveredCandidate("", "", TrunkFeatures(features), head))

    at_other_speeds = np.mean(
        [information_of(at_speed(sample, factor)) for factor in SPEED_FACTORS]
    )
    return float(INFORMATION_SHARE * information_of(sample) - at_other_speeds)
