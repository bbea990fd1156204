"""The budget belongs to the data: a new name or a changed file makes no new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wg_common.errors import BudgetExceeded, ConfigError
from wg_common.ledger.commitment import commit
from wg_common.ledger.store import DatasetRecord, Ledger

if TYPE_CHECKING:
    from tests.common.ledger.conftest import Site


def test_registering_is_idempotent(site: Site, ledger: Ledger) -> None:
    size = ledger.size
    assert site.register(ledger, "parts") == size - 1 and ledger.size == size


def test_a_renamed_data_set_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "2.5")
    site.register(ledger, "fresh-name", b"data")
    assert ledger.spent("fresh-name").charges == 1
    with pytest.raises(BudgetExceeded):
        ledger.charge(site.request("r2", "2.4", "fresh-name"))
    again = ledger.charge(site.request("r3", "2.5", "fresh-name"))
    assert not again.new, "the same question about the same data has its answer already"


def test_changed_content_under_the_same_name_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "parts", b"data and one more image")
    again = ledger.charge(site.request("r2", "1"))
    assert again.new, "other data need a charge of their own"
    assert ledger.spent("parts").charges == 2


def test_a_declared_continuation_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    site.register(ledger, "parts-2026", b"new year", lineage="parts")
    assert ledger.spent("parts-2026").lineage == ledger.spent("parts").lineage


def test_other_data_have_a_budget_of_their_own(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    site.register(ledger, "welds", b"other data")
    assert ledger.spent("welds").charges == 0


def test_a_merged_data_set_has_the_spend_of_both(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    ledger.charge(site.request("r2", "0.5", "welds"))
    ledger.register_dataset(
        DatasetRecord(
            name="all",
            commitment=commit(bytes(32), [b"both"]),
            cap_epsilon="3",
            cap_delta="1e-5",
            inherits=("parts", "welds"),
        )
    )
    spent = ledger.spent("all")
    assert spent.charges == 2 and spent.burned == 1
    assert ledger.spent("welds").lineage == ledger.spent("parts").lineage == spent.lineage
    assert ledger.charge(site.request("r3", "0.7", "welds")).new
    assert ledger.spent("parts").charges == 3


def test_taking_over_known_content_merges(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    site.register(ledger, "mixed", b"data", lineage="welds")
    assert ledger.spent("welds").charges == 1


def test_a_cap_does_not_change(site: Site, ledger: Ledger) -> None:
    site.cap = "30"
    with pytest.raises(ConfigError, match="a cap does not change"):
        site.register(ledger, "parts")
    with pytest.raises(ConfigError, match="a cap does not change"):
        site.register(ledger, "renamed", b"data")


def test_an_unknown_lineage_is_refused(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="no data set 'nobody'"):
        site.register(ledger, "new", b"new", lineage="nobody")


def test_merges_survive_a_restart(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    site.register(ledger, "mixed", b"data", lineage="welds")
    before = ledger.spent("mixed")
    ledger.close()
    with site.open() as opened:
        assert opened.spent("mixed") == before
