"""A log that forgets spend is never called verified, and no evidence keeps an auditor waiting."""

from __future__ import annotations

import json
import multiprocessing
import random
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.audit.hidden_spend import KINDS, SEEDS
from tests.audit.workshop import Truth

from wg_audit.cli import group
from wg_core.errors import WgError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

HANG_SECONDS = 20.0  # A command that takes longer waits for something that never comes
NOT_VERIFIED = {"holds by itself", "budget unknown", "superseded", "other sums"}
TRUE_QUESTIONS = (
    "whether 2 budgets",
    "the proofs inside received files",
    "whether anything left the site without an entry in its ledger",
)


class Seeded(random.Random):
    """A forger's choices; a kind with a list of ten goes through it by the seed's number."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} {number}")
        self.seed_number = number


def run(words: list[str]) -> dict[str, Any]:
    """The command in a process of its own: its document, or what it refused."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_command, args=(there, words))
    process.start()
    there.close()
    try:
        assert here.poll(HANG_SECONDS), f"does not end: {words}"
        found: dict[str, Any] = json.loads(here.recv_bytes())
        return found
    finally:
        process.kill()
        process.join()


def _command(answers: Connection, words: list[str]) -> None:
    result = CliRunner().invoke(group, [*words, "--json"], standalone_mode=False)
    error = result.exception
    if error is None:
        document = result.stdout
    else:
        document = json.dumps({"error": str(error), "ours": isinstance(error, WgError)})
    answers.send_bytes(document.encode())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_hidden_spend_is_never_called_verified(truth: Truth, name: str, seed: int) -> None:
    truth.rng = Seeded(name, seed)
    found = run(KINDS[name](truth))
    if "error" in found:
        assert found["ours"], found["error"]
        return
    word, headline = found["verdict"]["word"], found["headline"]
    partly = word == "partly verified"
    assert word in NOT_VERIFIED or partly, found["verdict"]
    further = [x for x in found["verdict"]["not_checked"] if not x.startswith(TRUE_QUESTIONS)]
    assert further or not partly, found["verdict"]
    if name in ("missing files", "doubled files"):
        assert headline["files_missing"] > 0
        assert headline["files_missing"] + headline["files_compared"] == 6
    if name == "hidden files":
        assert any("not read" in line for line in found["verdict"]["not_checked"])


def test_there_are_a_hundred_of_ten_kinds() -> None:
    assert len(KINDS) == 10 and len(KINDS) * len(SEEDS) >= 100


def test_the_true_story_is_verified_but_for_its_two_budgets(truth: Truth) -> None:
    found = run(["verify", str(truth.export), "--server", str(truth.exported.folder)])
    assert found["verdict"]["word"] == "partly verified" and not found["verified"]
    assert all(x.startswith(TRUE_QUESTIONS) for x in found["verdict"]["not_checked"])
    headline = found["headline"]
    assert (headline["releases_charged"], headline["files_compared"]) == (6, 6)
    assert headline["files_missing"] == 0 and headline["ledger_key"] == "the server's word"
