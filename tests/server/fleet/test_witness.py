from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.ledger.decided import record_decision
from tests.server.enrolling import beginning, empty_request

from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.witness import WitnessFork, WitnessRefused
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import ServerHome
from wg_server.store.ledgers import FORK_EVIDENCE_LIMIT, REFUSED_FILES_LIMIT
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

ORIGIN = "weightgate/plant-a/0123456789abcdef"


@pytest.fixture
def witness(home: ServerHome, store: ServerStore) -> LedgerWitness:
    return LedgerWitness.open(home, store)


@pytest.fixture
def key() -> PrivateKey:
    return signing.generate_hybrid_key()


@pytest.fixture
def ledger(witness: LedgerWitness, key: PrivateKey, tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger.create(tmp_path / "ledger.sqlite", origin=ORIGIN, key=key, site="plant-a")
    found.enrol_witness(witness.name, signing.public_bytes(witness.public_key))
    yield found
    found.close()


@pytest.fixture
def site(store: ServerStore, key: PrivateKey, ledger: Ledger) -> StoredSite:
    store.store_join_token("plant-a", "s", time.time() + 60)
    request = empty_request(ledger_origin=ORIGIN, ledger_key=signing.public_bytes(key).hex())
    store.enrol_site(
        request, "node", "tls", time.time(), lambda: ("f", 2e9, None), beginning(ledger)
    )
    return store.require_site("plant-a")


def test_a_ledger_that_grows_is_cosigned_again_and_again(
    witness: LedgerWitness, ledger: Ledger, site: StoredSite, store: ServerStore
) -> None:
    for _ in range(3):
        record_decision(ledger)
        ledger.request_cosignature(witness.name, lambda body: witness.cosign_extension(site, body))
    assert store.last_cosigned_checkpoint(ORIGIN) is not None
    assert store.list_fork_evidence() == []


def test_a_rolled_back_ledger_is_refused(
    witness: LedgerWitness, ledger: Ledger, site: StoredSite, store: ServerStore
) -> None:
    record_decision(ledger)
    old = ledger.witness_request(witness.name).encode()
    record_decision(ledger)
    ledger.request_cosignature(witness.name, lambda body: witness.cosign_extension(site, body))
    before = store.last_cosigned_checkpoint(ORIGIN)
    with pytest.raises(WitnessRefused) as info:
        witness.cosign_extension(site, old)
    assert info.value.status == 409
    assert store.last_cosigned_checkpoint(ORIGIN) == before


def test_a_forked_ledger_is_refused_and_the_evidence_kept(
    witness: LedgerWitness,
    ledger: Ledger,
    key: PrivateKey,
    site: StoredSite,
    store: ServerStore,
    tmp_path: Path,
) -> None:
    record_decision(ledger)
    ledger.request_cosignature(witness.name, lambda body: witness.cosign_extension(site, body))
    ledger.close()
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite")
    for path, purpose in (("ledger.sqlite", "one"), ("copy.sqlite", "other")):
        with Ledger.open(tmp_path / path, key) as opened:
            record_decision(opened, purpose)
            if path == "ledger.sqlite":
                opened.request_cosignature(
                    witness.name, lambda body: witness.cosign_extension(site, body)
                )
            else:
                with pytest.raises(WitnessFork):
                    witness.cosign_extension(site, opened.witness_request(witness.name).encode())
    ((origin, _, earlier, later),) = store.list_fork_evidence()
    assert origin == ORIGIN and earlier != later


def test_another_sites_ledger_is_not_cosigned(
    witness: LedgerWitness, ledger: Ledger, site: StoredSite, tmp_path: Path
) -> None:
    foreign = Ledger.create(
        tmp_path / "foreign.sqlite", origin="weightgate/b/1", key=signing.generate_key(), site="b"
    )
    foreign.enrol_witness(witness.name, signing.public_bytes(witness.public_key))
    with pytest.raises(WitnessRefused) as info:
        witness.cosign_extension(site, foreign.witness_request(witness.name).encode())
    assert info.value.status == 404
    foreign.close()


def test_evidence_of_one_log_is_kept_once_and_bounded(store: ServerStore) -> None:
    for number in range(3 * FORK_EVIDENCE_LIMIT):
        for _ in range(2):
            store.store_fork_evidence("log", b"earlier", b"later %d" % number, float(number))
    store.store_fork_evidence("another", b"earlier", b"later", 0.0)
    found = store.list_fork_evidence()
    assert [row[3] for row in found if row[0] == "log"] == [
        b"later %d" % number for number in range(FORK_EVIDENCE_LIMIT)
    ]
    assert len(found) == FORK_EVIDENCE_LIMIT + 1


def test_refused_files_of_one_log_are_kept_once_and_bounded(store: ServerStore) -> None:
    for number in range(REFUSED_FILES_LIMIT + 3):
        for _ in range(2):
            store.store_refused_file("log", b"file %d" % number, float(number))
    store.store_refused_file("another", b"a file", 0.0)
    assert list(store.refused_files("log")) == [
        b"file %d" % number for number in range(REFUSED_FILES_LIMIT)
    ]
    assert list(store.refused_files("another")) == [b"a file"]
