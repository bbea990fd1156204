"""Which device encodes. Results do not depend on it but for rounding."""

from typing import Literal, get_args

import torch

from wg_core.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
NAMES: tuple[str, ...] = get_args(Device)


def choose(name: str) -> str:
    """``cpu`` or ``cuda``: ``auto`` is CUDA where there is a card.

    Raises:
        ConfigError: CUDA is asked for and torch finds none.
    """
    if name not in NAMES:
        raise ConfigError(f"device: {name!r}, expected one of {', '.join(NAMES)}")
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("device: cuda is asked for, and torch finds none")
    return "cuda" if has_cuda and name != "cpu" else "cpu"
