"""A home that is made anew is no new budget, unless it says what the one before had spent."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.core.ledger.decided import record_decision
from tests.server.enrolling import request_of

from wg_common.auditor_record import BUDGET_UNKNOWN, FIRST_LOG, PREDECESSOR_NAMED
from wg_core.errors import RefusedError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import export as exports
from wg_core.ledger import log_succession
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.entries import Predecessor
from wg_core.ledger.witness import WitnessRefused
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, signing
from wg_core.wire.protocol import EnrolmentReply, EnrolmentRequest
from wg_server.fleet.enrolment import EnrolmentService, create_join_token
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession, schema
from wg_server.store.server_store import ServerStore

SITE = "plant-a"


@dataclass
class Central:
    """A server, and homes of one plant that enrol with it."""

    home: ServerHome
    store: ServerStore
    folder: Path
    shows: Path | None = None  # The ledger that the next request shows

    def plant(self, name: str, predecessor: Predecessor | None = None) -> ClientHome:
        """A plant's home with its keys and ledger, and nothing else."""
        home = ClientHome(self.folder / name)
        public = identity.create_identity(home, SITE)
        Ledger.create(
            home.ledger,
            origin=public.ledger_origin,
            key=signing.load(home.ledger_key),
            site=SITE,
            predecessor=predecessor,
        ).close()
        return home

    def request(self, plant: ClientHome) -> EnrolmentRequest:
        token = create_join_token(self.home, self.store, SITE, 60, may_replace=True)
        return request_of(plant, token.secret, replaced=self._shown())

    def _shown(self) -> str:
        if self.shows is None:
            return ""
        path = self.folder / "shown.wgl"
        exports.write_export(self.shows, path)
        return base64.b64encode(path.read_bytes()).decode()

    def enrol(self, plant: ClientHome) -> EnrolmentReply:
        enrolment = EnrolmentService(self.home, self.home.read_config(), self.store)
        return enrolment.enrol_site(canonical.encode(self.request(plant)))

    def work(self, plant: ClientHome, entries: int = 1) -> None:
        """The ledger grows, and the server cosigns it."""
        witness = LedgerWitness.open(self.home, self.store)
        site = self.store.require_site(SITE)
        with ledger_of(plant) as ledger:
            ledger.enrol_witness(witness.name, signing.public_bytes(witness.public_key))
            for _ in range(entries):
                record_decision(ledger)
            ledger.request_cosignature(
                witness.name, lambda body: witness.cosign_extension(site, body)
            )

    def said(self) -> str:
        return ledger_succession.classify_successions_by_site(
            [self.store.require_site(SITE)], self.store.logs_of_sites([SITE])
        )[SITE]


@pytest.fixture
def central(home: ServerHome, store: ServerStore, tmp_path: Path) -> Iterator[Central]:
    yield Central(home, store, tmp_path)


def ledger_of(plant: ClientHome) -> Ledger:
    return Ledger.open(plant.ledger, signing.load(plant.ledger_key))


def test_a_first_ledger_is_cosigned_from_its_first_entry(central: Central) -> None:
    plant = central.plant("one")
    reply = central.enrol(plant)
    assert central.said() == FIRST_LOG
    with ledger_of(plant) as ledger:
        ledger.enrol_witness(reply.witness_name, bytes.fromhex(reply.witness_key))
        signed = ledger.first_entry_checkpoint() + reply.cosignature.encode()
        ledger.add_cosignature(signed, reply.witness_name)
        assert ledger.is_entry_cosigned(0, reply.witness_name)


def test_a_fresh_home_after_releases_is_a_budget_unknown(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    central.enrol(central.plant("two"))
    assert central.said() == BUDGET_UNKNOWN


def test_a_fresh_home_before_any_release_is_a_first_one(central: Central) -> None:
    central.enrol(central.plant("one"))
    central.enrol(central.plant("two"))
    assert central.said() == FIRST_LOG


def test_the_same_ledger_enrols_again_as_often_as_it_likes(central: Central) -> None:
    plant = central.plant("one")
    for _ in range(3):
        central.enrol(plant)
        central.work(plant)
    assert central.said() == FIRST_LOG and len(central.store.logs_of_sites([SITE])[SITE]) == 1


def test_a_successor_that_names_the_last_checkpoint_or_a_later_one_is_known(
    central: Central,
) -> None:
    plant = central.plant("0")
    central.enrol(plant)
    central.work(plant)
    for number in range(1, 4):
        if number == 2:  # more than the server saw
            with ledger_of(plant) as ledger:
                record_decision(ledger)
        central.shows = plant.ledger
        plant = central.plant(
            str(number), log_succession.read_predecessor(plant.ledger, "key lost")
        )
        central.enrol(plant)
        assert central.said() == PREDECESSOR_NAMED
        central.work(plant)


def test_a_successor_of_an_older_state_is_a_budget_unknown(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    named = log_succession.read_predecessor(old.ledger, "key lost")
    central.shows = central.folder / "backup.sqlite"
    shutil.copy(old.ledger, central.shows)
    central.work(old)
    central.enrol(central.plant("two", named))
    assert central.said() == BUDGET_UNKNOWN


def test_a_predecessor_that_goes_on_after_it_was_named_is_a_budget_unknown(
    central: Central,
) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    central.shows = old.ledger
    new = central.plant("two", log_succession.read_predecessor(old.ledger, "key lost"))
    central.enrol(new)
    central.shows = None
    central.work(new)
    central.enrol(old)
    assert central.said() == BUDGET_UNKNOWN  # the new one spent as well
    central.work(old)
    central.enrol(new)
    assert central.said() == BUDGET_UNKNOWN  # and so did the old one since


def test_a_successor_of_one_of_two_is_a_budget_unknown(central: Central) -> None:
    for name in ("one", "two"):
        plant = central.plant(name)
        central.enrol(plant)
        central.work(plant)
    central.shows = plant.ledger
    central.enrol(central.plant("three", log_succession.read_predecessor(plant.ledger, "key lost")))
    assert central.said() == BUDGET_UNKNOWN


def test_a_forged_checkpoint_of_the_predecessor_is_refused(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    named = log_succession.read_predecessor(old.ledger, "key lost")
    head, _ = checkpoints.decode(named.checkpoint.encode())
    key = signing.generate_key()
    forged = checkpoints.sign(replace(head, size=head.size + 5), [key]).encode().decode()
    named = replace(named, checkpoint=forged, key=signing.public_bytes(key).hex())
    new = central.plant("two", named)
    for central.shows in (None, old.ledger):
        with pytest.raises(RefusedError, match=r"was not shown|replaces log|another checkpoint"):
            central.enrol(new)


def spent(central: Central) -> ClientHome:
    """A plant whose ledger has spent something that the server cosigned."""
    plant = central.plant("one")
    central.enrol(plant)
    with ledger_of(plant) as ledger:
        ledger.register_dataset(
            DatasetRegistration(
                name="parts", commitment="ab" * 32, cap_epsilon="8", cap_delta="1e-5"
            )
        )
        ledger.accountant = lambda events, delta: 1.0
        ledger.charge(site_request())
    central.work(plant)
    return plant


def site_request() -> ChargeRequest:
    from tests.core.ledger.conftest import Site

    return Site(Path()).request("r1", "1")


def test_a_successor_that_inherits_less_than_the_log_before_spent_is_refused(
    central: Central,
) -> None:
    old = spent(central)
    central.shows = old.ledger
    true = log_succession.read_predecessor(old.ledger, "key lost")
    less = tuple(replace(spend, events=(), charges=0) for spend in true.spends)
    for name, spends in (("none", ()), ("nothing", less)):
        lie = central.plant(name, replace(true, spends=spends))
        with pytest.raises(RefusedError, match="inherits another spend than the old log had"):
            central.enrol(lie)
    with pytest.raises(RefusedError, match="was not shown"):
        central.shows = None
        central.enrol(central.plant("unseen", replace(true, spends=())))
    central.shows = old.ledger
    honest = central.plant("honest", true)
    central.enrol(honest)
    assert central.said() == PREDECESSOR_NAMED
    central.shows = None
    central.enrol(honest)  # it was shown before
    central.work(honest)


def test_a_log_of_other_entries_than_were_cosigned_is_not_what_was_replaced(
    central: Central,
) -> None:
    old = spent(central)
    with ledger_of(old) as ledger:
        size = ledger.size
    other = central.folder / "other.sqlite"
    public = identity.read_public_identity(old, SITE)
    with Ledger.create(
        other, origin=public.ledger_origin, key=signing.load(old.ledger_key), site=SITE
    ) as ledger:
        while ledger.size < size:
            record_decision(ledger)
    central.shows = other
    lie = central.plant("two", log_succession.read_predecessor(other, "key lost"))
    with pytest.raises(RefusedError, match="another root"):
        central.enrol(lie)


def test_a_successor_whose_log_before_was_never_shown_is_not_cosigned(central: Central) -> None:
    old = spent(central)
    central.shows = old.ledger
    new = central.plant("two", log_succession.read_predecessor(old.ledger, "key lost"))
    central.enrol(new)
    with central.store.engine.begin() as connection:
        connection.execute(schema.replaced_log_table.delete())
    with pytest.raises(WitnessRefused, match="was not shown"):
        central.work(new)


def test_a_predecessor_that_was_never_seen_here_is_a_budget_unknown(central: Central) -> None:
    out_of_family = central.plant("stranger")
    central.enrol(
        central.plant("one", log_succession.read_predecessor(out_of_family.ledger, "moved"))
    )
    assert central.said() == BUDGET_UNKNOWN


@pytest.mark.parametrize("worked", [False, True])
def test_a_ledger_cannot_begin_twice(central: Central, worked: bool) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    if worked:  # then the remembered checkpoint alone would not tell
        central.work(plant)
    plant.ledger.unlink()
    with ledger_again(plant) as ledger:
        record_decision(ledger)
    with pytest.raises(RefusedError, match=r"another beginning|two signed roots"):
        central.enrol(plant)


def test_a_known_ledger_under_another_key_is_refused(central: Central) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    with ledger_of(plant) as ledger:
        new = signing.generate_hybrid_key()
        ledger.rotate_key(new)
    signing.save(plant.ledger_key, new)
    with pytest.raises(RefusedError, match="keys --renew ledger"):
        central.enrol(plant)


def ledger_again(plant: ClientHome) -> Ledger:
    """Another ledger with the same key and origin."""
    public = identity.read_public_identity(plant, SITE)
    return Ledger.create(
        plant.ledger,
        origin=public.ledger_origin,
        key=signing.load(plant.ledger_key),
        site=SITE,
        clock=lambda: int(time.time()) + 5,
    )
