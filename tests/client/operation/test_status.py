from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.client.cli.conftest import Json, here, shown
from tests.client.conftest import MakePlant, TestPlant

from wg_client.operation import status
from wg_core import atomic
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release.query_answers import answer_query
from wg_core.site import locks, server_contact
from wg_core.site.server_contact import ContactFile, ContactStatus
from wg_core.wire import canonical, signing

__all__ = ["here", "shown"]


@pytest.fixture
def plant(make_plant: MakePlant) -> TestPlant:
    found = make_plant({0: 4, 1: 4})
    answer_query(found.home, found.query(), witness=found.witness)
    return found


def test_one_screen_says_how_a_plant_is_and_what_needs_a_hand(
    plant: TestPlant, here: Json, shown: Callable[..., tuple[str, str]]
) -> None:
    found = here("status", "--home", plant.home.root)
    assert found["site"] == "plant-a" and found["running"] is found["connected"] is False
    assert found["budget"]["charges"] == 1 and 0 < found["budget"]["epsilon"] <= 1
    assert found["budget"]["cosigned"] == found["budget"]["entries"]
    assert found["snapshot"] == 1 and found["model"] == ""
    out, _ = shown("status", "--home", plant.home.root)
    assert "epsilon" in out and "version 1" in out and "none yet" in out
    # This plant never enrolled: it has no certificate, and nobody started its node.
    assert [line for line in out.splitlines() if line.startswith("!") and "wg-client run" in line]
    assert len(found["problems"]) == 2 and "init --replace" in str(found["problems"])


def test_entries_that_the_server_has_not_cosigned_are_named(plant: TestPlant) -> None:
    assert not [each for each in status.collect_status(plant.home).problems if "cosigned" in each]
    with Ledger.open(plant.home.ledger, signing.load(plant.home.ledger_key)) as ledger:
        ledger.enrol_witness("second.example/w", signing.public_bytes(signing.generate_key()))
    (said,) = (each for each in status.collect_status(plant.home).problems if "cosigned" in each)
    assert "has not cosigned: 1." in said and plant.config.server.name in said


def test_what_a_connected_node_meets_is_said(plant: TestPlant) -> None:
    said = ContactFile(plant.home)
    said.write_status("connected", "the ledger is not cosigned, releases wait: another key")
    with locks.lock_node(plant.home):
        found = status.collect_status(plant.home)
        assert found.connected
        assert [each for each in found.problems if "connected, but the ledger is not" in each]
        said.write_status("connected")
        assert not [
            each for each in status.collect_status(plant.home).problems if "connected, but" in each
        ]


@pytest.mark.parametrize(
    ("lock", "word"),
    [(locks.lock_freeze, "frozen"), (locks.lock_ledger, "release"), (locks.lock_models, "model")],
)
def test_work_of_another_command_is_named_without_waiting(
    plant: TestPlant, lock: Callable[..., AbstractContextManager[None]], word: str, here: Json
) -> None:
    assert here("status", "--home", plant.home.root)["work"] == []
    with lock(plant.home):
        (sentence,) = here("status", "--home", plant.home.root)["work"]
    assert word in sentence


def test_a_first_freeze_under_way_is_no_problem(plant: TestPlant) -> None:
    shutil.rmtree(plant.home.snapshots)
    assert [
        each for each in status.collect_status(plant.home).problems if "wg-client freeze" in each
    ]
    with locks.lock_freeze(plant.home):
        problems = status.collect_status(plant.home).problems
    assert not [each for each in problems if "wg-client freeze" in each]


def test_a_home_in_the_making_is_not_called_uninitialised(plant: TestPlant, here: Json) -> None:
    plant.home.config.unlink()
    with locks.lock_node(plant.home):
        found = here("status", "--home", plant.home.root, code=3)["error"]["message"]
    assert "another command makes this home" in found


def test_what_cannot_be_read_is_a_problem_and_no_end(plant: TestPlant, here: Json) -> None:
    plant.home.ledger.write_bytes(b"nonsense")
    (plant.home.snapshots / "1" / "manifest.json").write_bytes(b"{}")
    rejected = plant.home.packages / "rejected" / "a.wgw"
    rejected.parent.mkdir(parents=True)
    rejected.touch()
    found = here("status", "--home", plant.home.root)
    assert found["budget"] is None and found["snapshot"] == 0 and found["rejected"] == 1
    words = " ".join(found["problems"])
    assert "ledger" in words and "freeze" in words and "rejected" in words


def test_a_probe_ends_as_a_supervisor_wants_it(plant: TestPlant, here: Json) -> None:
    words = ("status", "--probe", "--home", plant.home.root)
    assert here(*words, code=7) == {"connected": False, "state": "never connected"}
    said = ContactFile(plant.home)
    for state, code in (("connected", 0), ("waiting", 7), ("connected", 0), ("stopped", 7)):
        said.write_status(state)  # type: ignore[arg-type]
        assert here(*words, code=code)["state"] == state
    assert here("status", "--probe", "--home", plant.home.root.parent, code=3)


def test_a_word_that_is_old_counts_no_more(plant: TestPlant) -> None:
    ContactFile(plant.home).write_status("connected")
    assert status.connection_and_contact(plant.home)[0]
    assert not status.connection_and_contact(
        plant.home, time.time() + server_contact.STALE_SECONDS + 2
    )[0]
    with locks.lock_node(plant.home):
        assert status.collect_status(plant.home).connected
    assert not status.collect_status(plant.home).connected  # it says so, and does not run
    plant.home.contact_status.write_bytes(b"half a wo")
    assert status.connection_and_contact(plant.home) == (False, None)


def test_a_node_that_does_the_same_writes_now_and_then(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[ContactStatus] = []

    def write(path: Path, data: bytes, *, mode: int) -> None:
        written.append(canonical.decode(ContactStatus, data, input_name="contact"))

    monkeypatch.setattr(atomic, "write_bytes", write)
    current_time = 1000.0
    monkeypatch.setattr("wg_core.site.server_contact.time.time", lambda: current_time)
    said = ContactFile(plant.home)
    for seconds, state, reason in (
        (0, "connected", ""),
        (1, "connected", ""),
        (60, "connected", ""),
        (61, "waiting", "cannot be reached"),
        (62, "waiting", "clock"),
        (70, "stopped", ""),
    ):
        current_time = 1000.0 + seconds
        said.write_status(state, reason)  # type: ignore[arg-type]
    assert [(each.written - 1000, each.state, each.since - 1000) for each in written] == [
        (0, "connected", 0),
        (60, "connected", 0),
        (61, "waiting", 61),
        (62, "waiting", 61),
        (70, "stopped", 70),
    ]
    assert [each.last - 1000 for each in written] == [0, 60, 60, 60, 60]
