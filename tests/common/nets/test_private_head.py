"""Private heads: each record's gradient by itself, noise in each step, and a use for it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from opacus import GradSampleModule

from wg_common.nets import private_head
from wg_common.nets.private_head import RowwiseLinear
from wg_core.errors import DataError
from wg_core.privacy import calibration
from wg_core.privacy.exact_statistics import Integers
from wg_core.privacy.gradients import DEFAULT_STEPS, ChargedGradientSums, LabelledFeatures
from wg_core.privacy.schema import GRID_BITS

CLASSES, WIDTH = 4, 16


def records(count: int, seed: int = 0) -> LabelledFeatures:
    rng = np.random.default_rng(seed)
    centres = np.eye(CLASSES, WIDTH)
    labels = np.arange(count) % CLASSES
    features = 0.7 * centres[labels] + 0.05 * rng.normal(size=(count, WIDTH))
    return LabelledFeatures(
        features=features.astype(np.float32), labels=labels, class_count=CLASSES
    )


def gradient_rows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    head = RowwiseLinear(x.shape[1], CLASSES, dtype=torch.float64)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    module = GradSampleModule(head, loss_reduction="sum")
    F.cross_entropy(module(x.clone().requires_grad_()), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    samples: list[torch.Tensor] = [vars(p)["grad_sample"] for p in head.parameters()]
    return torch.cat([sample.flatten(1) for sample in samples], dim=1)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 300])
def test_a_record_has_the_same_gradient_whatever_stands_beside_it(count: int) -> None:
    rng = np.random.default_rng(count)
    x = torch.from_numpy(rng.normal(size=(count, WIDTH)))
    y = torch.from_numpy(rng.integers(0, CLASSES, count))
    together = gradient_rows(x, y)
    order = torch.from_numpy(rng.permutation(count))
    assert torch.equal(gradient_rows(x[order], y[order]), together[order])
    for row in rng.choice(count, min(count, 5), replace=False):
        assert torch.equal(gradient_rows(x[row : row + 1], y[row : row + 1])[0], together[row])


def test_gradients_are_those_of_an_ordinary_layer() -> None:
    x, y = torch.randn(5, WIDTH, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    layer = torch.nn.Linear(WIDTH, CLASSES, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    for row in range(5):
        layer.zero_grad()
        F.cross_entropy(layer(x[row : row + 1]), y[row : row + 1]).backward()  # type: ignore[no-untyped-call]
        flat = torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None])
        assert torch.allclose(gradient_rows(x, y)[row], flat)


def test_every_step_draws_noise_once_at_the_scale_of_the_charge() -> None:
    scales: list[float] = []

    def sampler(total: Integers, sigma: float) -> Integers:
        scales.append(sigma)
        return total

    plant = records(40)
    private_head.train_private_head(
        plant, ChargedGradientSums(plant.rows_by_unit(), 1000.0, 7, sampler)
    )
    assert scales == [1000.0] * 7


def test_a_head_of_many_records_is_right_at_epsilon_four() -> None:
    plant = records(200)
    mu = calibration.largest_mu(4.0, 1e-5)
    sigma = DEFAULT_STEPS**0.5 * (1 << GRID_BITS) / mu
    charged = ChargedGradientSums(plant.rows_by_unit(), sigma, DEFAULT_STEPS)
    weight, bias = private_head.train_private_head(plant, charged)
    judged = records(200, seed=1)
    right = (judged.features @ weight.T + bias).argmax(axis=1) == judged.labels
    assert right.mean() > 0.9


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="labels: expected 0 to 1"):
        LabelledFeatures(features=np.zeros((1, 2), np.float32), labels=np.array([2]), class_count=2)
    with pytest.raises(DataError, match="expected 2 rows"):
        LabelledFeatures(
            features=np.zeros((1, 2), np.float32), labels=np.zeros(2, int), class_count=2
        )
