"""From latents to a running network: the base plus the decoded delta of each part."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.nets import network
from wg_server.generator.weights.codec import LayerCodec
from wg_server.generator.weights.weight_plan import WeightPlan

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
    codec: LayerCodec
    base: Mapping[str, Array]
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - has no state

    def features(self, latents: Tensor, images: Tensor, residual: Tensor | None = None) -> Tensor:
        """Features ``[n, F]`` of prepared records, differentiable in the latents ``[P, l]``.

        ``residual`` is a delta beyond the latents, ``[S]``, parts one after another.
        A ``low-rank`` plan is not projected here: its codec's directions are of low rank each.
        """
        flat = self._flat(latents, residual)
        weights = {
            name.removeprefix(network.TRUNK): torch.from_numpy(value)
            for name, value in self.base.items()
        }
        weights = {name: value.to(self.device) for name, value in weights.items()}
        images = images.to(self.device)
        for part in self.plan.parts:
            place = 0
            for name, shape in part.tensors:
                size = int(np.prod(shape))
                short = name.removeprefix(network.TRUNK)
                weights[short] = weights[short] + flat[part.name][place : place + size].view(shape)
                place += size
        module = network.build_trunk(self.plan.architecture).to(self.device)
        batch = network.as_input(images)
        features: Tensor = torch.func.functional_call(module, weights, (batch,))
        return features.cpu()

    def trunk(self, latents: Tensor, residual: Tensor | None = None) -> dict[str, Array]:
        """Trunk tensors of latents ``[P, l]``, and perhaps of a delta beyond them, ``[S]``."""
        with torch.inference_mode():
            flat = {name: value.numpy() for name, value in self._flat(latents, residual).items()}
        delta = self.plan.delta(flat)
        return {n: v + delta[n] if n in delta else v for n, v in self.base.items()}

    def _flat(self, latents: Tensor, residual: Tensor | None) -> dict[str, Tensor]:
        flat = self.codec.decode(latents)
        if residual is None or not self.plan.parts:
            return flat
        ends = np.cumsum([part.size for part in self.plan.parts])
        return {
            part.name: flat[part.name] + residual[end - part.size : end].to(flat[part.name].device)
            for part, end in zip(self.plan.parts, ends, strict=True)
        }
