"""What is implausible is kept, named, and used for nobody until the operator says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest
from tests.server.campaigns.nodes import stored
from tests.server.campaigns.test_task_isolation import HOSTILE, campaign
from tests.server.cli.test_cli import document, run
from tests.server.rows import add_sites

from wg_core.errors import VerificationError
from wg_core.wire.flower_messages import Envelope
from wg_server.campaigns import release_intake
from wg_server.console.metrics import ServerMetrics
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore

REASONS = "class 'dent': its sum is 4e+09 times as long\nthe sum over all records"


def held(site: str = HOSTILE, **values: Any) -> StoredRelease:
    return replace(stored(site), **({"standing": "quarantined", "reasons": REASONS} | values))


def conditioning(store: ServerStore) -> list[str]:
    return [
        store.require_release(each).site
        for each in store.newest_usable_release_ids(encoder_sha256="e", excluded_site="")
    ]


def test_a_quarantined_answer_ends_its_own_part_and_the_others_are_served(
    home: ServerHome,
    store: ServerStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        release_intake,
        "accept_release",
        lambda site, *rest, **more: held() if site.name == HOSTILE else stored(site.name),
    )
    found = campaign(home, store, Envelope("statistics", b"", b"x"), monkeypatch)
    assert found[HOSTILE] == ("failed", "quarantined")
    assert found["plant-a"] == found["plant-c"] == ("delivered", "")
    assert conditioning(store) == ["plant-a", "plant-c"]
    (ended,) = CampaignQueue(store.engine).newest_campaigns()
    _, out, _ = run(capsys, "campaign", "show", "--home", home.root, ended.id)
    assert (
        "its release contains numbers that honest records cannot give" in out
        and "wg-server releases" in out
    )


def test_a_release_in_quarantine_is_shown_with_site_and_reasons(
    home: ServerHome, store: ServerStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plant-a", HOSTILE):
        add_sites(store, [name])
    store.add_release(stored("plant-a"))
    store.add_release(held())
    (row,) = document(capsys, "releases", "--home", home.root)["releases"]
    assert row["site"] == HOSTILE and row["reasons"] == REASONS.splitlines()
    _, out, _ = run(capsys, "releases", "--home", home.root)
    assert all(text in out for text in (HOSTILE, "quarantined", *REASONS.splitlines()))
    assert len(document(capsys, "releases", "--all", "--home", home.root)["releases"]) == 2
    rows = {each["site"]: each for each in document(capsys, "sites", "--home", home.root)["sites"]}
    assert rows[HOSTILE]["quarantined"] == 1 and rows["plant-a"]["quarantined"] == 0
    _, out, _ = run(capsys, "sites", "--home", home.root)
    assert [HOSTILE in line for line in out.splitlines() if "QUARANTINED: 1" in line] == [True]
    text = generate_latest(ServerMetrics(home, store, (), lambda sites: set()).registry).decode()
    assert "weightgate_quarantined 1.0\n" in text


def test_the_operator_frees_or_rejects(
    home: ServerHome, store: ServerStore, capsys: pytest.CaptureFixture[str]
) -> None:
    add_sites(store, [HOSTILE])
    release = held()
    store.add_release(release)
    with pytest.raises(VerificationError, match=r"plant-b: quarantined: class 'dent'.*accept"):
        release_intake.check_release_usable(release)
    said = document(capsys, "releases", "--home", home.root, "--accept", release.release_id)
    assert said["site"] == HOSTILE
    assert conditioning(store) == [HOSTILE]
    again = store.add_release(release)  # the plant sends it again, which changes no word
    release_intake.check_release_usable(again)
    document(capsys, "releases", "--home", home.root, "--reject", release.release_id)
    assert conditioning(store) == []
    (row,) = document(capsys, "releases", "--home", home.root)["releases"]
    assert row["standing"] == "rejected" and row["reasons"] == REASONS.splitlines()
    code, _, err = run(capsys, "releases", "--home", home.root, "--accept", "nothing")
    assert code == 3 and "unknown" in err


def test_a_site_whose_newest_release_is_held_is_remembered_by_the_one_before(
    store: ServerStore,
) -> None:
    add_sites(store, [HOSTILE])
    store.add_release(stored(HOSTILE, received=1.0))
    store.add_release(held(release_id="later", received=2.0))
    (remembered,) = store.newest_usable_release_ids(encoder_sha256="e", excluded_site="")
    assert store.require_release(remembered).received == 1.0
