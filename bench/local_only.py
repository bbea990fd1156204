"""What a plant makes alone of a few labels at the lines of its sheet, for ``bench.day_one``."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from wg_server.generator.weights.machine_trial import MachineTestSet, SimulatedTestPlants

_PENALTY = 0.03  # Of logistic regression; .003 and .3 were no better on other machines


def local_only(trial: MachineTestSet, plants: SimulatedTestPlants, count: int) -> Tensor:
    """Logits of logistic regression at each machine, ``[m, n, K]``.

    Args:
        count: Labelled windows of a condition that it learns from.
    """
    conditions = trial.labelled.shape[1]

    def read(inputs: Tensor) -> Tensor:
        return plants.view_inputs(inputs, "standardised", trial.templates).readings

    judged = read(trial.judged_inputs).numpy()
    labelled = read(trial.labelled[:, :, :count].flatten(1, 2)).numpy()
    truths = np.repeat(np.arange(conditions), count)
    logits = [
        LogisticRegression(C=_PENALTY, max_iter=300).fit(known, truths).predict_log_proba(new)
        for known, new in zip(labelled, judged, strict=True)
    ]
    return torch.from_numpy(np.stack(logits))
