"""Finds tensors that stay behind on another device, without a graphics card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wg_server.generator.training.compute import Compute

META = Compute(torch.device("meta"), "fp32")
"""A device that has shapes and no numbers. Alone it lets some operations take mixed tensors."""


class OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses any operation on tensors of two devices; a scalar may be anywhere, as on CUDA.

    What is copied from the meta device to the CPU is zero there.
    """

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        found = {each.device for each in given if each.ndim}
        wanted = (kwargs or {}).get("device")
        if wanted == torch.device("cpu") and any(each.is_meta for each in given):
            # Only a copy asks for a device and is given a tensor.
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        if len(found) > 1:
            raise AssertionError(f"{func}: tensors of {sorted(map(str, found))}")
        return func(*args, **(kwargs or {}))
