"""Training of linear heads by differentially private gradient descent.

Opacus (Yousefpour et al., *Opacus: User-Friendly Differential Privacy Library in PyTorch*, arXiv
2109.12298) computes per-record gradients. The training differs from its DP-SGD in two ways: each
step uses all records, since a plant has only hundreds, and noise is the discrete Gaussian noise of
``wg_core.privacy.gradients``, because the last bits of floating-point noise like Opacus' reveal
which of two neighbouring data sets was used (Mironov, CCS 2012).

*Guarantee.* The head has the guarantee of ``gradients.ChargedGradientSums``. Only integers are
summed over records, so no record changes the rounding of another's gradient.

*Not guaranteed:* that the head is accurate. With few records it is not, so the plant evaluates it
on its own records before use.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler
from torch import Tensor, nn

from wg_core.privacy.gradients import ChargedGradientSums, HeadArrays, LabelledFeatures

# Selected together with gradients.DEFAULT_STEPS, on the same two data sets.
_LEARNING_RATE = 0.05
_FEATURE_SCALE = 3.0  # Factor on features of norm 1 before training


class RowwiseLinear(nn.Linear):
    """Linear layer that computes each row alone, so that no other row affects its rounding."""

    def forward(self, rows: Tensor) -> Tensor:
        """Return class logits ``[n, K]`` of feature rows ``[n, d]``."""
        return (rows[:, None] * self.weight).sum(dim=2) + self.bias


@register_grad_sampler(RowwiseLinear)  # type: ignore[untyped-decorator]
def _per_record_gradients(
    layer: RowwiseLinear, activations: list[Tensor], output_gradients: Tensor
) -> dict[Tensor, Tensor]:
    """Return the gradients of weight and bias for each row, ``[n, K, d]`` and ``[n, K]``."""
    return {
        layer.weight: output_gradients[:, :, None] * activations[0][:, None],
        layer.bias: output_gradients,
    }


def train_private_head(records: LabelledFeatures, gradient_sums: ChargedGradientSums) -> HeadArrays:
    """Train a head on noisy gradient sums until all steps that the charge pays for are used.

    Returns:
        Weight float32 ``[K, d]`` and bias float32 ``[K]``, averaged over the second half of
        the steps.
    """
    x, y = (
        _FEATURE_SCALE * torch.from_numpy(records.features).double(),
        torch.from_numpy(records.labels),
    )
    head = RowwiseLinear(x.shape[1], records.class_count, dtype=torch.float64)
    module = GradSampleModule(head, loss_reduction="sum")
    parameters = list(head.parameters())

    def gradients(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        module.zero_grad()  # resets per-record gradients, too
        # Opacus' hooks need an input with a gradient.
        F.cross_entropy(module(x[rows].requires_grad_()), y[rows], reduction="sum").backward()  # type: ignore[no-untyped-call]
        samples: list[Tensor] = [vars(parameter)["grad_sample"] for parameter in parameters]
        return torch.cat([sample.flatten(1) for sample in samples], dim=1).numpy()

    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    optimiser = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    averages = [torch.zeros_like(parameter) for parameter in parameters]
    sizes = [parameter.numel() for parameter in parameters]
    later = max(1, gradient_sums.remaining_sums // 2)
    while gradient_sums.remaining_sums:
        noisy = torch.from_numpy(gradient_sums.noisy_sum(gradients, sum(sizes)))
        for parameter, part in zip(parameters, torch.split(noisy, sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        optimiser.step()
        if gradient_sums.remaining_sums < later:
            for average, parameter in zip(averages, parameters, strict=True):
                average += parameter.detach() / later
    return (averages[0] * _FEATURE_SCALE).float().numpy(), averages[1].float().numpy()
