"""Trial of a delivered encoder before it is stored, and the type of the owner's confirmation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.package import EncoderDescription
    from wg_common.nets.encoder.projected_trunk import Encoder

EncoderConfirmation = Callable[["EncoderDescription"], None]
"""Function that asks the owner before an encoder is stored; raises if the owner refuses."""


def try_and_load_encoder(package: bytes) -> Encoder:
    """Load a delivered encoder package, after running each of its files in a separate process.

    Raises:
        DecodeError, VerificationError, ConfigError: As for ``projected_trunk.load_encoder``
            and ``trial.try_and_time_file``.
    """
    from wg_common.nets.encoder import package as packages
    from wg_common.nets.encoder import projected_trunk, trial

    trial.try_trunk_files(packages.unpack_encoder(package).trunk_kinds)
    return projected_trunk.load_encoder(package)
