"""Baselines that the generator is compared with: what the server knows of a plant in, a head out.

A baseline sees what the generator sees and returns rows and biases of ``features - centre``, where
``centre`` is the mean that BLUP predicts for the site. None of them is trained on the site.
"""

from wg_server.generator.baselines.meta import Metric
from wg_server.generator.baselines.registry import BASELINES, Trained, train_baselines
from wg_server.generator.baselines.untrained import Baseline, Context, Floats, Head

__all__ = [
    "BASELINES",
    "Baseline",
    "Context",
    "Floats",
    "Head",
    "Metric",
    "Trained",
    "train_baselines",
]
