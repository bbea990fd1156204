"""Runs a scenario again and again, each time with one fault in its file calls.

``sweep`` compiles the shim and starts this module with it preloaded; there, for each fault, the
prepared disk is copied, the work is done in a forked process with the fault armed, and another one
checks what is left. SQLite's calls go through the same C library, so they are hit as well.

What is not simulated: data that the disk lost after it said that they are there.

Usage: LD_PRELOAD=SHIM python -m tests.faults.sweep SHIM SCENARIO EVERY FOLDER
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.patience import PATIENCE_SECONDS

KINDS = {"full": 1, "io": 2, "part": 3, "unread": 4, "killed": 5}
"""As in ``shim.c``: a full disk, EIO, half a write, EIO at a read, the end of the process."""
KILLED = 77
FAILED = 3
UNCAUGHT = 9
NEVER = 1 << 40
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class World:
    """Where a scenario plays.

    Attributes:
        disk: What faults strike.
        elsewhere: What they do not: another machine's memory, and what was given away.
    """

    disk: Path
    elsewhere: Path


class Scenario(Protocol):
    """Work on a disk that may fail, and what must hold whatever happened."""

    def prepare(self, world: World) -> None:
        """Make the disk as it is before."""
        ...

    def act(self, world: World) -> bytes:
        """Work, under a fault; returns what is given to the world, or raises ``WgError``."""
        ...

    def check(self, world: World, given: bytes | None) -> None:
        """Assert that nothing is lost, doubled or halved, and that the work can be done now.

        Args:
            world: As the fault left it; the disk works again.
            given: What ``act`` returned; None if it raised or was killed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of outcomes by kind of fault, and every fault after which something did not hold."""

    outcomes: dict[str, dict[str, int]]
    failures: list[str]

    @property
    def faults(self) -> int:
        """How many faults there were."""
        return sum(sum(each.values()) for each in self.outcomes.values())


def compile_shim(folder: Path) -> Path | None:
    """The shim as a shared library, or None where there is no compiler for it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return library


def sweep(library: Path, scenario: str, folder: Path, *, every: int) -> Report:
    """Run a scenario of ``tests.faults.scenarios`` with a fault at every so many calls."""
    words = [sys.executable, "-m", "tests.faults.sweep", str(library), scenario, str(every)]
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(
        [*words, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return Report(**json.loads(done.stdout))


class _Sweep:
    """One scenario's runs, in the process that has the shim."""

    def __init__(self, library: Path, scenario: Scenario, root: Path) -> None:
        self._shim = ctypes.CDLL(str(library))
        self._shim.fault_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
        self._shim.fault_count.restype = ctypes.c_long
        self._scenario = scenario
        self._root = root
        self._world = World(root / "now" / "disk", root / "now" / "elsewhere")
        self._told = root / "told"

    def run(self, every: int) -> Report:
        for path in (self._world.disk, self._world.elsewhere):
            path.mkdir(parents=True)
        self._scenario.prepare(self._world)
        shutil.copytree(self._root / "now", self._root / "before")
        self._scenario.check(self._world, self._scenario.act(self._world))  # all is imported now
        outcomes: dict[str, dict[str, int]] = {}
        failures: list[str] = []
        for kind in KINDS:
            outcomes[kind] = {}
            for number in range(0, self._calls(kind), every):
                outcome, failure = self._one(kind, number)
                outcomes[kind][outcome] = outcomes[kind].get(outcome, 0) + 1
                if failure:
                    failures.append(f"{kind} at call {number}: {outcome}: {failure}")
        return Report(outcomes, failures)

    def _calls(self, kind: str) -> int:
        """How many calls of a kind the work makes without a fault."""
        self._reset()

        def work() -> None:
            self._act(kind, NEVER)
            self._told.write_text(str(self._shim.fault_count()))

        if self._fork(work):
            raise SystemExit(f"without a fault: {self._told.read_text()}")
        return int(self._told.read_text())

    def _one(self, kind: str, number: int) -> tuple[str, str]:
        """Outcome of one fault, and what does not hold after it."""
        self._reset()
        given = self._root / "given"
        given.unlink(missing_ok=True)

        def work() -> None:
            given.write_bytes(self._act(kind, number))

        code = self._fork(work)
        outcome = {0: "done", FAILED: "error", KILLED: "killed"}.get(code, "uncaught")
        if outcome == "uncaught":
            return outcome, self._told.read_text() or f"exit code {code}"
        known = given.read_bytes() if given.exists() else None
        if self._fork(lambda: self._scenario.check(self._world, known)):
            return outcome, self._told.read_text()
        return outcome, ""

    def _act(self, kind: str, number: int) -> bytes:
        self._shim.fault_arm(f"{self._world.disk}/".encode(), KINDS[kind], number)
        try:
            return self._scenario.act(self._world)
        finally:
            self._shim.fault_rest()

    def _reset(self) -> None:
        shutil.rmtree(self._root / "now", ignore_errors=True)
        shutil.copytree(self._root / "before", self._root / "now")

    def _fork(self, work: Callable[[], None]) -> int:
        """Do something in a process of its own: 0, ``FAILED`` for a clear error, or another."""
        from wg_core.errors import WgError

        self._told.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE_SECONDS))
            code = 0
            try:
                work()
            except WgError:
                self._told.write_text(traceback.format_exc())
                code = FAILED
            except BaseException:  # noqa: BLE001 - told, and counted as a failure
                self._told.write_text(traceback.format_exc())
                code = UNCAUGHT
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        self._told.touch()
        return os.waitstatus_to_exitcode(status)


def main(library: str, scenario: str, every: str, folder: str) -> None:
    from tests.faults import scenarios

    found = _Sweep(Path(library), scenarios.SCENARIOS[scenario](), Path(folder)).run(int(every))
    sys.stdout.write(json.dumps({"outcomes": found.outcomes, "failures": found.failures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
