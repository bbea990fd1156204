"""Linear heads by differentially private gradient descent.

Opacus (Yousefpour et al., *Opacus: User-Friendly Differential Privacy Library in PyTorch*, arXiv
2109.12298) has the gradients of single records and the optimiser around them. Two things differ
from its DP-SGD: each step takes all records, since a plant has hundreds, and the noise is that of
``wg_core.privacy.gradients``, which is exact; Opacus' own is floating point, whose last bits tell
neighbours apart (Mironov, CCS 2012).

*Guarantee.* That of ``gradients.noisy_sum`` for ``STEPS`` steps. Nothing is summed over records but
integers, so that no record changes the rounding of another's gradient.

Not guaranteed: that the head is any good. With few records it is not, and whoever keeps it measures
that on records that stay at the plant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from wg_core.errors import DataError
from wg_core.privacy import exact, gradients
from wg_core.privacy.mechanism import Sampler, opendp_sampler

# Chosen on two sets (steel, boards) of 20 and 60 records a class at epsilon 1, 4 and 8.
STEPS = 80
_LEARNING_RATE = 0.05
_SCALE = 3.0  # Factor on features of norm 1 before training
Head = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weight ``[K, d]`` and bias ``[K]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFeatures:
    """Labelled records of one plant, as a head sees them.

    Attributes:
        features: float32 ``[n, d]`` of a public scale, rows of norm about 1.
        labels: int64 ``[n]``, 0 to K - 1.
        classes: Number K of declared classes.
        units: Privacy unit of each record; None where each record is one.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int
    units: Sequence[str] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.features.ndim != 2 or len(self.features) != n:
            raise DataError(f"features: shape {self.features.shape}, expected {n} rows")
        if n and not 0 <= self.labels.min() <= self.labels.max() < self.classes:
            raise DataError(f"labels: expected 0 to {self.classes - 1}")
        if self.units is not None and len(self.units) != n:
            raise DataError(f"units: {len(self.units)}, expected {n}")

    def unit_rows(self) -> list[NDArray[np.int64]]:
        """Return the row numbers of each privacy unit, in the order of the data."""
        if self.units is None:
            return list(np.arange(len(self.labels))[:, None])
        return exact.unit_rows(self.units)


class RowwiseLinear(nn.Linear):
    """Linear layer in which no row's rounding depends on another row, unlike a matrix product."""

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits ``[n, K]`` of rows ``[n, d]``."""
        return (rows[:, None] * self.weight).sum(dim=2) + self.bias


@register_grad_sampler(RowwiseLinear)  # type: ignore[untyped-decorator]
def _gradient_samples(
    layer: RowwiseLinear, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, Tensor]:
    """Return each row's gradient: outer products, in which nothing is summed."""
    return {
        layer.weight: backprops[:, :, None] * activations[0][:, None],
        layer.bias: backprops,
    }


class DiscreteNoiseOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' optimiser with the noise of ``wg_core.privacy.gradients``."""

    def __init__(
        self,
        inner: torch.optim.Optimizer,
        units: Sequence[NDArray[np.int64]],
        sigma: float,
        sampler: Sampler,
    ) -> None:
        super().__init__(
            inner,
            noise_multiplier=sigma / (1 << gradients.BITS),
            max_grad_norm=gradients.CLIP_RADIUS,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._units, self._sigma, self._sampler = units, sigma, sampler

    def clip_and_accumulate(self) -> None:
        """Do nothing: ``add_noise`` clips, sums and adds noise in one call of the core."""

    def add_noise(self) -> None:
        """Write the noisy sum of clipped gradients into the parameters' gradients."""
        rows = torch.cat([sample.flatten(1) for sample in self.grad_samples], dim=1).numpy()
        noisy = gradients.noisy_sum(rows, self._units, self._sigma, self._sampler)
        sizes = [parameter.numel() for parameter in self.params]
        parts = torch.split(torch.from_numpy(noisy), sizes)
        for parameter, part in zip(self.params, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def private_head(
    records: LabelledFeatures, start: Head | None, sigma: float, sampler: Sampler = opendp_sampler
) -> Head:
    """Train a head by ``STEPS`` private steps, and return the mean of the later half of them.

    To be called once for each charge.

    Args:
        records: Private records.
        start: Head to start from, which may depend on what was released and on nothing else of
            these records; None for zeros.
        sigma: Standard deviation of each step's noise in grid units.
        sampler: Noise source; another one than OpenDP's in tests only.
    """
    x, y = _SCALE * torch.from_numpy(records.features).double(), torch.from_numpy(records.labels)
    head = RowwiseLinear(x.shape[1], records.classes, dtype=torch.float64)
    with torch.no_grad():
        weight, bias = start or (0.0, 0.0)
        head.weight.copy_(torch.as_tensor(weight) / _SCALE)
        head.bias.copy_(torch.as_tensor(bias))
    module = GradSampleModule(head, loss_reduction="sum")
    inner = torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE)
    optimiser = DiscreteNoiseOptimizer(inner, records.unit_rows(), sigma, sampler)
    averages = [torch.zeros_like(parameter) for parameter in head.parameters()]
    later = STEPS // 2
    for step in range(STEPS):
        optimiser.zero_grad()
        # Opacus' hooks want an input with a gradient.
        F.cross_entropy(module(x.requires_grad_()), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step >= STEPS - later:
            for average, parameter in zip(averages, head.parameters(), strict=True):
                average += parameter.detach() / later
    return (averages[0] * _SCALE).float().numpy(), averages[1].float().numpy()
