"""The rivals, behind one interface: what the server knows of a plant in, a head out.

A rival sees what the generator sees and returns rows and biases of ``features - centre``, where
``centre`` is the mean that T-BLUP predicts for the site. None of them is trained on the site.
"""

from __future__ import annotations

from wg_server.generator.baselines.context import Context, Floats, Head, Rival
from wg_server.generator.baselines.meta import Metric
from wg_server.generator.baselines.registry import RIVALS, Trained, train_rivals

__all__ = ["RIVALS", "Context", "Floats", "Head", "Metric", "Rival", "Trained", "train_rivals"]
