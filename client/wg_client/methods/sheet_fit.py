"""Whether a plant's records speak against its data sheet; needs no label.

A network for a stated machine tells records apart by lines that stand where the sheet says. Were
the lines moved to where they stand at other speeds, it should tell less. With the mutual
information ``I`` between records and answers (``network_choice.information``), and its mean over
other speeds ``J``::

    fit = SHARE * I - J    (nats)

Where a fit is below ``SHEET_LIMIT``, what the network tells it does not tell by the stated lines:
the sheet is in doubt, and the plant is warned. The limit is a third beyond the lowest fit of 96
true sheets of simulated bearings; of a real one's, 5 of 48 are below it. Another machine's sheet is
in doubt at three plants in ten of simulated ones where their conditions are even, and at none where
nine in ten are sound: sound machines hardly show lines. Nothing is said of other kinds, on which
nobody has measured it. ``bench.machine_plants`` counts both rates.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.base import Candidate
from wg_client.methods.network_choice import information
from wg_common.nets import network

SHARE = 0.5
KINDS = ("rotating_machine",)  # Of machines that the limit was chosen on
FEWEST = 20  # Records below which nothing is said
RECORDS = 300  # That are looked at, evenly drawn: more change nothing
SPEEDS = (0.7, 0.8, 0.9, 1.12, 1.25, 1.4)
"""Factors on the frequencies of lines. Machines run some hundredths beside what is stated."""


def sheet_fit(
    architecture: str, trunk: nn.Module, head: LinearHead, batch: NDArray[np.float32]
) -> float | None:
    """Return the fit of a data sheet and a plant's records, nats.

    Args:
        architecture: Architecture of the network for the sheet, on inputs as they are read.
        trunk: Trunk of the network, at work.
        head: Head of the network.
        batch: All of the plant's records, as the architecture prepares them.

    Returns:
        None where there are too few records, or such a network reads no lines.
    """
    at_speed = network.kind(architecture).at_speed
    if at_speed is None or len(batch) < FEWEST:
        return None
    rows = np.linspace(0, len(batch) - 1, min(len(batch), RECORDS)).round().astype(np.intp)
    sample = batch[rows]

    def information_of(inputs: NDArray[np.float32]) -> float:
        features = network.features(trunk, inputs).astype(np.float64)
        return information(Candidate("", "", Trunk(features), head))

    at_other_speeds = np.mean([information_of(at_speed(sample, factor)) for factor in SPEEDS])
    return float(SHARE * information_of(sample) - at_other_speeds)
