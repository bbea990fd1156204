from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.patience import wait_until
from tests.server.enrolling import UNSEEN, empty_request
from tests.server.rows import add_sites, release_of

from wg_core.errors import ConfigError, RefusedError, StorageError, VerificationError
from wg_core.privacy.schema import MACHINE_STATISTICS
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.store import server_store
from wg_server.store.database import open_engine
from wg_server.store.server_store import CERTIFICATES_LIMIT, ServerStore

NOW = 1000.0


def request(site: str = "plant-a", secret: str = "s1", keys: str = "k") -> EnrolmentRequest:
    names = {f"{use}_key": f"{keys}-{use}" for use in ("signing", "ledger")}
    return empty_request(site=site, secret=secret, ledger_origin=f"{keys}-origin", **names)


def enrol(
    store: ServerStore,
    asked: EnrolmentRequest,
    fingerprint: str,
    current_time: float = NOW,
    tls_key: str = "tls key",
) -> str:
    result, _ = store.enrol_site(
        asked,
        f"node {asked.signing_key}",
        tls_key,
        current_time,
        lambda: (fingerprint, current_time + 100, "certificate"),
        UNSEEN,
    )
    return result


@pytest.fixture
def store(any_store: ServerStore) -> ServerStore:
    return any_store


@pytest.fixture
def enrolled(store: ServerStore) -> ServerStore:
    store.store_join_token("plant-a", "s1", NOW + 60)
    enrol(store, request(), "f1")
    return store


def test_a_token_enrols_one_set_of_keys(store: ServerStore) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)
    assert enrol(store, request(), "f1") == "certificate"
    for other in (request(keys="x"), replace(request(), ledger_origin="x")):
        with pytest.raises(RefusedError, match="used already, with other keys"):
            enrol(store, other, "f2")
    with pytest.raises(RefusedError, match="used already, with other keys"):
        enrol(store, request(), "f2", tls_key="x")
    assert store.authenticate_site("f2", NOW) is None


def test_a_site_that_asks_again_with_its_token_and_keys_is_answered_again(
    store: ServerStore,
) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)
    enrol(store, request(), "f1")
    enrol(store, request(), "f2", NOW + 30)
    for name in ("f1", "f2"):  # the first answer may have come after all
        assert store.authenticate_site(name, NOW + 31) is not None
    assert store.require_site("plant-a").enrolled == NOW
    with pytest.raises(RefusedError, match=r"expired; ask.*enroll --replace"):
        enrol(store, request(), "f3", NOW + 60)


def test_a_used_token_does_not_undo_what_came_after_it(store: ServerStore) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)
    enrol(store, request(), "f1")
    store.revoke_site("plant-a", NOW + 1)
    with pytest.raises(RefusedError, match="then the site changed"):
        enrol(store, request(), "f2", NOW + 2)
    store.store_join_token("plant-a", "s2", NOW + 60)
    enrol(store, request(secret="s2", keys="new"), "f3", NOW + 3)
    with pytest.raises(RefusedError, match="then the site changed"):
        enrol(store, request(), "f4", NOW + 4)
    assert store.authenticate_site("f1", NOW + 5) is None
    assert store.authenticate_site("f3", NOW + 5) is not None


@pytest.mark.parametrize(
    ("site", "secret", "current_time"),
    [("plant-b", "s1", NOW), ("plant-a", "s2", NOW), ("plant-a", "s1", NOW + 61)],
)
def test_a_token_of_another_site_or_secret_or_time_is_refused(
    store: ServerStore, site: str, secret: str, current_time: float
) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)
    store.store_join_token("plant-b", "s9", NOW + 60)
    with pytest.raises(RefusedError):
        enrol(store, request(site, secret), "f1", current_time)
    enrol(store, request(), "f1")  # and the refusal spent nothing


def test_a_certificate_that_cannot_be_made_spends_no_token(store: ServerStore) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)

    def fail() -> tuple[str, float, str]:
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        store.enrol_site(request(), "node", "tls", NOW, fail, UNSEEN)
    enrol(store, request(), "f1")


def test_two_sites_cannot_share_a_key(enrolled: ServerStore) -> None:
    enrolled.store_join_token("plant-b", "s2", NOW + 60)
    with pytest.raises(RefusedError, match="another site"):
        enrol(enrolled, request("plant-b", "s2"), "f2")


def test_secrets_are_not_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with ServerStore(open_engine(f"sqlite:///{path}")) as store:
        store.store_join_token("plant-a", "a-very-secret-secret", NOW)
    assert b"a-very-secret-secret" not in path.read_bytes()


def test_one_of_many_racing_enrolments_wins(database_url: str, store: ServerStore) -> None:
    store.store_join_token("plant-a", "s1", NOW + 60)
    outcomes: list[str] = []

    def attempt(number: int) -> None:
        with ServerStore(open_engine(database_url)) as mine:
            try:
                outcomes.append(enrol(mine, request(keys=f"k{number}"), f"f{number}"))
            except RefusedError:
                outcomes.append("refused")

    race([partial(attempt, number) for number in range(8)])
    assert sorted(outcomes) == ["certificate"] + ["refused"] * 7


def test_of_two_sites_that_race_with_one_key_one_wins(
    database_url: str, store: ServerStore
) -> None:
    for attempt in range(5):
        names = [f"site-{attempt}-{number}" for number in range(4)]
        for name in names:
            store.store_join_token(name, name, NOW + 60)
        outcomes: list[str] = []

        def enter(name: str, keys: str = f"k{attempt}", outcomes: list[str] = outcomes) -> None:
            with ServerStore(open_engine(database_url)) as mine:
                try:
                    outcomes.append(enrol(mine, request(name, name, keys), f"f-{name}"))
                except RefusedError:
                    outcomes.append("refused")

        race([partial(enter, name) for name in names])
        assert sorted(outcomes) == ["certificate"] + ["refused"] * 3


def test_a_witness_that_is_asked_at_once_by_many_sees_every_checkpoint(
    database_url: str, enrolled: ServerStore
) -> None:
    site = enrolled.require_site("plant-a")
    sizes: list[int] = []

    def grow() -> None:
        def decide(known: bytes | None) -> tuple[bytes, int, int]:
            size = int(known or b"0") + 1
            return str(size).encode(), size, size

        with ServerStore(open_engine(database_url)) as mine:
            sizes.append(mine.update_checkpoint(site, NOW, decide))

    race([grow] * 6)
    assert sorted(sizes) == list(range(1, 7))


def race(actions: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_certificate_is_good_until_it_expires_or_is_revoked(enrolled: ServerStore) -> None:
    found = enrolled.authenticate_site("f1", NOW + 99)
    assert found is not None and found.name == "plant-a"
    assert enrolled.authenticate_site("f1", NOW + 101) is None
    enrolled.revoke_site("plant-a", NOW)
    assert enrolled.authenticate_site("f1", NOW) is None
    assert enrolled.require_site("plant-a").state == "revoked"


def test_renewing_on_and_on_leaves_the_newest_certificates(enrolled: ServerStore) -> None:
    for number in range(2 * CERTIFICATES_LIMIT):
        enrolled.add_certificate("plant-a", f"r{number}", NOW + 200 + number)
    good = [
        number
        for number in range(2 * CERTIFICATES_LIMIT)
        if enrolled.authenticate_site(f"r{number}", NOW)
    ]
    assert good == list(range(CERTIFICATES_LIMIT, 2 * CERTIFICATES_LIMIT))
    assert enrolled.authenticate_site("f1", NOW) is None


def test_revocation_kills_unused_tokens_and_renewed_certificates(enrolled: ServerStore) -> None:
    enrolled.add_certificate("plant-a", "f2", NOW + 100)
    enrolled.store_join_token("plant-a", "s2", NOW + 60, may_replace=True)
    enrolled.revoke_site("plant-a", NOW)
    assert enrolled.authenticate_site("f2", NOW) is None
    with pytest.raises(RefusedError):
        enrol(enrolled, request(secret="s2"), "f3")


def test_enrolling_again_needs_a_word_and_replaces_the_keys(enrolled: ServerStore) -> None:
    with pytest.raises(ConfigError, match="--replace"):
        enrolled.store_join_token("plant-a", "s2", NOW + 60)
    enrolled.store_join_token("plant-a", "s2", NOW + 60, may_replace=True)
    enrol(enrolled, request(secret="s2", keys="new"), "f2")
    assert enrolled.authenticate_site("f1", NOW) is None
    found = enrolled.authenticate_site("f2", NOW)
    assert found is not None and found.signing_key == "new-signing"


def test_the_witness_remembers_and_a_refusal_changes_nothing(enrolled: ServerStore) -> None:
    site = enrolled.require_site("plant-a")
    seen: list[bytes | None] = []

    def good(known: bytes | None) -> tuple[bytes, int, str]:
        seen.append(known)
        return b"checkpoint", 5, "line"

    def bad(known: bytes | None) -> tuple[bytes, int, str]:
        seen.append(known)
        raise VerificationError("no")

    assert enrolled.update_checkpoint(site, NOW, good) == "line"
    with pytest.raises(VerificationError):
        enrolled.update_checkpoint(site, NOW, bad)
    enrolled.update_checkpoint(site, NOW, good)
    assert seen == [b"0", b"checkpoint", b"checkpoint"]
    assert enrolled.last_cosigned_checkpoint(site.ledger_origin) == b"checkpoint"


def test_memory_is_the_newest_release_of_every_other_site_in_good_standing(
    store: ServerStore,
) -> None:
    for number, name in enumerate(("plant-a", "plant-b", "plant-c")):
        store.store_join_token(name, name, NOW + 60)
        enrol(store, request(name, name, keys=name), f"f{number}")
    one = release_of("plant-b", "r1")
    store.add_release(one)
    store.add_release(one)  # the same again is fine
    store.add_release(replace(one, release_id="r2", received=2.0))
    store.add_release(replace(one, release_id="r3", encoder="other", received=3.0))
    store.add_release(replace(one, release_id="r4", site="plant-c"))
    store.add_release(replace(one, release_id="r5", statistics=MACHINE_STATISTICS, received=4.0))
    with pytest.raises(VerificationError, match="another site"):
        store.add_release(replace(one, site="plant-a"))
    assert store.newest_usable_release_ids(encoder_sha256="e", excluded_site="plant-a") == [
        "r2",
        "r4",
    ]
    store.revoke_site("plant-c", NOW)
    assert store.newest_usable_release_ids(encoder_sha256="e", excluded_site="plant-a") == ["r2"]
    assert not store.newest_usable_release_ids(encoder_sha256="e", excluded_site="plant-b")


def test_sites_are_read_by_pages_and_found_by_a_part_of_their_name(store: ServerStore) -> None:
    names = [f"plant-{number}" for number in range(5)]
    add_sites(store, names)
    add_sites(store, ["other"], state="revoked")
    assert [len(page) for page in store.site_pages(rows_per_page=4)] == [4, 2]
    assert [site.name for site in store.sites("enrolled")] == names
    page, count = store.search_and_count_sites("Plant-", offset=2, rows_per_page=2)
    assert ([site.name for site in page], count) == (names[2:4], 5)
    assert store.search_and_count_sites("plant_", offset=0, rows_per_page=9) == ([], 0)


def test_a_site_that_sends_new_keys_cannot_keep_itself_from_being_revoked(
    enrolled: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both change the site's row; a deadlock would end one of them."""
    site, refusals = enrolled.require_site("plant-a"), list[Exception]()
    is_postgresql = enrolled.engine.dialect.name == "postgresql"
    waiting = sa.text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def rotate() -> None:
        try:
            enrolled.rotate_ledger_key(site, "x", NOW, lambda key, checkpoint: (b"", 1, b""))
        except (RefusedError, StorageError) as error:
            refusals.append(error)

    def is_blocked() -> bool:
        with enrolled.engine.connect() as connection:
            return connection.execute(waiting).first() is not None

    thread = threading.Thread(target=rotate)
    revoke_certificates = server_store._revoke_certificates

    def rotate_meanwhile(*words: Any) -> None:
        thread.start()
        if is_postgresql:
            wait_until(is_blocked, "the other transaction")
        revoke_certificates(*words)

    monkeypatch.setattr(server_store, "_revoke_certificates", rotate_meanwhile)
    enrolled.revoke_site("plant-a", NOW)
    thread.join()
    assert [type(error) for error in refusals] == [RefusedError]
    assert enrolled.require_site("plant-a").state == "revoked"
