"""Attacks on the stored bytes: nothing is under-counted, and the message names the place."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wg_audit import verification
from wg_core.errors import ConfigError, VerificationError, WgError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import entries, log_sources, log_verification, merkle
from wg_core.ledger.budget_ledger import Ledger

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


def fill(site: Site) -> None:
    """Six entries more: two releases, a cosignature between, a charge that stays open."""
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.cosign(ledger)
        site.release(ledger, "r2", "0.5")
        ledger.charge(site.request("r3", "0.25"))


def edit(path: Path, *statements: str, **values: bytes) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement, values)
    raw.close()


def caught(site: Site, match: str) -> None:
    """Both the writer and the verifier refuse."""
    with pytest.raises(VerificationError, match=match):
        site.open()
    with pytest.raises(VerificationError, match=match):
        verification.audit_log(site.path)


def stored(site: Site, seq: int) -> bytes:
    with closing(sqlite3.connect(site.path)) as raw, raw:
        found: bytes = raw.execute("select entry from entries where seq = ?", (seq,)).fetchone()[0]
    raw.close()
    return found


def size(site: Site) -> int:
    with closing(sqlite3.connect(site.path)) as raw, raw:
        found: int = raw.execute("select count(*) from entries").fetchone()[0]
    raw.close()
    return found


def rewrite(site: Site, seq: int, change: Callable[[entries.Entry], entries.Entry]) -> None:
    """Edit an entry and repair its stored hash, as an attacker with the file would."""
    forged = entries.encode(change(entries.decode(stored(site, seq))))
    edit(
        site.path,
        f"update entries set entry = :entry, hash = :hash where seq = {seq}",
        entry=forged,
        hash=merkle.leaf_hash(forged),
    )


def later(entry: entries.Entry) -> entries.Entry:
    return dataclasses.replace(entry, head=dataclasses.replace(entry.head, time=0))


def test_the_untouched_ledger_holds(site: Site) -> None:
    fill(site)
    site.open().close()
    finding = verification.audit_log(site.path)
    assert finding.accounts[0].charges == 3 and len(finding.burned) == 1


@pytest.mark.parametrize("seq", range(8))
def test_an_edited_entry_is_found(site: Site, seq: int) -> None:
    fill(site)
    assert size(site) == 8
    rewrite(site, seq, later)
    caught(site, rf"entr(y|ies).*{seq}|checkpoint of size {seq + 1}")


@pytest.mark.parametrize("seq", range(8))
def test_a_deleted_entry_is_found(site: Site, seq: int) -> None:
    fill(site)
    edit(site.path, f"delete from entries where seq = {seq}")
    caught(site, rf"entry {seq}|entries were deleted|ledger has {seq} entries")


def test_a_deleted_entry_with_renumbering_is_found(site: Site) -> None:
    fill(site)
    edit(
        site.path,
        "delete from entries where seq = 3",
        "update entries set seq = -seq where seq > 3",
        "update entries set seq = -seq - 1 where seq < 0",
    )
    caught(site, "entry 3")


def test_reordered_entries_are_found(site: Site) -> None:
    fill(site)
    edit(
        site.path,
        "update entries set seq = 100 where seq = 3",
        "update entries set seq = 3 where seq = 5",
        "update entries set seq = 5 where seq = 100",
    )
    caught(site, "entry 3")


def test_a_truncated_ledger_is_found(site: Site) -> None:
    fill(site)
    edit(site.path, "delete from entries where seq >= 6")
    caught(site, "deleted|covers 8 entries")


def test_a_truncated_ledger_without_its_last_checkpoint_is_found(site: Site) -> None:
    """Only a signature over the shorter log could hide it; then the witness remembers."""
    fill(site)
    edit(site.path, "delete from entries where seq >= 6", "delete from heads where size > 6")
    caught(site, "no signed checkpoint covers")


def test_a_hidden_cosigned_checkpoint_is_found(site: Site) -> None:
    fill(site)
    edit(site.path, "delete from heads where cosigned")
    with pytest.raises(VerificationError, match="entry 5: names a cosigned checkpoint of size 5"):
        verification.audit_log(site.path)


def test_a_deleted_spend_is_not_refunded(site: Site) -> None:
    fill(site)
    edit(site.path, "delete from outbox")
    with site.open() as ledger:
        assert ledger.read_spending("parts").charge_count == 3
        with pytest.raises(VerificationError, match="outbox of charge 3"):
            ledger.released_bytes("r1")


def test_an_edited_outbox_is_not_sent(site: Site) -> None:
    fill(site)
    edit(site.path, "update outbox set payload = :payload where charge = 3", payload=b"other")
    with site.open() as ledger, pytest.raises(VerificationError, match="outbox of charge 3"):
        ledger.released_bytes("r1")
    with pytest.raises(VerificationError, match="outbox of charge 3"):
        verification.audit_log(site.path)


def test_a_log_signed_again_by_another_key_is_found(site: Site) -> None:
    """All checkpoints re-signed; the genesis entry still names the site's key."""
    fill(site)
    with closing(sqlite3.connect(site.path)) as raw, raw:
        for number, note in raw.execute("select size, note from heads").fetchall():
            head = checkpoints.decode(note)[0]
            forged = checkpoints.sign(head, [site.signing_key]).encode()
            raw.execute("update heads set note = ? where size = ?", (forged, number))
    raw.close()
    caught(site, "no Ed25519 signature")


@pytest.mark.parametrize("jump", [-(10**9), -1, 0, 10**9])
def test_a_clock_that_jumps_changes_nothing(site: Site, jump: int) -> None:
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.current_time += jump
        site.release(ledger, "r2", "0.5")
        spent = ledger.read_spending("parts")
    assert spent.charge_count == 2
    finding = verification.audit_log(site.path)
    remarked = any("stepped back" in remark for remark in finding.remark_sentences)
    assert remarked == (jump < 0)


def test_a_corrupted_page_is_an_error_or_harmless(site: Site) -> None:
    """Every page of the file, several places each: an error of ours, or the same answer."""
    fill(site)
    good = site.path.read_bytes()
    with site.open() as ledger:
        expected = ledger.read_spending("parts")
    rng = random.Random(5)
    page = int.from_bytes(good[16:18], "big") or 65536
    found = 0
    for start in range(0, len(good), page):
        for _ in range(6):
            bad = bytearray(good)
            place = start + rng.randrange(page - 16)
            bad[place : place + 16] = rng.randbytes(16)
            for suffix in ("-wal", "-shm"):
                site.path.with_name(site.path.name + suffix).unlink(missing_ok=True)
            site.path.write_bytes(bytes(bad))
            try:
                with site.open() as ledger:
                    assert ledger.read_spending("parts") == expected
                with closing(log_sources.open_source(site.path)) as source:
                    log_verification.verify_log(source)
            except WgError:
                found += 1
    assert found > 0


def test_a_full_database_says_so(site: Site, ledger: Ledger) -> None:
    before = ledger.read_spending("parts")
    pages = ledger._db.execute("pragma page_count").fetchone()[0]
    ledger._db.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(ConfigError, match="the disk is full"):
        for number in range(50):
            site.release(ledger, f"r{number}", str(0.1 + number / 1000))
    ledger._db.execute("pragma max_page_count = 100000")
    site.release(ledger, "after", "0.33")
    assert ledger.read_spending("parts").charge_count > before.charge_count
    ledger.close()
    verification.audit_log(site.path)
