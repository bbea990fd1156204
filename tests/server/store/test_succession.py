"""A home that is made anew is no new budget, unless it says what the one before had spent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from wg_client.site import identity
from wg_client.site.home import ClientHome
from wg_common.errors import RefusedError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import entries, recovery
from wg_common.ledger.auditor_record import BUDGET_UNKNOWN, FIRST, NAMES_PREDECESSOR
from wg_common.ledger.entries import Predecessor
from wg_common.ledger.store import Ledger
from wg_common.wire import canonical, signing
from wg_common.wire.protocol import EnrolmentReply, EnrolmentRequest
from wg_server.fleet.enrolment import Enrolment, make_token
from wg_server.fleet.witness import Witness
from wg_server.site.home import ServerHome
from wg_server.store import succession
from wg_server.store.sites import Store

SITE = "plant-a"


@dataclass
class Central:
    """A server, and homes of one plant that enrol with it."""

    home: ServerHome
    store: Store
    folder: Path

    def plant(self, name: str, predecessor: Predecessor | None = None) -> ClientHome:
        """A plant's home with its keys and ledger, and nothing else."""
        home = ClientHome(self.folder / name)
        public = identity.create(home, SITE)
        Ledger.create(
            home.ledger,
            origin=public.ledger_origin,
            key=signing.load(home.ledger_key),
            site=SITE,
            predecessor=predecessor,
        ).close()
        return home

    def request(self, plant: ClientHome) -> EnrolmentRequest:
        token = make_token(self.home, self.store, SITE, 60, replace=True)
        public = identity.public(plant, SITE)
        with ledger_of(plant) as ledger:
            return EnrolmentRequest(
                site=SITE,
                secret=token.secret,
                csr_pem=public.csr_pem,
                node_public_key=public.node_public_key,
                signing_key=public.signing_key,
                ledger_origin=ledger.origin,
                ledger_key=public.ledger_key,
                genesis=ledger.entry(0).decode(),
                checkpoint=ledger.first_checkpoint().decode(),
            )

    def enrol(self, plant: ClientHome) -> EnrolmentReply:
        enrolment = Enrolment(self.home, self.home.config(), self.store)
        return enrolment.enrol(canonical.encode(self.request(plant)))

    def work(self, plant: ClientHome, entries: int = 1) -> None:
        """The ledger grows, and the server cosigns it."""
        witness = Witness.of(self.home, self.store)
        site = self.store.site(SITE)
        with ledger_of(plant) as ledger:
            ledger.enrol_witness(witness.name, signing.public_bytes(witness.public_key))
            for _ in range(entries):
                grow(ledger)
            ledger.countersign(witness.name, lambda body: witness.countersign(site, body))

    def said(self) -> str:
        return succession.of_sites(self.store.sites(), self.store.logs())[SITE]


@pytest.fixture
def central(home: ServerHome, store: Store, tmp_path: Path) -> Iterator[Central]:
    yield Central(home, store, tmp_path)


def ledger_of(plant: ClientHome) -> Ledger:
    return Ledger.open(plant.ledger, signing.load(plant.ledger_key))


def grow(ledger: Ledger) -> None:
    ledger.record(
        entries.AUDIT,
        partial(
            entries.Audit,
            code_sha256="ab" * 32,
            claimed_epsilon="1",
            lower_bound="0",
            parametric_bound="0",
            canaries=1,
        ),
    )


def test_a_first_ledger_is_cosigned_from_its_first_entry(central: Central) -> None:
    plant = central.plant("one")
    reply = central.enrol(plant)
    assert central.said() == FIRST
    with ledger_of(plant) as ledger:
        ledger.enrol_witness(reply.witness_name, bytes.fromhex(reply.witness_key))
        signed = ledger.first_checkpoint() + reply.cosignature.encode()
        ledger.add_cosignature(signed, reply.witness_name)
        assert ledger.covered_by(0, reply.witness_name)


def test_a_fresh_home_after_releases_is_a_budget_unknown(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    central.enrol(central.plant("two"))
    assert central.said() == BUDGET_UNKNOWN


def test_a_fresh_home_before_any_release_is_a_first_one(central: Central) -> None:
    central.enrol(central.plant("one"))
    central.enrol(central.plant("two"))
    assert central.said() == FIRST


def test_the_same_ledger_enrols_again_as_often_as_it_likes(central: Central) -> None:
    plant = central.plant("one")
    for _ in range(3):
        central.enrol(plant)
        central.work(plant)
    assert central.said() == FIRST and len(central.store.logs()[SITE]) == 1


def test_a_successor_that_names_the_last_checkpoint_or_a_later_one_is_known(
    central: Central,
) -> None:
    plant = central.plant("0")
    central.enrol(plant)
    central.work(plant)
    for number in range(1, 4):
        if number == 2:  # more than the server saw
            with ledger_of(plant) as ledger:
                grow(ledger)
        plant = central.plant(str(number), recovery.predecessor(plant.ledger, "key lost"))
        central.enrol(plant)
        assert central.said() == NAMES_PREDECESSOR
        central.work(plant)


def test_a_successor_of_an_older_state_is_a_budget_unknown(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    named = recovery.predecessor(old.ledger, "key lost")
    central.work(old)
    central.enrol(central.plant("two", named))
    assert central.said() == BUDGET_UNKNOWN


def test_a_predecessor_that_goes_on_after_it_was_named_is_a_budget_unknown(
    central: Central,
) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    new = central.plant("two", recovery.predecessor(old.ledger, "key lost"))
    central.enrol(new)
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
    central.enrol(central.plant("three", recovery.predecessor(plant.ledger, "key lost")))
    assert central.said() == BUDGET_UNKNOWN


def test_a_forged_checkpoint_of_the_predecessor_is_a_budget_unknown(central: Central) -> None:
    old = central.plant("one")
    central.enrol(old)
    central.work(old)
    named = recovery.predecessor(old.ledger, "key lost")
    head, _ = checkpoints.decode(named.checkpoint.encode())
    key = signing.generate()
    forged = checkpoints.sign(replace(head, size=head.size + 5), [key]).encode().decode()
    named = replace(named, checkpoint=forged, key=signing.public_bytes(key).hex())
    central.enrol(central.plant("two", named))
    assert central.said() == BUDGET_UNKNOWN


def test_a_predecessor_that_was_never_seen_here_is_a_budget_unknown(central: Central) -> None:
    out_of_family = central.plant("stranger")
    central.enrol(central.plant("one", recovery.predecessor(out_of_family.ledger, "moved")))
    assert central.said() == BUDGET_UNKNOWN


@pytest.mark.parametrize("worked", [False, True])
def test_a_ledger_cannot_begin_twice(central: Central, worked: bool) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    if worked:  # then the remembered checkpoint alone would not tell
        central.work(plant)
    plant.ledger.unlink()
    with ledger_again(plant) as ledger:
        grow(ledger)
    with pytest.raises(RefusedError, match=r"another beginning|two signed roots"):
        central.enrol(plant)


def test_a_known_ledger_under_another_key_is_refused(central: Central) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    with ledger_of(plant) as ledger:
        new = signing.generate()
        ledger.rotate(new)
    signing.save(plant.ledger_key, new)
    with pytest.raises(RefusedError, match="rotate-key"):
        central.enrol(plant)


def ledger_again(plant: ClientHome) -> Ledger:
    """Another ledger with the same key and origin."""
    public = identity.public(plant, SITE)
    return Ledger.create(
        plant.ledger,
        origin=public.ledger_origin,
        key=signing.load(plant.ledger_key),
        site=SITE,
        clock=lambda: int(time.time()) + 5,
    )
