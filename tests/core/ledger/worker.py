"""A process of its own, which the tests kill, race, starve and lock out. Prints one JSON line.

Usage: worker.py FOLDER MODE [WORDS...]; exit code 0, or that of the error.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY))

from tests.core.ledger.conftest import Site  # noqa: E402

from wg_core.errors import BudgetExceeded, WgError  # noqa: E402
from wg_core.ledger.witness import WitnessState  # noqa: E402
from wg_server.fleet import bundle_verification  # noqa: E402

NOBODY = 65534


class KeptSite(Site):
    """A site whose witness remembers on disk."""

    def call(self, request: bytes) -> bytes:
        kept = self.folder / "witness"
        self.memory = WitnessState(kept.read_bytes()) if kept.exists() else None
        line = super().call(request)
        assert self.memory is not None
        kept.with_suffix(".new").write_bytes(self.memory.signed_checkpoint)
        kept.with_suffix(".new").replace(kept)
        return line


def answer(site: Site, stop: str) -> dict[str, object]:
    """Charge, sample, record, cosign, prove; die at the named step."""

    def on_step(step: str) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGKILL)

    request = site.request()
    with site.open(on_step) as ledger:
        charged = ledger.charge(request)
        on_step("sampled")
        if charged.is_open:
            payload = site.payload(request)
            ledger.record_release(charged.seq, payload)
        site.cosign(ledger)
        covered = site.covered(ledger)
        bundle_verification.verify_statistics_bundle(
            covered,
            ledger_origin=ledger.origin,
            ledger_key=site.key.public_key(),
            witness_name="server.example/witness",
            witness_key=site.witness_key.public_key(),
        )
        on_step("sent")
        return {"charge": charged.seq, "new": charged.is_new, "payload": covered.release.hex()}


def race(site: Site, name: str, count: int) -> dict[str, object]:
    """Charge for different encoders, all of the same cost, until the cap."""
    charged = 0
    with site.open() as ledger:
        for number in range(count):
            try:
                ledger.charge(site.request(f"{name}-{number}", "0.5", encoder=f"{name}{number}"))
            except BudgetExceeded:
                continue
            charged += 1
    return {"charged": charged}


def main(folder: str, mode: str, *words: str) -> int:
    site = KeptSite(Path(folder))
    try:
        if mode == "answer":
            result = answer(site, words[0] if words else "")
        elif mode == "race":
            site.cap = words[2]
            result = race(site, words[0], int(words[1]))
        elif mode == "starve":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[0]), int(words[0])))
            result = answer(site, "")
        elif mode == "nobody":
            site.request()  # loads what the other user may not read
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result = answer(site, "")
        else:
            raise SystemExit(f"mode {mode!r}")
    except WgError as error:
        sys.stdout.write(json.dumps({"error": str(error), "code": error.code}))
        return error.exit_code
    sys.stdout.write(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
