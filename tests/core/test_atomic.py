"""Atomic files: the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError


def test_a_written_file_has_its_mode_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    atomic.write_bytes(path, b"one", mode=atomic.PRIVATE_FILE_MODE)
    atomic.write_bytes(path, b"two", mode=atomic.PRIVATE_FILE_MODE)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["key"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ConfigError, match="No space left"):
        atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_system_without_modes_and_folders_to_open_writes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows, as far as it can be shown elsewhere; these two names are asked for nowhere else."""
    monkeypatch.delattr(os, "fchmod")
    monkeypatch.delattr(os, "O_DIRECTORY")
    path = tmp_path / "file"
    atomic.write_bytes(path, b"one", mode=atomic.PRIVATE_FILE_MODE)
    atomic.rename_file(path, tmp_path / "moved")
    assert (tmp_path / "moved").read_bytes() == b"one"
    root = Path(__file__).parents[2]
    sources = [*(root / "client").rglob("*.py"), *(root / "common").rglob("*.py")]
    users = {found.name for found in sources if "fchmod" in found.read_text()}
    assert users == {"atomic.py"}
    assert not [each for each in sources if "import fcntl" in each.read_text()]


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert atomic.read_bytes(path, limit=5) == b"12345"
    with pytest.raises(DecodeError, match="larger than 4"):
        atomic.read_bytes(path, limit=4)
    with pytest.raises(ConfigError, match="cannot be read"):
        atomic.read_bytes(tmp_path / "none", limit=4)
