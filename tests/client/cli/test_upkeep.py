"""The audit that goes on the ledger, and the words of commands that change keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.client.conftest import MakePlant

from wg_audit.installed import audit as installed
from wg_audit.installed.audit import Report
from wg_audit.installed.canaries import Bounds
from wg_audit.installed.plant import Check
from wg_audit.installed.probes import Size
from wg_client.cli.main import group
from wg_client.release import audit as auditing
from wg_core.errors import ConfigError, ExitCode, UsageError
from wg_core.ledger import charging, entries, statement
from wg_core.ledger.store import Ledger
from wg_core.privacy.calibration import EPSILON_LIMIT
from wg_core.release.query import answer_query

TINY = Size(canaries=8, snapshots=2)


def report(*, passed: bool = True) -> Report:
    """What an audit might find."""
    return Report(
        epsilon=4.0,
        delta=1e-5,
        seed=0,
        questions=1,
        checks=(Check(name="noise", passed=passed, detail="as it is"),),
        bounds=Bounds(
            canaries=8, mu_claimed=0.92, mu_measured=0.9, clopper_pearson=3.2, parametric=3.1
        ),
        narrower=0.01,
    )


def test_an_audit_is_an_entry_of_the_ledger_and_costs_nothing(make_plant: MakePlant) -> None:
    plant = make_plant()
    found, entry = auditing.audit(plant.home, size=TINY)
    assert found.passed
    assert found.bounds is not None
    with Ledger.open(plant.home.ledger) as ledger:
        recorded = entries.decode(ledger.entry(entry))
        assert ledger.spent(plant.config.data.name).charges == 0
    assert isinstance(recorded, entries.Audit)
    assert recorded.code_sha256 == charging.code_digest()
    assert recorded.canaries == found.bounds.canaries
    assert float(recorded.claimed_epsilon) == found.epsilon


def test_a_charge_names_the_audit_of_the_code_that_makes_it(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant()
    monkeypatch.setattr(installed, "audit", lambda *words, **named: report())
    _, entry = auditing.audit(plant.home)
    answer_query(plant.home, plant.query(), witness=plant.witness)
    with Ledger.open(plant.home.ledger) as ledger:
        charges = [entries.decode(ledger.entry(seq)) for seq in range(ledger.size)]
        (charge,) = [each for each in charges if isinstance(each, entries.Charge)]
        assert charge.assurance.audit_run == str(entry)
        assert charge.assurance.empirical_lower_bound == "3.2"
        assert ledger.assurance("0" * 64) == statement.Assurance()  # other code was not audited


def test_a_failed_audit_is_recorded_as_without_any_guarantee_and_ends_with_its_code(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant()
    monkeypatch.setattr(installed, "audit", lambda *words, **named: report(passed=False))
    words = ["audit", "--home", str(plant.home.root), "--json"]
    done = CliRunner().invoke(group, words, standalone_mode=False)
    assert done.return_value == ExitCode.VERIFICATION
    with Ledger.open(plant.home.ledger) as ledger:
        recorded = entries.decode(ledger.entry(json.loads(done.stdout)["entry"]))
    assert isinstance(recorded, entries.Audit)
    assert float(recorded.lower_bound) == EPSILON_LIMIT


def test_an_audit_without_a_ledger_says_so_before_it_starts(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant()
    plant.home.ledger.unlink()
    monkeypatch.setattr(installed, "audit", lambda *words, **named: pytest.fail("started"))
    with pytest.raises(ConfigError, match="ledger"):
        auditing.audit(plant.home)


@pytest.mark.parametrize("more", [[], ["--replace", "--data", "x"]])
def test_a_home_is_made_from_data_and_enrolled_again_without(
    tmp_path: Path, more: list[str]
) -> None:
    words = ["init", "--home", str(tmp_path / "h"), "--join", "x", *more]
    with pytest.raises(UsageError, match="--data"):
        CliRunner().invoke(group, words, standalone_mode=False, catch_exceptions=False)
