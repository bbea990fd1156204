"""What would take a data sheet without making weights: a part of ``bench.day_one``."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from wg_common.machines.base import MachineKind
from wg_common.nets.encoder.reading_map import reading_count, readings
from wg_server.generator.weights.machine_trial import Plants, Trial

_PENALTY = 0.03  # Of logistic regression; .003 and .3 are no better on other machines


class Analyst(nn.Module):
    """A classifier on what an analyst reads: stated lines, groups of lines, spectrum and peaks."""

    def __init__(self, kind: MachineKind) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(reading_count(kind), 64),
            nn.GELU(),
            nn.Linear(64, 64),
            nn.GELU(),
            nn.Linear(64, len(kind.conditions)),
        )

    def forward(self, inputs: Tensor, templates: Tensor) -> Tensor:
        """Logits ``[m, n, K]`` of inputs ``[m, n, INPUTS]`` at templates of the stated lines."""
        out: Tensor = self.layers(readings(inputs, templates))
        return out


def local_only(trial: Trial, plants: Plants, count: int) -> Tensor:
    """Logits of logistic regression at each machine, ``[m, n, K]``.

    Args:
        count: Labelled windows of a condition that it learns from.
    """
    conditions = trial.labelled.shape[1]

    def read(inputs: Tensor) -> Tensor:
        view = plants.view(inputs, "standardised", trial.templates)
        return readings(view.inputs, trial.templates)

    judged = read(trial.judged_inputs).numpy()
    labelled = read(trial.labelled[:, :, :count].flatten(1, 2)).numpy()
    truths = np.repeat(np.arange(conditions), count)
    logits = [
        LogisticRegression(C=_PENALTY, max_iter=300).fit(known, truths).predict_log_proba(new)
        for known, new in zip(labelled, judged, strict=True)
    ]
    return torch.from_numpy(np.stack(logits))
