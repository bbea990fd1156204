"""A command of ``wg-client`` in this process: what needs torch need not import it for each call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wg_client.cli.main import group
from wg_common import cli

Json = Callable[..., Any]


def run_here(capfd: pytest.CaptureFixture[str]) -> Json:
    """Runs with ``--json``: standard output must be one document and nothing else."""

    def run(*words: object, code: int = 0) -> Any:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.run_program(group, [*map(str, words), "--json"])
        said = capfd.readouterr()
        assert caught.value.code in (code if isinstance(code, tuple) else (code,)), said.err
        return json.loads(said.out)

    return run


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Json:
    """As ``run_here``."""
    return run_here(capfd)


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run as a person does: what is on standard output and on standard error."""

    def run(*words: str | Path, code: int | tuple[int, ...] = 0) -> tuple[str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.run_program(group, [*map(str, words)])
        said = capfd.readouterr()
        codes = code if isinstance(code, tuple) else (code,)
        assert caught.value.code in codes, said.err
        return said.out, said.err

    return run
