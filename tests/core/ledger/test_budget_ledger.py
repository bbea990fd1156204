"""Charges, releases, idempotence, caps: the ledger's contract with the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wg_core.errors import BudgetExceeded, ConfigError, RefusedError, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger, round_up_decimal

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


def test_a_charge_is_open_until_its_release(site: Site, ledger: Ledger) -> None:
    charged = ledger.charge(site.request())
    assert charged.is_open and charged.is_new and ledger.released_bytes("r1") is None
    released = ledger.record_release(charged.seq, b"bytes")
    again = ledger.charge(site.request())
    assert (again.seq, again.is_open, again.is_new) == (charged.seq, False, False)
    assert ledger.released_bytes("r1") == ledger.released_bytes(charged.seq) == b"bytes"
    assert ledger.find_release("r1") == released and released.charge_seq == charged.seq


def test_a_repeated_request_is_charged_once(site: Site, ledger: Ledger) -> None:
    first = ledger.charge(site.request())
    before = ledger.read_spending("parts")
    for _ in range(3):
        assert ledger.charge(site.request()).seq == first.seq
    assert ledger.read_spending("parts") == before and before.charge_count == 1


def test_the_same_question_under_a_new_id_is_not_charged_again(site: Site, ledger: Ledger) -> None:
    first = site.release(ledger, "r1")
    second = ledger.charge(site.request("r2"))
    assert (second.seq, second.is_open, second.request_id) == (first.seq, False, "r1")
    assert ledger.read_spending("parts").charge_count == 1


def test_a_request_id_cannot_change_its_question(site: Site, ledger: Ledger) -> None:
    ledger.charge(site.request("r1", "1"))
    with pytest.raises(RefusedError, match="burned"):
        ledger.charge(site.request("r1", "0.5"))
    assert ledger.read_spending("parts").open_charge_count == 1


def test_a_released_request_gets_its_bytes_whatever_it_asks_now(site: Site, ledger: Ledger) -> None:
    first = site.release(ledger, "r1", "1")
    assert not ledger.charge(site.request("r1", "0.5")).is_open
    assert ledger.charge(site.request("r1", "0.5")).seq == first.seq


def test_one_charge_covers_one_release(site: Site, ledger: Ledger) -> None:
    charged = ledger.charge(site.request())
    ledger.record_release(charged.seq, b"one")
    assert ledger.record_release(charged.seq, b"one").charge_seq == charged.seq
    with pytest.raises(RefusedError, match="one charge covers one release"):
        ledger.record_release(charged.seq, b"two")
    assert ledger.released_bytes("r1") == b"one"


def test_a_release_needs_a_charge(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="is no charge"):
        ledger.record_release(0, b"bytes")
    assert ledger.released_bytes("never asked") is None


def test_a_charge_needs_a_registered_data_set(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="not registered"):
        ledger.charge(site.request(dataset="other"))


def test_the_cap_holds_and_a_refusal_writes_nothing(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "2.9")
    size = ledger.size
    with pytest.raises(BudgetExceeded, match="the cap is 3"):
        ledger.charge(site.request("r2", "2.8"))
    assert ledger.size == size and ledger.read_spending("parts").epsilon < 3


def test_a_release_of_exactly_the_cap_is_allowed(site: Site, ledger: Ledger) -> None:
    ledger.charge(site.request("r1", "3"))
    assert ledger.read_spending("parts").epsilon == pytest.approx(3, abs=1e-5)
    with pytest.raises(BudgetExceeded):
        ledger.charge(site.request("r2", "0.1"))


def test_releases_compose_rather_than_add(site: Site, ledger: Ledger) -> None:
    for number in range(3):
        site.release(ledger, f"r{number}", str(1 + number / 100))
    assert 1.5 < ledger.read_spending("parts").epsilon < 2.5


def test_the_default_accountant_is_the_product_s(site: Site) -> None:
    site.create().close()
    with Ledger.open(site.path, site.key) as opened:
        opened.charge(site.request())
        assert opened.read_spending("parts").epsilon == pytest.approx(1, abs=1e-4)


def test_a_charge_states_the_budget_before_and_after(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.cosign(ledger)
    second = ledger.charge(site.request("r2", "0.5"))
    entry = entries.decode(ledger.entry_bytes(second.seq))
    assert isinstance(entry, entries.Charge)
    assert entry.state.charges_before == 1
    assert float(entry.state.epsilon_before) == pytest.approx(1, abs=1e-5)
    assert float(entry.state.epsilon_after) == pytest.approx(ledger.read_spending("parts").epsilon)
    assert entry.state.anchored_size == second.seq


def test_the_ledger_holds_no_count_and_no_plain_hash_of_the_data(
    site: Site, ledger: Ledger
) -> None:
    import hashlib

    site.release(ledger)
    everything = b"".join(ledger.entry_bytes(i) for i in range(ledger.size))
    assert hashlib.sha256(b"data").hexdigest().encode() not in everything


def test_a_ledger_is_not_overwritten(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="there is a ledger already"):
        site.create()


def test_an_empty_file_of_a_crash_is_taken(site: Site) -> None:
    site.path.touch()
    site.create().close()
    assert site.path.stat().st_mode & 0o077 == 0 or site.path.stat().st_size


def test_a_new_ledger_is_private_to_its_owner(site: Site, ledger: Ledger) -> None:
    assert site.path.stat().st_mode & 0o077 == 0


def test_another_key_cannot_open_it(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="another one"):
        Ledger.open(site.path, site.signing_key)


def test_a_missing_or_foreign_file_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match="there is no ledger"):
        site.open()
    site.path.write_bytes(b"not a database, but long enough to look like one" * 10)
    with pytest.raises(VerificationError, match="damaged"):
        site.open()
    with pytest.raises(VerificationError, match="damaged"):
        Ledger.open(site.path)


def test_without_a_key_it_can_be_read_only(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    with Ledger.open(site.path) as reader:
        assert reader.read_spending("parts").charge_count == 1
        assert reader.origin == ledger.origin and reader.site == "plant-a"
        with pytest.raises(ConfigError, match="without the signing key"):
            reader.charge(site.request("r2"))


def test_two_open_ledgers_see_each_other(site: Site, ledger: Ledger) -> None:
    with site.open() as second:
        site.release(second, "r1")
        assert not ledger.charge(site.request("r1")).is_open
        site.release(ledger, "r2", "0.5")
        assert second.read_spending("parts").charge_count == 2


def test_find_knows_requests_and_fingerprints(site: Site, ledger: Ledger) -> None:
    charged = ledger.charge(site.request())
    commitment = ledger.dataset_commitment("parts")
    assert commitment is not None and ledger.dataset_commitment("other") is None
    fingerprint = site.request("r9").fingerprint(commitment)
    for found in (
        ledger.find_charge("parts", request_id="r1"),
        ledger.find_charge("parts", request_id="r9", fingerprint=fingerprint),
    ):
        assert found is not None and found.seq == charged.seq
    assert ledger.find_charge("parts", request_id="r9") is None


def test_an_unknown_entry_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="no entry 99"):
        ledger.entry_bytes(99)


def test_epsilon_is_rounded_up() -> None:
    assert float(round_up_decimal(1 / 3)) >= 1 / 3
    assert round_up_decimal(0.0) == "0" and round_up_decimal(2.0) == "2"
