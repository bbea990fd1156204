"""``wg-server``: words, documents and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from wg_common import cli
from wg_common.wire import protocol
from wg_server.cli.main import main_group
from wg_server.site.home import ServerHome


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as info:
        cli.run(main_group, [str(word) for word in words])
    captured = capsys.readouterr()
    assert isinstance(info.value.code, int)
    return info.value.code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Any:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    return json.loads(out)


def test_init_makes_a_home_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = document(capsys, "init", "--home", tmp_path / "s", "--name", "central", "--port", "0")
    config = ServerHome(tmp_path / "s").config()
    assert made["fleet"] == config.fleet_url
    code, _, err = run(capsys, "init", "--home", tmp_path / "s")
    assert code == 3 and "initialised" in err
    assert ServerHome(tmp_path / "s").config() == config


def test_enroll_prints_a_token_and_nothing_else(
    capsys: pytest.CaptureFixture[str], home: ServerHome
) -> None:
    code, out, _ = run(capsys, "enroll", "--home", home.root, "plant-a", "--expires", "2h")
    assert code == 0
    assert protocol.decode_token(out.strip()).site == "plant-a"
    made = document(capsys, "enroll", "--home", home.root, "plant-b")
    assert made["encoder"] == home.encoder_id()
    assert protocol.decode_token(made["token"]).site == "plant-b"
    rows = document(capsys, "sites", "--home", home.root)
    assert [(row["site"], row["state"]) for row in rows] == [
        ("plant-a", "invited"),
        ("plant-b", "invited"),
    ]


@pytest.mark.parametrize("expires", ["", "1", "0h", "1w", "-1h", "1.5h", "99999999d"])
def test_a_wrong_duration_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], home: ServerHome, expires: str
) -> None:
    code, _, err = run(capsys, "enroll", "--home", home.root, "plant-a", "--expires", expires)
    assert code == 2 and "as in 90s, 30m, 12h or 7d" in err


def test_revoke_shuts_a_site_out(capsys: pytest.CaptureFixture[str], home: ServerHome) -> None:
    document(capsys, "enroll", "--home", home.root, "plant-a")
    assert document(capsys, "revoke", "--home", home.root, "plant-a")["state"] == "revoked"
    code, _, err = run(capsys, "revoke", "--home", home.root, "nobody")
    assert code == 3 and "unknown" in err


def test_campaign_start_needs_enrolled_sites_and_numbers(
    capsys: pytest.CaptureFixture[str], home: ServerHome
) -> None:
    for words, message in (
        ((), "at least one site"),
        (("--sites", "plant-a"), "not enrolled: plant-a"),
        (("--epsilon", "much"), "a decimal number"),
        (("--delta", "-1"), "a decimal number"),
        (("--delta", "0"), "above 0"),
        (("--epsilon", "nan"), "a decimal number"),
        (("--epsilon", "1e30000000"), "a decimal number"),
    ):
        code, out, err = run(capsys, "campaign", "start", "--home", home.root, *words, "--json")
        assert code == 3 and message in err
        assert json.loads(out)["error"]["exit_code"] == 3
    assert document(capsys, "campaign", "list", "--home", home.root) == []


def test_a_folder_that_is_no_home_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words in (("sites",), ("serve",), ("campaign", "list"), ("renew",)):
        code, _, err = run(capsys, *words, "--home", tmp_path)
        assert code == 3 and "run init first" in err


def test_every_command_that_is_listed_is_there() -> None:
    context = click.Context(main_group)
    for name in main_group.list_commands(context):
        command = main_group.get_command(context, name)
        assert command is not None and command.help, name


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from wg_common import cli\n"
        "from wg_server.cli.main import main_group\n"
        "try:\n"
        "    cli.run(main_group, ['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'flwr', 'sqlalchemy', 'fastapi'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("init", "enroll", "sites", "revoke", "zoo", "train", "serve", "campaign"):
        assert f"  {word} " in done.stdout
    assert "heavy: []" in done.stdout
