"""A trunk's file is loaded and run first in a process of its own, with a bound on memory and time.

What a hostile file does there ends with the process, and nothing is written by it. The server tries
each file of a plan before it makes an encoder of it, and a plant before its owner confirms one.

The trial runs made-up images forwards and backwards in two processes: features that differ in any
bit are refused, since a row must depend on its record alone. Not guaranteed: that a file which is
deterministic on these images is so on all; that it draws no random number and has no loop is what
``onnx_file`` holds.
"""

import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from wg_common.modalities.base import Record
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder.onnx_file import FILE_LIMIT, OnnxFile, check_hash, example
from wg_common.nets.encoder.trunk import TrunkKind
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core import errors
from wg_core.errors import ConfigError, DecodeError, InternalError, VerificationError, WgError
from wg_core.wire import canonical

PROGRAM = "wg_common.nets.encoder.trial"
MEMORY_LIMIT = 4 << 30  # Bytes of data
TIME_LIMIT = 120.0  # Seconds by the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one.

    Attributes:
        code: Code of the error that ended it; empty: none did.
        message: Of that error.
        width: Number of features.
        milliseconds: For an image, the least of a few.
        features_sha256: Of the features of all images, hex.
    """

    code: str = ""
    message: str = ""
    width: int = 0
    milliseconds: float = 0.0
    features_sha256: str = ""


def tried(kind: OnnxFile) -> tuple[OnnxFile, float]:
    """A file with the number of its features, and the milliseconds that an image takes.

    Raises:
        VerificationError: It is another file than its choice names, or does not give the same bits
            each time.
        DecodeError: It is no network that is taken, or needs more than ``MEMORY_LIMIT``.
        ConfigError: It takes too long, or a package is missing.
    """
    choice = kind.choice()
    check_hash(choice, kind.data)
    answer, second = (_answer(choice, kind.data) for _ in range(2))
    if answer.features_sha256 != second.features_sha256:
        raise VerificationError(f"{choice.name}: features differ from one process to another")
    width = choice.width or answer.width
    milliseconds = min(answer.milliseconds, second.milliseconds)
    return OnnxFile(replace(choice, width=width), kind.data), milliseconds


def try_all(kinds: tuple[TrunkKind, ...]) -> None:
    """Try each trunk that comes from a file; errors as of ``tried``."""
    for kind in kinds:
        if isinstance(kind, OnnxFile):
            tried(kind)


def _answer(choice: TrunkChoice, data: bytes) -> Trial:
    words = [sys.executable, "-P", "-m", PROGRAM]
    head = canonical.encode(choice)
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and this module
            words,
            input=len(head).to_bytes(4, "big") + head + data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{choice.name}: loading and a few images take more than {TIME_LIMIT:g} s"
        ) from error
    if done.returncode != 0:
        raise DecodeError(
            f"{choice.name}: the process that tried it ended with {done.returncode}: it needs more"
            f" than {MEMORY_LIMIT >> 30} GiB, or is damaged"
        )
    answer = canonical.decode(Trial, done.stdout, subject=f"{choice.name}: trial")
    if answer.code:
        raise errors.BY_CODE.get(answer.code, InternalError)(answer.message)
    return answer


def _images(pixels: int) -> list[Record]:
    """A ramp, and noise that gets coarser."""
    rng = np.random.default_rng(0)
    sides = [max(8, 2 * pixels // number) for number in range(1, 6)]
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in sides]
    return [example(pixels), *noise]


def run(choice: TrunkChoice, data: bytes) -> Trial:
    """The trial itself, in this process; errors as of ``tried``."""
    trunk = OnnxFile(choice, data).from_settings({})
    images = _images(choice.pixels)
    rows = np.zeros((2, len(images), trunk.width), np.float32)
    seconds = []
    with isolation.one_thread(), torch.inference_mode():
        for turn, order in enumerate((range(len(images)), reversed(range(len(images))))):
            for number in order:
                started = time.perf_counter()
                rows[turn, number] = trunk(trunk.prepare([images[number]])).numpy()[0]
                seconds.append(time.perf_counter() - started)
    if rows[0].tobytes() != rows[1].tobytes():
        raise VerificationError(f"{choice.name}: features differ from one run to another")
    return Trial(
        width=trunk.width,
        milliseconds=1000 * min(seconds),
        features_sha256=canonical.sha256_hex(rows[0].tobytes()),
    )


def main() -> None:
    """The process: a choice and a file on standard input, a ``Trial`` on standard output."""
    _limit()
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    head = sys.stdin.buffer.read(length)
    data = sys.stdin.buffer.read(FILE_LIMIT + 1)
    try:
        answer = run(canonical.decode(TrunkChoice, head, subject="trunk"), data)
    except WgError as error:
        answer = Trial(code=error.code, message=str(error))
    except MemoryError:
        answer = Trial(code=DecodeError.code, message="trunk: needs too much memory")
    sys.stdout.buffer.write(canonical.encode(answer))


def _limit() -> None:
    try:
        import resource
    except ImportError:  # where the system has no such limits, those of ``onnx_file`` hold
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_LIMIT), int(TIME_LIMIT)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
