"""What an owner sees of an encoder before it is confirmed."""

from collections.abc import Callable
from dataclasses import dataclass

from wg_core.wire import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAbout:
    """What an owner sees of an encoder.

    Attributes:
        encoder: SHA-256 of the package, hex.
        modality: What it encodes.
        sources: Names of the public data that it was fitted on, as the package has them.
    """

    encoder: str
    modality: str
    sources: tuple[str, ...]


Confirm = Callable[[EncoderAbout], None]
"""Called before anything of an encoder is kept; raises where the owner does not want it."""


def about(package: bytes) -> EncoderAbout:
    """What a package says of itself.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    from wg_common.nets.encoder import (
        package as encoder_package,  # torch: seconds to import, only when needed
    )

    modality, sources = encoder_package.read_about(package)
    return EncoderAbout(encoder=canonical.sha256_hex(package), modality=modality, sources=sources)
