"""Loading of an encoder's trunk, and the parent's side of a trunk in a process with limits.

A trunk with ``TrunkKind.needs_process``, such as one from an operator's file, is loaded and run
only in a separate process (``trunk_process``). If that process fails on a record, only this record
has an error; the next one finds a process in the same state as before.

A broken trunk (a missing package, a damaged file) fails when it is loaded, before it sees a record
of a plant: a trunk that runs in this process is first run on an artificial record.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.nets.encoder import record_isolation
from wg_common.nets.encoder.trunk import EncoderTrunk, TrunkKind
from wg_common.nets.encoder.trunk_process import (
    FRAME_LIMIT,
    MEMORY_LIMIT,
    TrunkReply,
    TrunkRequest,
    decode_features,
    encode_record_message,
    read_frame,
    write_frame,
)
from wg_core import errors
from wg_core.errors import ConfigError, DecodeError, InternalError, StorageError
from wg_core.wire import canonical

CHILD_MODULE = "wg_common.nets.encoder.trunk_process"
CPU_SECONDS_LIMIT = 10  # CPU time that a trunk may spend on one record, in seconds
WALL_SECONDS_LIMIT = 120.0  # Wall-clock time to load a trunk or to wait for one record, in seconds
_EXAMPLE_RECORD_SHAPE = (8, 64)  # First two dimensions of the artificial record for ``load_trunk``


class TrunkNotStarted(StorageError):
    """Error: a trunk's process ended and cannot be restarted, so no record can be encoded."""


def load_trunk(kind: TrunkKind, modality: str, settings: Mapping[str, str]) -> EncoderTrunk:
    """Load an encoder's trunk in evaluation mode, in this process or in a separate one.

    Args:
        kind: Kind of the trunk.
        modality: Name of the modality that it encodes.
        settings: Settings of the trunk, from the encoder package's metadata.

    Raises:
        DecodeError: A setting is out of range, the file is not an accepted trunk, or a separate
            process takes too long to load it.
        VerificationError: The file's hash is not the declared one.
        ConfigError: A required package is not installed.
    """
    if kind.needs_process:
        return ConfinedTrunk(kind, modality, settings).eval()
    trunk = kind.from_settings(settings).eval()
    with record_isolation.limit_to_one_thread(), torch.inference_mode():
        trunk.compute_features(
            trunk.prepare([modality_of(modality).example_record(_EXAMPLE_RECORD_SHAPE)])
        )
    return trunk


class ConfinedTrunk(EncoderTrunk):
    """Trunk that is loaded and runs in a separate process with limits on memory and time.

    Raises:
        DecodeError: The file is not an accepted trunk, takes longer than ``WALL_SECONDS_LIMIT``, or
            needs more memory than ``MEMORY_LIMIT``.
        VerificationError: The file's hash is not the declared one.
        ConfigError: A package is missing, or the process cannot be started.
    """

    def __init__(self, kind: TrunkKind, modality: str, settings: Mapping[str, str]) -> None:
        super().__init__()
        self._kind = kind
        order = TrunkRequest(
            modality=modality,
            choice=kind.choice(),
            settings=tuple((name, settings[name]) for name in kind.settings()),
            seconds=CPU_SECONDS_LIMIT,
        )
        self._order = canonical.encode(order)
        self._lock = threading.Lock()
        self._process: _TrunkProcess | None = None
        self._start = self._start_process()

    @property
    def label(self) -> str:
        """Name of the trunk in encoder packages."""
        return self._kind.label

    @property
    def width(self) -> int:
        """Number of raw features of the trunk."""
        return self._start.width

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Number of features in each block of further local features."""
        return self._start.local_blocks

    @property
    def is_exportable(self) -> bool:
        """False: an exported model cannot include a trunk that runs in another process."""
        return False

    def feature_bounds(self) -> NDArray[np.float64] | float:
        """Return bounds on the trunk's raw features, ``[width]``, or one common bound."""
        bounds = np.array(self._start.bounds)
        return bounds if len(bounds) > 1 else float(bounds[0])

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Compute raw and further local features of a single record in the trunk's process.

        The result is one row, ``[1, width + sum(local_block_sizes)]``.

        Raises:
            DecodeError: The trunk failed on the record; the message has the reason.
            TrunkNotStarted: The process had ended, and a new one does not start.
        """
        (record,) = records
        with self._lock:
            if self._process is None or self._process.owner != os.getpid():
                self._restart_process()
            answer = self._ask_process(encode_record_message(record))
        try:
            return decode_features(answer, self.width + sum(self.local_block_sizes))
        except DecodeError as error:
            raise DecodeError(f"{self.label}: {error}") from error

    def forward(self, batch: Tensor) -> Tensor:
        """Return the raw features ``[1, width]`` in a row from ``prepare``."""
        return batch[:, : self.width]

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Split a row from ``prepare`` into raw features and blocks of further local features."""
        ends = itertools.accumulate(self.local_block_sizes, initial=self.width)
        blocks = [records[:, start:end] for start, end in itertools.pairwise(ends)]
        return self(records), blocks

    def _ask_process(self, *messages: bytes) -> bytes:
        """Send messages to the trunk's process; return its answer, or a failure if it has ended."""
        process = self._process
        if process is None:
            raise InternalError(f"{self.label}: no process to ask")
        try:
            answer = process.request_answer(*messages)
        except BaseException:
            self._stop_process()
            raise
        if answer is None:
            self._stop_process()
            return b"-" + process.reason.encode()
        return answer

    def _stop_process(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None

    def _restart_process(self) -> None:
        try:
            start = self._start_process()
        except errors.WgError as error:
            raise TrunkNotStarted(f"{self.label}: cannot be started again: {error}") from error
        if start != self._start:
            raise TrunkNotStarted(f"{self.label}: is another trunk since it was started again")

    def _start_process(self) -> TrunkReply:
        """Start a new trunk process, and return its first answer, which describes the trunk."""
        self._process = _TrunkProcess()
        answer = self._ask_process(self._order, self._kind.file_bytes)
        if self._process is None:
            raise DecodeError(f"{self.label}: {answer[1:].decode()}")
        start = canonical.decode(TrunkReply, answer, input_name=f"{self.label}: trunk")
        if start.code:
            self._stop_process()
            raise errors.ERRORS_BY_CODE.get(start.code, InternalError)(start.message)
        return start


class _TrunkProcess:
    """Process that runs a trunk, and ends when this object is deleted, unless in a forked copy."""

    def __init__(self) -> None:
        self.reason = ""
        words = [sys.executable, "-P", "-m", CHILD_MODULE]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to this process, which ends its child
            )
        except OSError as error:
            raise ConfigError(f"{CHILD_MODULE}: cannot be started: {error.strerror}") from error
        self.owner = os.getpid()
        self.end = weakref.finalize(self, _end_owned_process, self._process, self.owner)

    def request_answer(self, *messages: bytes) -> bytes | None:
        """Send messages; return the answer, or None with the reason in ``reason`` if none comes."""
        timeout = threading.Event()

        def stop() -> None:
            timeout.set()
            _kill_process(self._process)

        source, target = self._process.stdin, self._process.stdout
        if source is None or target is None:
            raise InternalError("a process without pipes")
        clock = threading.Timer(WALL_SECONDS_LIMIT, stop)
        clock.daemon = True
        clock.start()
        try:
            for frame in messages:
                write_frame(source, frame)
            answer = read_frame(target, FRAME_LIMIT)
        except OSError:  # the process no longer reads
            answer = None
        finally:
            clock.cancel()
        if timeout.is_set():
            self.reason = f"takes more than {WALL_SECONDS_LIMIT:g} s"
        elif answer is None:
            self.reason = (
                f"needs more than {MEMORY_LIMIT >> 30} GiB, or is damaged: its process ended"
            )
        return answer


def _kill_process(process: "subprocess.Popen[bytes]") -> None:
    """Kill a trunk process, and the forked copy of it that encodes a record, if there is one."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg") and hasattr(signal, "SIGKILL"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _end_owned_process(process: "subprocess.Popen[bytes]", owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return
    _kill_process(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # unread output cannot be flushed
                stream.close()
    process.wait()
