"""Where and how a training computes: device, precision, and the processes that share the work.

None of it is part of the plan: it changes speed, and results by rounding. A model card says what
it was. All that is random is drawn on the CPU, so that episodes, times and noise are the same
anywhere.

Only the denoiser runs in bfloat16, by autocast (Micikevicius et al., ICLR 2018; Kalamkar et al.,
2019); weights, gradients, losses, the codec and decoded networks stay in float32, and so do
validation and model cards, since plants get float32.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from wg_core.errors import ConfigError
from wg_server.generator.training.distributed import ALONE, ProcessGroup, RankInfo, environment
from wg_server.zoo import devices

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PRECISIONS = ("auto", "fp32", "bf16")
R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how a training computes.

    Attributes:
        device: Of this process.
        precision: ``fp32`` or ``bf16``.
        process_group: The processes that train together.
    """

    device: torch.device
    precision: str = "fp32"
    process_group: ProcessGroup = ALONE

    def autocast(self) -> AbstractContextManager[object]:
        """For the denoiser's forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def name(self) -> str:
        """As model cards have it, such as ``cpu, fp32, 1 process``."""
        kind = self.device.type
        if kind == "cuda":
            kind = f"cuda ({torch.cuda.get_device_name(self.device)})"
        world = self.process_group.world
        return f"{kind}, {self.precision}, {world} process{'es' if world > 1 else ''}"


CPU = Compute(torch.device("cpu"))


def choose_device(name: str, rank_info: RankInfo) -> torch.device:
    """This process's device: ranks of one machine take one graphics card each.

    Raises:
        ConfigError: There is no such device, or there are more ranks here than cards.
    """
    kind = devices.choose(name)
    if kind == "cpu":
        return torch.device("cpu")
    cards = torch.cuda.device_count()
    if rank_info.local_world > cards:
        raise ConfigError(
            f"device: {rank_info.local_world} processes on this machine and {cards} graphics cards;"
            " each process needs its own"
        )
    return torch.device("cuda", rank_info.local_rank)


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
        environment({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}),
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
