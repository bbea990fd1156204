"""A trunk's file is first run on made-up images, before any record and before its owner is asked.

The server tries each file of a plan before it makes an encoder of it, and a plant before its owner
confirms one. Made-up images run forwards and backwards in two processes (``confined_trunk``):
features that differ in any bit are refused, since a row must depend on its record alone. Not
guaranteed: that a file which is deterministic on these images is so on all; that it draws no random
number and has no loop is what ``onnx_file`` holds.
"""

import time
from dataclasses import replace

import numpy as np
import torch

from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.nets.encoder.confined_trunk import ConfinedTrunk
from wg_common.nets.encoder.onnx_file import OnnxFile, check_hash, example
from wg_common.nets.encoder.trunk import EncoderTrunk, TrunkKind
from wg_core.errors import VerificationError


def try_file(kind: OnnxFile) -> tuple[OnnxFile, float]:
    """A file with the number of its features, and the milliseconds that an image takes.

    Raises:
        VerificationError: It is another file than its choice names, or does not give the same bits
            each time.
        DecodeError: It is no network that is taken, or fails on a made-up image.
        ConfigError: A package is missing.
    """
    choice = kind.choice()
    check_hash(choice, kind.data)
    trunks = [ConfinedTrunk(kind, Images.name, {}) for _ in range(2)]
    features, seconds = zip(*(_run(trunk, choice.pixels) for trunk in trunks), strict=True)
    if features[0] != features[1]:
        raise VerificationError(f"{choice.name}: features differ from one process to another")
    width = choice.width or trunks[0].width
    return OnnxFile(replace(choice, width=width), kind.data), 1000 * min(seconds)


def try_all(kinds: tuple[TrunkKind, ...]) -> None:
    """Try each trunk that comes from a file; errors as of ``try_file``."""
    for kind in kinds:
        if isinstance(kind, OnnxFile):
            try_file(kind)


def _images(pixels: int) -> list[Record]:
    """A ramp, and noise that gets coarser."""
    rng = np.random.default_rng(0)
    sides = [max(8, 2 * pixels // number) for number in range(1, 6)]
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in sides]
    return [example(pixels), *noise]


def _run(trunk: EncoderTrunk, pixels: int) -> tuple[bytes, float]:
    """Features of all images, and the least seconds that one took; errors as of ``try_file``."""
    images = _images(pixels)
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
