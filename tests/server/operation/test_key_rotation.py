from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.commands import CutOff, cut_after, document_of
from tests.server.console.test_admin import enrol

from wg_core.wire import canonical, handover, signing
from wg_core.wire.protocol import ServerKeyPins
from wg_server.cli.main import main_group
from wg_server.fleet import trust
from wg_server.operation.key_rotation import rotate_keys
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


def follows(home: ServerHome, pins: ServerKeyPins) -> bool:
    today = trust.current_pins(home)
    return all(
        handover.find_key_handovers(
            use, name, getattr(pins, use), getattr(today, use), trust.read_handovers(home)
        )
        for use, name, _ in trust.handed_over_keys(home)
    )


def test_each_key_hands_over_to_the_next_and_is_deleted(home: ServerHome) -> None:
    seen = [trust.current_pins(home)]
    for _ in range(3):
        made = rotate_keys(home)
        seen.append(trust.current_pins(home))
        assert (made.signing_key, made.witness_key) == (seen[-1].packages, seen[-1].witness)
    assert all(follows(home, pins) for pins in seen[:-1])
    assert len({pins.packages for pins in seen} | {pins.witness for pins in seen}) == 8
    kept = [path for path in home.signing_key.parent.rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept if path.suffix != ".pub") == [
        "admin.token",
        "handovers.json",
        "signing.key",
        "witness.key",
    ]


def test_stolen_keys_hand_nothing_over(home: ServerHome) -> None:
    first = trust.current_pins(home)
    rotate_keys(home)
    second = trust.current_pins(home)
    assert document_of(main_group, "keys", "--renew", "signing", "--home", home.root, "--stolen")
    for pins in (first, second):
        with pytest.raises(Exception, match="does not follow"):
            follows(home, pins)
    assert trust.read_handovers(home) == ()


@pytest.mark.parametrize("moves", range(5))
def test_a_change_of_keys_that_was_cut_off_is_finished_by_running_it_again(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    before = trust.current_pins(home)
    with monkeypatch.context() as patched:
        cut_after(patched, moves)
        if moves < 4:
            with pytest.raises(CutOff):
                rotate_keys(home)
        else:
            patched.setattr("wg_server.operation.staged_files.discard_staging_folder", cut)
            with pytest.raises(CutOff):
                rotate_keys(home)
    half = trust.current_pins(home)
    assert half == before or moves > 1
    rotate_keys(home)
    found = trust.read_handovers(home)
    assert [each.use for each in found] == ["packages", "witness"]  # one change, not two
    assert follows(home, before) and not home.next_keys_folder.exists()
    assert not [path for path in home.signing_key.parent.iterdir() if path.name[0] == "."]
    for path in (home.signing_key, home.witness_key):
        assert path.stat().st_mode & 0o077 == 0
        assert signing.load(path)


def cut(folder: Path) -> None:
    raise CutOff


def test_sites_names_those_that_a_change_left_behind_and_how_they_come_along(
    home: ServerHome, store: ServerStore
) -> None:
    for name in ("plant-a", "plant-b", "plant-c"):
        enrol(store, name)
    for name in ("plant-a", "plant-b"):
        store.store_pins(name, canonical.encode(trust.current_pins(home)).decode())
    assert trust.can_follow_handovers_by_site(home, store) == {}
    rotate_keys(home)
    pins = canonical.encode(trust.current_pins(home))
    trust.store_site_pins(home, store, "plant-b", pins)
    assert trust.can_follow_handovers_by_site(home, store) == {"plant-a": True}
    found = {
        each["site"]: each["old_keys"]
        for each in document_of(main_group, "sites", "--home", home.root)["sites"]
    }
    assert "when it connects" in found["plant-a"]
    assert found["plant-b"] == found["plant-c"] == ""
    rotate_keys(home, are_keys_stolen=True)
    assert trust.can_follow_handovers_by_site(home, store) == {"plant-a": False, "plant-b": False}
    done = CliRunner().invoke(main_group, ["sites", "--home", str(home.root)])
    assert done.stdout.count("do not vouch for the present ones") == 2
    store.revoke_site("plant-a", time.time())
    assert trust.can_follow_handovers_by_site(home, store) == {"plant-b": False}
