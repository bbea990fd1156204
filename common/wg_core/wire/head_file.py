"""File format of a private head: the release of a head trained under differential privacy.

The sections of its container are a canonical manifest, the plant's signature of it, and the head:
weight ``[K, d]`` and bias ``[K]``, float32, little-endian. The bytes are made once, stored with the
ledger, and sent as a ``bundle``. The model that the plant exports is made from them.
"""

from dataclasses import dataclass

import numpy as np

from wg_core import text_grammars
from wg_core.errors import DecodeError
from wg_core.privacy.gradients import GradientSchema, HeadArrays
from wg_core.wire import canonical, container, protocol, signing
from wg_core.wire.signing import PrivateKey
from wg_core.wire.statistics_file import ReleaseManifest

VERSION = 1
HEAD_FILE_BYTES_LIMIT = 32 << 20  # Largest file, in bytes
_SECTION_NAMES = ("manifest", "signature", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadManifest(ReleaseManifest):
    """Manifest of a private head's file: its training, noise and privacy cost.

    Attributes:
        schema: Steps, clip radius, grid, classes, features and privacy unit.
        head_sha256: SHA-256 of the head's bytes, hex.
    """

    version: int = VERSION
    schema: GradientSchema
    head_sha256: text_grammars.Digest

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        self.check_noise(self.schema, "head manifest")


def encode(manifest: HeadManifest, body: bytes, key: PrivateKey) -> bytes:
    """Return the file of a private head, signed; ``body`` comes from ``head_bytes``."""
    text = canonical.encode(manifest)
    parts = text, signing.sign(key, signing.STATISTICS_CONTEXT, text), body
    sections = dict(zip(_SECTION_NAMES, parts, strict=True))
    return container.encode(protocol.HEAD_FILE_KIND, VERSION, sections)


def decode(data: bytes) -> tuple[HeadManifest, HeadArrays]:
    """Unpack a private head's file without verifying its signature.

    Raises:
        DecodeError: The bytes are not a private head, or the manifest is inconsistent.
        VerificationError: The head does not match the manifest's hash.
    """
    sections = container.decode(
        data,
        kind=protocol.HEAD_FILE_KIND,
        version=VERSION,
        section_names=_SECTION_NAMES,
        max_bytes=HEAD_FILE_BYTES_LIMIT,
    )
    text = sections["manifest"]
    manifest = canonical.decode(
        HeadManifest, text, input_name="head manifest", max_bytes=HEAD_FILE_BYTES_LIMIT
    )
    schema, body = manifest.schema, sections["head"]
    if len(body) != 4 * schema.parameter_count:
        raise DecodeError(f"head: {len(body)} bytes, expected {4 * schema.parameter_count}")
    container.check_section_hash("head", body, manifest.head_sha256)
    values = np.frombuffer(body, dtype="<f4").astype(np.float32)
    weight, bias = np.split(values, [len(schema.labels) * schema.dimension])
    return manifest, (weight.reshape(-1, schema.dimension), bias)


def head_bytes(head: HeadArrays) -> bytes:
    """Return a private head as bytes: weight ``[K, d]``, then bias ``[K]``, in float32."""
    return np.concatenate([part.ravel() for part in head]).astype("<f4").tobytes()
