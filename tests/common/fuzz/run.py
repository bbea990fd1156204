"""Fuzzing by coverage: ``python -m tests.common.fuzz.run [--seconds N] [--jobs N] [NAME ...]``.

Each target runs in a process of its own under atheris (libFuzzer): our own code is instrumented,
and inputs that reach something new are kept and changed further. A process ends with an error at
the first exception that is not ``WgError``, at an input that takes more than ten seconds, and at
2 GB of memory: bounds on work are tested with the decoders. What broke a target is left in
``fuzz-out/NAME`` and printed; put it into ``tests/common/fuzz/found/NAME``.

atheris needs clang's runtime, which its wheels carry; where there is no wheel, the hypothesis test
beside this module is what remains, and this one says so and ends well.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OUT = Path(os.environ.get("WEIGHTGATE_FUZZ_OUT", ROOT / "fuzz-out"))
SECONDS_AN_INPUT = 10
MEGABYTES = 2048


def fuzz_one(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(
        include=["wg_core", "wg_audit", "wg_common", "wg_client", "wg_server"]
    ):
        from tests.common.fuzz import targets
    from wg_core.errors import WgError

    target = targets.TARGETS[name]
    for number, seed in enumerate(targets.corpus(name)):
        (folder / f"seed-{number}").write_bytes(seed)

    def check(data: bytes) -> None:
        try:
            target.decode(data)
        except WgError:
            return
        except BaseException:
            kept = hashlib.sha256(data).hexdigest()[:16]
            (OUT / name / f"crash-{kept}").write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *options, str(folder)], check)
    atheris.Fuzz()


def start(name: str, seconds: int) -> tuple[str, int, str]:
    """Fuzz one target in a process: name, exit code, the end of its log."""
    kept = OUT / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wg-fuzz-corpus-") as folder:
        words = [
            *(sys.executable, "-m", "tests.common.fuzz.run", "--one", name, folder),
            f"-max_total_time={seconds}",
            f"-timeout={SECONDS_AN_INPUT}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-artifact_prefix={kept}/",
            "-max_len=65536",
            "-seed=1",
            "-print_final_stats=1",
        ]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return name, done.returncode, done.stderr[-6000:] + done.stdout[-2000:]


def main() -> int:
    """Fuzz the named targets, or all."""
    if sys.argv[1:2] == ["--one"]:
        fuzz_one(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not installed (no wheel for this Python?): nothing was fuzzed")
        return 0
    from tests.common.fuzz.targets import TARGETS

    names = asked.names or list(TARGETS)
    broken = 0
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        for name, code, log in pool.map(lambda one: start(one, asked.seconds), names):
            runs = [line.split()[-1] for line in log.splitlines() if "number_of_executed" in line]
            print(
                f"{name:22} {runs[0] if runs else '?':>10} inputs  {'ok' if not code else 'BROKEN'}"
            )
            if code:
                broken += 1
                print(log, f"inputs are kept in {OUT / name}", sep="\n")
    print(f"{len(names)} targets, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
