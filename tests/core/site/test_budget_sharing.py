"""Two homes of one plant on one ledger: one budget, one lock, and no charge on a strange log."""

from __future__ import annotations

import dataclasses
import fcntl
import time
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import LABELS, MakePlant, TestPlant, write_npz

from wg_audit import verification
from wg_audit.cli import group as auditor
from wg_client.cli.main import group
from wg_client.fleet import home_initialisation
from wg_client.fleet.enrolment import Enrolment
from wg_common import cli
from wg_core.errors import BudgetExceeded, ConfigError, DecodeError
from wg_core.ledger import shared_budget
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query, open_ledger
from wg_core.site import budget_sharing, identity, locks
from wg_core.site import config as configuration
from wg_core.site.config import PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.wire import protocol, signing
from wg_core.wire.protocol import EnrolmentReply, JoinToken

JOIN = JoinToken(
    site="plant-a",
    enrol_url="https://127.0.0.1:1",
    ca_sha256="00" * 32,
    secret="11" * 32,
    expires=int(time.time()) + 600,
    encoder="00" * 32,
)
SMALL = PrivacyConfig(cap_epsilon="1.5", max_request_epsilon="1.5", answer_slot_seconds=0.05)


@pytest.fixture
def first(make_plant: MakePlant) -> TestPlant:
    return make_plant(privacy=SMALL)


@pytest.fixture
def second(first: TestPlant, tmp_path: Path) -> TestPlant:
    """A second home of the plant, with data of its own."""
    home = ClientHome(tmp_path / "second")
    budget_sharing.join_shared_budget(home, first.home.root)
    home.encoder.write_bytes(first.home.encoder.read_bytes())
    identity.create_identity(home, first.config.site)
    path = write_npz(home.root / "data.npz", {0: 6, 2: 5}, seed=8, labels=LABELS)
    data = dataclasses.replace(first.config.data, name="sounds", path=str(path))
    plant = dataclasses.replace(
        first, home=home, config=dataclasses.replace(first.config, data=data)
    )
    configuration.save(home, plant.config)
    plant.freeze()
    return plant


def test_two_homes_spend_one_budget(first: TestPlant, second: TestPlant) -> None:
    answer_query(first.home, first.query(epsilon="1"), witness=first.witness)
    spend = read_plant_spending(second.home, second.config)
    assert 0.99 < spend.epsilon < 1.01
    with pytest.raises(BudgetExceeded):
        answer_query(second.home, second.query(epsilon="1.3"), witness=second.witness)
    answer_query(second.home, second.query(epsilon="0.5"), witness=second.witness)
    for plant in (first, second):
        spend = read_plant_spending(plant.home, plant.config)
        assert 1.1 < spend.epsilon < 1.5
    finding = verification.audit_log(second.home.root)
    assert [sorted(account.datasets) for account in finding.accounts] == [["plant-a", "sounds"]]
    assert finding.accounts[0].charges == 2


def test_nothing_of_the_ledger_lies_in_the_home_that_shares_it(
    first: TestPlant, second: TestPlant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert second.home.ledger == first.home.ledger.resolve()
    assert second.home.load_site_secret() == first.home.load_site_secret()
    assert not list(second.home.root.glob("ledger*"))
    assert {path.name for path in second.home.keys.iterdir()} == {
        "node.pem",
        "signing.pem",
        "tls.pem",
    }
    exported = []
    for plant in (first, second):
        out = tmp_path / f"{plant.home.root.name}.wgl"
        with pytest.raises(SystemExit):
            cli.run_program(auditor, ["export", "--home", str(plant.home.root), "--out", str(out)])
        exported.append(out.read_bytes())
    assert exported[0] == exported[1]
    capfd.readouterr()


def test_homes_that_share_a_ledger_answer_one_after_the_other(
    first: TestPlant, second: TestPlant
) -> None:
    with (
        locks.lock_ledger(second.home),
        (first.home.root / ".release.lock").open() as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_ledger_that_this_homes_server_does_not_know_is_refused_before_the_charge(
    first: TestPlant, second: TestPlant
) -> None:
    told = shared_budget.read_shared_budget(second.home.root)
    assert told is not None
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"ledger_key": "ab" * 32}, "wg-client keys --home .* --renew ledger"),
        ({"origin": "weightgate/plant-a/0000"}, "wg-client init --replace --home"),
    )
    for change, command in changes:
        shared_budget.write_shared_budget(second.home.root, dataclasses.replace(told, **change))
        with pytest.raises(ConfigError, match=command):
            answer_query(second.home, second.query(), witness=second.witness)
        with pytest.raises(ConfigError, match=command):
            second.freeze()
    assert read_plant_spending(first.home, first.config).charge_count == 0
    shared_budget.write_shared_budget(second.home.root, told)
    answer_query(second.home, second.query(), witness=second.witness)


def test_a_budget_is_shared_only_with_the_home_that_has_it(
    first: TestPlant, second: TestPlant, make_plant: MakePlant, tmp_path: Path
) -> None:
    other = make_plant(name="plant-b", frozen=False)
    new = ClientHome(tmp_path / "third")
    for home, holder, message in (
        (new, second.home, "draws on the budget of"),
        (new, ClientHome(tmp_path / "nowhere"), "not there"),
        (new, new, "cannot share its own"),
        (first.home, first.home, "cannot share its own"),
        (other.home, first.home, "has a ledger of its own"),
        (second.home, other.home, "draws on the budget of .* already"),
    ):
        with pytest.raises(ConfigError, match=message):
            budget_sharing.join_shared_budget(home, holder.root)
    assert shared_budget.read_shared_budget(new.root) is None
    budget_sharing.join_shared_budget(second.home, first.home.root)  # again: nothing changes


def test_a_home_whose_ledger_is_gone_says_where_it_was(
    first: TestPlant, second: TestPlant, tmp_path: Path
) -> None:
    first.home.root.rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"budget-of\.json: the ledger is in .*not there"):
        open_ledger(second.home)
    (second.home.root / shared_budget.SHARED_BUDGET_FILE).write_bytes(b'{"home":"relative"}')
    with pytest.raises(DecodeError, match=r"budget-of\.json"):
        open_ledger(second.home)


@pytest.mark.parametrize(
    ("choice", "privacy", "site", "message"),
    [
        ({"dataset_name": "sounds"}, SMALL, "plant-b", "a plant has one name at all servers"),
        ({}, SMALL, "plant-a", "choose another name"),
        ({"dataset_name": "sounds"}, PrivacyConfig(), "plant-a", "a cap does not change"),
    ],
)
def test_what_cannot_be_on_the_shared_ledger_is_refused_before_the_token_is_spent(
    first: TestPlant,
    tmp_path: Path,
    choice: dict[str, Any],
    privacy: PrivacyConfig,
    site: str,
    message: str,
) -> None:
    home = ClientHome(tmp_path / "new")
    wanted = home_initialisation.DataSetChoice(path=tmp_path, budget_home=first.home.root, **choice)
    with pytest.raises(ConfigError, match=message):
        home_initialisation.join_shared_budget(home, wanted, privacy, site)
    assert not home.root.exists()


def test_init_makes_a_home_on_another_homes_budget(
    first: TestPlant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def enrol(
        home: ClientHome, token: str, *, ledger_path: Path | None, confirm_encoder: Any
    ) -> Enrolment:
        assert ledger_path == first.home.ledger.resolve()
        package = first.home.encoder.read_bytes()
        confirm_encoder(package)
        home.encoder.write_bytes(package)
        identity.create_identity(home, "plant-a")
        reply = EnrolmentReply(
            certificate_pem="",
            ca_pem="",
            fleet_url="https://127.0.0.1:1",
            server_name="sounds-server",
            server_key="22" * 32,
            witness_name="sounds-server/witness",
            witness_key=signing.public_bytes(signing.generate_key()).hex(),
            encoder="",
            cosignature="",
        )
        return Enrolment("plant-a", first.origin, reply, package)

    monkeypatch.setattr(home_initialisation, "enrol", enrol)
    data = write_npz(tmp_path / "more.npz", {0: 4, 1: 4}, seed=9, labels=LABELS)
    home = tmp_path / "new"
    token = protocol.encode_join_token(dataclasses.replace(JOIN, encoder=first.encoder))
    words = ["init", "--home", home, "--join", token, "--data", data, "--name", "sounds"]
    with pytest.raises(SystemExit) as done:
        cli.run_program(group, [*map(str, words), "--budget-of", str(first.home.root), "--json"])
    assert done.value.code == 0, capfd.readouterr()
    config = configuration.load(ClientHome(home))
    assert (config.privacy.cap_epsilon, config.privacy.max_request_epsilon) == ("1.5", "1.5")
    with open_ledger(first.home) as ledger:
        spent = [ledger.read_spending(name).lineage_id for name in ("plant-a", "sounds")]
    assert spent[0] == spent[1]
