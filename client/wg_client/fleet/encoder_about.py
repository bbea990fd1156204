"""What an owner sees of an encoder before it is confirmed, and what is tried of it before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wg_core.wire import canonical

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.module import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAbout:
    """What an owner sees of an encoder.

    Attributes:
        encoder: SHA-256 of the package, hex.
        modality: What it encodes.
        sources: Names of the public data that it was fitted on, as the package has them.
        trunks: What it stands on: names, with the licence where a trunk came from a file.
    """

    encoder: str
    modality: str
    sources: tuple[str, ...]
    trunks: tuple[str, ...]


Confirm = Callable[[EncoderAbout], None]
"""Called before anything of an encoder is kept; raises where the owner does not want it."""


def tried(package: bytes) -> Encoder:
    """A package that came, loaded, after each of its files ran in a process of its own.

    Raises:
        DecodeError, VerificationError, ConfigError: As of ``module.load_encoder`` and
            ``trial.tried``.
    """
    from wg_common.nets.encoder import module, trial
    from wg_common.nets.encoder import package as packages

    trial.try_all(packages.unpack(package).kinds)
    return module.load_encoder(package)


def about(package: bytes) -> EncoderAbout:
    """What a package says of itself.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    from wg_common.nets.encoder import (
        package as encoder_package,  # torch: seconds to import, only when needed
    )

    description = encoder_package.read_about(package)
    return EncoderAbout(
        encoder=canonical.sha256_hex(package),
        modality=description.modality,
        sources=description.sources,
        trunks=tuple(
            f"{trunk.name} ({trunk.licence})" if trunk.file else trunk.name
            for trunk in description.trunks
        ),
    )
