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

TorchTensors = dict[str, Tensor]


def pack_tensors(
    tensors: Mapping[str, Tensor], header_key: str, document: Mapping[str, Any]
) -> bytes:
    """Return a safetensors file with a JSON document under ``header_key`` in its metadata."""
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        metadata={header_key: canonical.encode(document).decode()},
    )


def unpack_tensors(
    data: bytes, header_key: str, *, format_name: str, version: int, limit_bytes: int
) -> tuple[TorchTensors, dict[str, Any]]:
    """Return the tensors and the document of a file that ``pack_tensors`` made.

    The document must state the format ``format_name`` and this version.

    Raises:
        DecodeError: There are more than ``limit_bytes`` bytes, they are not such a file, the format
            or version differs, or a tensor has a number that is not finite.
    """
    if len(data) > limit_bytes:
        raise DecodeError(f"{header_key}: {len(data)} bytes, at most {limit_bytes} are accepted")
    with convert_decode_errors(header_key):
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][header_key]) | {}
    header = document.get("format"), document.get("version")
    if header != (format_name, version):
        raise DecodeError(
            f"{header_key}: {header[0]} version {header[1]}, this program reads {format_name}"
            f" version {version}"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise DecodeError(f"{header_key}: a tensor is not finite")
    return tensors, document


@contextlib.contextmanager
def convert_decode_errors(header_key: str) -> Iterator[None]:
    """Convert errors from inconsistent file content, in a ``with`` block, to ``DecodeError``."""
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
        raise DecodeError(f"{header_key}: the file does not hold together: {error}") from error


def select_tensors(tensors: Mapping[str, Tensor], prefix: str) -> TorchTensors:
    """Return the tensors whose names have a prefix, with the prefix removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
