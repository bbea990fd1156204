"""The code digest: the core, wherever it lies, by tools that are not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import wg_core
from wg_audit import wheel as wheels
from wg_audit.cli import group
from wg_core import installed_code
from wg_core.errors import ConfigError, DecodeError, WgError

FOLDER = Path(wg_core.__path__[0])
FILES = {
    f"wg_core/{path.relative_to(FOLDER).as_posix()}": path
    for path in FOLDER.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, copied to another place."""
    place = tmp_path_factory.mktemp("installation")
    shutil.copytree(FOLDER, place / "wg_core", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def _digest_at(place: Path) -> str:
    """What a program that is installed there states on its charges."""
    words = (
        "import os, sys; here = os.getcwd();"
        "sys.path[:] = [p for p in sys.path if p == here or not os.path.isdir(p + '/wg_core')];"
        "from wg_core.ledger.charging import installed_implementation as installed;"
        "print(installed().code_sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", words],
        env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_coreutils_compute_the_same_digest() -> None:
    listed = subprocess.run(
        f"cd {FOLDER.parent} && find wg_core -name '*.py' | xargs sha256sum",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = sorted(listed.splitlines(), key=lambda line: line.partition("  ")[2])
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["sha256sum"], input=text.encode(), capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == installed_code.installed_code_digest().sha256
    printed = CliRunner().invoke(group, ["digest"])
    assert (
        printed.stdout == text and installed_code.installed_code_digest().sha256 in printed.stderr
    )


def test_a_client_that_was_changed_before_the_noise_has_another_digest(copy: Path) -> None:
    assert (
        _digest_at(copy) == installed_code.installed_code_digest().sha256
    )  # the place does not matter
    changed = copy / "wg_core" / "snapshot.py"
    original = changed.read_text(encoding="utf-8")
    try:
        changed.write_text(original + "\n# subtract the site's own mean\n", encoding="utf-8")
        assert _digest_at(copy) != installed_code.installed_code_digest().sha256
    finally:
        changed.write_text(original, encoding="utf-8")


def test_every_file_of_code_counts_and_nothing_else() -> None:
    files = {path: file.read_bytes() for path, file in FILES.items()}
    whole = installed_code.digest_files(files)
    assert whole.sha256 == installed_code.installed_code_digest().sha256 and len(whole.files) > 90
    for path in (file.path for file in whole.files):
        assert (
            installed_code.digest_files({**files, path: files[path] + b" "}).sha256 != whole.sha256
        )
        less = {name: data for name, data in files.items() if name != path}
        assert installed_code.digest_files(less).sha256 != whole.sha256
    for path in ("wg_core/new.py", "wg_core/plant.cpython-311-x86_64-linux-gnu.so"):
        assert installed_code.digest_files({**files, path: b""}).sha256 != whole.sha256
    for path in (
        "wg_core/__pycache__/plant.cpython-311.pyc",
        "wg_server/cli/main.py",
        "wg_client/data/plant_data.py",
        "wg_core/x.md",
    ):
        assert installed_code.digest_files({**files, path: b""}).sha256 == whole.sha256


def _wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_wheel_has_the_digest_of_its_installation(tmp_path: Path) -> None:
    files = {path: file.read_bytes() for path, file in FILES.items()}
    files |= {"wg_server/__init__.py": b"", "weightgate-1.dist-info/METADATA": b"Name: weightgate"}
    wheel = _wheel(tmp_path / "weightgate-1-py3-none-any.whl", files)
    assert wheels.wheel_code_digest(wheel).sha256 == installed_code.installed_code_digest().sha256
    here = CliRunner().invoke(group, ["digest", "--json"])
    there = CliRunner().invoke(group, ["digest", "--json", "--wheel", str(wheel)])
    assert (
        here.stdout == there.stdout and installed_code.installed_code_digest().sha256 in here.stdout
    )


@pytest.mark.parametrize(
    "more",
    [
        {"start.pth": b"import evil"},
        {"wg_core.py": b""},
        {"weightgate-1.data/purelib/wg_core/snapshot.py": b""},
        {"wg_core/../wg_core/snapshot.py": b""},
        {"torch/__init__.py": b""},
        {"wg_core/big.md": bytes(2000)},
        {f"wg_core/{number}.md": b"" for number in range(30)},
    ],
)
def test_a_wheel_that_installs_more_than_it_shows_is_refused(
    tmp_path: Path, more: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "BYTES_LIMIT", 1000)
    monkeypatch.setattr(wheels, "FILES_LIMIT", 20)
    wheel = _wheel(tmp_path / "x.whl", {"wg_core/__init__.py": b"", **more})
    with pytest.raises(DecodeError, match=r"x\.whl"):
        wheels.wheel_code_digest(wheel)


def test_what_is_no_wheel_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    cases: tuple[tuple[bytes | None, type[WgError]], ...] = (
        (None, ConfigError),
        (b"garbage", DecodeError),
    )
    for data, error in cases:
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(error, match=r"x\.whl"):
            wheels.wheel_code_digest(path)
    with pytest.raises(DecodeError, match="does not hold"):
        wheels.wheel_code_digest(_wheel(path, {"wg_server/__init__.py": b""}))


def test_a_link_to_a_folder_hides_no_code(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "__init__.py").write_text("", encoding="utf-8")
    package = tmp_path / "wg_core"
    package.mkdir()
    (package / "hidden").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="a link, expected"):
        installed_code._read_code_files(package)
