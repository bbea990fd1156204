"""From latents to a running network: the base plus the decoded delta of each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.nets import cnn
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
    """

    plan: WeightPlan
    codec: Codec
    base: Mapping[str, Array]

    def to(self, device: torch.device) -> Decoder:
        """The decoder with its codec on a device; the base goes there when it is used."""
        return Decoder(self.plan, self.codec.to(device), self.base)

    def features(self, latents: Tensor, images: Tensor) -> Tensor:
        """Features ``[n, 64]`` of images, differentiable in the latents ``[P, l]``.

        A ``low-rank`` plan is not projected here: its codec's directions are of low rank each.
        """
        flat = self.codec.decode(latents)
        weights = {
            name.removeprefix(cnn.TRUNK): torch.from_numpy(value).to(latents.device)
            for name, value in self.base.items()
        }
        for part in self.plan.parts:
            place = 0
            for name, shape in part.tensors:
                size = int(np.prod(shape))
                short = name.removeprefix(cnn.TRUNK)
                weights[short] = weights[short] + flat[part.name][place : place + size].view(shape)
                place += size
        module = cnn.Cnn(cnn.WIDTHS[self.plan.architecture])
        batch = images.float().contiguous(memory_format=torch.channels_last)
        found: Tensor = torch.func.functional_call(module, weights, (batch,))
        return found

    def trunk(self, latents: Tensor) -> dict[str, Array]:
        """Trunk tensors of latents ``[P, l]``."""
        with torch.inference_mode():
            flat = {name: value.numpy() for name, value in self.codec.decode(latents).items()}
        delta = self.plan.delta(flat)
        return {name: value + delta[name] for name, value in self.base.items()}
