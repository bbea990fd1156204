from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import pyrage
import pytest
from click.testing import CliRunner
from tests.commands import document_of
from tests.server.generators import install

from wg_common.backup import archive
from wg_common.backup.archive import DecryptionKey, EncryptionTarget
from wg_core.errors import ConfigError
from wg_server.cli.main import main_group
from wg_server.generator import versions
from wg_server.operation import backup
from wg_server.operation.key_rotation import rotate_keys
from wg_server.site.backup_records import LastBackup, RestoreGap
from wg_server.site.home import ServerHome
from wg_server.store import operators
from wg_server.store.operators import Actor
from wg_server.store.server_store import ServerStore

IDENTITY = pyrage.x25519.Identity.generate()
SEAL = EncryptionTarget(recipients=(str(IDENTITY.to_public()),))
KEY = DecryptionKey(identity=str(IDENTITY))
ACTOR = Actor("aiko", "command")


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "sqlite" not in path.name and not path.name.startswith(".")
    }


def test_a_restored_home_is_the_home_without_the_zoo(home: ServerHome, tmp_path: Path) -> None:
    (home.root / "zoo" / "entries").mkdir()
    (home.root / "zoo" / "entries" / "task.json").write_bytes(b"{}")
    home.packages_folder.mkdir()
    home.package_path("ab" * 16).write_bytes(b"a package")
    with ServerStore.open(home) as store:
        store.store_join_token("plant-a", "secret", 1.0)
        backup.back_up_home(
            home, tmp_path / "b", SEAL, current_time=100.0
        )  # what is in the log of SQLite counts
    before = files(home.root)
    assert LastBackup.load(home) == LastBackup(created=100)
    other = ServerHome(tmp_path / "new" / "server")
    backup.restore_home(tmp_path / "b", other, KEY, ACTOR, current_time=200.0)
    after = files(other.root)
    assert before.pop("zoo/entries/task.json")
    assert after.pop("recovery.json") and after == before
    assert RestoreGap.load(other) == RestoreGap(since=100, until=200)
    with ServerStore.open(other) as store:
        assert [site.name for site in store.sites()] == ["plant-a"]
    assert other.root.stat().st_mode & 0o077 == 0
    assert not [path for path in home.root.iterdir() if path.name.startswith(".backup")]


def test_generators_come_back_with_which_is_installed(home: ServerHome, tmp_path: Path) -> None:
    before, latest = install(home, b"before"), install(home, b"now", passes=False)
    (home.generator_versions_folder / ("ab" * 32)).mkdir()  # of a training that was killed
    backup.back_up_home(home, tmp_path / "b", SEAL)
    other = ServerHome(tmp_path / "new")
    backup.restore_home(tmp_path / "b", other, KEY, ACTOR)
    assert versions.read_installed_versions(other) == versions.InstalledVersions(
        version=latest.id, before=before.id
    )
    assert versions.usable_version(other).id == latest.id
    assert {version.id for version in versions.list_versions(other)} == {before.id, latest.id}
    for version in versions.list_versions(other):
        version.verify_packages()


def test_a_restore_is_in_the_operators_log_and_keeps_the_time_of_the_backup(
    home: ServerHome, tmp_path: Path
) -> None:
    backup.back_up_home(home, tmp_path / "b", SEAL, current_time=1_795_000_000.0)
    other = ServerHome(tmp_path / "new")
    backup.restore_home(tmp_path / "b", other, KEY, ACTOR, current_time=1_795_086_400.0)
    assert LastBackup.load(other) == LastBackup(created=1_795_000_000)
    with ServerStore.open(other) as store:
        (found,) = operators.read_log(store, limit=9)
        assert operators.first_broken_entry_number(store) is None
    assert (found.operator, found.action, found.subject) == ("aiko", "restore", "central")
    assert found.detail == "2026-11-18 11:06:40Z"


def test_a_store_moves_to_postgresql_and_back(
    home: ServerHome, tmp_path: Path, postgres_cluster: str
) -> None:
    with ServerStore.open(home) as store:
        store.store_join_token("plant-a", "secret", 1.0)
    backup.back_up_home(home, tmp_path / "b", SEAL)
    moved, back = ServerHome(tmp_path / "moved"), ServerHome(tmp_path / "back")
    backup.restore_home(tmp_path / "b", moved, KEY, ACTOR, database=postgres_cluster)
    assert not moved.database_file.exists()
    with pytest.raises(ConfigError, match="holds a store already"):
        backup.restore_home(
            tmp_path / "b", ServerHome(tmp_path / "again"), KEY, ACTOR, database=postgres_cluster
        )
    assert not (tmp_path / "again").exists()
    backup.back_up_home(moved, tmp_path / "c", SEAL)
    backup.restore_home(tmp_path / "c", back, KEY, ACTOR, database="sqlite")
    with ServerStore.open(back) as store:
        assert [site.name for site in store.sites()] == ["plant-a"]


def test_the_commands_do_it(home: ServerHome, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"# made today\n{IDENTITY}\n")
    made = document_of(
        main_group,
        "backup",
        "--home",
        home.root,
        "--out",
        tmp_path / "b",
        "--recipient",
        IDENTITY.to_public(),
    )
    assert made["kind"] == "server" and made["name"] == "central"
    words = ("--backup", tmp_path / "b", "--identity", tmp_path / "key")
    done = document_of(main_group, "restore", "--home", tmp_path / "new", *words)
    assert done["files"] == made["files"]
    assert ServerHome(tmp_path / "new").read_config() == home.read_config()


@pytest.mark.parametrize("words", [(), ("--recipient", "age1", "--passphrase-file", "x")])
def test_a_backup_is_always_encrypted(
    home: ServerHome, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(
        main_group, ["backup", "--home", str(home.root), "--out", str(tmp_path / "b"), *words]
    )
    assert done.exit_code != 0 and "encrypted" in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_keys_do_not_change_while_they_are_copied(
    home: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that begins meanwhile waits, so that no backup holds half of it."""
    copied = archive.write_backup

    def slow(*words: Any, **options: Any) -> Any:
        rotation.start()
        rotation.join(0.2)
        assert rotation.is_alive()
        return copied(*words, **options)

    before = files(home.root)
    rotation = threading.Thread(target=rotate_keys, args=(home,))
    monkeypatch.setattr(archive, "write_backup", slow)
    backup.back_up_home(home, tmp_path / "b", SEAL)
    rotation.join()
    backup.restore_home(tmp_path / "b", ServerHome(tmp_path / "new"), KEY, ACTOR)
    for name in ("keys/signing.key", "keys/witness.key"):
        assert files(tmp_path / "new")[name] == before[name] != files(home.root)[name]


def test_a_backup_without_a_store_is_refused(home: ServerHome, tmp_path: Path) -> None:
    sources = [("server.yaml", home.config_file)]
    archive.write_backup(
        tmp_path / "b",
        sources,
        SEAL,
        archive.BackupDescription(kind="server", name="central", created=0),
    )
    with pytest.raises(ConfigError, match="without a store"):
        backup.restore_home(tmp_path / "b", ServerHome(tmp_path / "new"), KEY, ACTOR)
    assert zipfile.is_zipfile(tmp_path / "b") and not (tmp_path / "new").exists()
