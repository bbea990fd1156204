"""A trunk at work: in this process, or in one of its own with limits (``trunk_process``).

A trunk that an operator supplied as a file, and any that does not say otherwise
(``TrunkKind.needs_process``), is loaded and run in a process of its own alone. What it does to that
process on a record is an error of that record; the next one finds a process as it was before.

An error of a trunk as such (a missing package, a damaged file) shows when it is loaded, before it
sees a record of a plant: a trunk that stays in this process is run on a made-up record for that.
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
from wg_common.modalities.registry import modality as modality_of
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder.trunk import EncoderTrunk, TrunkKind
from wg_common.nets.encoder.trunk_process import (
    FRAME_LIMIT,
    MEMORY_LIMIT,
    TrunkOrder,
    TrunkStart,
    features_of,
    read_frame,
    record_frame,
    write_frame,
)
from wg_core import errors
from wg_core.errors import ConfigError, DecodeError, InternalError, StorageError
from wg_core.wire import canonical

PROGRAM = "wg_common.nets.encoder.trunk_process"
WORK_LIMIT = 10  # Seconds of a processor that a trunk may work on one record
TIME_LIMIT = 120.0  # Seconds by the clock, to load a trunk or to wait for one record
_EXAMPLE = (8, 64)  # First two sides of a made-up record


class NotStartedError(StorageError):
    """A trunk that could be loaded before cannot be now: the machine is short of something."""


def load_trunk(kind: TrunkKind, modality: str, settings: Mapping[str, str]) -> EncoderTrunk:
    """A trunk that can be given records, loaded and tried.

    Args:
        modality: Name of what it encodes.
        settings: The trunk's own, as in a package.

    Raises:
        DecodeError: A setting is out of range, or it is no trunk that is taken here.
        VerificationError: It is another one than it should be.
        ConfigError: Something that it needs is not installed, or loading it takes too long.
    """
    if kind.needs_process:
        return ConfinedTrunk(kind, modality, settings).eval()
    trunk = kind.from_settings(settings).eval()
    with isolation.one_thread(), torch.inference_mode():
        trunk.read(trunk.prepare([modality_of(modality).example(_EXAMPLE)]))
    return trunk


class ConfinedTrunk(EncoderTrunk):
    """A trunk whose work a process of its own does; the batch that it prepares are its features.

    Raises:
        DecodeError: It is no trunk that is taken, or needs more than ``MEMORY_LIMIT``.
        VerificationError: The file is another one than its choice names.
        ConfigError: It takes too long to load, or a package is missing.
    """

    def __init__(self, kind: TrunkKind, modality: str, settings: Mapping[str, str]) -> None:
        super().__init__()
        self._kind = kind
        order = TrunkOrder(
            modality=modality,
            choice=kind.choice(),
            settings=tuple((name, settings[name]) for name in kind.settings()),
            seconds=WORK_LIMIT,
        )
        self._order = canonical.encode(order)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._start = self._start_process()

    @property
    def label(self) -> str:
        """Name in packages."""
        return self._kind.label

    @property
    def width(self) -> int:
        """Number of raw features."""
        return self._start.width

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of further local features."""
        return self._start.local_blocks

    @property
    def exports(self) -> bool:
        """No: another process runs it."""
        return False

    def bounds(self) -> NDArray[np.float64] | float:
        """Largest magnitude of each raw feature of any valid record, ``[width]``, or of all."""
        bounds = np.array(self._start.bounds)
        return bounds if len(bounds) > 1 else float(bounds[0])

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Raw features and further ones of one record, ``[1, width + sum of blocks]``.

        Raises:
            DecodeError: The trunk failed on the record; says how.
            NotStartedError: Its process ended, and another one does not start.
        """
        (record,) = records
        with self._lock:
            if self._process is None or self._process.owner != os.getpid():
                self._restart()
            answer = self._ask(record_frame(record))
        try:
            return features_of(answer, self.width + sum(self.local_blocks))
        except DecodeError as error:
            raise DecodeError(f"{self.label}: {error}") from error

    def forward(self, batch: Tensor) -> Tensor:
        """Raw features ``[1, width]``."""
        return batch[:, : self.width]

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Raw features, and the further ones block by block."""
        ends = itertools.accumulate(self.local_blocks, initial=self.width)
        blocks = [records[:, start:end] for start, end in itertools.pairwise(ends)]
        return self(records), blocks

    def _ask(self, *frames: bytes) -> bytes:
        """The answer to some messages; without one the process is at its end, and says why."""
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
            raise NotStartedError(f"{self.label}: cannot be started again: {error}") from error
        if start != self._start:
            raise NotStartedError(f"{self.label}: is another trunk since it was started again")

    def _start_process(self) -> TrunkStart:
        """A new process, and what it says of its trunk; errors as of the class."""
        self._process = _Process()
        answer = self._ask(self._order, self._kind.data)
        if self._process is None:
            raise DecodeError(f"{self.label}: {answer[1:].decode()}")
        start = canonical.decode(TrunkStart, answer, subject=f"{self.label}: trunk")
        if start.code:
            self._end()
            raise errors.BY_CODE.get(start.code, InternalError)(start.message)
        return start


class _Process:
    """One process of ``trunk_process``, which ends with this object.

    A copy of this object in a forked process leaves it alone.
    """

    def __init__(self) -> None:
        self.reason = ""
        words = [sys.executable, "-P", "-m", PROGRAM]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
        except OSError as error:
            raise ConfigError(f"{PROGRAM}: cannot be started: {error.strerror}") from error
        self.owner = os.getpid()
        self.end = weakref.finalize(self, _end, self._process, self.owner)

    def ask(self, *frames: bytes) -> bytes | None:
        """The answer to some messages, or none: the process ended, or took too long."""
        timeout = threading.Event()

        def stop() -> None:
            timeout.set()
            _kill(self._process)

        source, target = self._process.stdin, self._process.stdout
        if source is None or target is None:
            raise InternalError("a process without pipes")
        clock = threading.Timer(TIME_LIMIT, stop)
        clock.daemon = True
        clock.start()
        try:
            for frame in frames:
                write_frame(source, frame)
            answer = read_frame(target, FRAME_LIMIT)
        except OSError:  # it does not read any more
            answer = None
        finally:
            clock.cancel()
        if timeout.is_set():
            self.reason = f"takes more than {TIME_LIMIT:g} s"
        elif answer is None:
            self.reason = (
                f"needs more than {MEMORY_LIMIT >> 30} GiB, or is damaged: its process ended"
            )
        return answer


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process, with the copy of it that may be at work."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg") and hasattr(signal, "SIGKILL"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:
        return
    _kill(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was not read cannot be written any more
                stream.close()
    process.wait()
