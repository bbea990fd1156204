"""A plant works without a server, and joins one later with what it has."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.client.cli.conftest import Json, run_here
from tests.client.conftest import LABELS, fitted_encoder, write_npz
from tests.commands import document_of
from tests.e2e.fleet_support import token

from wg_client.cli.main import group
from wg_client.data import plant_data as plants
from wg_common import cli
from wg_core.errors import ExitCode
from wg_core.ledger.budget_ledger import Ledger
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_server.site.home import ServerHome


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Json:
    return run_here(capfd)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of records, and the home that ``init`` made of it."""
    root = tmp_path_factory.mktemp("alone")
    data = write_npz(root / "data.npz", {0: 6, 1: 6, 2: 6}, seed=1, labels=LABELS)
    document = document_of(group, "init", "--home", root / "Plant A", "--data", data)
    assert document["site"] == "plant-a" and document["server"] is None
    return root


@pytest.fixture
def alone(template: Path, tmp_path: Path) -> ClientHome:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    home = ClientHome(tmp_path / "Plant A")
    config = configuration.load(home)
    data = replace(config.data, path=str(tmp_path / "data.npz"))
    configuration.save(home, replace(config, data=data))
    return home


def test_a_home_without_a_server_does_all_that_needs_none(
    alone: ClientHome, here: Json, tmp_path: Path
) -> None:
    here_it = ("--home", alone.root)
    data = tmp_path / "data.npz"
    (result,) = here("predict", *here_it, data)["results"]
    assert len(result["predictions"]) == 18 and all(p["call"] for p in result["predictions"])
    here("watch", *here_it, data, code=(ExitCode.OK, 1))
    here("models", "export", *here_it, "--out", tmp_path / "model.safetensors")
    assert here("models", "fit", *here_it)["kept"] == "local-only"
    assert here("freeze", *here_it)["version"] == 2
    assert here("models", "fit", *here_it)["kept"] == "local-only"
    assert len(here("models", "show", *here_it)["models"]) == 2
    status = here("status", *here_it)
    assert status["server"] == "" and not status["problems"] and status["model"] == "local-only"
    here("keys", *here_it)
    assert "works alone" not in alone.report.read_text("utf-8")


def test_a_model_of_other_records_is_put_into_use_by_the_next_command(
    alone: ClientHome, here: Json, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_npz(tmp_path / "data.npz", {0: 6, 1: 6, 2: 7}, seed=2, labels=LABELS)
    assert f"next: wg-client models fit --home {alone.root}" in shown(capfd, "freeze", alone)
    said = shown(capfd, "models", "fit", alone)
    assert "cannot be compared" in said and "better" not in said
    command = f"wg-client models use --home {alone.root} --shadow --by NAME"
    assert f"next: {command}" in said
    assert command in re.sub("<[^>]+>", "", alone.report.read_text("utf-8"))
    here("models", "use", "--home", alone.root, "--shadow", "--by", "qa")
    assert "next: wg-client predict" in shown(capfd, "models", "fit", alone)


def shown(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """Return what a person reads on the screen after a command on a home, the last word."""
    capfd.readouterr()
    *command, home = words
    with pytest.raises(SystemExit) as caught:
        cli.run_program(group, [*map(str, command), "--home", str(getattr(home, "root", home))])
    assert not caught.value.code
    return capfd.readouterr().out


def test_what_needs_a_server_says_how_to_get_one(
    alone: ClientHome, here: Json, tmp_path: Path
) -> None:
    file = tmp_path / "package.wgw"
    file.write_bytes(b"")
    for words in (
        ["check"],
        ["run", "--once"],
        ["statistics", "--out", tmp_path / "out.wgs"],
        ["statistics", "--epsilon", "0", "--out", tmp_path / "out.wgs"],
        ["apply", file],
        ["keys", "--renew", "certificate"],
        ["keys", "--renew", "ledger"],
    ):
        error = here(words[0], "--home", alone.root, *words[1:], code=ExitCode.CONFIG)["error"]
        assert "wg-client join" in error["message"], words


def test_a_backup_of_a_home_without_a_server_is_restored(
    alone: ClientHome, here: Json, tmp_path: Path
) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery staple")
    key = ("--passphrase-file", phrase)
    here("backup", "--home", alone.root, "--out", tmp_path / "backup", *key)
    here("restore", "--home", tmp_path / "again", "--backup", tmp_path / "backup", *key)
    assert here("status", "--home", tmp_path / "again")["model"] == "local-only"


@pytest.mark.parametrize("built_in", [False, True])
def test_a_plant_joins_with_its_ledger_and_goes_on(
    server: ServerHome,
    alone: ClientHome,
    here: Json,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    built_in: bool,
) -> None:
    server.encoder_file.write_bytes(alone.encoder.read_bytes() if built_in else fitted_encoder(64))
    with Ledger.open(alone.ledger, signing.load(alone.ledger_key)) as ledger:
        origin, size = ledger.origin, ledger.size
    word = tmp_path / "token"
    word.write_text(token(server, "plant-b", replace=False))
    join = ("join", "--home", alone.root, "--join-file", word)
    assert "'plant-a'" in here(*join, code=ExitCode.CONFIG)["error"]["message"]
    word.write_text(token(server, "plant-a", replace=False))
    said = shown(capfd, "join", "--join-file", word, alone)
    assert "no server" not in said and said.count("next:") == 1
    assert "nobody has confirmed it" in said  # for there is no terminal to ask at
    assert f"wg-client run --home {alone.root}" in said.splitlines()[-1]
    assert plants.open_plant_data(alone).snapshot.manifest.number == (1 if built_in else 2)
    with Ledger.open(alone.ledger, signing.load(alone.ledger_key)) as ledger:
        assert ledger.origin == origin and ledger.size > size
    assert plants.open_plant_data(alone).config.pin is not None
    here("check", "--home", alone.root)
    here("predict", "--home", alone.root, tmp_path / "data.npz")
    assert "enrolled" in here(*join, code=ExitCode.CONFIG)["error"]["message"]
