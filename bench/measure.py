"""Description of the machine, and memory and time of processes (Linux), for benchmarks."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("flwr", "sqlalchemy", "uvicorn", "httpx", "numpy")


def describe_machine() -> dict[str, object]:
    """Describe the machine and versions on which results are measured."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load_average_at_start": os.getloadavg(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": os.environ.get("WG_BENCH_COMMIT")  # of a copy of the tree, that has no .git
        or subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the developer's own git
            cwd=RESULTS.parent,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip(),
    }


def resident_memory(pid: int) -> float:
    """Current resident memory of a process, MB (10^6 bytes)."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int) -> float:
    """Largest resident memory of a process since ``reset_peak``, MB (10^6 bytes)."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Reset the peak memory of a process to its current memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def save_result(name: str, document: dict[str, object]) -> None:
    """Print a result and store it under ``bench/results``."""
    text = json.dumps(document, indent=2) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
    sys.stdout.write(text)


def save_settings(results: Path, **settings: object) -> None:
    """Store settings and the machine beside rows of results."""
    document = {**settings, "machine": describe_machine()}
    results.with_suffix(".config.json").write_text(json.dumps(document, indent=2) + "\n")


def wait_until(condition: Callable[[], bool], event: str, seconds: float) -> float:
    """Wait until ``condition()`` is true; return the seconds that this took.

    Raises:
        SystemExit: It is not true after ``seconds``; the message names the ``event``.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise SystemExit(f"{event}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - start


def _status(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"process {pid} has no {field}")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
