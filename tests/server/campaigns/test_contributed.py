"""Which contributed heads a plant is offered, and with which rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.server.enrolling import UNSEEN

from wg_core import atomic
from wg_core.privacy.events import dp_sgd_event
from wg_core.wire import canonical, signing
from wg_core.wire.contribution_file import ContributionManifest, encode_contribution
from wg_core.wire.protocol import EnrolmentRequest
from wg_core.wire.tensors import pack as pack_tensors
from wg_server.campaigns import contributed
from wg_server.generator.prior import retrieval
from wg_server.site.home import ServerHome
from wg_server.store.releases import Standing, StoredRelease
from wg_server.store.sites import Store
from wg_server.zoo.contributions import StoredContribution

D = 8
ENCODER = "ab" * 32
LABELS = ("good", "scratch", "dent")
PARTS = cast(Any, SimpleNamespace(encoder=ENCODER, architecture="lite0-head", zoo_index=None))


@pytest.fixture(autouse=True)
def distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "novelty", lambda index, weight: 1.5)


def enrol(store: Store, site: str) -> Ed25519PrivateKey:
    key = signing.generate()
    public = signing.public_bytes(key).hex()
    request = EnrolmentRequest(
        site=site,
        secret=site,
        csr_pem="",
        node_public_key=f"node {site}",
        signing_key=public,
        ledger_origin=f"origin/{site}",
        ledger_key=public,
        genesis="",
        checkpoint="",
    )
    store.invite(site, site, 2e9)
    store.enrol(request, f"node {site}", "tls", 1e9, lambda: (f"f {site}", 2e9, None), UNSEEN)
    return key


def give(
    home: ServerHome, store: Store, site: str, labels: tuple[str, ...] = LABELS, **changes: Any
) -> str:
    """Put a site's contribution into the zoo; its name."""
    known = {found.name for found in store.sites()}
    key = enrol(store, site) if site not in known else _KEYS[site]
    _KEYS[site] = key
    weight = np.arange(len(labels) * D, dtype=np.float32).reshape(-1, D)
    tensors = pack_tensors({"head.weight": weight, "head.bias": weight[:, 0].copy()})
    shared: dict[str, Any] = {
        "site": site,
        "dataset": "line-3",
        "request_id": "r-1",
        "contribution_id": "00ff",
        "architecture": "lite0-head",
        "encoder": ENCODER,
        "labels": labels,
        "event": dp_sgd_event(0.05, 2.0, 20),
        "epsilon": "1.0",
        "delta": "1e-05",
        "purpose": "zoo",
    } | changes
    manifest = ContributionManifest(
        plan="head",
        sampler="poisson/os-csprng",
        tensors_sha256=canonical.sha256_hex(tensors),
        **shared,
    )
    data = encode_contribution(manifest, tensors, key)
    record = StoredContribution(
        sha256=canonical.sha256_hex(data),
        name="plants",
        licence="agreement 7",
        signing_key=signing.public_bytes(key).hex(),
        **shared,
    )
    folder = home.zoo / "contributions"
    atomic.write_bytes(folder / f"{record.sha256}.wgc", data)
    atomic.write_bytes(folder / f"{record.sha256}.json", canonical.encode(record))
    return record.sha256


_KEYS: dict[str, Ed25519PrivateKey] = {}


def offered(home: ServerHome, labels: tuple[str, ...] = LABELS, site: str = "plant-z") -> list[str]:
    return [found.name for found in contributed.candidates(home, PARTS, site, labels)]


def name(sha256: str) -> str:
    return f"contribution-{sha256[:16]}"


def test_rows_are_the_plants_classes_in_its_order(home: ServerHome, store: Store) -> None:
    given = give(home, store, "plant-a")
    (one,) = contributed.candidates(home, PARTS, "plant-z", ("dent", "Good"))
    assert (one.name, one.source, one.nearest_zoo_distance) == (name(given), "contribution", 1.5)
    weight = np.arange(3 * D, dtype=np.float32).reshape(3, D)[[2, 0]]
    np.testing.assert_array_equal(one.tensors["head.weight"], weight)
    np.testing.assert_array_equal(one.tensors["head.bias"], weight[:, 0])


@pytest.mark.parametrize(
    "labels", [("good", "scratch", "dent", "pit"), ("good", "class-7"), ("ok", "17")]
)
def test_a_class_that_it_lacks_keeps_it_away(
    home: ServerHome, store: Store, labels: tuple[str, ...]
) -> None:
    give(home, store, "plant-a")
    assert offered(home, labels) == []


@pytest.mark.parametrize("changes", [{"encoder": "cd" * 32}, {"architecture": "window-head"}])
def test_another_encoder_or_architecture_keeps_it_away(
    home: ServerHome, store: Store, changes: dict[str, Any]
) -> None:
    give(home, store, "plant-a", **changes)
    assert offered(home) == []


def test_its_own_a_revoked_ones_and_a_doubted_ones_are_left_out(
    home: ServerHome, store: Store
) -> None:
    good, revoked = give(home, store, "plant-a"), give(home, store, "plant-b")
    doubted = give(home, store, "plant-c")
    assert set(offered(home)) == {name(each) for each in (good, revoked, doubted)}
    assert set(offered(home, site="plant-a")) == {name(revoked), name(doubted)}
    store.revoke("plant-b", 1e9)
    for standing in ("quarantined", "accepted"):
        release_of(store, "plant-c", standing)
        wanted = {name(good)} if standing == "quarantined" else {name(good), name(doubted)}
        assert set(offered(home)) == wanted


def release_of(store: Store, site: str, standing: Standing) -> None:
    from wg_server.store import quarantine

    store.add_release(
        StoredRelease(
            release_id="r-9",
            site=site,
            encoder=ENCODER,
            epsilon="1.0",
            delta="1e-05",
            received=1.0,
            signing_key="",
            data=b"",
            standing="quarantined",
        )
    )
    quarantine.judge(store.engine, "r-9", standing)


def test_of_a_site_one_is_offered_and_of_all_a_bounded_number(
    home: ServerHome, store: Store
) -> None:
    give(home, store, "plant-a", epsilon="1.0")
    best = give(home, store, "plant-a", epsilon="4.0")
    for number in range(contributed.OFFERED_LIMIT):
        give(home, store, f"plant-{number}", epsilon="2.0")
    found = offered(home)
    assert len(found) == contributed.OFFERED_LIMIT and found[0] == name(best)


def test_a_file_that_was_changed_is_left_out(home: ServerHome, store: Store) -> None:
    bad, good = give(home, store, "plant-a"), give(home, store, "plant-b")
    path = home.zoo / "contributions" / f"{bad}.wgc"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert offered(home) == [name(good)]
