"""The budget belongs to the data: a new name or a changed file makes no new one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wg_audit import verification
from wg_core.errors import BudgetExceeded, ConfigError, VerificationError
from wg_core.ledger import entries, log_succession
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.commitment import commit_to_data
from wg_core.ledger.entries import InheritedSpend
from wg_core.ledger.lineage import LineageState
from wg_core.ledger.log_state import LedgerState

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


def test_registering_is_idempotent(site: Site, ledger: Ledger) -> None:
    size = ledger.size
    assert site.register(ledger, "parts") == size - 1 and ledger.size == size


def test_a_renamed_data_set_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "2.5")
    site.register(ledger, "fresh-name", b"data")
    assert ledger.read_spending("fresh-name").charge_count == 1
    with pytest.raises(BudgetExceeded):
        ledger.charge(site.request("r2", "2.4", "fresh-name"))
    again = ledger.charge(site.request("r3", "2.5", "fresh-name"))
    assert not again.is_new, "the same question about the same data has its answer already"


def test_changed_content_under_the_same_name_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "parts", b"data and one more image")
    again = ledger.charge(site.request("r2", "1"))
    assert again.is_new, "other data need a charge of their own"
    assert ledger.read_spending("parts").charge_count == 2


def test_a_declared_continuation_keeps_its_spend(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    site.register(ledger, "parts-2026", b"new year", lineage="parts")
    assert ledger.read_spending("parts-2026").lineage_id == ledger.read_spending("parts").lineage_id


def test_other_data_have_a_budget_of_their_own(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    site.register(ledger, "welds", b"other data")
    assert ledger.read_spending("welds").charge_count == 0


def test_a_merged_data_set_has_the_spend_of_both(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    ledger.charge(site.request("r2", "0.5", "welds"))
    ledger.register_dataset(
        DatasetRegistration(
            name="all",
            commitment=commit_to_data(bytes(32), [b"both"]),
            cap_epsilon="3",
            cap_delta="1e-5",
            inherited_datasets=("parts", "welds"),
        )
    )
    spent = ledger.read_spending("all")
    assert spent.charge_count == 2 and spent.open_charge_count == 1
    assert (
        ledger.read_spending("welds").lineage_id
        == ledger.read_spending("parts").lineage_id
        == spent.lineage_id
    )
    assert ledger.charge(site.request("r3", "0.7", "welds")).is_new
    assert ledger.read_spending("parts").charge_count == 3


def test_taking_over_known_content_merges(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    site.register(ledger, "mixed", b"data", lineage="welds")
    assert ledger.read_spending("welds").charge_count == 1


def test_a_budget_protects_one_unit(site: Site, ledger: Ledger) -> None:
    """Its first charge says which; another one is refused before it costs anything."""
    ledger.charge(site.request("r1", "1"))
    guarantee = dataclasses.replace(
        site.request().guarantee,
        unit="part",
        records_per_unit="the m records of a unit weigh 1/m each",
    )
    of_parts = dataclasses.replace(site.request("r2", "0.5"), guarantee=guarantee)
    size = ledger.size
    with pytest.raises(ConfigError, match=r"set data\.unit_column in client\.yaml back to null"):
        ledger.charge(of_parts)
    assert ledger.size == size
    site.register(ledger, "welds", b"other data")
    of_welds = dataclasses.replace(of_parts, dataset="welds")
    assert ledger.charge(of_welds).is_new  # another lineage
    back = dataclasses.replace(site.request("r3", "0.5"), dataset="welds")
    with pytest.raises(ConfigError, match="back to part, and freeze"):
        ledger.charge(back)
    site.register(ledger, "welds", b"data")  # merged: its charges were of two units already
    assert ledger.charge(site.request("r4", "0.5")).is_new


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
    before = ledger.read_spending("mixed")
    ledger.close()
    with site.open() as opened:
        assert opened.read_spending("mixed") == before


# --- content decides


def swap(site: Site, ledger: Ledger) -> None:
    """Junk under a new name, and then that name for data that were spent."""
    site.release(ledger, "r1", "2.5")
    site.register(ledger, "fresh", b"junk")
    site.register(ledger, "fresh", b"data")


def test_a_name_that_is_pointed_at_spent_data_has_their_spend(site: Site, ledger: Ledger) -> None:
    swap(site, ledger)
    assert ledger.read_spending("fresh").charge_count == 1
    assert ledger.read_spending("fresh").lineage_id == ledger.read_spending("parts").lineage_id
    with pytest.raises(BudgetExceeded):
        ledger.charge(site.request("r2", "2.4", "fresh"))
    ledger.close()
    (account,) = verification.audit_log(site.path).accounts
    assert account.charges == 1 and set(account.datasets) == {"parts", "fresh"}


def test_spent_data_moved_to_a_spent_name_have_both_spends(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "1")
    site.register(ledger, "welds", b"other data")
    ledger.charge(site.request("r2", "0.5", "welds"))
    site.register(ledger, "parts", b"other data")
    assert (
        ledger.read_spending("parts").charge_count
        == ledger.read_spending("welds").charge_count
        == 2
    )


def test_a_swap_between_lineages_of_other_caps_is_refused(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1", "2.5")
    site.cap = "30"
    site.register(ledger, "fresh", b"junk")
    with pytest.raises(ConfigError, match="a cap does not change"):
        site.register(ledger, "fresh", b"data")


def test_one_content_under_two_lineages_is_refused_by_every_verifier(
    site: Site, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that looks at names first, as this program once did."""

    def by_name_first(self: LedgerState, name: str, commitment: str) -> list[LineageState]:
        found = [x for x in self.lineages.values() if name in x.dataset_names]
        return found or [x for x in self.lineages.values() if commitment in x.commitments]

    with monkeypatch.context() as patch:
        patch.setattr(LedgerState, "lineages_of_dataset", by_name_first)
        swap(site, ledger)
        assert ledger.charge(site.request("r2", "2.4", "fresh")).is_new
        ledger.close()
    with pytest.raises(VerificationError, match=r"entry 6: .*by its name or its content"):
        verification.audit_log(site.path)
    with pytest.raises(VerificationError, match="entry 6"):
        site.open()


def successor(site: Site, path: Path, spends: tuple[InheritedSpend, ...] | None = None) -> Ledger:
    """The log that replaces the site's; with other spends than it had, if they are given."""
    old = log_succession.read_predecessor(site.path, "key was copied")
    return Ledger.create(
        path,
        origin="weightgate/plant-a/0022",
        key=site.signing_key,
        site="plant-a",
        predecessor=old if spends is None else dataclasses.replace(old, spends=spends),
    )


def test_a_swap_after_a_compromise_has_the_inherited_spend(
    site: Site, ledger: Ledger, tmp_path: Path
) -> None:
    site.release(ledger, "r1", "2.5")
    with successor(site, tmp_path / "new.sqlite") as new:
        swap_name = site.register(new, "fresh", b"junk")
        assert new.read_spending("fresh").charge_count == 0
        assert site.register(new, "fresh", b"data") == swap_name + 1
        assert new.read_spending("fresh").charge_count == 1
        with pytest.raises(BudgetExceeded):
            new.charge(site.request("r2", "2.4", "fresh"))


@pytest.mark.parametrize("same", ["lineage", "names", "commitments"])
def test_a_spend_cannot_be_inherited_twice_so_that_one_hides_the_other(
    site: Site, ledger: Ledger, tmp_path: Path, same: str
) -> None:
    site.release(ledger, "r1", "2.5")
    (true,) = log_succession.read_predecessor(site.path, "lost").spends
    empty = dataclasses.replace(
        true, lineage="0" * 16, names=("x",), commitments=("00" * 32,), events=(), charges=0
    )
    twin = dataclasses.replace(empty, **{same: getattr(true, same)})
    with pytest.raises(VerificationError, match=r"entry 0: inherits .* in two lineages"):
        successor(site, tmp_path / "new.sqlite", (true, twin))


def test_a_new_lineage_does_not_overwrite_an_inherited_one(
    site: Site, ledger: Ledger, tmp_path: Path
) -> None:
    """IDs of lineages to come are predictable: an inherited spend could be given one."""
    site.release(ledger, "r1", "2.5")
    (true,) = log_succession.read_predecessor(site.path, "lost").spends
    planted = dataclasses.replace(true, lineage=entries.lineage_id("weightgate/plant-a/0022", 1))
    with (
        successor(site, tmp_path / "new.sqlite", (planted,)) as new,
        pytest.raises(VerificationError, match="was there before"),
    ):
        site.register(new, "other", b"other")
