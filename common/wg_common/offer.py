"""Offer of an operator: a signed file that lets a plant try models before it joins, at no cost.

The file holds the encoder, heads of the operator's families, the kinds of machines for which
networks are generated, and the number of sites that have released each class name.

*Not guaranteed:* the origin of the file. The signature is checked by a key in the file itself.
Results of a trial stay at the plant, and enrolment uses other keys.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import tensors as tensors_files
from wg_core.errors import DecodeError
from wg_core.wire import canonical, container, signing
from wg_core.wire.signing import PrivateKey

OFFER_KIND = "wgo"
VERSION = 1
OFFER_BYTES_LIMIT = 256 << 20
FAMILIES_LIMIT = 16  # Largest number of families in an offer
SECTIONS = ("manifest", "signature", "encoder", "tensors")

Tensors = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedFamily:
    """Family of plants whose head is in an offer: the family's name, and its class names."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Manifest of an operator's offer to plants.

    Attributes:
        version: Version of the format.
        server: Name of the server.
        key: Public key for the server's packages, hex.
        encoder: SHA-256 of the encoder package, hex.
        tensors: SHA-256 of the safetensors file of heads, hex; tensor ``I/NAME`` in the file is
            tensor ``NAME`` of ``kinds[I]``.
        kinds: Families whose heads are in the offer.
        machines: Kinds of machines for which networks are generated.
        sites: Number of sites that have released a class, by its name.
        created: Unix time in seconds.
    """

    version: int = VERSION
    server: str
    key: str
    encoder: str
    tensors: str
    kinds: tuple[OfferedFamily, ...]
    machines: tuple[str, ...]
    sites: dict[str, int]
    created: int

    def median_site_count(self, labels: Sequence[str]) -> int:
        """Return the median, over given class names, of the number of sites that released a name.

        Names are compared without case. Of two middle values, the smaller is returned.
        """
        counts = {name.strip().casefold(): count for name, count in self.sites.items()}
        common = sorted((counts.get(name.strip().casefold(), 0) for name in labels), reverse=True)
        return common[len(common) // 2] if common else 0


@dataclass(frozen=True, slots=True)
class OpenedOffer:
    """Verified offer: its manifest, the encoder package, and each family's tensors."""

    offer: Offer
    encoder_package: bytes
    tensors: tuple[Mapping[str, NDArray[np.float32]], ...]


def encode_offer(
    offer: Offer, encoder_package: bytes, tensor_file: bytes, key: PrivateKey
) -> bytes:
    """Sign and pack an operator's offer to plants."""
    manifest = canonical.encode(offer)
    signature = signing.sign(key, signing.OFFER_CONTEXT, manifest)
    parts = (manifest, signature, encoder_package, tensor_file)
    return container.encode(OFFER_KIND, VERSION, dict(zip(SECTIONS, parts, strict=True)))


def pack_tensors(families: Sequence[Tensors]) -> bytes:
    """Pack the tensors of an offer's families as one safetensors file, named ``I/NAME``."""
    by_name = {
        f"{n}/{name}": value for n, kind in enumerate(families) for name, value in kind.items()
    }
    return tensors_files.pack_tensors(by_name)


def decode_offer(data: bytes) -> OpenedOffer:
    """Decode and verify an operator's offer to plants.

    Raises:
        DecodeError: The bytes are not an offer of this version.
        VerificationError: The signature or a hash does not match.
    """
    parts = container.decode(
        data, kind=OFFER_KIND, version=VERSION, section_names=SECTIONS, max_bytes=OFFER_BYTES_LIMIT
    )
    offer = canonical.decode(Offer, parts["manifest"], input_name="offer", max_bytes=1 << 20)
    key = signing.public_from_hex(offer.key, input_name="offer: key")
    signing.verify(key, signing.OFFER_CONTEXT, parts["manifest"], parts["signature"])
    container.check_section_hash("offer: encoder", parts["encoder"], offer.encoder)
    container.check_section_hash("offer: tensors", parts["tensors"], offer.tensors)
    if len(offer.kinds) > FAMILIES_LIMIT:
        raise DecodeError(f"offer: {len(offer.kinds)} kinds, at most {FAMILIES_LIMIT} are read")
    flat = _unpack_tensors(parts["tensors"])
    by_kind: list[dict[str, NDArray[np.float32]]] = [{} for _ in offer.kinds]
    for name, value in flat.items():
        number, _, tensor = name.partition("/")
        if not number.isdecimal() or int(number) >= len(by_kind):
            raise DecodeError(f"offer: tensor {name[:40]!r} is of no kind")
        by_kind[int(number)][tensor] = value
    return OpenedOffer(offer, parts["encoder"], tuple(by_kind))


def _unpack_tensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    stream, subject = io.BytesIO(data), "offer: tensors"
    places = tensors_files.locate_tensors(
        stream, 0, len(data), input_name=subject, allows_half=True
    )
    tensors_files.check_finite(stream, places, input_name=subject)
    return {
        name: tensors_files.read_tensor(stream, place, input_name=subject)
        for name, place in places.items()
    }
