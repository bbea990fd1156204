"""The node's process says what ended it, and ends with the documented code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from wg_core.errors import ExitCode
from wg_core.fleet import __main__ as process


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_has_one_message_and_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: 0)
    words = ["node", "--home", str(tmp_path / "two\nlines"), *(["--json"] * as_json)]
    monkeypatch.setattr(sys, "argv", words)
    assert process.main() == ExitCode.CONFIG
    printed = capsys.readouterr()
    if as_json:
        assert json.loads(printed.out)["error"]["code"] == "config"
    else:
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
