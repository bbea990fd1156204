"""Linear heads by differentially private gradient descent.

Opacus (Yousefpour et al., *Opacus: User-Friendly Differential Privacy Library in PyTorch*, arXiv
2109.12298) has the gradients of single records and the optimiser around them. Two things differ
from its DP-SGD: each step takes all records, since a plant has hundreds, and the noise is that of
``wg_core.privacy.gradients``, which is exact; Opacus' own is floating point, whose last bits tell
neighbours apart (Mironov, CCS 2012).

*Guarantee.* That of ``gradients.ChargedSteps``. Nothing is summed over records but integers, so
that no record changes the rounding of another's gradient.

Not guaranteed: that the head is any good. With few records it is not, and whoever keeps it measures
that on records that stay at the plant.
"""

import torch
import torch.nn.functional as F
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from wg_core.privacy import gradients
from wg_core.privacy.gradients import ChargedSteps, Head, LabelledFeatures

# Chosen with gradients.STEPS, on the same two sets.
_LEARNING_RATE = 0.05
_SCALE = 3.0  # Factor on features of norm 1 before training


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

    def __init__(self, inner: torch.optim.Optimizer, steps: ChargedSteps) -> None:
        super().__init__(
            inner,
            noise_multiplier=steps.sigma / (1 << gradients.BITS),
            max_grad_norm=gradients.CLIP_RADIUS,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._steps = steps

    def clip_and_accumulate(self) -> None:
        """Do nothing: ``add_noise`` clips, sums and adds noise in one call of the core."""

    def add_noise(self) -> None:
        """Write the noisy sum of clipped gradients into the parameters' gradients."""
        rows = torch.cat([sample.flatten(1) for sample in self.grad_samples], dim=1).numpy()
        noisy = self._steps.noisy_sum(rows)
        sizes = [parameter.numel() for parameter in self.params]
        parts = torch.split(torch.from_numpy(noisy), sizes)
        for parameter, part in zip(self.params, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def private_head(records: LabelledFeatures, steps: ChargedSteps) -> Head:
    """Train a head by all steps of a charge, and return the mean of the later half of them."""
    x, y = _SCALE * torch.from_numpy(records.features).double(), torch.from_numpy(records.labels)
    head = RowwiseLinear(x.shape[1], records.classes, dtype=torch.float64)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    module = GradSampleModule(head, loss_reduction="sum")
    inner = torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE)
    optimiser = DiscreteNoiseOptimizer(inner, steps)
    averages = [torch.zeros_like(parameter) for parameter in head.parameters()]
    later = max(1, steps.remaining // 2)
    while steps.remaining:
        optimiser.zero_grad()
        # Opacus' hooks want an input with a gradient.
        F.cross_entropy(module(x.requires_grad_()), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if steps.remaining < later:
            for average, parameter in zip(averages, head.parameters(), strict=True):
                average += parameter.detach() / later
    return (averages[0] * _SCALE).float().numpy(), averages[1].float().numpy()
