"""Backups, the audit that goes on the ledger, and the words of commands that change keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.client.conftest import TestPlant

from wg_client.cli.main import group
from wg_client.operation.backup import BACKUP_KIND, back_up_home
from wg_common.backup import archive
from wg_common.backup.archive import BackupManifest, DecryptionKey, EncryptionTarget
from wg_core import atomic
from wg_core.errors import UsageError
from wg_core.site import locks


def test_answers_go_on_while_a_backup_of_an_earlier_moment_is_written(
    plant: TestPlant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, write = plant.home.config.read_bytes(), archive.write_backup

    def write_while_answering(*arguments: Any) -> BackupManifest:
        with locks.lock_ledger(plant.home, busy_message="an answer would wait"):
            atomic.write_bytes(plant.home.config, b"later", mode=atomic.PRIVATE_FILE_MODE)
        return write(*arguments)

    monkeypatch.setattr(archive, "write_backup", write_while_answering)
    back_up_home(plant.home, tmp_path / "b", EncryptionTarget(passphrase="word"))
    (tmp_path / "new").mkdir()
    key = DecryptionKey(passphrase="word")
    archive.extract_backup(tmp_path / "b", tmp_path / "new", key, home_kind=BACKUP_KIND)
    assert (tmp_path / "new" / plant.home.config.name).read_bytes() == settings
    assert not list(plant.home.root.glob(".backup*"))


@pytest.mark.parametrize("more", [[], ["--replace", "--data", "x"]])
def test_a_home_is_made_from_data_and_enrolled_again_without(
    tmp_path: Path, more: list[str]
) -> None:
    words = ["init", "--home", str(tmp_path / "h"), "--join", "x", *more]
    with pytest.raises(UsageError, match="--data"):
        CliRunner().invoke(group, words, standalone_mode=False, catch_exceptions=False)
