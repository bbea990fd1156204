"""Bad inputs and the remedies that their messages name: each is performed, and works.

``test_bad_inputs`` has one row for each message. Here a fault spoils a good folder of records, the
command that reads it names the fault and leaves the home as it was, and after the remedy the same
command ends well. Every option of every command is given values that it does not take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, TestPlant, pictures, plant_maker, remembering, waves

from wg_audit.cli import group as auditor
from wg_client.cli.main import group as client
from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common import cli
from wg_core import errors
from wg_server.cli.main import main_group as server

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Fault:
    """One fault of a folder of records.

    Attributes:
        spoil: Brings it into a good folder.
        said: Words of the message.
        mend: The remedy; None: the file ``bars/x*``, or the table, is taken away.
    """

    name: str
    spoil: Change
    said: str
    mend: Change | None = None


def _put(name: str, data: bytes | str = b"x") -> Change:
    raw = data.encode() if isinstance(data, str) else data
    return lambda root: (root / name).write_bytes(raw)


def _take_away(root: Path) -> None:
    for path in (*root.glob("*/x*"), *root.glob("x*"), *root.glob("records.csv")):
        for inner in path.iterdir() if path.is_dir() and not path.is_symlink() else ():
            inner.unlink()
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _image(name: str, array: object, **words: object) -> Change:
    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(array)).save(root / name, **words)  # type: ignore[arg-type]

    return spoil


def _bytes_name(root: Path) -> None:
    Image.new("L", (8, 8), 9).save(os.fsencode(root / "bars") + b"/x\xff.png", "PNG")


def _pages(root: Path) -> None:
    first, second = (Image.new("L", (8, 8), value) for value in (1, 2))
    first.save(root / "bars" / "x.tif", save_all=True, append_images=[second])


def _link(name: str, target: str) -> Change:
    return lambda root: (root / name).symlink_to(root / target)


def _twin(root: Path) -> None:
    (root / "dots" / "x.png").write_bytes((root / "bars" / "0.png").read_bytes())


def _rename(before: str, after: str) -> Change:
    return lambda root: (root / before).rename(root / after)


STRAYS = {
    "heic": "save it as JPEG or PNG",
    "heif": "JPEG",
    "gif": "save it as PNG",
    "avif": "PNG",
    "xlsx": "else save it as CSV",
    "xls": "CSV",
    "parquet": "CSV",
    "wav": "--window",
    "json": "boxes and masks",
    "xml": "boxes and masks",
    "zip": "unpack it",
    "7z": "unpack it",
    "mp4": "single pictures",
    "avi": "single pictures",
    "svg": "no file of images",
    "mat": "no file of images",
    "npz": "no file of images",
    "pdf": "no file of images",
    "npy": "holds sensor windows",
    "csv": "holds sensor windows",
    "txt": "a text beside other records",
}
RECORDS = [
    Fault("no bytes", _put("bars/x.png", b""), "0 bytes"),
    Fault("a beginning", _put("bars/x.png", b"\x89PNG\r\n\x1a\n"), "not an image"),
    Fault("words", _put("bars/x.jpg", "hello"), "not an image"),
    Fault("a GIF", _image("bars/x.png", np.eye(8) > 0, format="GIF"), "not an image"),
    Fault("zeros", _put("bars/x.tif", bytes(99)), "not an image"),
    Fault("HTML", _put("bars/x.webp", "<html>"), "not an image"),
    Fault("a huge size", _put("bars/x.ppm", "P6 99999999 99999999 255\n"), "image"),
    Fault("a bomb", _image("bars/x.png", np.zeros((9000, 9000), bool)), "reduce it first"),
    Fault("floats", _image("bars/x.tif", np.zeros((8, 8), np.float32)), "pixels of mode F"),
    Fault("not a number", _image("bars/x.tif", np.full((8, 8), np.nan, np.float32)), "mode F"),
    Fault("32 bits", _image("bars/x.tif", np.full((8, 8), 70000, np.int32)), "pixels of mode I"),
    Fault("pages", _pages, "several pages"),
    Fault("a line feed in a name", _put("bars/x\nerror: y.png", b""), "0 bytes"),
    Fault("a name of bytes", _bytes_name, "its name is not UTF-8"),
]
CLASSES = [
    Fault("another class", _image("x/a.png", np.eye(8) > 0), "is not declared; declared are"),
    Fault("a class in capitals", _rename("dots", "Dots"), "'Dots'", _rename("Dots", "dots")),
    Fault("a class in wide letters", _rename("dots", "ｄots"), "is not", _rename("ｄots", "dots")),
    Fault("a class with a blank", _rename("dots", "dots "), "'dots '", _rename("dots ", "dots")),
    Fault("a translated class", _rename("dots", "点"), "'点'", _rename("点", "dots")),
    Fault(
        "a class turned around",
        _rename("dots", "d\u202eots"),
        "\\u202e",
        _rename("d\u202eots", "dots"),
    ),
    Fault(
        "a class of a line feed", _rename("dots", "do\nts"), "'do\\nts'", _rename("do\nts", "dots")
    ),
]
OTHERS = [
    *(Fault(f"a {end} file", _put(f"bars/x.{end}"), said) for end, said in STRAYS.items()),
    Fault("a loop", _link("bars/x", "bars/x"), "in a circle"),
    Fault("a loop of folders", _link("bars/x", "bars"), "a link to a folder"),
    Fault("a link to nothing", _link("bars/x.png", "none.png"), "a link to nothing"),
    Fault("a link outside", _link("bars/x.png", "../outside.png"), "leads out of the folder"),
    Fault("a linked class", _link("x", "bars"), "copy the records"),
    Fault("a pipe", lambda root: os.mkfifo(root / "bars" / "x.png"), "not a file"),
    Fault("two classes", _twin, "the same content has labels"),
]
ROWS = {
    "no such file": "bars/9.png,bars",
    "a file outside": "../outside.png,bars",
    "an address": "http://localhost/0.png,bars",
    "a folder": "bars,bars",
    "nothing": ",bars",
    "a long name": "y" * 300 + ",bars",
    "a NUL": "bars/0\0.png,bars",
    "a table": "records.csv,bars",
    "capitals": "BARS/0.PNG,bars",
    "one cell": "bars/0.png",
    "another label": "bars/0.png,Bars",
    "a long label": f"bars/0.png,{'y' * 200}",
    "a label of blanks": "bars/0.png, ",
    "a number": "bars/0.png,7",
    "two labels": "bars/0.png,bars\nbars/0.png,dots",
    "a formula": "bars/0.png,=1+1",
    "half a sign": "bars/0.png,b\udcffrs",
}
HEADERS = {
    "no line of names": "bars/0.png,bars\n",
    "other names": "Datei;Klasse\nbars/0.png;bars\n",
    "names in Japanese": "ファイル,ラベル\nbars/0.png,bars\n",
    "a comment": "# x\nfile,label\n",
    "one name": "file\nbars/0.png\n",
    "nothing": "",
    "an archive": "PK\x03\x04",
    "blank lines": "\n\nfile,label\n",
}
TABLES = [
    *(
        Fault(
            f"table: {name}",
            _put(
                "records.csv",
                f"file,label\nbars/1.png,bars\n{row}\n".encode("utf-8", "surrogateescape"),
            ),
            "",
        )
        for name, row in ROWS.items()
    ),
    *(Fault(f"names: {name}", _put("records.csv", text), "") for name, text in HEADERS.items()),
    Fault("names: UTF-16", _put("records.csv", "file,label\n".encode("utf-16-le")), ""),
    Fault("names: UTF-32", _put("records.csv", "file,label\n".encode("utf-32")), ""),
    Fault("names: bytes", _put("records.csv", bytes(range(256))), ""),
]
GOOD = "\n".join(f"{i * 0.37 % 1:.3f},{i * i * 0.77 % 1:.3f}" for i in range(64))


def _window(text: str, encoding: str = "utf-8") -> Change:
    return _put("bars/x.csv", text.encode(encoding))


def _array(value: object) -> Change:
    return lambda root: np.save(root / "bars" / "x.npy", np.asarray(value))


WINDOWS = [
    Fault("swapped columns", _window("b,a\n" + GOOD), "columns are swapped"),
    Fault("a column less", _window("a\n" + "1\n2\n" * 9), "no column 'b'"),
    Fault("a column more", _window("a,b,c\n" + "1,2,3\n2,1,3\n" * 9), "column 'c' is none of a, b"),
    Fault("a column twice", _window("a,a\n" + GOOD), "no column 'b'"),
    Fault("a comma at the end", _window("a,b,\n" + "1,2,\n2,1,\n" * 9), "column '' is none of"),
    Fault("no names", _window(GOOD), "no line of names; expected the columns a, b"),
    Fault("UTF-16 without a mark", _window("a,b\n" + GOOD, "utf-16-le"), "save it as UTF-8"),
    Fault("bytes", _put("bars/x.csv", bytes(range(256))), "save it as UTF-8"),
    *(
        Fault(f"a cell {cell!r}", _window(f"a,b\n{cell},1\n{GOOD}"), said)
        for cell, said in {
            "": "expected a number",
            "NA": "expected a number",
            "#DIV/0!": "expected a number",
            "mm/s": "expected a number",
            "0x10": "expected a number",
            "nan": "not finite",
            "inf": "not finite",
            "1e999": "not finite",
            "-1e300": "beyond",
            "1;5": "expected",
            "１．５．１": "expected a number",
            "9" * 400: "not finite",
        }.items()
    ),
    Fault("a row of one cell", _window("a,b\n1\n" + GOOD), "line 2: 1 cells, expected 2"),
    Fault("an empty row", _window("a,b\n\n" + GOOD), "line 2: 0 cells"),
    Fault("an open quote", _window('a,b\n"1,2\n' + GOOD), "line"),
    Fault("seven rows", _window("a,b\n" + "1,2\n" * 7), "expected 1 to 128 channels of 8"),
    Fault("no row", _window("a,b\n"), "no rows"),
    Fault("200 columns", _window("a" + ",a" * 199 + "\n"), "200 channels, at most 128"),
    *(
        Fault(f"an array {name}", _array(value), said)
        for name, value, said in (
            ("of one axis", np.zeros(64), "expected float [channels, time]"),
            ("of three axes", np.zeros((2, 2, 64)), "expected float"),
            ("of integers", np.zeros((2, 64), int), "int64"),
            ("of truth values", np.zeros((2, 64), bool), "bool"),
            ("of complex numbers", np.zeros((2, 64), complex), "complex128"),
            ("of words", np.full((2, 64), "a"), "expected float"),
            ("turned around", np.zeros((64, 2)), "64 channels of 2 samples"),
            ("of three channels", np.zeros((3, 64)), "3 channels, expected 2: a, b"),
            ("not finite", np.full((2, 64), np.nan), "not finite"),
            ("beyond", np.full((2, 64), 1e300), "beyond"),
            ("of nothing", np.zeros((0, 0)), "0 channels"),
            ("of objects", np.array([[{}] * 8] * 2), "object [2, 8]"),
            ("of 129 channels", np.zeros((129, 8)), "129 channels"),
        )
    ),
    Fault("a cut array", _put("bars/x.npy", b"\x93NUMPY\x01\x00v\x00{"), "not a .npy file"),
    Fault("an image", _image("bars/x.png", np.eye(8) > 0), "holds images"),
    *(
        Fault(f"a {end} file", _put(f"bars/x.{end}"), "no file of images")
        for end in ("tdms", "h5", "mat", "xlsx", "npz", "dat")
    ),
]
FAULTS = [
    *(
        (kind, fault)
        for kind in ("freeze", "acceptance")
        for fault in (*RECORDS, *CLASSES, *OTHERS)
    ),
    *(("predict", fault) for fault in RECORDS),
    *(("freeze", fault) for fault in TABLES),
    *(("windows", fault) for fault in WINDOWS),
]


@pytest.fixture(scope="module")
def plants(
    tmp_path_factory: pytest.TempPathFactory,
    encoder_package: bytes,
    window_encoder: bytes,
    good_head: LinearHead,
) -> dict[str, TestPlant]:
    """A plant of images with a model, and one of windows."""
    root = tmp_path_factory.mktemp("remedies")
    images = plant_maker(root, encoder_package)({0: 4, 1: 4})
    apply_and_adopt_package(images.home, images.package({"s": (good_head, "diffusion")}))
    windows = plant_maker(root, window_encoder)({0: 4, 1: 4}, name="plant-b", frozen=False)
    reading = replace(windows.config.data.reading, channels=("a", "b"))
    windows.configure(data=replace(windows.config.data, reading=reading))
    return {"windows": windows, **dict.fromkeys(("freeze", "predict", "acceptance"), images)}


def _records(root: Path, kind: str) -> Path:
    rng = np.random.default_rng(21)
    for number, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        for row in range(2):
            if kind == "windows":
                lines = (",".join(map(str, pair)) for pair in waves(rng, number, 1)[0].T)
                (root / label / f"{row}.csv").write_text("a,b\n" + "\n".join(lines))
            else:
                Image.fromarray(pictures(rng, number, 1)[0]).save(root / label / f"{row}.png")
    return root


def _tree(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".sqlite-wal", ".sqlite-shm")
    }


@pytest.mark.parametrize(
    ("kind", "fault"), FAULTS, ids=[f"{kind}: {fault.name}" for kind, fault in FAULTS]
)
def test_a_fault_changes_nothing_and_its_remedy_works(
    kind: str,
    fault: Fault,
    plants: dict[str, TestPlant],
    tmp_path: Path,
    here: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wg_common.nets.encoder.projected_trunk.load_encoder", remembering)
    plant, folder = plants[kind], _records(tmp_path / "data", kind)
    Image.new("L", (8, 8), 3).save(tmp_path / "outside.png")
    before = plant.config
    changes: dict[str, Any] = (
        {"acceptance": str(folder)} if kind == "acceptance" else {"path": str(folder)}
    )
    words: list[object] = ["freeze", "--home", plant.home.root]
    if kind == "predict":
        words = ["predict", "--home", plant.home.root, folder]
    else:
        plant.configure(data=replace(before.data, **changes))
    try:
        fault.spoil(folder)
        tree = _tree(plant.home.root)
        answer = here(*words, code=errors.ExitCode.CONFIG)
        message = str(answer)
        assert fault.said in message or repr(fault.said)[1:-1] in message
        assert _tree(plant.home.root) == tree
        if "--set-aside" in message:
            assert here(*words, "--set-aside")["frozen"]
        (fault.mend or _take_away)(folder)
        here(*words)
    finally:
        plant.configure(data=before.data)


BAD = ("", "x", "nan", "-inf", "9" * 400, "1e999999", "0x", "１x", "-1", "1e9", ";", "a\nb")


def _options() -> Iterator[tuple[click.Command, tuple[str, ...], click.Parameter]]:
    def below(
        group: click.Group, path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        with click.Context(group) as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                if isinstance(command, click.Group):
                    yield from below(command, (*path, name))
                yield (*path, name), command

    for program in (client, server, auditor):
        for path, command in below(program, ()):
            for parameter in command.params:
                if isinstance(parameter, click.Option) and not (
                    parameter.is_flag or parameter._flag_needs_value
                ):
                    yield program, path, parameter


OPTIONS = [
    (program, path, option)
    for program, path, option in _options()
    if not isinstance(option.type, click.types.StringParamType | click.Path)
]


@pytest.mark.parametrize(
    ("program", "path", "option"),
    OPTIONS,
    ids=[f"{program.name} {' '.join(path)} {option.opts[0]}" for program, path, option in OPTIONS],
)
def test_a_value_that_an_option_does_not_take_is_a_wrong_call_that_says_what_it_takes(
    program: click.Command, path: tuple[str, ...], option: click.Option, here_of: Json
) -> None:
    refused = 0
    for value in BAD:
        try:
            option.type.convert(value, option, click.Context(click.Command("x")))
        except click.UsageError:
            refused += 1
            message = here_of(program, *path, f"{option.opts[-1]}={value}")
            assert option.opts[0] in message or option.opts[-1] in message
            if isinstance(option.type, click.Choice):
                assert all(str(choice) in message for choice in option.type.choices)
    assert refused


@pytest.fixture
def here_of(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Makes a wrong call; what is said of it."""

    def call(program: click.Command, *words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            cli.run_program(program, list(words))
        said = capfd.readouterr().err
        assert caught.value.code == errors.ExitCode.USAGE and "Traceback" not in said, said
        return said

    return call


@pytest.mark.parametrize("fault", CLASSES, ids=lambda fault: fault.name)
def test_a_folder_that_is_no_class_is_predicted(
    fault: Fault,
    plants: dict[str, TestPlant],
    tmp_path: Path,
    shown: Callable[..., tuple[str, str]],
    here: Json,
) -> None:
    folder = _records(tmp_path / "data", "predict")
    fault.spoil(folder)
    words = ("predict", "--home", plants["predict"].home.root, folder)
    count = sum(path.is_file() for path in folder.rglob("*"))
    assert len(here(*words)["results"][0]["predictions"]) == count
    note = shown(*words)[1]
    assert "undeclared labels are ignored: '" in note and note.count("\n") < 10


def test_files_that_get_no_prediction_are_named(
    plants: dict[str, TestPlant], tmp_path: Path, shown: Callable[..., tuple[str, str]]
) -> None:
    folder = _records(tmp_path / "data", "predict")
    _put("bars/x.heic")(folder)
    said = shown("predict", "--home", plants["predict"].home.root, folder)[1]
    assert "1 other files, such as bars/x.heic" in said and "save it as JPEG or PNG" in said


def test_a_home_s_files_are_not_written_over(plants: dict[str, TestPlant], here: Json) -> None:
    home = plants["freeze"].home
    before = _tree(home.root)
    assert {"client.yaml", "pinned-server.json"} <= set(before)
    for name in before:
        words = ("statistics", "--home", home.root, "--out", home.root / name)
        message = here(*words, code=errors.ExitCode.USAGE)["error"]["message"]
        assert "choose another name" in message
    assert _tree(home.root) == before
