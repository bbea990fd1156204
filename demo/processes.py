"""Our own commands as real processes, none of which outlives the demo."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STOP_SECONDS = 15


class CommandFailed(Exception):
    """A command ended with an exit code other than 0."""


class Processes:
    """Runs ``wg-*`` commands of this environment; logs of the long-lived ones go to files.

    Every command leads a process group of its own, so that a Ctrl-C reaches the demo alone, which
    then ends them in order.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # Several processes compute side by side on few cores: one thread each.
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, *words: str | Path, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command to its end, its progress on our standard error; return what it printed.

        Raises:
            CommandFailed: It ended with a code that is not allowed.
        """
        with subprocess.Popen(
            _line(words),
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
            text=True,
        ) as process:
            try:
                out, _ = process.communicate()
            except BaseException:
                _end(process)
                raise
        if process.returncode not in allowed:
            raise CommandFailed(f"{_shown(words)}: exit code {process.returncode}\n{out}")
        return out

    def json(self, *words: str | Path) -> Any:
        """Run a command with ``--json`` and return its document."""
        return json.loads(self.run(*words, "--json"))

    def start(self, name: str, *words: str | Path) -> None:
        """Start a command that stays; its output goes to a log file."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                _line(words),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )

    def wait_for(self, name: str, text: str, seconds: float) -> None:
        """Wait until a started command's log has ``text``.

        Raises:
            CommandFailed: It ended, or did not say so in time.
        """
        log = self._logs / f"{name}.log"
        end = time.monotonic() + seconds
        while text not in log.read_text("utf-8", "replace"):
            self.check()
            if time.monotonic() > end:
                raise CommandFailed(f"{name}: no {text!r} within {seconds:.0f} s; see {log}")
            time.sleep(0.1)

    def wait(self, name: str, seconds: float) -> None:
        """Wait until a started command has ended by itself.

        Raises:
            CommandFailed: It failed, or did not end in time.
        """
        try:
            self._running[name].wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{name}: still running after {seconds:.0f} s") from error
        self.check()

    def check(self) -> None:
        """Raise if a started command has ended by itself with a failure.

        Raises:
            CommandFailed: It has.
        """
        for name, process in self._running.items():
            if process.poll() not in (None, 0):
                tail = (self._logs / f"{name}.log").read_text("utf-8", "replace")[-2000:]
                raise CommandFailed(f"{name}: exit code {process.returncode}\n{tail}")

    def stop(self, name: str) -> None:
        """End one started command cleanly (SIGTERM), and by force if it does not listen."""
        _end(self._running.pop(name))

    def stop_all(self) -> None:
        """End every started command, the last started first."""
        for name in reversed(list(self._running)):
            self.stop(name)


@contextlib.contextmanager
def processes(logs: Path) -> Iterator[Processes]:
    """Give a ``Processes`` and end all that it started, whatever happens."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    running = Processes(logs)
    try:
        yield running
    finally:
        signal.signal(signal.SIGTERM, before)
        running.stop_all()


def _line(words: tuple[str | Path, ...]) -> list[str]:
    command, *rest = [str(word) for word in words]
    return [str(Path(sys.executable).with_name(command)), *rest]


def _shown(words: tuple[str | Path, ...]) -> str:
    return " ".join(str(word) for word in words[:4])


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
