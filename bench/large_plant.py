"""Processor time and memory of a plant with thousands of records, by real commands.

    python -m bench.large_plant [--data FILE]

The data are windows of one channel, 1,024 samples of tones with noise, of twelve classes in 120
recordings; or the records of a file that ``wg-client init`` reads. ``wg-client init`` without a
server freezes them and fits the plant's own model; ``models fit`` fits it again. Seconds are
processor time over all threads of a command; memory is its peak. Nothing is asserted.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from wg_core.site.home import ClientHome

CLASSES, RECORDINGS = 12, 120


def main() -> None:
    """Write the data, run both commands, and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--data", type=Path, help="a file of records, in place of windows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, data = Path(folder) / "plant", options.data or Path(folder) / "windows.npz"
        init = ["init", "--home", home, "--data", data, "--set-aside"]
        if options.data:
            print(options.data.name)
        else:
            write_windows(data, options.windows, options.samples)
            print(f"{options.windows} windows of {options.samples} samples, {CLASSES} classes")
            init += ["--unit-column", "group"]
        print(f"init: {command_cost(*init)}", flush=True)
        shutil.rmtree(ClientHome(home).models)
        print(f"models fit: {command_cost('models', 'fit', '--home', home)}")


def write_windows(path: Path, count: int, samples: int) -> None:
    """Write a ``.npz`` file of windows, each a tone of its class, shifted by its recording."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, RECORDINGS, count)
    labels = groups % CLASSES
    pitches = 40 + 9 * labels + rng.normal(0, 1, RECORDINGS)[groups]
    turns = np.arange(samples) / 1024 * pitches[:, None] + rng.random((count, 1))
    x = np.sin(2 * np.pi * turns) + rng.normal(0, 2, turns.shape)
    classes = np.array([f"c{number}" for number in range(CLASSES)])
    np.savez(path, x=x[:, None].astype(np.float32), y=labels, classes=classes, group=groups)


def command_cost(*arguments: str | Path) -> str:
    """Run a ``wg-client`` command; return its processor time and peak memory as a text.

    Raises:
        SystemExit: The command failed.
    """
    program = Path(sys.executable).with_name("wg-client")
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[0]}: exit {process.returncode}")
    seconds = usage.ru_utime + usage.ru_stime
    return f"{seconds:.1f} s of processor, {usage.ru_maxrss * 1024 / 1e6:.0f} MB at most"


if __name__ == "__main__":
    main()
