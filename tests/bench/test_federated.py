"""DP-SGD of the federated rival is Opacus'."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from bench import federated
from bench.federated import Training
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer


def test_a_step_of_dp_sgd_is_that_of_opacus() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 7)), rng.integers(0, 4, 30)
    start = [rng.normal(size=(4, 7)), rng.normal(size=4)]
    layer = torch.nn.Linear(7, 4, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), start, strict=True):
            parameter.copy_(torch.from_numpy(value))
    module = GradSampleModule(layer)
    optimiser = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=2.0),
        noise_multiplier=0.0,
        max_grad_norm=1.0,
        expected_batch_size=30,
    )
    for _ in range(3):
        optimiser.zero_grad()
        rows = torch.from_numpy(federated.FEATURE_SCALE * x).requires_grad_()
        F.cross_entropy(module(rows), torch.from_numpy(y)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    training = Training(1, 1.0, 1, 3, 2.0, 0)
    ours = federated.train_privately((x, y), start, training, 0.0, rng)
    for parameter, value in zip(layer.parameters(), ours, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-9)
