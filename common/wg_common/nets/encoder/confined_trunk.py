"""Execution of a trunk in this process, or in a separate process with limits (``trunk_process``).

A trunk that an operator supplied as a file, and any trunk with ``TrunkKind.needs_process``, is
loaded and run in a separate process only. A failure of that process on a record is an error of that
record; the next record gets a process in the same state as before.

An error of the trunk itself (a missing package, a damaged file) shows when it is loaded, before it
sees a record of a plant: a trunk that runs in this process is tried on an artificial record.
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
from wg_common.nets.encoder import isolation
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
_EXAMPLE_SHAPE = (8, 64)  # First two dimensions of an artificial record


class TrunkNotStarted(StorageError):
    """Error: a trunk cannot be restarted, because the machine lacks some resource."""


def load_trunk(kind: TrunkKind, modality: str, settings: Mapping[str, str]) -> EncoderTrunk:
    """Load an encoder's trunk and try it, so that it is ready for records.

    Args:
        kind: Kind of the trunk.
        modality: Name of the modality that it encodes.
        settings: Settings of the trunk, as in a package.

    Raises:
        DecodeError: A setting is out of range, or the file is not an accepted trunk.
        VerificationError: The trunk's digest is not the expected one.
        ConfigError: A required package is not installed, or loading takes too long.
    """
    if kind.needs_process:
        return ConfinedTrunk(kind, modality, settings).eval()
    trunk = kind.from_settings(settings).eval()
    with isolation.limit_to_one_thread(), torch.inference_mode():
        trunk.compute_features(
            trunk.prepare([modality_of(modality).example_record(_EXAMPLE_SHAPE)])
        )
    return trunk


class ConfinedTrunk(EncoderTrunk):
    """Trunk of an encoder that runs in a separate process with limits.

    Raises:
        DecodeError: The file is not an accepted trunk, or needs more than ``MEMORY_LIMIT``.
        VerificationError: The file is not the one that its choice names.
        ConfigError: Loading takes too long, or a package is missing.
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
        self._process: _Process | None = None
        self._start = self._start_process()

    @property
    def label(self) -> str:
        """Name of the trunk in packages."""
        return self._kind.label

    @property
    def width(self) -> int:
        """Number of raw features of the trunk."""
        return self._start.width

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of further local features."""
        return self._start.local_blocks

    @property
    def is_exportable(self) -> bool:
        """False: a model file cannot include a trunk that another process runs."""
        return False

    def feature_bounds(self) -> NDArray[np.float64] | float:
        """Return bounds on the trunk's raw features, ``[width]``, or one common bound."""
        bounds = np.array(self._start.bounds)
        return bounds if len(bounds) > 1 else float(bounds[0])

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Compute raw and further features of one record, ``[1, width + sum of blocks]``.

        Raises:
            DecodeError: The trunk failed on the record, for the stated reason.
            TrunkNotStarted: The process ended, and a new process does not start.
        """
        (record,) = records
        with self._lock:
            if self._process is None or self._process.owner != os.getpid():
                self._restart()
            answer = self._ask(encode_record_message(record))
        try:
            return decode_features(answer, self.width + sum(self.local_blocks))
        except DecodeError as error:
            raise DecodeError(f"{self.label}: {error}") from error

    def forward(self, batch: Tensor) -> Tensor:
        """Return the trunk's raw features ``[1, width]`` of a prepared record."""
        return batch[:, : self.width]

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return raw features of a prepared record, and further features block by block."""
        ends = itertools.accumulate(self.local_blocks, initial=self.width)
        blocks = [records[:, start:end] for start, end in itertools.pairwise(ends)]
        return self(records), blocks

    def _ask(self, *frames: bytes) -> bytes:
        """Return the trunk process's answer to messages; end the process if it gives none."""
        process = self._process
        if process is None:
            raise InternalError(f"{self.label}: no process to ask")
        try:
            answer = process.ask(*frames)
        except BaseException:
            self._end()
            raise
        if answer is None:
            self._end()
            return b"-" + process.reason.encode()
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None

    def _restart(self) -> None:
        try:
            start = self._start_process()
        except errors.WgError as error:
            raise TrunkNotStarted(f"{self.label}: cannot be started again: {error}") from error
        if start != self._start:
            raise TrunkNotStarted(f"{self.label}: is another trunk since it was started again")

    def _start_process(self) -> TrunkReply:
        """Start a new trunk process, and return its description of the trunk."""
        self._process = _Process()
        answer = self._ask(self._order, self._kind.data)
        if self._process is None:
            raise DecodeError(f"{self.label}: {answer[1:].decode()}")
        start = canonical.decode(TrunkReply, answer, subject=f"{self.label}: trunk")
        if start.code:
            self._end()
            raise errors.ERRORS_BY_CODE.get(start.code, InternalError)(start.message)
        return start


class _Process:
    """Process that runs a trunk, and ends with this object but not with a forked copy of it."""

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
        self.end = weakref.finalize(self, _end_process, self._process, self.owner)

    def ask(self, *frames: bytes) -> bytes | None:
        """Return the trunk process's answer to messages; None if it ended or took too long."""
        timeout = threading.Event()

        def stop() -> None:
            timeout.set()
            _kill(self._process)

        source, target = self._process.stdin, self._process.stdout
        if source is None or target is None:
            raise InternalError("a process without pipes")
        clock = threading.Timer(WALL_SECONDS_LIMIT, stop)
        clock.daemon = True
        clock.start()
        try:
            for frame in frames:
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


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a trunk process, and its forked copy if there is one."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg") and hasattr(signal, "SIGKILL"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _end_process(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:
        return
    _kill(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # unread output cannot be flushed
                stream.close()
    process.wait()
