from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from wg_common.errors import ConfigError, RefusedError, VerificationError
from wg_common.protocol import EnrolmentRequest
from wg_server.home import ServerHome
from wg_server.store import Store, StoredRelease

NOW = 1000.0


def request(site: str = "plant-a", secret: str = "s1", keys: str = "k") -> EnrolmentRequest:
    return EnrolmentRequest(
        site=site,
        secret=secret,
        csr_pem="",
        node_public_key="",
        signing_key=f"{keys}-signing",
        ledger_origin=f"{keys}-origin",
        ledger_key=f"{keys}-ledger",
    )


def enrol(store: Store, asked: EnrolmentRequest, fingerprint: str, now: float = NOW) -> str:
    return store.enrol(
        asked, f"node {asked.signing_key}", now, lambda: (fingerprint, now + 100, "certificate")
    )


@pytest.fixture
def enrolled(store: Store) -> Store:
    store.invite("plant-a", "s1", NOW + 60)
    enrol(store, request(), "f1")
    return store


def test_a_token_enrols_its_site_once(store: Store) -> None:
    store.invite("plant-a", "s1", NOW + 60)
    assert enrol(store, request(), "f1") == "certificate"
    with pytest.raises(RefusedError, match="used"):
        enrol(store, request(), "f2")
    assert store.authenticate("f2", NOW) is None


@pytest.mark.parametrize(
    ("site", "secret", "now"),
    [("plant-b", "s1", NOW), ("plant-a", "s2", NOW), ("plant-a", "s1", NOW + 61)],
)
def test_a_token_of_another_site_or_secret_or_time_is_refused(
    store: Store, site: str, secret: str, now: float
) -> None:
    store.invite("plant-a", "s1", NOW + 60)
    store.invite("plant-b", "s9", NOW + 60)
    with pytest.raises(RefusedError):
        enrol(store, request(site, secret), "f1", now)
    enrol(store, request(), "f1")  # and the refusal spent nothing


def test_a_certificate_that_cannot_be_made_spends_no_token(store: Store) -> None:
    store.invite("plant-a", "s1", NOW + 60)

    def fail() -> tuple[str, float, str]:
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        store.enrol(request(), "node", NOW, fail)
    enrol(store, request(), "f1")


def test_two_sites_cannot_share_a_key(enrolled: Store) -> None:
    enrolled.invite("plant-b", "s2", NOW + 60)
    with pytest.raises(RefusedError, match="another site"):
        enrol(enrolled, request("plant-b", "s2"), "f2")


def test_secrets_are_not_in_the_database(home: ServerHome, store: Store) -> None:
    store.invite("plant-a", "a-very-secret-secret", NOW)
    store.close()
    assert b"a-very-secret-secret" not in home.database.read_bytes()


def test_one_of_many_racing_enrolments_wins(home: ServerHome, store: Store) -> None:
    store.invite("plant-a", "s1", NOW + 60)
    outcomes: list[str] = []

    def attempt(number: int) -> None:
        with Store.open(home) as mine:
            try:
                outcomes.append(enrol(mine, request(), f"f{number}"))
            except RefusedError:
                outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["certificate"] + ["refused"] * 7


def test_a_certificate_is_good_until_it_expires_or_is_revoked(enrolled: Store) -> None:
    found = enrolled.authenticate("f1", NOW + 99)
    assert found is not None and found.name == "plant-a"
    assert enrolled.authenticate("f1", NOW + 101) is None
    enrolled.revoke("plant-a", NOW)
    assert enrolled.authenticate("f1", NOW) is None
    assert enrolled.site("plant-a").state == "revoked"


def test_revocation_kills_unused_tokens_and_renewed_certificates(enrolled: Store) -> None:
    enrolled.add_certificate("plant-a", "f2", NOW + 100)
    enrolled.invite("plant-a", "s2", NOW + 60, replace=True)
    enrolled.revoke("plant-a", NOW)
    assert enrolled.authenticate("f2", NOW) is None
    with pytest.raises(RefusedError):
        enrol(enrolled, request(secret="s2"), "f3")


def test_enrolling_again_needs_a_word_and_replaces_the_keys(enrolled: Store) -> None:
    with pytest.raises(ConfigError, match="--replace"):
        enrolled.invite("plant-a", "s2", NOW + 60)
    enrolled.invite("plant-a", "s2", NOW + 60, replace=True)
    enrol(enrolled, request(secret="s2", keys="new"), "f2")
    assert enrolled.authenticate("f1", NOW) is None
    found = enrolled.authenticate("f2", NOW)
    assert found is not None and found.signing_key == "new-signing"


def test_the_witness_remembers_and_a_refusal_changes_nothing(enrolled: Store) -> None:
    site = enrolled.site("plant-a")
    seen: list[bytes | None] = []

    def good(known: bytes | None) -> tuple[bytes, int, str]:
        seen.append(known)
        return b"checkpoint", 5, "line"

    def bad(known: bytes | None) -> tuple[bytes, int, str]:
        seen.append(known)
        raise VerificationError("no")

    assert enrolled.witness(site, NOW, good) == "line"
    with pytest.raises(VerificationError):
        enrolled.witness(site, NOW, bad)
    enrolled.witness(site, NOW, good)
    assert seen == [None, b"checkpoint", b"checkpoint"]
    assert enrolled.witnessed(site.ledger_origin) == b"checkpoint"


def test_memory_is_the_newest_release_of_every_other_site_in_good_standing(store: Store) -> None:
    for number, name in enumerate(("plant-a", "plant-b", "plant-c")):
        store.invite(name, name, NOW + 60)
        enrol(store, request(name, name, keys=name), f"f{number}")
    one = StoredRelease(
        release_id="r1",
        site="plant-b",
        encoder="e",
        epsilon="1",
        delta="1e-5",
        received=1.0,
        signing_key="k",
        data=b"1",
    )
    store.add_release(one)
    store.add_release(one)  # the same again is fine
    store.add_release(replace(one, release_id="r2", received=2.0))
    store.add_release(replace(one, release_id="r3", encoder="other", received=3.0))
    store.add_release(replace(one, release_id="r4", site="plant-c"))
    with pytest.raises(VerificationError, match="another site"):
        store.add_release(replace(one, site="plant-a"))
    found = store.memory(encoder="e", apart_from="plant-a")
    assert [release.release_id for release in found] == ["r2", "r4"]
    store.revoke("plant-c", NOW)
    assert [r.release_id for r in store.memory(encoder="e", apart_from="plant-a")] == ["r2"]
    assert not store.memory(encoder="e", apart_from="plant-b")
