"""Speed of the ledger: durable appends, a charge, and offline verification of many entries.

Run ``python -m bench.ledger [--entries N] [--appends N]``; prints one JSON document with
the configuration and the machine. The long ledger is written without waiting for the disk and
with the closed-form accountant; the timed appends are the product's own.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import measure

from wg_core.ledger import charging, export, witness
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.commitment import commit_to_data
from wg_core.ledger.witness import WitnessState
from wg_core.privacy import calibration
from wg_core.privacy.events import MU_SQUARED_UNIT, PrivacyEvent
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.schema import default_schema
from wg_core.wire import signing

DELTA = "1e-5"
WITNESS = "bench.example/witness"
COSIGN_INTERVAL = 1000  # Entries between two cosigned checkpoints of the long ledger


def closed_form(events: Sequence[PrivacyEvent], delta: float) -> float:
    units = sum(int(event.mu_squared) for event in events)
    return calibration.gaussian_epsilon(math.sqrt(float(units * MU_SQUARED_UNIT)), delta)


def create_ledger(path: Path) -> tuple[Ledger, Callable[[], bytes]]:
    """Create a ledger with a data set and a witness; also return a function that cosigns it."""
    key, watcher = signing.generate_hybrid_key(), signing.generate_hybrid_key()
    ledger = Ledger.create(path, origin="bench/1", key=key, site="bench")
    ledger.enrol_witness(WITNESS, signing.public_bytes(watcher))
    ledger.register_dataset(
        DatasetRegistration(
            name="parts",
            commitment=commit_to_data(bytes(32), [b"data"]),
            cap_epsilon="1000",
            cap_delta=DELTA,
        )
    )
    memory: WitnessState | None = None

    def call(request: bytes) -> bytes:
        nonlocal memory
        found = witness.cosign_extension(
            memory,
            request,
            log=witness.KnownLog("bench/1", key.public_key()),
            witness=witness.NamedKey(WITNESS, watcher),
            current_time=int(time.time()),
        )
        memory = found.new_state
        return found.cosignature_lines

    return ledger, lambda: ledger.request_cosignature(WITNESS, call)


def charge_request(number: int, epsilon: float) -> charging.ChargeRequest:
    """Return the charge request of a number: ten labels, 64 features, a new encoder each time."""
    schema = default_schema(
        encoder=f"{number:064x}",
        dimension=64,
        labels=[f"label-{n}" for n in range(10)],
        clip_radius=1.0,
    )
    return charging.make_charge_request(
        schema,
        noise_scale(schema, epsilon, float(DELTA)),
        charging.ReleaseTerms(
            request_id=f"request-{number}",
            dataset="parts",
            epsilon=repr(epsilon),
            delta=DELTA,
            purpose="benchmark",
            recipient="bench.example",
        ),
    )


def timed_appends(folder: Path, count: int) -> dict[str, float]:
    """Time a durable charge, release and cosignature on this machine's disk, milliseconds."""
    ledger, cosign = create_ledger(folder / "small.sqlite")
    charges, releases, cosignatures = [], [], []
    for number in range(count):
        asked = charge_request(number, 0.5)
        start = time.perf_counter()
        charged = ledger.charge(asked)
        middle = time.perf_counter()
        ledger.record_release(charged.seq, b"x" * 6000)
        end = time.perf_counter()
        cosign()
        charges.append(middle - start)
        releases.append(end - middle)
        cosignatures.append(time.perf_counter() - end)
    ledger.close()
    return {
        "release_append_median_ms": 1e3 * statistics.median(releases),
        "charge_median_ms": 1e3 * statistics.median(charges),
        "countersign_median_ms": 1e3 * statistics.median(cosignatures),
    }


def build_ledger(path: Path, entries: int) -> float:
    """Create a ledger of many charges and releases; return the seconds."""
    start = time.perf_counter()
    ledger, cosign = create_ledger(path)
    ledger.accountant = closed_form
    template = charge_request(0, 0.01)
    while ledger.size < entries:
        number = ledger.size
        mechanism = replace(template.mechanism, encoder=f"{number:064x}")
        asked = replace(template, request_id=f"request-{number}", mechanism=mechanism)
        charged = ledger.charge(asked)
        ledger.record_release(charged.seq, b"x" * 64)
        if number % COSIGN_INTERVAL < 2:
            cosign()
    cosign()
    ledger.close()
    return time.perf_counter() - start


VERIFY_SCRIPT = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from wg_audit import verification
found = verification.audit_log(Path(sys.argv[1]))
print(json.dumps({"seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time(), "entries": found.history.state.size,
    "entry_bytes": found.history.bytes,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def measure_verification(path: Path) -> dict[str, float]:
    """Verify a ledger in a new process; return its seconds and peak memory."""
    output = subprocess.run(
        [sys.executable, "-c", VERIFY_SCRIPT, str(path)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(output.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--appends", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, object] = {
            "config": vars(options),
            "machine": measure.describe_machine(),
            "appends": timed_appends(folder, options.appends),
        }
        ledger = folder / "ledger.sqlite"
        result["build_seconds"] = build_ledger(ledger, options.entries)
        out = folder / "ledger.wgl"
        start = time.perf_counter()
        export.write_export(ledger, out)
        result["export_seconds"] = time.perf_counter() - start
        result["export_mb"] = out.stat().st_size / 2**20
        result["verify_export"] = measure_verification(out)
        result["verify_ledger"] = measure_verification(ledger)
    result["self_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
