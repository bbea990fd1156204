"""Exports: complete, verifiable, and any flipped byte is found and named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pytest

from wg_audit import verification
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.ledger import export, log_sources, log_verification
from wg_core.ledger.budget_ledger import Ledger

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


SAMPLED = 0.1
"""Share of the bytes that are flipped in the default suite; all are in the slow one."""


@pytest.fixture
def exported(site: Site, ledger: Ledger) -> Path:
    site.release(ledger)
    site.cosign(ledger)
    site.release(ledger, "r2", "0.5")
    out = site.folder / "ledger.wgl"
    ledger.export(out)
    return out


def read(path: Path) -> log_verification.VerifiedLog:
    source = log_sources.open_source(path)
    try:
        return log_verification.verify_log(source)
    finally:
        source.close()


def test_an_export_says_what_the_ledger_says(site: Site, exported: Path) -> None:
    one, two = read(exported), read(site.path)
    assert (one.root, one.checkpoints, one.total_entry_bytes) == (
        two.root,
        two.checkpoints,
        two.total_entry_bytes,
    )
    found = (
        verification.audit_log(path, current_time=site.current_time)
        for path in (exported, site.path)
    )
    assert next(found).to_json() == next(found).to_json()


def test_exporting_is_deterministic(site: Site, exported: Path) -> None:
    again = site.folder / "again.wgl"
    export.write_export(site.path, again)
    assert again.read_bytes() == exported.read_bytes()


def test_an_export_holds_no_released_bytes(site: Site, ledger: Ledger, exported: Path) -> None:
    payload = ledger.released_bytes("r1")
    assert payload is not None and payload[-64:] not in exported.read_bytes()


@pytest.mark.parametrize("share", [SAMPLED, pytest.param(1.0, marks=pytest.mark.slow)])
def test_every_flipped_byte_is_found_and_named(site: Site, ledger: Ledger, share: float) -> None:
    site.cosign(ledger)
    site.release(ledger)
    exported = site.folder / "small.wgl"
    ledger.export(exported)
    good = exported.read_bytes()
    sampled = np.random.default_rng(1).random(len(good)) < share
    sampled[:64] = True
    names = ("entry", "entries", "checkpoint", "proof", "manifest", "header", "section", "file")
    with exported.open("r+b", buffering=0) as stream:
        for position in np.flatnonzero(sampled).tolist():
            byte = good[position]
            overwrite(stream, position, byte ^ 1)
            with pytest.raises((DecodeError, VerificationError)) as caught:
                read(exported)
            assert any(name in str(caught.value) for name in names), (position, str(caught.value))
            overwrite(stream, position, byte)
    read(exported)


def overwrite(stream: IO[bytes], position: int, byte: int) -> None:
    stream.seek(position)
    stream.write(bytes([byte]))


def test_a_flip_inside_an_entry_names_that_entry(site: Site, exported: Path) -> None:
    good = exported.read_bytes()
    bad_path = site.folder / "bad.wgl"
    with export.ExportReader(exported) as reader:
        span = reader._spans["entries"]
        lines = [data for data, _ in reader.entries_with_leaf_hashes()]
    position = span.offset
    for seq, line in enumerate(lines):
        for place in range(0, len(line), 97):
            bad = bytearray(good)
            bad[position + place] ^= 1
            bad_path.write_bytes(bytes(bad))
            with pytest.raises((DecodeError, VerificationError), match=f"entry {seq}"):
                read(bad_path)
        position += len(line) + 1


def test_a_cut_or_longer_file_is_found(site: Site, exported: Path) -> None:
    good = exported.read_bytes()
    bad_path = site.folder / "bad.wgl"
    for bad in (good[:-1], good + b"\n", good[: len(good) // 2], b"", good[:20]):
        bad_path.write_bytes(bad)
        with pytest.raises(DecodeError):
            read(bad_path)


def test_a_broken_ledger_is_not_exported(site: Site, ledger: Ledger) -> None:
    ledger.close()
    with closing(sqlite3.connect(site.path)) as raw, raw:
        raw.execute("delete from entries where seq = 1")
    raw.close()
    out = site.folder / "never.wgl"
    with pytest.raises(VerificationError):
        export.write_export(site.path, out)
    assert not out.exists() and not list(site.folder.glob(".never*"))


def test_an_export_that_cannot_be_written_says_so(site: Site, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        export.write_export(site.path, Path("/proc/nowhere/x.wgl"))


def test_a_home_folder_is_a_source(
    site: Site, ledger: Ledger, exported: Path, tmp_path: Path
) -> None:
    ledger.close()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(site.path, home / "ledger.sqlite")
    assert read(home).state.size >= 1
    with pytest.raises(ConfigError, match="there is no ledger"):
        read(tmp_path / "empty.sqlite")


def test_verification_works_beside_a_writer(site: Site, ledger: Ledger, exported: Path) -> None:
    site.release(ledger, "r9", "0.3")
    assert read(site.path).state.size == ledger.size
