"""Accuracy of one network for all bearings, which a plant could use without weightgate.

The model card says whether a statistic of the plant's records would change a generated network.
"""

from pathlib import Path

import numpy as np
import torch

from demo.evaluation import CorrectMask
from demo.plants import Plant
from wg_common.machines import bearing
from wg_common.nets import spectrum_lines
from wg_server.campaigns import expected_benefit
from wg_server.generator import versions
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.machine_model import INPUT_SCALINGS
from wg_server.site.home import ServerHome


def fixed_network_answers(server: Path, plant: Plant) -> CorrectMask:
    """Return a mask ``[n]`` of test records that a network without data sheet labels correctly.

    There are two such networks, on raw inputs and on inputs standardised by the plant's records.
    The mask is of the network that is more often right.

    Args:
        server: Home of the server that made networks for the plant.
        plant: Plant with a bearing.
    """
    packed = versions.installed_version(ServerHome(server)).sheets_path.read_bytes()
    (generator,) = data_sheet_generation.unpack_sheet_generator(packed).machine_generators.values()
    torch.set_num_threads(1)
    with np.load(plant.data_file) as own, np.load(plant.test_file) as test, torch.inference_mode():
        known, inputs = (
            spectrum_lines.piece_inputs(torch.from_numpy(part["x"][:, 0])) for part in (own, test)
        )
        right: list[CorrectMask] = []
        for scaling in INPUT_SCALINGS:
            read = inputs
            if scaling == "standardised":
                read = spectrum_lines.standardise_inputs(
                    inputs, known.mean(dim=0), known.std(dim=0)
                )
            answers = generator.model.fixed[scaling](read[None])[0].argmax(dim=1).numpy()
            right.append(answers == test["y"])
    return max(right, key=lambda part: float(part.mean()))


def takes_statistic(server: Path) -> bool:
    """Return whether, by its model card, a server uses a statistic for bearings' networks."""
    card = versions.installed_version(ServerHome(server)).card
    return expected_benefit.uses_statistic(card, bearing.MACHINE_KIND.name)
