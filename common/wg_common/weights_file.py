"""Verified reading of a weights package.

Checks cover the hash of each section, the signature of the manifest, the manifest's hash of the
tensors, and that every number is finite; nothing is used before they pass.
"""

import io
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from wg_common import tensors, weights_package
from wg_common.weights_package import WeightsManifest
from wg_core.wire import canonical, container, signing
from wg_core.wire.container import SectionSpan
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT, WEIGHTS_BYTES_LIMIT, WEIGHTS_FILE_KIND
from wg_core.wire.signing import PublicKey

_INPUT_NAME = "weights package"


def decode_weights_package(
    data: bytes, key: PublicKey
) -> tuple[WeightsManifest, dict[str, dict[str, NDArray[np.float32]]]]:
    """Verify a weights package; return its manifest, and tensors by candidate and name.

    Raises:
        DecodeError: The bytes are not a weights package.
        VerificationError: The signature or a hash does not match.
    """
    stream = io.BytesIO(data)
    manifest, places = _verify_package(stream, key)
    return manifest, {
        candidate: {
            name: tensors.read_tensor(stream, place, input_name=_INPUT_NAME)
            for name, place in part.items()
        }
        for candidate, part in places.items()
    }


def _verify_package(
    stream: BinaryIO, key: PublicKey
) -> tuple[WeightsManifest, dict[str, dict[str, tensors.TensorLocation]]]:
    text, signature, body, checkpoint = weights_package.locate_sections(stream)
    manifest = _decode_manifest(stream, text, signature, key)
    container.read_section(
        stream, checkpoint, kind=WEIGHTS_FILE_KIND, max_bytes=NOTE_CHARACTERS_LIMIT
    )
    data = container.read_section(
        stream, body, kind=WEIGHTS_FILE_KIND, max_bytes=WEIGHTS_BYTES_LIMIT
    )
    container.check_section_hash(f"{_INPUT_NAME}: tensors", data, manifest.tensors_sha256)
    places = tensors.locate_tensors(
        stream, body.offset, body.size, input_name=_INPUT_NAME, allows_half=True
    )
    tensors.check_finite(stream, places, input_name=_INPUT_NAME)
    return manifest, weights_package.group_tensors_by_candidate(manifest, places)


def _decode_manifest(
    stream: BinaryIO, manifest_span: SectionSpan, signature: SectionSpan, key: PublicKey
) -> WeightsManifest:
    data, signed = (
        container.read_section(
            stream, span, kind=WEIGHTS_FILE_KIND, max_bytes=weights_package.MANIFEST_BYTES_LIMIT
        )
        for span in (manifest_span, signature)
    )
    signing.verify(key, signing.WEIGHTS_CONTEXT, data, signed)
    return canonical.decode(
        WeightsManifest,
        data,
        input_name="weights manifest",
        max_bytes=weights_package.MANIFEST_BYTES_LIMIT,
    )
