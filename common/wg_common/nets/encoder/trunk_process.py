"""The process in which a trunk runs that somebody else made: ``confined_trunk`` starts it.

It loads one trunk and then takes record after record. Each runs in a copy of the process (``fork``)
that ends with it. So a record's memory, time, and all that the trunk keeps in memory, begin where
every other record's began: what one does to its process, up to its death, changes nothing for
another. Memory is limited to ``MEMORY_LIMIT``, work on a record to seconds of a processor; nothing
is written to a disk. Both limits count what the record uses, not what the machine is busy with.

Where a system has no ``fork`` (Windows) records run one after another in the process, and a trunk
that keeps something between them can make one tell of another; where it has no such limits
(Windows), time alone is bounded, by the clock of who started the process, and memory by what the
trunk bounds itself (``onnx_file.ARENA_LIMIT``).

Not guaranteed: that a trunk which takes over its process (a bug of ONNX Runtime) does no harm; and
a record within a hair of a limit may be over it on one day and not on another.
"""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from wg_common.nets.encoder import isolation
from wg_common.nets.encoder.trunk import EncoderTrunk, file_trunk, trunk_of
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.errors import DecodeError, WgError
from wg_core.wire import canonical

MEMORY_LIMIT = 4 << 30  # Bytes of data, of the trunk and of a record on it
FRAME_LIMIT = 1 << 30  # Bytes of the longest message: a record, or a trunk's file
_LENGTH_BYTES = 8
_FEATURES, _FAILURE = b"+", b"-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkOrder:
    """Which trunk a process is to run.

    Attributes:
        modality: Name of what it encodes.
        choice: Name of the trunk, or how its file is read, whose bytes are the next message.
        settings: Names and values of the trunk's settings in the package.
        seconds: Processor time for a record, in seconds.
    """

    modality: str
    choice: TrunkChoice
    settings: tuple[tuple[str, str], ...]
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkStart:
    """Answer of a process that has loaded its trunk, or has not.

    Attributes:
        code: Code of the error that loading ended with; empty: none did.
        message: Words of that error.
        width: Number of raw features.
        local_blocks: Sizes of the blocks of further local features.
        bounds: Largest magnitudes of raw features: one of all, or of each.
    """

    code: str = ""
    message: str = ""
    width: int = 0
    local_blocks: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Write one message with its length in front; ``OSError``: nobody reads."""
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    stream.flush()


def read_frame(stream: IO[bytes], limit: int = FRAME_LIMIT) -> bytes | None:
    """Read one message of at most ``limit`` bytes; None: the stream ended, or it is longer."""
    length = int.from_bytes(head := stream.read(_LENGTH_BYTES), "big")
    if len(head) < _LENGTH_BYTES or length > limit:
        return None
    data = stream.read(length)
    return data if len(data) == length else None


def features_of(answer: bytes, count: int) -> torch.Tensor:
    """Raw and further features ``[1, count]`` of a record, from the process's answer.

    Raises:
        DecodeError: The trunk failed on the record; says how.
    """
    if answer[:1] == _FEATURES and len(answer) == 1 + 4 * count:
        return torch.from_numpy(np.frombuffer(answer, "<f4", offset=1)[None].copy()).clone()
    reason = answer[1:].decode("utf-8", "replace") if answer[:1] == _FAILURE else ""
    raise DecodeError("".join(letter for letter in reason if letter.isprintable())[:300] or "ended")


def main() -> None:
    """Load a trunk, and answer for one record after another, until there is none."""
    records = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a trunk prints is no answer
    _limit()
    order, data = read_frame(records), read_frame(records)
    if order is None or data is None:
        return
    with isolation.one_thread(), torch.inference_mode():
        start, trunk = _load(order, data)
        write_frame(answers, canonical.encode(start))
        if trunk is None:
            return
        seconds = canonical.decode(TrunkOrder, order, subject="trunk").seconds
        while (record := read_frame(records)) is not None:
            write_frame(answers, _answer_from_copy(trunk, start, record, seconds))


def _load(order_bytes: bytes, data: bytes) -> tuple[TrunkStart, EncoderTrunk | None]:
    """The trunk, unless loading it ended with an error."""
    try:
        order = canonical.decode(TrunkOrder, order_bytes, subject="trunk")
        modality, choice = order.modality, order.choice
        named_kind = trunk_of(modality, choice.name) if not choice.file else None
        kind = named_kind or file_trunk(modality, choice, data)
        trunk = kind.from_settings(dict(order.settings)).eval()
        bounds = np.atleast_1d(np.asarray(trunk.bounds(), dtype=np.float64)).tolist()
        start = TrunkStart(
            width=trunk.width, local_blocks=tuple(trunk.local_blocks), bounds=tuple(bounds)
        )
    except WgError as error:
        return TrunkStart(code=error.code, message=str(error)), None
    except MemoryError:
        return TrunkStart(code=DecodeError.code, message="trunk: needs too much memory"), None
    return start, trunk


def _answer_from_copy(trunk: EncoderTrunk, start: TrunkStart, record: bytes, seconds: int) -> bytes:
    """The answer for a record, from a copy of this process where the system can make one."""
    if not hasattr(os, "fork"):
        return _answer(trunk, start, record)
    source, target = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(source)
            _limit_work(seconds)
            with os.fdopen(target, "wb") as stream:
                stream.write(_answer(trunk, start, record))
        finally:
            os._exit(0)  # nothing of this copy runs on, whatever was raised
    os.close(target)
    with os.fdopen(source, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        return answer
    number = os.WTERMSIG(status)
    if hasattr(signal, "SIGXCPU") and number == signal.SIGXCPU:
        return _FAILURE + f"takes more than {seconds} s".encode()
    return _FAILURE + f"the process ended with signal {number}".encode()


def _answer(trunk: EncoderTrunk, start: TrunkStart, data: bytes) -> bytes:
    """Features of a record as bytes, or why there are none."""
    try:
        raw, blocks = trunk.read(trunk.prepare([_record(data)]))
        shapes = [tuple(part.shape) for part in (raw, *blocks)]
        expected = [(1, size) for size in (start.width, *start.local_blocks)]
        if shapes != expected:
            return _FAILURE + f"features of shape {shapes[:5]}, expected {expected[:5]}".encode()
        return _FEATURES + torch.cat([raw, *blocks], dim=1).float().numpy().astype("<f4").tobytes()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the record has no features
        return _FAILURE + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:1000]


def record_frame(record: np.ndarray[Any, Any]) -> bytes:
    """One record as a message: its type and shape, and its values."""
    record = np.ascontiguousarray(record).reshape(record.shape)
    head = canonical.encode({"type": record.dtype.str, "shape": list(record.shape)})
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + record.tobytes()


def _record(data: bytes) -> np.ndarray[Any, Any]:
    length = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    head = canonical.decode_part(_RecordHead, data[_LENGTH_BYTES:length], subject="record")
    return np.frombuffer(data, head.type, offset=length).reshape(head.shape).copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecordHead:
    type: str
    shape: tuple[int, ...]


def _limit() -> None:
    """Limit memory and files of this process and of all its copies."""
    with suppress(OSError):  # where the machine's memory is short, these end before the plant does
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        import resource
    except ImportError:  # see the module
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_work(seconds: int) -> None:
    """Let this process work for so many seconds of a processor."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    main()
