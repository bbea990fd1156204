"""Key rotation, and a new log after a compromise that inherits the spend."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wg_core.errors import BudgetExceeded, ConfigError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import entries, log_sources, log_succession, log_verification
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.log_state import ROTATION_CONTEXT
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.wire import signing

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


def read(path: Path) -> VerifiedLog:
    source = log_sources.open_source(path)
    try:
        return log_verification.verify_log(source)
    finally:
        source.close()


def test_a_rotation_is_signed_by_both_keys(site: Site, ledger: Ledger) -> None:
    old, new = site.key, site.signing_key
    ledger.rotate_key(new)
    note = checkpoints.decode(ledger.newest_checkpoint())[1]
    for key in (old, new):
        checkpoints.verify(note, ledger.origin, key.public_key())
    site.release(ledger)
    note = checkpoints.decode(ledger.newest_checkpoint())[1]
    checkpoints.verify(note, ledger.origin, new.public_key())
    with pytest.raises(VerificationError):
        checkpoints.verify(note, ledger.origin, old.public_key())


def test_after_a_rotation_only_the_new_key_opens(site: Site, ledger: Ledger) -> None:
    ledger.rotate_key(site.signing_key)
    site.release(ledger)
    ledger.close()
    with pytest.raises(ConfigError, match="another one"):
        site.open()
    site.key = site.signing_key
    with site.open() as opened:
        assert opened.read_spending("parts").charge_count == 1
    assert len(read(site.path).state.key_periods) == 2


def test_a_witness_that_trusts_the_old_key_accepts_the_rotation(site: Site, ledger: Ledger) -> None:
    site.cosign(ledger)
    ledger.rotate_key(site.signing_key)
    site.cosign(ledger)
    assert site.memory is not None and site.memory.newest_checkpoint.size == ledger.size


def test_a_process_with_the_old_key_cannot_write_on(site: Site, ledger: Ledger) -> None:
    with site.open() as other:
        ledger.rotate_key(site.signing_key)
        with pytest.raises(ConfigError, match="open it again"):
            site.release(other)
    site.release(ledger)


def test_a_checkpoint_of_the_old_key_does_not_hold(site: Site, ledger: Ledger) -> None:
    ledger.rotate_key(site.signing_key)
    site.release(ledger)
    head, _ = checkpoints.decode(ledger.newest_checkpoint())
    ledger.close()
    forged = checkpoints.sign(head, [site.key]).encode()
    with closing(sqlite3.connect(site.path)) as raw, raw:
        raw.execute("update heads set note = ? where size = ?", (forged, head.size))
    raw.close()
    with pytest.raises(VerificationError, match="no Ed25519 signature"):
        read(site.path)


def test_a_rotation_needs_the_old_key(site: Site, ledger: Ledger) -> None:
    head = entries.EntryHeader(
        kind=entries.ROTATION_KIND,
        seq=ledger.size,
        prev=ledger._state.last_leaf_hash.hex(),
        origin=ledger.origin,
        key_id=notes.key_ids(ledger.origin, notes.LOG_ROLE, site.signing_key.public_key())[0].hex(),
        time=0,
    )
    new = signing.public_bytes(site.signing_key).hex()
    statement = entries.rotation_signed_bytes(head, ledger._state.public_key.hex(), new)
    signature = signing.sign(site.signing_key, ROTATION_CONTEXT, statement).hex()
    forged = entries.Rotation(
        head=head, new_key=new, old_signature=signature, new_signature=signature
    )
    with pytest.raises(VerificationError, match="signature does not hold"):
        ledger._state.apply_entry(entries.encode(forged))


def successor(site: Site, old: Path, path: Path) -> Ledger:
    return Ledger.create(
        path,
        origin="weightgate/plant-a/0022",
        key=site.signing_key,
        site="plant-a",
        predecessor=log_succession.read_predecessor(old, "key was copied"),
    )


def test_a_new_log_inherits_the_spend(site: Site, ledger: Ledger, tmp_path: Path) -> None:
    site.release(ledger, "r1", "2.5")
    ledger.charge(site.request("r2", "0.5"))
    site.cosign(ledger)
    before = ledger.read_spending("parts")
    with successor(site, site.path, tmp_path / "new.sqlite") as new:
        site.register(new, "parts")
        after = new.read_spending("parts")
        assert (after.lineage_id, after.composed_events, after.charge_count) == (
            before.lineage_id,
            before.composed_events,
            before.charge_count,
        )
        with pytest.raises(BudgetExceeded):
            new.charge(site.request("r3", "2.4"))
    found = read(tmp_path / "new.sqlite")
    log_succession.verify_succession(found.state, read(site.path))


def test_a_successor_s_renamed_data_keep_their_spend(
    site: Site, ledger: Ledger, tmp_path: Path
) -> None:
    site.release(ledger)
    with successor(site, site.path, tmp_path / "new.sqlite") as new:
        site.register(new, "other-name", b"data")
        assert new.read_spending("other-name").charge_count == 1


def test_a_successor_of_an_older_state_is_found(site: Site, ledger: Ledger, tmp_path: Path) -> None:
    site.release(ledger)
    with successor(site, site.path, tmp_path / "new.sqlite"):
        pass
    new = read(tmp_path / "new.sqlite")
    site.release(ledger, "r2", "0.5")
    with pytest.raises(VerificationError, match="another checkpoint"):
        log_succession.verify_succession(new.state, read(site.path))
    with pytest.raises(VerificationError, match="names no predecessor"):
        log_succession.verify_succession(read(site.path).state, new)


def test_a_successor_that_forgets_spend_is_found(
    site: Site, ledger: Ledger, tmp_path: Path
) -> None:
    site.release(ledger)
    old = log_succession.read_predecessor(site.path, "lost")
    cheap = dataclasses.replace(old, spends=())
    Ledger.create(
        tmp_path / "new.sqlite",
        origin="weightgate/plant-a/0022",
        key=site.signing_key,
        site="plant-a",
        predecessor=cheap,
    ).close()
    with pytest.raises(VerificationError, match="another spend"):
        log_succession.verify_succession(read(tmp_path / "new.sqlite").state, read(site.path))


def test_a_successor_needs_a_new_origin_and_a_signed_checkpoint(
    site: Site, ledger: Ledger, tmp_path: Path
) -> None:
    old = log_succession.read_predecessor(site.path, "lost")
    unsigned = dataclasses.replace(old, key=signing.public_bytes(site.signing_key).hex())
    for origin, found in ((ledger.origin, old), ("weightgate/plant-a/0022", unsigned)):
        with pytest.raises(VerificationError, match="entry 0"):
            Ledger.create(
                tmp_path / "new.sqlite",
                origin=origin,
                key=site.signing_key,
                site="plant-a",
                predecessor=found,
            )
    assert isinstance(entries.decode(ledger.entry_bytes(0)), entries.Genesis)
