"""Bad inputs of plants and operators, one row each: files of settings and of data."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from tests.client.conftest import TestPlant

from wg_client.cli.main import group as client
from wg_core.wire import protocol
from wg_server.cli.main import main_group as server


@dataclass(frozen=True)
class World:
    """A plant, a server's home and a folder of a test's own."""

    plant: TestPlant
    operator: Path
    package: bytes
    folder: Path
    patch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Bad:
    """One bad input."""

    name: str
    words: Callable[[World], list[object]]
    code: int
    said: tuple[str, ...]
    program: click.Command = client
    stdin: str = ""


# --- client.yaml


def _yaml(name: str, old: str, new: str, *said: str) -> Bad:
    def words(world: World) -> list[object]:
        text = world.plant.home.config.read_text("utf-8")
        assert old in text, f"{name}: no {old!r}"
        (world.folder / "client.yaml").write_text(text.replace(old, new, 1), "utf-8")
        shutil.copy(world.plant.home.pinned_server, world.folder)
        return ["keys", "--home", world.folder]

    return Bad(f"client.yaml: {name}", words, 3, ("client.yaml", *said))


def _raw(name: str, data: bytes, *said: str) -> Bad:
    def words(world: World) -> list[object]:
        (world.folder / "client.yaml").write_bytes(data)
        return ["check", "--home", world.folder]

    return Bad(f"client.yaml: {name}", words, 3, ("client.yaml", *said))


YAML = [
    _yaml("unknown field", "cap_epsilon:", "cap_epsilom:", "privacy.cap_epsilom"),
    _yaml("unknown section", "privacy:", "private:", "private"),
    _yaml("negative cap", "cap_epsilon: '2'", "cap_epsilon: '-2'", "cap_epsilon", "'-2'"),
    _yaml("no number", "cap_epsilon: '2'", "cap_epsilon: much", "cap_epsilon", "'much'"),
    _yaml("octal", "cap_epsilon: '2'", "cap_epsilon: 010", "cap_epsilon", "quotes"),
    _yaml("endless", "cap_epsilon: '2'", "cap_epsilon: '1e999999'", "cap_epsilon"),
    _yaml("nan", "cap_epsilon: '2'", "cap_epsilon: nan", "cap_epsilon", "'nan'"),
    _yaml("delta one", "cap_delta: 1e-5", "cap_delta: '1'", "cap_delta", "below 1"),
    _yaml("request above cap", "max_request_epsilon: '1.5'", "max_request_epsilon: '3'", "cap"),
    _yaml("message type", "- query.statistics", "- query.all", "message_types", "query.all"),
    _yaml("slot", "answer_slot_seconds: 2.0", "answer_slot_seconds: -1", "answer_slot_seconds"),
    _yaml("label twice", "- dots", "- bars", "data.labels", "twice"),
    _yaml("blank label", "- dots", "- ' dots'", "data.labels", "no space at either end"),
    _yaml("label a number", "- dots", "- 7", "quotes"),
    _yaml("label a truth value", "- dots", "- no", "quotes"),
    _yaml("no labels", "labels:\n  - bars\n  - dots\n  - rings", "labels: []", "1 to 1000"),
    _yaml("site name", "site: plant-a", "site: Plant_A", "site name"),
    _yaml("encoder", "\n  encoder: ", "\n  encoder: zz", "data.encoder", "64"),
    _yaml("bits", "bits: 16", "bits: 11", "data.reading.bits: 11", "[8, 10, 12, 14, 16]"),
    _yaml("encoding", "encoding: auto", "encoding: ebcdic", "data.reading.encoding", "cp932"),
    _yaml("log", "log: null", "log: {rate: 0}", "log"),
    _yaml(
        "window",
        "log: null",
        "log: {rate: 10, window_seconds: 0.1, hop_seconds: 1, channels: [a]}",
        "window_seconds",
        "1 samples, expected 8",
    ),
    _yaml(
        "overlap",
        "log: null",
        "log: {rate: 10, window_seconds: 2, hop_seconds: 1, channels: [a]}",
        "hop_seconds 1",
        "unit",
    ),
    _yaml("errors", "standard_errors: 2.0", "standard_errors: -1", "acceptance.standard_errors"),
    _yaml("quorum", "witness_quorum: null", "witness_quorum: 2", "witness_quorum: 2", "1 to 1"),
    _yaml(
        "witness key",
        "witnesses: []",
        "witnesses: [{name: w, key: zz, url: 'https://w.example'}]",
        "witnesses: w: key",
    ),
    _yaml(
        "witness url",
        "witnesses: []",
        f"witnesses: [{{name: w, key: {'ab' * 32}, url: 'http://w.example'}}]",
        "url",
        "https://",
    ),
    _raw("empty", b"", "expected"),
    _raw("not UTF-8", b"\xff\xfe", "not YAML"),
    _raw("broken", b"site: [", "not YAML"),
    _raw("an alias", b"a: &x [1]\nb: *x\n", "alias *x"),
    _raw("deep", b"[" * 40 + b"]" * 40, "nested deeper than 32"),
    _raw("long", b"a: " + b"x" * 5000, "5000 characters, at most 4096"),
    _raw("a list", b"- 1\n", "expected"),
    _raw("a field twice", b"site: a\nsite: a\n", "'site'", "twice", "line 2"),
    _raw("a tag", b"a: !!python/object:os.system x\n", "python/object"),
    _raw("UTF-16", "site: a".encode("utf-16"), "not YAML"),
    _yaml(
        "labels in a row", "labels:\n  - bars\n  - dots\n  - rings", "labels: a,b", "data.labels"
    ),
    _yaml("approve yes", "approve: policy", "approve: yes", "privacy.approve", "quotes"),
    _yaml("a date", "unit_column: null", "unit_column: 2026-01-01", "data.unit_column", "quotes"),
    _yaml("no section", "privacy:", "privacy: null\nx:", "privacy"),
    _raw("huge", b"#" * ((1 << 20) + 1), "larger than 1048576"),
]

# --- server.yaml


def _server_yaml(name: str, old: str, new: str, *said: str) -> Bad:
    def words(world: World) -> list[object]:
        text = (world.operator / "server.yaml").read_text("utf-8")
        assert old in text, f"{name}: no {old!r}"
        (world.folder / "server.yaml").write_text(text.replace(old, new, 1), "utf-8")
        return ["keys", "--home", world.folder]

    return Bad(f"server.yaml: {name}", words, 3, ("server.yaml", *said), server)


SERVER_YAML = [
    _server_yaml("unknown field", "fleet_port:", "flet_port:", "fleet_port"),
    _server_yaml("ports alike", "enrol_port: 2", "enrol_port: 1", "three different ones"),
    _server_yaml("port range", "fleet_port: 1", "fleet_port: 70000", "1 to 65535"),
    _server_yaml("name", "name: weightgate", "name: Weight Gate", "name"),
    _server_yaml("host", "host: 127.0.0.1", "host: 'a b'", "host", "'a b'"),
    _server_yaml("quorum", "witness_quorum: 1", "witness_quorum: 2", "witness_quorum: 2"),
    _server_yaml("life", "message_seconds: 600", "message_seconds: 0", "at least 1"),
    _server_yaml("a word", "message_seconds: 600", "message_seconds: many", "message_seconds"),
]

# --- data


def joined(**more: object) -> str:
    """A join token that is well formed."""
    fields: dict[str, object] = {
        "site": "plant-a",
        "secret": "00" * 32,
        "enrol_url": "https://127.0.0.1:9",
        "ca_sha256": "11" * 32,
        "encoder": "22" * 32,
        "expires": 1,
    }
    return protocol.encode_join_token(protocol.JoinToken(**{**fields, **more}))  # type: ignore[arg-type]


def _data(
    name: str,
    make: Callable[[Path], object],
    *said: str,
    more: tuple[object, ...] = (),
    code: int = 3,
) -> Bad:
    def words(world: World) -> list[object]:
        root = world.folder / "data"
        root.mkdir()
        target = make(root)
        path = target if isinstance(target, Path) else root
        home = world.folder / "home"
        return ["init", "--home", home, "--join", "-", "--data", path, *more]

    return Bad(f"data: {name}", words, code, said, stdin=joined())


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def _beside(name: str, data: bytes) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        picture(root / "ok" / "good.png")
        (root / "ok" / name).write_bytes(data)

    return make


def _folders(*names: str) -> Callable[[Path], object]:
    return lambda root: [picture(root / name / "a.png") for name in names]


def _table(text: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    def make(root: Path) -> None:
        picture(root / "a.png")
        (root / "records.csv").write_bytes(text.encode(encoding))

    return make


def _window(text: str) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        (root / "ok").mkdir()
        (root / "ok" / "w.csv").write_text(text)

    return make


def _npz(**arrays: Any) -> Callable[[Path], object]:
    def make(root: Path) -> Path:
        np.savez(root / "d.npz", **arrays)
        return root / "d.npz"

    return make


def _log(text: str, name: str = "log.csv") -> Callable[[Path], object]:
    def make(root: Path) -> Path:
        (root / name).write_text(text)
        return root / name

    return make


def _sound(root: Path) -> Path:
    with wave.open(str(root / "s.wav"), "wb") as file:
        file.setparams((1, 2, 100, 9, "NONE", ""))
        file.writeframes(bytes(18))
    return root / "s.wav"


X = np.zeros((2, 8, 8), np.uint8)
ROWS = "a,b\n" + "1,2\n" * 9

DATA = [
    _data("missing", lambda root: root / "nowhere", "nowhere: not there"),
    _data("empty folder", lambda root: None, "no records: the folder is empty"),
    _data(
        "empty classes", lambda root: (root / "ok").mkdir(), "no images, windows or texts", ".png"
    ),
    _data(
        "an archive", lambda root: _beside("x.zip", b"PK")(root) or root / "ok" / "x.zip", "unpack"
    ),
    _data("a text file", lambda root: _beside("x", b"")(root) or root / "ok" / "x", "expected a"),
    _data("split", _folders("train", "val"), "'train', 'val'", "split", "--labels"),
    _data("segmentation", _folders("images", "masks"), "'images'", "segmentation"),
    _data("case", _folders("OK", "ok"), "'OK' and 'ok'", "case"),
    _data("two spellings", _folders("\u304c", "\u304b\u3099"), "look the same"),
    _data("empty, labels", lambda root: None, "folder is empty", more=("--labels", "a")),
    _data("unit without table", _folders("ok"), "records.csv", more=("--unit-column", "part")),
    _data("empty table", _table(""), "records.csv", "no column 'file'"),
    _data("table without label", _table("file,x\na.png,1\n"), "no column 'label'", "'x'"),
    _data("table, no file", _table("file,label\nb.png,ok\n"), "line 2", "'b.png'"),
    _data("table, outside", _table("file,label\n../../x.png,ok\n"), "line 2", "in this folder"),
    _data("table, a root", _table("file,label\n/etc/hosts,ok\n"), "line 2", "in this folder"),
    _data("table, no labels", _table("file,label\na.png,\n"), "records.csv", "--labels"),
    _data("table, quotes", _table('file,label\na.png,"ok\n'), "records.csv", "not CSV"),
    _data("table, encoding", _table("file,label\na.png,größe\n", "cp1252"), "line 2", "utf-8"),
    _data("table, column twice", _table("file,label,label\na.png,ok,ng\n"), "'label'", "twice"),
    _data("label of controls", _table("file,label\na.png,o\ak\n"), "'o\\x07k'", "printable"),
    _data("label turned around", _table("file,label\na.png,o\u202ek\n"), "printable"),
    _data("label too long", _table(f"file,label\na.png,{'x' * 101}\n"), "1 to 100"),
    _data("label of blanks", _folders("  "), "'  '", "no space at either end"),
    _data("label declared twice", _folders("ok"), "twice", more=("--labels", "ok,ok")),
    _data("labels of commas", _folders("ok"), "--labels", more=("--labels", ",")),
    _data("table, header alone", _table("file,label\n"), "records.csv", "no labels"),
    _data("table, NUL", _table("file,label\na.png,o\0k\n"), "'o\\x00k'", "printable"),
    _data("table, UTF-16 without a mark", _table("file,label\n", "utf-16-le"), "UTF-16"),
    _data("npz, y of floats", _npz(x=X, y=np.zeros(2), classes=["a"]), "float64", "integers"),
    _data("npz, class twice", _npz(x=X, y=np.zeros(2, int), classes=["a", "a"]), "twice"),
    _data("npz, complex", _npz(x=X.astype(complex), classes=["a"]), "complex128", "uint8"),
    _data("cap of a comma", _folders("ok"), "'8,5'", "decimal", more=("--cap-epsilon", "8,5")),
    _data("table, case", _table("file,label\na.png,OK\na.png,ok\n"), "'OK' and 'ok'"),
    _data(
        "table, no unit",
        _table("file,label,part\na.png,ok,\n"),
        "'part' is empty",
        more=("--unit-column", "part"),
    ),
    _data("window, time", _window("time,a\n" + "1,2\n" * 9), "w.csv", "column 1, 'time'"),
    _data(
        "window, counts",
        _window("".join(f"{row},{row % 2}\n" for row in range(9))),
        "w.csv",
        "column 1 counts up",
    ),
    _data("npz, no x", _npz(y=np.zeros(2, int)), "d.npz", "array x: missing"),
    _data("npz, x of floats", _npz(x=np.zeros((2, 8))), "array x: float64 [2, 8]"),
    _data("npz, y short", _npz(x=X, y=np.zeros(1, int), classes=["a"]), "array y: [1]", "[2]"),
    _data("npz, y text", _npz(x=X, y=np.array(["a", "b"]), classes=["a"]), "expected integers"),
    _data("npz, y range", _npz(x=X, y=np.array([0, 9]), classes=["a"]), "array y: 9", "-1 to 0"),
    _data("npz, y below", _npz(x=X, y=np.array([0, -2]), classes=["a"]), "expected -1 to 0"),
    _data("npz, y pickled", _npz(x=X, y=np.array([None] * 2), classes=["a"]), "plain arrays"),
    _data("npz, axes", _npz(x=X[..., None, None], classes=["a"]), "array x"),
    _data("npz, no pixel", _npz(x=X[:, :0], classes=["a"]), "image 0: uint8 of shape (0, 8)"),
    _data("npz, nan", _npz(x=np.full((2, 1, 16), np.nan), classes=["a"]), "window 0", "finite"),
    _data("npz, rows of classes", _npz(x=X, classes=[["a"]]), "one dimension"),
    _data("npz, split", _npz(x=X, classes=["a"], split=np.zeros((2, 2))), "array split"),
    _data("npz, no classes", _npz(x=X, y=np.zeros(2, int)), "no array classes", "--labels"),
    _data("npz, pickle", _npz(x=np.array([{}, {}], dtype=object)), "d.npz", "plain arrays"),
    _data("npz, unit", _npz(x=X, classes=["a"]), "no array 'g'", more=("--unit-column", "g")),
    _data("notes, quotes", _log('text,label\n"a,b\n', "notes.csv"), "notes.csv", "not CSV"),
    _data("notes, no labels", _log("text,label\nhum,\n", "notes.csv"), "no labels; declare them"),
    _data("notes, case", _log("text,label\na,OK\nb,ok\n", "notes.csv"), "differ in case"),
    _data("a log alone", _log(ROWS), "log.csv", "--window"),
    _data("log, no rate", _log(ROWS), "log.csv", "--rate", more=("--window", 1)),
    _data("log, no time", _log(ROWS), "no column 't'", more=("--window", 1, "--time-column", "t")),
    _data(
        "log, no channel",
        _log(ROWS),
        "no column 'c'",
        more=("--window", 1, "--rate", 9, "--channels", "c"),
    ),
    _data(
        "log, short", _log(ROWS), "no window", more=("--window", 9, "--rate", 9, "--labels", "ok")
    ),
    _data(
        "log, overlap",
        _log(ROWS),
        "one moment is in several windows",
        more=("--window", 1, "--hop", 0.5, "--rate", 9, "--labels", "ok"),
    ),
    _data(
        "log, intervals",
        _log(ROWS),
        "e.csv",
        more=("--window", 1, "--rate", 9, "--labels", "ok", "--intervals", "e.csv"),
    ),
    _data("sound, rate", _sound, "100 samples", "says 50", more=("--window", 1, "--rate", 50)),
    _data("hop alone", _folders("ok"), "--window", more=("--hop", 1), code=2),
    _data("bits", _folders("ok"), "--bits", "11", more=("--bits", 11), code=2),
    _data("cap", _folders("ok"), "cap_epsilon", "'-1'", more=("--cap-epsilon", "-1")),
]
