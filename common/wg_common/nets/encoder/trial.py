"""Trial of a trunk's file on artificial images, before it processes any record.

The server tries each file of a plan before it fits an encoder, and a plant tries each file before
the owner confirms the encoder. Two processes (``confined_trunk``) each encode the images in forward
and in reverse order. A file is refused if its features of an image ever differ, in any bit, since
features must depend on their record alone. *Not guaranteed:* that a file which passes does so on
all images; ``onnx_file`` excludes random numbers and loops.
"""

import time
from dataclasses import replace

import numpy as np
import torch

from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.nets.encoder.confined_trunk import ConfinedTrunk
from wg_common.nets.encoder.onnx_file import OnnxFile, check_hash, example_image
from wg_common.nets.encoder.trunk import EncoderTrunk, TrunkKind
from wg_core.errors import VerificationError


def try_and_time_file(kind: OnnxFile) -> tuple[OnnxFile, float]:
    """Run a trunk's file on artificial images in separate processes, and measure its time.

    Returns:
        The file, with its number of features declared, and its time per image in milliseconds.

    Raises:
        VerificationError: The file's hash is not the declared one, or features differ between runs.
        DecodeError: The file is not an accepted network, is too slow, or fails on an image.
        ConfigError: A package is missing.
    """
    choice = kind.choice()
    check_hash(choice, kind.file_bytes)
    trunks = [ConfinedTrunk(kind, Images.name, {}) for _ in range(2)]
    features, seconds = zip(
        *(_run_and_time_trunk(trunk, choice.pixels) for trunk in trunks), strict=True
    )
    if features[0] != features[1]:
        raise VerificationError(f"{choice.name}: features differ from one process to another")
    width = choice.width or trunks[0].width
    return OnnxFile(replace(choice, width=width), kind.file_bytes), 1000 * min(seconds)


def try_trunk_files(kinds: tuple[TrunkKind, ...]) -> None:
    """Try each trunk that comes from a file; errors are those of ``try_and_time_file``."""
    for kind in kinds:
        if isinstance(kind, OnnxFile):
            try_and_time_file(kind)


def _trial_images(pixels: int) -> list[Record]:
    """Return artificial images: brightness ramps, and noise images of decreasing size."""
    rng = np.random.default_rng(0)
    sides = [max(8, 2 * pixels // number) for number in range(1, 6)]
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in sides]
    return [example_image(pixels), *noise]


def _run_and_time_trunk(trunk: EncoderTrunk, pixels: int) -> tuple[bytes, float]:
    """Encode all trial images; return their features as bytes, and the shortest time in seconds."""
    images = _trial_images(pixels)
    seconds, turns = [], []
    for order in (range(len(images)), reversed(range(len(images)))):
        rows: dict[int, torch.Tensor] = {}
        for number in order:
            start = time.perf_counter()
            rows[number] = trunk(trunk.prepare([images[number]]))
            seconds.append(time.perf_counter() - start)
        turns.append(torch.cat([rows[number] for number in range(len(images))]).numpy().tobytes())
    if turns[0] != turns[1]:
        raise VerificationError(f"{trunk.label}: features differ from one run to another")
    return turns[0], min(seconds)
