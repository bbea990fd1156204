"""Real processes of the product's commands, which all end before the demo does."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STOP_SECONDS = 15
_PRIORITY_STEP = 5  # Added niceness, which leaves a third of a normal process's processor time


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CommandFailed(Exception):
    """A command ended with an exit code other than 0."""


class Processes:
    """Runner of ``wg-*`` commands of this environment; long-lived ones log to files.

    Every command leads its own process group, so that a Ctrl-C reaches only the demo, which then
    ends the commands in order.
    """

    def __init__(self, log_folder: Path) -> None:
        self._logs = log_folder
        self._starting = False
        self._interrupted = False
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._allowed: dict[str, tuple[int, ...]] = {}
        # Several processes compute side by side on few cores: one thread each.
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log_folder.mkdir(parents=True, exist_ok=True)

    def run(self, *words: str | Path, allowed_exit_codes: tuple[int, ...] = (0,)) -> str:
        """Run a command to its end and return its output; its progress goes to standard error.

        Raises:
            CommandFailed: The command's exit code is not in ``allowed_exit_codes``.
        """
        return self.run_all(words, allowed_exit_codes=allowed_exit_codes)[0]

    def run_all(
        self,
        *commands: Sequence[str | Path],
        allowed_exit_codes: tuple[int, ...] = (0,),
        at_low_priority: bool = False,
    ) -> list[str]:
        """Run commands in parallel, and return their outputs in the same order.

        With ``at_low_priority`` they run at lower priority, to leave processor time to other
        processes.

        Raises:
            CommandFailed: A command's exit code is not in ``allowed_exit_codes``.
        """
        started: list[subprocess.Popen[bytes]] = []
        try:
            for number, words in enumerate(commands):
                with self._delayed_signals():
                    process = self._start_piped(words)
                    _lower_priority(process, at_low_priority)
                    self._running[f" {number}"] = process
                    started.append(process)
            found = [process.communicate()[0].decode("utf-8", "replace") for process in started]
        except BaseException:
            for process in started:
                _end_group(process)
            raise
        finally:
            for number in range(len(started)):
                del self._running[f" {number}"]
        for process, words, out in zip(started, commands, found, strict=True):
            if process.returncode not in allowed_exit_codes:
                shown = " ".join(str(word) for word in words[:4])
                raise CommandFailed(f"{shown}: exit code {process.returncode}\n{out}")
        return found

    def run_json(self, *words: str | Path) -> Any:
        """Run a command with ``--json``, and return its decoded output."""
        return json.loads(self.run(*words, "--json"))

    def log_path(self, name: str) -> Path:
        """Return the path of the log of the command that was started under a name."""
        return self._logs / f"{name}.log"

    def start(
        self,
        name: str,
        *words: str | Path,
        allowed_exit_codes: tuple[int, ...] = (0,),
        at_low_priority: bool = False,
    ) -> None:
        """Start a long-lived command that logs to ``NAME.log``; parameters as in ``run_all``."""
        self._allowed[name] = allowed_exit_codes
        with self.log_path(name).open("ab") as log, self._delayed_signals():
            self._running[name] = subprocess.Popen(
                _command_line(words),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
            _lower_priority(self._running[name], at_low_priority)

    def wait_for_log_text(self, name: str, text: str) -> None:
        """Wait until a started command's log contains ``text``, without a time limit.

        Raises:
            CommandFailed: The command ended without this text in its log.
        """
        log = self.log_path(name)
        while True:
            ended = self._running[name].poll() is not None
            if text in log.read_text("utf-8", "replace"):
                return
            self.check_no_failures()
            if ended:
                raise CommandFailed(f"{name}: ended without {text!r}; see {log}")
            time.sleep(0.1)

    def wait_for_end(self, name: str) -> None:
        """Wait until a started command has ended by itself, without a time limit.

        Raises:
            CommandFailed: The command failed.
        """
        self._running[name].wait()
        self.check_no_failures()

    def interrupt(self, number: int, frame: object) -> None:
        """Handle a signal that ends the demo: raise, unless a command is just being started.

        An exception in the middle of ``Popen`` would leave an untracked process.
        """
        del number, frame
        if not self._starting:
            raise KeyboardInterrupt
        self._interrupted = True

    def _start_piped(self, arguments: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _command_line(arguments),
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )

    @contextlib.contextmanager
    def _delayed_signals(self) -> Iterator[None]:
        """Delay the exception of a signal until the end of the block."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def check_no_failures(self) -> None:
        """Check that no started command has failed.

        Raises:
            CommandFailed: A command ended with an exit code that is not allowed.
        """
        for name, process in self._running.items():
            if process.poll() not in (None, *self._allowed.get(name, (0,))):
                tail = self.log_path(name).read_text("utf-8", "replace")[-2000:]
                raise CommandFailed(f"{name}: exit code {process.returncode}\n{tail}")

    def stop(self, name: str) -> None:
        """Stop one started command with SIGTERM, and with SIGKILL if it does not react."""
        _end_group(self._running.pop(name))

    def stop_all(self) -> None:
        """Stop every started command, the last first; signals do not interrupt this."""
        with self._delayed_signals():
            for name in reversed(list(self._running)):
                self.stop(name)


@contextlib.contextmanager
def managed_processes(log_folder: Path) -> Iterator[Processes]:
    """Yield a ``Processes``, and at the end stop all its commands, even after an error."""
    running = Processes(log_folder)
    caught = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, running.interrupt) for number in caught]
    try:
        yield running
    finally:
        running.stop_all()
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler)


def _lower_priority(process: subprocess.Popen[Any], at_low_priority: bool) -> None:
    if at_low_priority:
        lower = os.getpriority(os.PRIO_PROCESS, 0) + _PRIORITY_STEP
        os.setpriority(os.PRIO_PROCESS, process.pid, lower)


def _command_line(arguments: Sequence[str | Path]) -> list[str]:
    command, *rest = [str(word) for word in arguments]
    return [str(Path(sys.executable).with_name(command)), *rest]


def _end_group(process: subprocess.Popen[Any]) -> None:
    """End a command and its child processes: SIGTERM, then SIGKILL after ``STOP_SECONDS``.

    Nothing is sent to a command that has ended: its id may belong to another process by now.
    """
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + STOP_SECONDS
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < end:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return


def empty_output_folder(out: Path) -> None:
    """Make an empty output folder; delete one of an earlier demo, but refuse any other files."""
    mark = out / ".weightgate-demo"
    if out.exists():
        if not mark.exists() and any(out.iterdir()):
            raise CommandFailed(f"{out}: not empty, and no earlier demo's folder")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    mark.touch()
