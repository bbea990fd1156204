"""The audit that goes on the ledger, and the words of commands that change keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from wg_client.cli.main import group
from wg_core.errors import UsageError


@pytest.mark.parametrize("more", [[], ["--replace", "--data", "x"]])
def test_a_home_is_made_from_data_and_enrolled_again_without(
    tmp_path: Path, more: list[str]
) -> None:
    words = ["init", "--home", str(tmp_path / "h"), "--join", "x", *more]
    with pytest.raises(UsageError, match="--data"):
        CliRunner().invoke(group, words, standalone_mode=False, catch_exceptions=False)
