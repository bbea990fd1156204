"""Model that a plant trains alone from few labels and its data sheet, for ``bench.day_one``."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from wg_server.generator.weights.machine_test_set import MachineTestSet, SimulatedTestPlants

_PENALTY = 0.03  # Of logistic regression; .003 and .3 were no better on other machines


def local_only_logits(trial: MachineTestSet, plants: SimulatedTestPlants, count: int) -> Tensor:
    """Compute logits ``[m, n, K]`` of a logistic regression at each machine.

    Args:
        count: Number of labelled windows per condition for its training.
    """
    conditions = trial.labelled_inputs.shape[1]

    def read(inputs: Tensor) -> Tensor:
        return plants.view_inputs(inputs, "standardised", trial.templates).readings

    judged = read(trial.test_inputs).numpy()
    labelled = read(trial.labelled_inputs[:, :, :count].flatten(1, 2)).numpy()
    truths = np.repeat(np.arange(conditions), count)
    logits = [
        LogisticRegression(C=_PENALTY, max_iter=300).fit(known, truths).predict_log_proba(new)
        for known, new in zip(labelled, judged, strict=True)
    ]
    return torch.from_numpy(np.stack(logits))
