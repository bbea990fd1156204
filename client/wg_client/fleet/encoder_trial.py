"""What is tried of an encoder that came, before its owner is asked, and who is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.module import Encoder
    from wg_common.nets.encoder.package import About

Confirm = Callable[["About"], None]
"""Called before anything of an encoder is kept; raises where the owner does not want it."""


def try_encoder(package: bytes) -> Encoder:
    """A package that came, loaded, after each of its files ran in a process of its own.

    Raises:
        DecodeError, VerificationError, ConfigError: As of ``module.load_encoder`` and
            ``trial.try_file``.
    """
    from wg_common.nets.encoder import module, trial
    from wg_common.nets.encoder import package as packages

    trial.try_all(packages.unpack(package).kinds)
    return module.load_encoder(package)
