"""What bad input gets: the documented code, a message with file, field, got and want, no traceback.

One row for each bad input, of all kinds: files, YAML, tokens, packages, budgets, disks, interrupts,
calls. A row says how the input is made, what is called, the exit code, and words that the message
must hold. All run in this process; none needs an encoder to compute anything.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from tests.client.cli.bad_inputs import DATA, SERVER_YAML, YAML, Bad, World, joined, picture
from tests.client.cli.wrong_files import GIVEN
from tests.client.conftest import TestPlant, plant_maker

from wg_audit.cli import group as auditor
from wg_client.cli.main import group as client
from wg_client.fitting.linear_head import LinearHead
from wg_common import cli
from wg_core import errors
from wg_core.site.config import PrivacyConfig
from wg_core.wire import protocol
from wg_server.cli.main import main_group as server

DOCUMENTED = {2, 3, 4, 5, 6, 7, 130}
BUDGET = PrivacyConfig(cap_epsilon="2", max_request_epsilon="1.5", purposes=("models",))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, encoder_package: bytes) -> TestPlant:
    return plant_maker(tmp_path_factory.mktemp("bad"), encoder_package)(
        {0: 2, 1: 2}, privacy=BUDGET
    )


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wg_server.operation.initialise import create_home
    from wg_server.site.home import ServerConfig, ServerHome

    home = ServerHome(tmp_path_factory.mktemp("bad") / "server")
    create_home(home, ServerConfig(fleet_port=1, enrol_port=2, admin_port=3))
    return home.root


@pytest.fixture
def world(
    plant: TestPlant,
    operator: Path,
    good_head: LinearHead,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    package = plant.package({"s": (good_head, "diffusion")}, package_id="ab" * 16)
    return World(plant, operator, package, tmp_path, monkeypatch)


# --- tokens


def _token(name: str, text: str, *said: str, code: int = 3) -> Bad:
    def words(world: World) -> list[object]:
        picture(world.folder / "data" / "ok" / "a.png")
        data = world.folder / "data"
        return ["init", "--home", world.folder / "home", "--join", "-", "--data", data]

    return Bad(f"token: {name}", words, code, said, stdin=text)


TOKENS = [
    _token("empty", "", "join token"),
    _token("a word", "hello", "join token"),
    _token("old", "wgj1.abc", "join token"),
    _token("not base64", "wgj1.%%%", "join token"),
    _token("not JSON", "wgj1.aGVsbG8", "join token"),
    _token("cut", joined()[:-9], "join token"),
    _token("expired", joined(), "join token", "expired"),
    _token("too long", "w" * (protocol.TOKEN_CHARACTERS_LIMIT + 1), "join token", "bytes"),
    _token("nobody listens", joined(expires=1 << 40), "127.0.0.1", code=7),
]

# --- packages


def _package(name: str, change: Callable[[bytes], bytes], code: int, *said: str) -> Bad:
    def words(world: World) -> list[object]:
        path = world.folder / "p.wgw"
        path.write_bytes(change(world.package))
        return ["apply", "--home", world.plant.home.root, path]

    return Bad(f"package: {name}", words, code, ("p.wgw", *said))


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _for(**fields: Any) -> Callable[[World], list[object]]:
    def words(world: World) -> list[object]:
        head = LinearHead(np.zeros((3, 64)), np.zeros(3))
        path = world.folder / "p.wgw"
        path.write_bytes(world.plant.package({"s": (head, "diffusion")}, **fields))
        return ["apply", "--home", world.plant.home.root, path]

    return words


PACKAGES = [
    _package("empty", lambda data: b"", 3),
    _package("a letter", lambda data: b"hello", 3),
    _package("magic", lambda data: _flip(data, 0), 3),
    _package("header", lambda data: _flip(data, 40), 5, "damaged"),
    _package("middle", lambda data: _flip(data, len(data) // 2), 5),
    _package("last byte", lambda data: _flip(data, len(data) - 1), 5),
    _package("cut", lambda data: data[:-9], 5, "damaged"),
    _package("longer", lambda data: data + b"x", 5, "damaged"),
    Bad("package: another site", _for(site="plant-b"), 5, ("p.wgw", "site", "plant-b", "plant-a")),
    Bad("package: labels", _for(labels=("a", "b", "c")), 5, ("p.wgw", "labels", "'a'", "'bars'")),
    Bad("package: order", _for(labels=("dots", "bars", "rings")), 5, ("p.wgw", "labels")),
    Bad("package: id", _for(package_id="../../etc/passwd"), 5, ("p.wgw", "package id")),
    Bad("package: encoder", _for(encoder="00" * 32), 5, ("p.wgw", "encoder is '0000")),
    Bad("package: architecture", _for(architecture="resnet"), 5, ("p.wgw", "resnet")),
    Bad("package: expired", _for(expires=1), 5, ("p.wgw", "expired at 1")),
    Bad(
        "package: missing",
        lambda world: ["apply", "--home", world.plant.home.root, world.folder / "none.wgw"],
        3,
        ("none.wgw", "No such file"),
    ),
]

# --- budget and policy


def _asked(name: str, code: int, *said: str, more: tuple[str, ...]) -> Bad:
    def words(world: World) -> list[object]:
        home = world.plant.home.root
        return ["statistics", "--home", home, "--out", world.folder / "s.wgs", *more]

    return Bad(f"budget: {name}", words, code, said)


MODELS = ("--purpose", "models")
BUDGETS = [
    _asked("too much", 4, "epsilon 1.6", "1.5 a request", more=("--epsilon", "1.6", *MODELS)),
    _asked("delta", 4, "delta 1e-4", "1e-5 a request", more=("--delta", "1e-4", *MODELS)),
    _asked("purpose", 4, "purpose", more=("--purpose", "advertising")),
    _asked("long purpose", 4, "purpose", more=("--purpose", "x" * 2000)),
    _asked("zero", 2, "--epsilon", "above 0", more=("--epsilon", "0.0")),
    _asked("negative", 2, "--epsilon", "'-1'", more=("--epsilon", "-1")),
    _asked("delta one", 2, "--delta", "below 1", more=("--delta", "1")),
    _asked("a word", 2, "--epsilon", "'much'", more=("--epsilon", "much")),
    Bad(
        "budget: unwritable",
        lambda world: [
            "statistics",
            "--home",
            world.plant.home.root,
            "--out",
            world.folder / "a/b",
        ],
        2,
        ("--out", "is not there"),
    ),
]

# --- disk and interrupts


def _full(world: World) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.patch.setattr("wg_core.atomic.tempfile.mkstemp", fail)


def _interrupt(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def _on_full_disk(*words: object) -> Callable[[World], list[object]]:
    def made(world: World) -> list[object]:
        _full(world)
        return [*words, "--home", world.plant.home.root, "--out", world.folder / "out.file"]

    return made


def _freeze_on_full_disk(world: World) -> list[object]:
    _full(world)
    return ["freeze", "--home", world.plant.home.root]


def _interrupted(module: str, name: str, *words: object) -> Callable[[World], list[object]]:
    def made(world: World) -> list[object]:
        world.patch.setattr(f"{module}.{name}", _interrupt)
        return [*words, "--home", world.plant.home.root]

    return made


DISK = [
    Bad("disk: full, export", _on_full_disk("export"), 3, ("out.file", "No space left"), auditor),
    Bad("disk: full, freeze", _freeze_on_full_disk, 3, ("No space left",)),
    Bad("disk: no home", lambda world: ["status", "--home", world.folder / "x"], 3, ("init",)),
    Bad(
        "disk: home a file",
        lambda world: ["status", "--home", picture(world.folder / "a.png")],
        3,
        ("a.png",),
    ),
    Bad(
        "interrupt: check",
        _interrupted("wg_client.release.preview", "preview_release", "check"),
        130,
        ("interrupted",),
    ),
    Bad(
        "interrupt: freeze",
        _interrupted("wg_client.release.home_freeze", "inspect_home_data", "freeze"),
        130,
        ("interrupted",),
    ),
    Bad(
        "interrupt: keys",
        _interrupted("wg_core.connection.cosigning", "signed_sizes", "keys"),
        130,
        ("interrupted",),
    ),
]

# --- calls


def _call(name: str, *words: object, said: tuple[str, ...], program: click.Command = client) -> Bad:
    return Bad(f"call: {name}", lambda world: list(words), 2, said, program)


CALLS = [
    _call("no home", "check", said=("--home",)),
    _call("no such command", "chek", said=("chek",)),
    _call("no such option", "check", "--home", "x", "--epsilonn", "1", said=("--epsilonn",)),
    _call("two tokens", "init", "--home", "x", "--join", "-", "--join-file", "t", said=("--join",)),
    _call("name of export", "models", "export", "--home", "x", "--out", "m.bin", said=("m.bin",)),
    _call("run in JSON", "run", "--home", "x", said=("--once",)),
    _call("nothing to predict", "predict", "--home", "x", said=("PATHS",)),
    _call("no reason", "keys", "--home", "x", "--renew", "ledger", "--stolen", said=("--reason",)),
    _call("stolen and kept", "keys", "--home", "x", "--reason", "y", said=("--stolen",)),
    _call("what to use", "models", "use", "--home", "x", "--by", "QA", said=("--shadow",)),
    _call(
        "duration", "enroll", "--home", "x", "a", "--expires", "1w", said=("1w",), program=server
    ),
    _call("price", "campaign", "start", "--home", "x", "--delta", "1", said=("1",), program=server),
    _call("port", "init", "--home", "x", "--port", "99999", said=("99999",), program=server),
    _call(
        "nowhere",
        "generate",
        "--home",
        "x",
        "--statistics",
        "s",
        "--out",
        "n/p",
        said=("n/p",),
        program=server,
    ),
    _call("no export", "export", "--home", "x", said=("--out",), program=auditor),
    _call("no path", "verify", said=("PATH",), program=auditor),
]

# --- ledgers


def _ledger(name: str, data: bytes, *said: str, code: int = 3) -> Bad:
    def words(world: World) -> list[object]:
        (world.folder / "x.wgl").write_bytes(data)
        return ["verify", world.folder / "x.wgl"]

    return Bad(f"ledger: {name}", words, code, ("x.wgl", *said), auditor)


LEDGERS = [
    _ledger("empty", b""),
    _ledger("a letter", b"hello"),
    _ledger("SQLite", b"SQLite format 3\x00" + bytes(100), "damaged", code=5),
    Bad("ledger: missing", lambda world: ["verify", world.folder / "n"], 3, ("n",), auditor),
    Bad(
        "ledger: key",
        lambda world: ["verify", world.plant.home.root, "--ledger-key", "zz"],
        2,
        ("zz",),
        auditor,
    ),
]

# --- requests that a person decides


def _request(name: str, code: int, *said: str, more: tuple[str, ...]) -> Bad:
    def words(world: World) -> list[object]:
        return ["requests", "--home", world.plant.home.root, *more]

    return Bad(f"request: {name}", words, code, said)


REQUESTS = [
    _request("unknown", 3, "request 'ab': 0", "wg-client requests", more=("ab",)),
    _request("unknown, approved", 3, "'ab'", more=("ab", "--approve", "--by", "QA")),
    _request("empty id", 3, "request ''", more=("", "--deny", "--by", "QA")),
    _request("nobody", 2, "--by", more=("ab", "--approve")),
    _request("no id", 2, "ID", more=("--approve", "--by", "QA")),
    _request("no decision", 2, "--approve", more=("ab", "--by", "QA")),
    _request("two decisions", 2, "--deny", more=("ab", "--approve", "--deny", "--by", "QA")),
    _asked("a name too many", 2, "--by", "'policy'", more=("--by", "QA", *MODELS)),
]


def _stage(name: str, command: str, *more: object, code: int = 3, said: str) -> Bad:
    """A plant without a model is asked to change it, or watched with nothing."""

    def words(world: World) -> list[object]:
        return [*command.split(), "--home", world.plant.home.root, *more]

    return Bad(f"stages: {name}", words, code, (said,))


def _simulated(name: str, said: str, *more: object, code: int = 3, data: str = "nothing") -> Bad:
    def words(world: World) -> list[object]:
        (world.folder / "empty").mkdir()
        picture(world.folder / "one" / "ok" / "a.png")
        (world.folder / "zero" / "ok").mkdir(parents=True)
        (world.folder / "zero" / "ok" / "a.png").touch()
        (world.folder / "e.bin").write_bytes(b"no encoder")
        world.patch.chdir(world.folder)
        return ["simulate", "--data", world.folder / data, *more]

    return Bad(f"simulate: {name}", words, code, (said,))


STAGES = [
    _stage("no such package", "models use", "ab12", "--by", "QA", said="0 packages begin with it"),
    _stage("nobody says who", "models shadow", "ab12", code=2, said="--by"),
    _stage("no shadow", "models use", "--shadow", "--by", "QA", said="no model is in shadow"),
    _stage("nothing to watch", "watch", "no-such-folder", said="no-such-folder"),
    _simulated("no data", "not there"),
    _simulated("an empty folder", "the folder is empty", data="empty"),
    _simulated("no record that works", "0 bytes", data="zero"),
    _simulated("an encoder that is none", "e.bin", "--encoder", "e.bin", data="one"),
]
TABLE = [
    *YAML,
    *SERVER_YAML,
    *DATA,
    *TOKENS,
    *PACKAGES,
    *BUDGETS,
    *DISK,
    *CALLS,
    *LEDGERS,
    *REQUESTS,
    *STAGES,
    *GIVEN,
]


def test_the_table_is_long_and_each_row_has_a_name_of_its_own() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE) >= 160


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("wg_common.nets.encoder.projected_trunk.load_encoder", _no_encoder)
    yield


def _no_encoder(package: bytes) -> Any:
    from tests.client.conftest import remembering

    return remembering(package)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_bad_input_is_told_with_its_code_and_no_traceback(
    row: Bad,
    world: World,
    quiet: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [str(word) for word in row.words(world)]
    stdin = world.folder / "stdin"
    stdin.write_text(row.stdin)
    before = world.plant.home.ledger.read_bytes()
    capfd.readouterr()
    with stdin.open() as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", stream)
        with pytest.raises(SystemExit) as caught:
            cli.run_program(row.program, [*words, "--json"])
    said = capfd.readouterr()
    document = json.loads(said.out)
    assert caught.value.code == row.code and row.code in DOCUMENTED, said.err
    assert document["error"]["exit_code"] == row.code
    text = document["error"]["message"]
    text += "".join(f"{one['name']}: {one['reason']}" for one in document.get("problems", ()))
    for part in row.said:
        assert part in text, text
    assert "Traceback" not in said.err and "internal error" not in said.err
    assert row.code == errors.ExitCode.INTERRUPTED or "error: " in said.err
    assert world.plant.home.ledger.read_bytes() == before
