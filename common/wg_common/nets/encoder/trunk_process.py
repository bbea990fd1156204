"""Program of the separate process that runs a third-party trunk; ``confined_trunk`` starts it.

The process loads one trunk, and then reads records one by one. Each record is encoded in a forked
copy of the process, which ends afterwards. So all records find the same state in memory, and a
record that changes or kills its process does not affect any other. Memory is limited to
``MEMORY_LIMIT``, and CPU time for a record to ``TrunkRequest.seconds``; no file can be written. The
limits count only what the copy itself uses, whatever else runs on the machine.

On systems without ``fork`` (Windows), records are encoded one after another in the process itself,
where a trunk that keeps state could leak one record into the features of another. On systems
without resource limits (Windows), the parent process bounds only the wall-clock time, and memory is
bounded by the trunk's own limit (``onnx_file.ARENA_LIMIT``).

*Not guaranteed:* that a trunk which takes over its process (by a bug of ONNX Runtime) does no harm.
A record very close to a limit may exceed it on one run and not on another.
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

from wg_common.nets.encoder import record_isolation
from wg_common.nets.encoder.trunk import EncoderTrunk, find_trunk, trunk_from_file
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.errors import DecodeError, WgError
from wg_core.wire import canonical

MEMORY_LIMIT = 4 << 30  # Memory for the trunk and a record, in bytes
FRAME_LIMIT = 1 << 30  # Longest message (a record, or a trunk's file), in bytes
_LENGTH_PREFIX_BYTES = 8
_FEATURES, _FAILURE = b"+", b"-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRequest:
    """First message to a trunk process, which names the trunk to run.

    Attributes:
        modality: Name of the modality that it encodes.
        choice: Name of the trunk, or format of its file, whose bytes are the next message.
        settings: Names and values of the trunk's settings in the package.
        seconds: Largest CPU time for a record, in seconds.
    """

    modality: str
    choice: TrunkChoice
    settings: tuple[tuple[str, str], ...]
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkReply:
    """First answer of a trunk process: properties of the loaded trunk, or the error in loading.

    Attributes:
        code: Code of the error in loading; empty on success.
        message: Message of that error.
        width: Number of raw features.
        local_blocks: Sizes of the blocks of further local features.
        bounds: Bounds on the magnitudes of raw features: one common bound, or one for each.
    """

    code: str = ""
    message: str = ""
    width: int = 0
    local_blocks: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()


def write_frame(stream: IO[bytes], message: bytes) -> None:
    """Write a message, preceded by its length, to a pipe; ``OSError`` if the pipe is closed."""
    stream.write(len(message).to_bytes(_LENGTH_PREFIX_BYTES, "big") + message)
    stream.flush()


def read_frame(stream: IO[bytes], bytes_limit: int = FRAME_LIMIT) -> bytes | None:
    """Read a ``write_frame`` message; None if the pipe ends or it exceeds ``bytes_limit``."""
    length = int.from_bytes(head := stream.read(_LENGTH_PREFIX_BYTES), "big")
    if len(head) < _LENGTH_PREFIX_BYTES or length > bytes_limit:
        return None
    data = stream.read(length)
    return data if len(data) == length else None


def decode_features(answer: bytes, feature_count: int) -> torch.Tensor:
    """Decode a process's answer to a record: its raw and further features, ``[1, count]``.

    Raises:
        DecodeError: The trunk failed on the record, for the stated reason.
    """
    if answer[:1] == _FEATURES and len(answer) == 1 + 4 * feature_count:
        return torch.from_numpy(np.frombuffer(answer, "<f4", offset=1)[None].copy()).clone()
    reason = answer[1:].decode("utf-8", "replace") if answer[:1] == _FAILURE else ""
    raise DecodeError("".join(letter for letter in reason if letter.isprintable())[:300] or "ended")


def main() -> None:
    """Run the trunk process: load a trunk, and answer records until the input ends."""
    records = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a trunk's own output must not mix with answers
    _limit_resources()
    order, data = read_frame(records), read_frame(records)
    if order is None or data is None:
        return
    with record_isolation.limit_to_one_thread(), torch.inference_mode():
        start, trunk = _load_requested_trunk(order, data)
        write_frame(answers, canonical.encode(start))
        if trunk is None:
            return
        seconds = canonical.decode(TrunkRequest, order, input_name="trunk").seconds
        while (record := read_frame(records)) is not None:
            write_frame(answers, _answer_in_forked_copy(trunk, start, record, seconds))


def _load_requested_trunk(
    request_bytes: bytes, file_bytes: bytes
) -> tuple[TrunkReply, EncoderTrunk | None]:
    """Load the trunk of a ``TrunkRequest``; return the first answer, and the trunk or None."""
    try:
        order = canonical.decode(TrunkRequest, request_bytes, input_name="trunk")
        modality, choice = order.modality, order.choice
        named_kind = find_trunk(modality, choice.name) if not choice.file else None
        kind = named_kind or trunk_from_file(modality, choice, file_bytes)
        trunk = kind.from_settings(dict(order.settings)).eval()
        bounds = np.atleast_1d(np.asarray(trunk.feature_bounds(), dtype=np.float64)).tolist()
        start = TrunkReply(
            width=trunk.width, local_blocks=tuple(trunk.local_block_sizes), bounds=tuple(bounds)
        )
    except WgError as error:
        return TrunkReply(code=error.code, message=str(error)), None
    except MemoryError:
        return TrunkReply(code=DecodeError.code, message="trunk: needs too much memory"), None
    return start, trunk


def _answer_in_forked_copy(
    trunk: EncoderTrunk, first_reply: TrunkReply, record_message: bytes, cpu_seconds: int
) -> bytes:
    """Encode a record in a forked copy of this process, if possible; return the answer to send."""
    if not hasattr(os, "fork"):
        return _encode_answer(trunk, first_reply, record_message)
    source, target = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(source)
            _limit_cpu_seconds(cpu_seconds)
            with os.fdopen(target, "wb") as stream:
                stream.write(_encode_answer(trunk, first_reply, record_message))
        finally:
            os._exit(0)  # ends this copy without cleanup, whatever was raised
    os.close(target)
    with os.fdopen(source, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        return answer
    number = os.WTERMSIG(status)
    if hasattr(signal, "SIGXCPU") and number == signal.SIGXCPU:
        return _FAILURE + f"takes more than {cpu_seconds} s".encode()
    return _FAILURE + f"the process ended with signal {number}".encode()


def _encode_answer(trunk: EncoderTrunk, first_reply: TrunkReply, record_message: bytes) -> bytes:
    """Encode a record in this process; return its features, or the error, as an answer to send."""
    try:
        raw, blocks = trunk.compute_features(trunk.prepare([_decode_record(record_message)]))
        shapes = [tuple(part.shape) for part in (raw, *blocks)]
        expected = [(1, size) for size in (first_reply.width, *first_reply.local_blocks)]
        if shapes != expected:
            return _FAILURE + f"features of shape {shapes[:5]}, expected {expected[:5]}".encode()
        return _FEATURES + torch.cat([raw, *blocks], dim=1).float().numpy().astype("<f4").tobytes()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the record has no features
        return _FAILURE + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:1000]


def encode_record_message(record: np.ndarray[Any, Any]) -> bytes:
    """Return a message to a trunk process with a record's dtype, shape and values."""
    record = np.ascontiguousarray(record).reshape(record.shape)
    head = canonical.encode({"type": record.dtype.str, "shape": list(record.shape)})
    return len(head).to_bytes(_LENGTH_PREFIX_BYTES, "big") + head + record.tobytes()


def _decode_record(record_message: bytes) -> np.ndarray[Any, Any]:
    length = _LENGTH_PREFIX_BYTES + int.from_bytes(record_message[:_LENGTH_PREFIX_BYTES], "big")
    head = canonical.decode_known_fields(
        _RecordHeader, record_message[_LENGTH_PREFIX_BYTES:length], input_name="record"
    )
    return np.frombuffer(record_message, head.type, offset=length).reshape(head.shape).copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecordHeader:
    type: str
    shape: tuple[int, ...]


def _limit_resources() -> None:
    """Limit the memory of this process and its copies, and forbid them to write files."""
    with suppress(OSError):  # when memory runs out, the kernel kills these processes first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        import resource
    except ImportError:  # see the module
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu_seconds(cpu_seconds: int) -> None:
    """Limit the total CPU time of this process, where the system has such limits."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


if __name__ == "__main__":
    main()
