"""Real processes: killed at every step, racing for a cap, on a full or read-only disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.patience import PATIENCE_SECONDS

from wg_audit import composition, verification
from wg_core.ledger.budget_ledger import Ledger

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

WORKER = Path(__file__).with_name("worker.py")
STEPS = (
    "charge:begun",
    "charge:inserted",
    "transaction:filled",
    "charge:committed",
    "sampled",
    "release:begun",
    "release:inserted",
    "release:stored",
    "release:committed",
    "checkpoint:signed",
    "checkpoint:cosigned",
    "cosignature:stored",
    "sent",
)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in err, err
    return process.returncode, json.loads(out) if out else {}


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    return finish(start(folder, *words))


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_charges_once(site: Site, step: str) -> None:
    site.create().close()
    code, _ = run(site.folder, "answer", step)
    assert code == -signal.SIGKILL, f"step {step} was not reached"
    with site.open() as ledger:
        charges = ledger.read_spending("parts").charge_count
        stored = ledger.released_bytes("r1")
    committed = STEPS.index(step) >= STEPS.index("charge:committed")
    assert charges == (1 if committed else 0)
    assert (stored is not None) == (STEPS.index(step) >= STEPS.index("release:committed"))
    code, found = run(site.folder, "answer")
    assert code == 0
    assert found["new"] == (not committed), "a charge that was made is completed, not repeated"
    if stored is not None:
        assert bytes.fromhex(found["payload"]) == stored, "a stored release is sent again as it is"
    again = run(site.folder, "answer")[1]
    assert again["payload"] == found["payload"] and not again["new"]
    finding = verification.audit_log(site.path)
    assert finding.accounts[0].charges == 1 and not finding.burned


def contest(site: Site, racers: int, attempts: int, allowed: int) -> None:
    """Racers try more than the cap allows; exactly what it allows is charged."""
    from wg_core.ledger.budget_ledger import round_up_decimal
    from wg_core.privacy.events import PrivacyEvent

    event = site.request(epsilon="0.5").event
    units = str(allowed * int(event.mu_squared))
    spent = closed_form(PrivacyEvent(mechanism="gaussian", mu_squared=units))
    site.cap = round_up_decimal(spent)
    site.create().close()
    processes = [
        start(site.folder, "race", f"racer{n}", str(attempts), site.cap) for n in range(racers)
    ]
    results = [finish(process) for process in processes]
    assert all(code == 0 for code, _ in results)
    assert sum(found["charged"] for _, found in results) == allowed
    with site.open() as ledger:
        assert ledger.read_spending("parts").charge_count == allowed
    assert verification.audit_log(site.path).accounts[0].charges == allowed


def closed_form(event: Any) -> float:
    return composition.gaussian_epsilon(int(event.mu_squared), 1e-5)


@pytest.mark.parametrize("racers", [2, 8])
def test_racing_processes_end_exactly_at_the_cap(site: Site, racers: int) -> None:
    contest(site, racers, attempts=40 // racers, allowed=20)


@pytest.mark.slow
@pytest.mark.parametrize("repetition", range(20))
def test_eight_processes_end_exactly_at_the_cap_every_time(site: Site, repetition: int) -> None:
    contest(site, 8, attempts=10, allowed=20 + repetition)


def test_a_full_disk_refuses_and_loses_nothing(site: Site) -> None:
    site.create().close()
    size = site.path.stat().st_size
    seen = set()
    for room in range(0, 120_000, 20_000):
        folder = site.folder / str(room)
        folder.mkdir()
        shutil.copy(site.path, folder / site.path.name)
        code, found = run(folder, "starve", str(max(size // 4, 1) + room))
        seen.add(code)
        assert code in (0, 3), found
        if code:
            assert "cannot write or read the ledger" in found["error"]
        code, after = run(folder, "answer")
        assert code == 0, after
        with Ledger.open(folder / site.path.name) as ledger:
            assert ledger.read_spending("parts").charge_count == 1
        if 0 in seen and 3 in seen:
            break
    assert seen == {0, 3}, "the test must meet both a full disk and one with room"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_a_read_only_disk_refuses_and_is_still_readable(site: Site, shared: Path) -> None:
    site.folder = shared
    site.create().close()
    site.path.chmod(0o644)
    code, found = run(shared, "nobody")
    assert code == 3 and "read-only" in found["error"], found
    assert verification.audit_log(site.path).accounts[0].charges == 0
