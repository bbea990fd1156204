"""What ``deploy`` puts on a machine: units, folders, an image; as far as it can be tried here."""

from __future__ import annotations

import http.server
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from tests.e2e.fleet_support import make_home

from wg_client.cli.main import group as client
from wg_core import errors
from wg_server.cli.main import main_group as server

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SERVICES = [path for path in UNITS if "backup" not in path.name]
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")


def values(unit: Path, key: str) -> list[str]:
    lines = unit.read_text("utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def words(unit: Path) -> list[str]:
    """What a unit runs, as systemd reads it."""
    (line,) = values(unit, "ExecStart")
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_a_unit_and_calls_it_safe(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert all("is not executable" in line for line in said), said  # it is not installed here
    scored = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    assert subprocess.run(scored, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None or os.geteuid() != 0, reason="no systemd, or not root"
)
def test_the_recipe_makes_user_and_folders_in_a_blank_root(tmp_path: Path) -> None:
    """``useradd --home-dir`` made no folder, and ``init`` had nowhere to write."""
    subprocess.run([DEPLOY / "systemd" / "install", tmp_path], check=True, capture_output=True)
    (line,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    name, _, user, *_, home, shell = line.split(":")
    assert (name, home, shell) == ("weightgate", "/var/lib/weightgate", "/usr/sbin/nologin")
    for folder in ("var/lib/weightgate", "var/backups/weightgate"):
        status = (tmp_path / folder).stat()
        assert status.st_uid == int(user) and status.st_mode & 0o777 == 0o700
    installed = {path.name for path in (tmp_path / "etc" / "systemd" / "system").iterdir()}
    assert {path.name for path in UNITS} < installed


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_what_a_new_start_does_not_cure_is_not_started_again(unit: Path) -> None:
    """A failing model card was restarted every five seconds, for ever."""
    (kept,) = values(unit, "RestartPreventExitStatus")
    final = {errors.ExitCode.USAGE, errors.ExitCode.REFUSED, errors.ExitCode.VERIFICATION}
    assert {int(word) for word in kept.split()} == final
    assert values(unit, "StartLimitBurst") and values(unit, "StartLimitIntervalSec")


def test_a_plant_may_look_its_server_up() -> None:
    """``IPAddressDeny=any`` alone blocked the name server, and the guide advertises a name."""
    unit = DEPLOY / "systemd" / "weightgate-client.service"
    assert values(unit, "IPAddressDeny") == ["any"]
    assert "localhost" in values(unit, "IPAddressAllow")


def check_call(called: list[str]) -> None:
    """The program has this command, with these options."""
    program, name, *options = called
    group = {"wg-server": server, "wg-client": client}[Path(program).name]
    command = group.get_command(click.Context(group), name)
    assert command is not None, name
    known = {each for param in command.params for each in param.opts}
    assert {word for word in options if word.startswith("--")} <= known


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_a_unit_runs_a_command_that_is_there(unit: Path) -> None:
    check_call(words(unit))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs that only say how they were called."""
    for name in ("wg-server", "wg-client"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@"\n')
        path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_nightly_backup_calls_what_is_there(programs: Path, side: str) -> None:
    shell, flag, line = words(DEPLOY / "systemd" / f"weightgate-{side}-backup.service")
    called = subprocess.run(
        [shell, flag, line.replace("/opt/weightgate/bin", str(programs))],
        env={"RECIPIENT": "age1x", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    check_call(called)
    assert called[-2:] == ["--recipient", "age1x"]
    assert called[called.index("--out") + 1].startswith("/var/backups/weightgate/")


@pytest.mark.parametrize("side", ["server", "client"])
def test_the_image_serves_or_runs_a_command(programs: Path, side: str) -> None:
    def run(*given: str) -> list[str]:
        return subprocess.run(
            [DEPLOY / "container" / "entrypoint", *given],
            env={"SIDE": side, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    for called in (run(), run("run")):
        check_call(called)
        assert f"/var/lib/weightgate/{side}" in called
    other = ["backup", "--home", "/x", "--out", "y"]
    assert run(*other) == [f"wg-{side}", *other]


@contextmanager
def answering(port: int, code: int) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = http.server.HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_the_images_health_is_the_servers_own_word(tmp_path: Path) -> None:
    home = make_home(tmp_path / "server")

    def health() -> int:
        place = {"SIDE": "server", "WEIGHTGATE_HOME": str(home.root)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        words = [DEPLOY / "container" / "health"]
        environment = {**os.environ, **place, "PATH": path}
        return subprocess.run(words, env=environment, capture_output=True, check=False).returncode

    for code, good in ((200, True), (503, False)):
        with answering(home.read_config().admin_port, code):
            assert (health() == 0) is good
    assert health() != 0


def test_the_image_has_an_entry_point_a_health_check_and_no_root() -> None:
    """Without an entry point ``podman run`` started Python's prompt."""
    text = (DEPLOY / "container" / "Containerfile").read_text("utf-8")
    lines = [line.split(" ", 1)[0] for line in text.splitlines() if line[:1].isupper()]
    assert {"ENTRYPOINT", "HEALTHCHECK", "LABEL", "USER", "STOPSIGNAL"} <= set(lines)
    assert lines.count("FROM") == 2 and "USER 10001" in text
    copied = [line.split()[-2] for line in text.splitlines() if line.startswith("COPY /")]
    kept = (DEPLOY.parent / ".containerignore").read_text().splitlines()
    assert kept[0] == "*" and not copied
    for path in ("common", "server", "client", "extras", "deploy/container", "pyproject.toml"):
        assert f"!{path}" in kept and (DEPLOY.parent / path).exists()
