"""A home that was copied spends its budget once more in each copy, and an auditor sees it.

Four copies of one home release by file, the operator takes what comes and exports, the auditor gets
the operator's folder and one copy's ledger.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.homes import make

from wg_core.errors import ExitCode
from wg_server.site.home import ServerHome

COPIES = 4
SITE = "plant-b"


@dataclass
class Copies:
    """A server's home, and copies of one plant's home."""

    root: Path

    @property
    def server(self) -> Path:
        return self.root / make.SERVER

    def home(self, number: int) -> Path:
        return self.root / f"copy-{number}"

    def release(self, number: int, *, good: tuple[int, ...]) -> None:
        """Release at one copy, and give the file to the operator."""
        file = self.root / f"{number}.wgs"
        make.command("wg-client", "statistics", "--home", self.home(number), "--out", file)
        words = "--statistics", file, "--out", file.with_suffix(".wgw")
        make.command("wg-server", "generate", "--home", self.server, *words, good=good)

    def audit(self, number: int) -> tuple[int, dict[str, Any]]:
        """Exit code and document of an audit of one copy with the operator's export."""
        evidence, ledger = self.root / "evidence", self.root / "ledger.wgl"
        shutil.rmtree(evidence, ignore_errors=True)
        site = "--site", SITE, "--out", evidence
        make.command("wg-server", "export", "--home", self.server, *site)
        make.command("wg-audit", "export", "--home", self.home(number), "--out", ledger)
        return make.result_of("wg-audit", "verify", ledger, "--server", evidence)


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept homes, and the home of one more plant that released nothing yet."""
    root = tmp_path_factory.mktemp("enrolled")
    make.unpack(root)
    server = root / make.SERVER
    with make.serving(server):
        token = make.command("wg-server", "enroll", "--home", server, SITE)["token"]
        words = "--data", root / make.DATA / make.RECORDS, "--join", token
        encoder = "--encoder", ServerHome(server).encoder_sha256()
        make.command("wg-client", "init", "--home", root / SITE, *words, *encoder)
    return root


@pytest.fixture
def copies(enrolled: Path, tmp_path: Path) -> Copies:
    made = Copies(tmp_path)
    subprocess.run(["cp", "-a", enrolled / make.SERVER, made.server], check=True)
    for number in range(COPIES):
        subprocess.run(["cp", "-a", enrolled / SITE, made.home(number)], check=True)
    return made


def test_four_copies_of_a_home_are_two_histories_and_all_that_they_spent(copies: Copies) -> None:
    copies.release(0, good=(0,))
    code, document = copies.audit(0)
    assert (code, document["verdict"]["word"]) == (ExitCode.OK, "verified")
    for number in range(1, COPIES):
        copies.release(number, good=(ExitCode.PEER,))

    code, document = copies.audit(0)
    assert (code, document["verdict"]["word"]) == (ExitCode.VERIFICATION, "two histories")
    assert not document["verified"]
    (fork,) = document["verdict"]["forks"]
    assert fork["origin"] == document["origin"] and fork["charges"] == COPIES - 1
    assert len(fork["heads"]) == COPIES
    total = document["headline"]["total"]
    assert (round(total["epsilon"], 2), total["cap_epsilon"]) == (9.08, 8)
    (problem,) = document["verdict"]["problems"]
    assert "has two histories" in problem and "at least epsilon 9.08" in problem

    code, document = copies.audit(1)  # one that the operator refused
    assert code == ExitCode.VERIFICATION and "two histories" in document["error"]["message"]


def test_a_copy_is_found_before_it_spends_anything_where_the_server_can_be_reached(
    copies: Copies,
) -> None:
    def statistics(number: int, *, good: tuple[int, ...]) -> dict[str, Any]:
        out = "--out", copies.root / f"{number}.wgs"
        home = "--home", copies.home(number)
        return make.command("wg-client", "statistics", *home, *out, good=good)

    with make.serving(copies.server):
        assert statistics(0, good=(0,))["cosigned"]
        refused = statistics(1, good=(ExitCode.VERIFICATION,))
    assert "older copy" in refused["error"]["message"]
    charges = [
        make.command("wg-client", "status", "--home", copies.home(number))["budget"]["charges"]
        for number in range(2)
    ]
    assert charges == [1, 0]
    words = "--statistics", copies.root / "0.wgs", "--out", copies.root / "0.wgw"
    assert make.command("wg-server", "generate", "--home", copies.server, *words)["site"] == SITE
