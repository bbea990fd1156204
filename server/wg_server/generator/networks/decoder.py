"""From latents to a running network: the base plus the decoded delta of each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.nets import whole
from wg_server.generator.networks.codec import Codec
from wg_server.generator.networks.weight_plan import WeightPlan

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """One architecture's base, plan and codec.

    Attributes:
        plan: Parts and their tensors.
        codec: Of the parts.
        base: The base's trunk tensors.
        device: Where networks run in ``features``, and where the codec decodes. What goes in and
            comes out is on the CPU.
    """

    plan: WeightPlan
    codec: Codec
    base: Mapping[str, Array]
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - has no state

    def features(self, latents: Tensor, images: Tensor) -> Tensor:
        """Features ``[n, 64]`` of prepared records, differentiable in the latents ``[P, l]``.

        A ``low-rank`` plan is not projected here: its codec's directions are of low rank each.
        """
        flat = self.codec.decode(latents)
        weights = {
            name.removeprefix(whole.TRUNK): torch.from_numpy(value)
            for name, value in self.base.items()
        }
        weights = {name: value.to(self.device) for name, value in weights.items()}
        images = images.to(self.device)
        for part in self.plan.parts:
            place = 0
            for name, shape in part.tensors:
                size = int(np.prod(shape))
                short = name.removeprefix(whole.TRUNK)
                weights[short] = weights[short] + flat[part.name][place : place + size].view(shape)
                place += size
        module = whole.build_trunk(self.plan.architecture)
        batch = whole.as_input(images)
        found: Tensor = torch.func.functional_call(module, weights, (batch,))
        return found.cpu()

    def trunk(self, latents: Tensor) -> dict[str, Array]:
        """Trunk tensors of latents ``[P, l]``."""
        with torch.inference_mode():
            flat = {name: value.numpy() for name, value in self.codec.decode(latents).items()}
        delta = self.plan.delta(flat)
        return {name: value + delta[name] for name, value in self.base.items()}
