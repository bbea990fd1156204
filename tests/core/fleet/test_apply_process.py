"""What the node makes of the process that applies a package, however that process ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from wg_core.errors import InternalError, NotAcceptedError, StorageError, WgError
from wg_core.fleet import apply_process
from wg_core.fleet.apply_process import ApplyResult
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

ANSWER = "import sys; sys.stdout.buffer.write({answer!r})"
ENDS: list[tuple[str, type[WgError], str]] = [
    (
        ANSWER.format(
            answer=canonical.encode(ApplyResult(code="not-accepted", message="no labels"))
        ),
        NotAcceptedError,
        "no labels",
    ),
    (
        ANSWER.format(answer=canonical.encode(ApplyResult(code="storage", message="full"))),
        StorageError,
        "full",
    ),
    (
        ANSWER.format(answer=canonical.encode(ApplyResult(code="of another version", message="x"))),
        InternalError,
        "x",
    ),
    ("raise SystemExit(3)", InternalError, "ended with 3"),
    ("pass", InternalError, "ended with 0"),
    ("import sys; sys.stdout.buffer.write(bytes(1 << 21))", InternalError, "ended with"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", InternalError, "ended with -9"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", StorageError, "was stopped"),
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(apply_process, "CHILD_MODULE", "applying_double")
    return tmp_path / "applying_double.py"


@pytest.mark.parametrize(("source", "error", "message"), ENDS)
def test_every_end_of_the_process_is_an_error_of_ours(
    program: Path, tmp_path: Path, source: str, error: type[WgError], message: str
) -> None:
    program.write_text(source)
    with pytest.raises(error, match=message):
        apply_process.apply_package(ClientHome(tmp_path), tmp_path / "x.wgw")


def test_an_answer_is_what_was_said(program: Path, tmp_path: Path) -> None:
    reply = ApplyResult(document="{}", lines=("kept local-only",))
    program.write_text(ANSWER.format(answer=canonical.encode(reply)))
    assert apply_process.apply_package(ClientHome(tmp_path), tmp_path / "x.wgw") == reply


def test_its_input_is_open_while_it_works(program: Path, tmp_path: Path) -> None:
    program.write_text(
        "import os; os.set_blocking(0, False)\ntry: os.read(0, 1)\n"
        "except BlockingIOError: raise SystemExit(7)"
    )
    with pytest.raises(InternalError, match="ended with 7"):
        apply_process.apply_package(ClientHome(tmp_path), tmp_path / "x.wgw")
