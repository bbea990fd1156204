"""Files of generator packages: safetensors with a JSON document in the header.

The document is canonical JSON, stored under one key of the header's metadata.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical

Tensors = dict[str, Tensor]


def pack_tensors(tensors: Mapping[str, Tensor], key: str, document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file with tensors, and a JSON document under ``key`` of its header."""
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        metadata={key: canonical.encode(document).decode()},
    )


def unpack_tensors(
    data: bytes, key: str, *, form: str, version: int, limit: int
) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the document of a file that ``pack_tensors`` made.

    The document must state the format ``form`` and this version.

    Raises:
        DecodeError: The bytes are too many or no such file, the format or version is another one,
            or a tensor has a number that is not finite.
    """
    if len(data) > limit:
        raise DecodeError(f"{key}: {len(data)} bytes, at most {limit} are accepted")
    with convert_decode_errors(key):
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][key]) | {}
    header = document.get("format"), document.get("version")
    if header != (form, version):
        raise DecodeError(
            f"{key}: {header[0]} version {header[1]}, this program reads {form} version {version}"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise DecodeError(f"{key}: a tensor is not finite")
    return tensors, document


@contextlib.contextmanager
def convert_decode_errors(key: str) -> Iterator[None]:
    """Convert errors that inconsistent content of a file raises into ``DecodeError``."""
    try:
        yield
    except (
        safetensors.SafetensorError,
        ConfigError,  # an architecture or a weight plan that is not known
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise DecodeError(f"{key}: the file does not hold together: {error}") from error


def select_tensors(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Return the tensors whose names have a prefix, with the prefix removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
