from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from wg_common.backup import archive
from wg_common.backup.archive import DecryptionKey, EncryptionTarget
from wg_core.errors import ConfigError, DecodeError, VerificationError, WgError
from wg_core.wire import canonical

IDENTITY = pyrage.x25519.Identity.generate()
SEAL = EncryptionTarget(recipients=(str(IDENTITY.to_public()),))
KEY = DecryptionKey(identity=f"# a comment\n{IDENTITY}\n")
FILES = {"server.yaml": b"name: hq\n", "keys/a.key": b"secret", "packages/empty.wgw": b""}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.utime(tmp_path / "home" / "server.yaml", (1000, 1000))
    (tmp_path / "home" / ".a.lock").touch()
    (tmp_path / "home" / "link").symlink_to("/etc/passwd")
    return tmp_path / "home"


def back_up(home: Path, out: Path, seal: EncryptionTarget = SEAL) -> archive.BackupManifest:
    sources = [(path.relative_to(home).as_posix(), path) for path in archive.list_home_files(home)]
    return archive.write_backup(
        out, sources, seal, archive.BackupDescription(kind="server", name="hq", created=7)
    )


def test_what_was_written_comes_back_and_nothing_else(home: Path, tmp_path: Path) -> None:
    done = back_up(home, tmp_path / "b")
    assert oct((tmp_path / "b").stat().st_mode)[-3:] == "600"
    (tmp_path / "new").mkdir()
    assert archive.extract_backup(tmp_path / "b", tmp_path / "new", KEY, home_kind="server") == done
    found = {
        path.relative_to(tmp_path / "new").as_posix(): path.read_bytes()
        for path in (tmp_path / "new").rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert (tmp_path / "new" / "server.yaml").stat().st_mtime == 1000
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "new").rglob("*.key"))


def test_a_passphrase_opens_it(home: Path, tmp_path: Path) -> None:
    # The passphrase opens a key; scrypt's second is paid for the key alone.
    back_up(home, tmp_path / "b", EncryptionTarget(passphrase="correct horse"))
    (tmp_path / "new").mkdir()
    archive.extract_backup(
        tmp_path / "b",
        tmp_path / "new",
        DecryptionKey(passphrase="correct horse"),
        home_kind="server",
    )
    assert (tmp_path / "new" / "keys" / "a.key").read_bytes() == b"secret"


def test_no_byte_of_a_file_is_readable_without_the_key(home: Path, tmp_path: Path) -> None:
    back_up(home, tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    assert b"secret" not in data and b"a.key" not in data
    assert archive.read_backup_description(tmp_path / "b", home_kind="server").created == 7


@pytest.mark.skipif(shutil.which("age") is None, reason="no age program on this machine")
def test_the_age_program_opens_it(home: Path, tmp_path: Path) -> None:
    back_up(home, tmp_path / "b")
    with zipfile.ZipFile(tmp_path / "b") as outer:
        outer.extract(archive.ARCHIVE_MEMBER, tmp_path)
    (tmp_path / "key").write_text(str(IDENTITY))
    words = ["age", "--decrypt", "--identity", str(tmp_path / "key"), archive.ARCHIVE_MEMBER]
    plain = subprocess.run(words, check=True, capture_output=True, cwd=tmp_path).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert tar.getnames() == ["server.yaml", *sorted(FILES)[:2], archive.MANIFEST_MEMBER]


def other_key(path: Path) -> tuple[Path, DecryptionKey, str]:
    return path, DecryptionKey(identity=str(pyrage.x25519.Identity.generate())), "server"


def no_key(path: Path) -> tuple[Path, DecryptionKey, str]:
    return path, DecryptionKey(identity="AGE-SECRET-KEY-1"), "server"


def a_passphrase(path: Path) -> tuple[Path, DecryptionKey, str]:
    return path, DecryptionKey(passphrase="x"), "server"


def other_kind(path: Path) -> tuple[Path, DecryptionKey, str]:
    return path, KEY, "plant"


def not_there(path: Path) -> tuple[Path, DecryptionKey, str]:
    return path.with_name("none"), KEY, "server"


def no_archive(path: Path) -> tuple[Path, DecryptionKey, str]:
    path.write_bytes(b"nonsense")
    return path, KEY, "server"


def flipped(path: Path) -> tuple[Path, DecryptionKey, str]:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    return path, KEY, "server"


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (other_key, VerificationError),
        (no_key, ConfigError),
        (a_passphrase, ConfigError),
        (other_kind, DecodeError),
        (not_there, ConfigError),
        (no_archive, DecodeError),
        (flipped, VerificationError),
    ],
)
def test_what_does_not_hold_is_refused(
    home: Path,
    tmp_path: Path,
    spoil: Callable[[Path], tuple[Path, DecryptionKey, str]],
    error: type[WgError],
) -> None:
    back_up(home, tmp_path / "b")
    path, key, kind = spoil(tmp_path / "b")
    (tmp_path / "new").mkdir()
    with pytest.raises(error):
        archive.extract_backup(path, tmp_path / "new", key, home_kind=kind)


@pytest.mark.parametrize("name", [archive.DESCRIPTION_MEMBER, archive.ARCHIVE_MEMBER])
def test_a_member_of_broken_compression_is_refused(home: Path, tmp_path: Path, name: str) -> None:
    back_up(home, tmp_path / "b")
    with zipfile.ZipFile(tmp_path / "b") as old:
        members = {each: old.read(each) for each in old.namelist()}
    with zipfile.ZipFile(tmp_path / "c", "w", zipfile.ZIP_DEFLATED) as new:
        for each, data in members.items():
            new.writestr(each, data)
        info = new.getinfo(name)
        start = info.header_offset + 30 + len(name)
        end = start + info.compress_size
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data[:start] + b"\xff" * (end - start) + data[end:])
    (tmp_path / "new").mkdir()
    with pytest.raises((DecodeError, VerificationError)):
        archive.extract_backup(tmp_path / "c", tmp_path / "new", KEY, home_kind="server")


def forged(out: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """An archive that anybody can make: encrypted for the recipient, with what they like in it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    with zipfile.ZipFile(out, "w") as outer:
        outer.writestr(
            archive.ARCHIVE_MEMBER, pyrage.encrypt(plain.getvalue(), [IDENTITY.to_public()])
        )
        about = archive.BackupDescription(kind="server", name="x", created=0)
        outer.writestr(archive.DESCRIPTION_MEMBER, canonical.encode(about))


def link() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("keys")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/outside"),
        tarfile.TarInfo("a/../../outside"),
        tarfile.TarInfo("a\\b"),
        tarfile.TarInfo("c:b"),
        tarfile.TarInfo("./a"),
        link(),
    ],
)
def test_nothing_is_written_outside_the_folder(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    forged(tmp_path / "b", [(entry, b"")])
    (tmp_path / "new").mkdir()
    with pytest.raises(DecodeError, match="below the home"):
        archive.extract_backup(tmp_path / "b", tmp_path / "new", KEY, home_kind="server")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "new"]
    assert not list((tmp_path / "new").iterdir())


def test_a_file_twice_or_beside_the_manifest_is_refused(tmp_path: Path) -> None:
    one = tarfile.TarInfo("a")
    manifest = archive.BackupManifest(kind="server", name="x", created=0, files=())
    named = tarfile.TarInfo(archive.MANIFEST_MEMBER)
    for entries, words in (
        ([(one, b"1"), (tarfile.TarInfo("a"), b"2")], "twice"),
        ([(one, b"1"), (named, canonical.encode(manifest))], "not as manifest.json says"),
        ([(one, b"1")], "incomplete"),
    ):
        forged(tmp_path / "b", entries)
        with (
            archive.create_home_folder(tmp_path / "home") as folder,
            pytest.raises(WgError, match=words),
        ):
            archive.extract_backup(tmp_path / "b", folder, KEY, home_kind="server")
        shutil.rmtree(tmp_path / "home")


def test_a_backup_that_cannot_be_finished_leaves_the_old_one(home: Path, tmp_path: Path) -> None:
    back_up(home, tmp_path / "b")
    before = (tmp_path / "b").read_bytes()
    with pytest.raises(ConfigError, match="cannot be read"):
        archive.write_backup(
            tmp_path / "b",
            [("a", home / "gone")],
            SEAL,
            archive.BackupDescription(kind="server", name="x", created=0),
        )
    assert (tmp_path / "b").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home"]


def test_nothing_is_overwritten_by_a_new_home(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there already"), archive.create_home_folder(home):
        pass
    with pytest.raises(ValueError, match="stop"), archive.create_home_folder(tmp_path / "new"):
        raise ValueError("stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("recipient", ["age1nonsense", "ssh-rsa AAAA"])
def test_a_recipient_that_is_none_is_named(home: Path, tmp_path: Path, recipient: str) -> None:
    with pytest.raises(ConfigError, match="age recipient"):
        back_up(home, tmp_path / "b", EncryptionTarget(recipients=(recipient,)))


def test_someone_must_be_able_to_open_it() -> None:
    with pytest.raises(ConfigError):
        EncryptionTarget()
    with pytest.raises(ConfigError):
        EncryptionTarget(recipients=("a",), passphrase="b")
    for secret in (
        EncryptionTarget(passphrase="hidden"),
        DecryptionKey(passphrase="hidden"),
        DecryptionKey(identity="hidden"),
    ):
        assert "hidden" not in repr(secret)


def test_folders_of_killed_backups_are_removed_after_a_day(home: Path) -> None:
    for name, age in (("old", 90000), ("new", 80000)):
        (home / f".backup.{name}").mkdir()
        (home / f".backup.{name}" / "ledger.sqlite").touch()
        os.utime(home / f".backup.{name}", (time.time() - age,) * 2)
    with archive.temporary_folder(home) as folder:
        assert {path.name for path in home.glob(".backup.*")} == {".backup.new", folder.name}
    assert not folder.exists()
