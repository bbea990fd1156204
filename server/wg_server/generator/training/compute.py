"""Where and how a training computes: device and precision.

None of it is part of the plan: it changes speed, and results by rounding. A model card says what
it was. All that is random is drawn on the CPU, so that episodes, times and noise are the same
anywhere.

Only the denoiser runs in bfloat16, by autocast (Micikevicius et al., ICLR 2018; Kalamkar et al.,
2019); weights, gradients, losses, the codec and decoded networks stay in float32, and so do
validation and model cards, since plants get float32.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from wg_core.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PRECISIONS = ("auto", "fp32", "bf16")
R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how a training computes.

    Attributes:
        device: Where tensors are.
        precision: ``fp32`` or ``bf16``.
    """

    device: torch.device
    precision: str = "fp32"

    def autocast(self) -> AbstractContextManager[object]:
        """For the denoiser's forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def name(self) -> str:
        """As model cards have it, such as ``cpu, fp32``."""
        kind = self.device.type
        if kind == "cuda":
            kind = f"cuda ({torch.cuda.get_device_name(self.device)})"
        return f"{kind}, {self.precision}"


CPU = Compute(torch.device("cpu"))


def choose_precision(name: str, device: torch.device) -> str:
    """``fp32`` or ``bf16``; ``auto`` is bf16 on a card that has it.

    Raises:
        ConfigError: It is unknown, or the card has no bf16.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision: {name!r}, expected one of {', '.join(PRECISIONS)}")
    if name == "fp32" or (name == "auto" and device.type == "cpu"):
        return "fp32"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        if name == "bf16":
            raise ConfigError(f"precision: {torch.cuda.get_device_name(device)} has no bf16")
        return "fp32"
    return "bf16"


@contextlib.contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Ask CUDA for the same bits each time, for the length of a block. CPUs need nothing.

    cuBLAS reads its variable when its first handle is made: a process that has used CUDA before
    must have set it itself, or torch says so.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    with (
        _environment({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}),
        torch.cuda.device(device),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warned)


def on(record: R, device: torch.device) -> R:
    """A record of tensors with all of them on a device."""
    return replace(
        record, **{field.name: getattr(record, field.name).to(device) for field in fields(record)}
    )


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, for the length of a block. The operator's own values stay."""
    mine = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
