"""Ten layouts as people have them: each is read right, or refused with a remedy that works."""

from __future__ import annotations

import io
import wave
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

from wg_client.cli.reading_options import ReadingOptions, build_reading_config
from wg_client.data.dataset import DEFAULT_READING_CONFIG, DatasetSurvey, SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.record_inspection import inspect_records
from wg_common.modalities import spreadsheets
from wg_core.errors import DataError
from wg_core.site.reading_config import ReadingConfig

NAMED = ReadingConfig(columns=("内容", "分類"))
ROWS = (("内容", "分類"), ("モーターが熱い", "故障"), ("異常なし", "正常"), ("確認中", ""))


def pictures(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(path)


def classes(seen: DatasetSurvey) -> dict[str, int]:
    names = [seen.data.label_names[label] if label >= 0 else "" for label in seen.data.labels]
    return {name: names.count(name) for name in sorted(set(names))}


@pytest.mark.parametrize("labels", [None, ["good", "scratch"]])
def test_mvtec(tmp_path: Path, labels: list[str] | None) -> None:
    pictures(tmp_path / "tile", "train/good/a", "test/good/b", "test/scratch/c")
    pictures(tmp_path / "tile", "ground_truth/scratch/c_mask")
    (tmp_path / "tile" / "readme.txt").write_text("of tiles")
    with pytest.raises(DataError, match=r"'tile' is a data set of its own.*--data at it"):
        survey_dataset(tmp_path)
    seen = survey_dataset(tmp_path / "tile", SurveyOptions(labels=labels))
    assert classes(seen) == {"good": 2, "scratch": 1} and not seen.problems
    assert "anomaly detection" in seen.hints[0]


@pytest.mark.parametrize("masks", ["mask/crack/b", "ground_truth/b", "masks/b_mask"])
def test_anomalib(tmp_path: Path, masks: str) -> None:
    pictures(tmp_path, "good/a", "crack/b", masks)
    seen = survey_dataset(tmp_path)
    assert classes(seen) == {"crack": 1, "good": 1} and "masks are not read" in seen.hints[0]


def test_a_class_may_be_called_mask(tmp_path: Path) -> None:
    pictures(tmp_path, "mask/a", "no mask/b")
    assert classes(survey_dataset(tmp_path)) == {"mask": 1, "no mask": 1}


def test_splits_of_classes_as_of_imagenet(tmp_path: Path) -> None:
    pictures(tmp_path, "train/cat/a", "train/dog/b", "val/cat/c", "val/dog/d")
    with pytest.raises(DataError, match=r"parts of a split.*--data at one of them"):
        survey_dataset(tmp_path)
    assert classes(survey_dataset(tmp_path / "train")) == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    "names",
    [
        ("images/train/a", "images/val/b", "labels/train/c"),
        ("train2017/a", "val2017/b", "annotations/c"),
    ],
    ids=["YOLO", "COCO"],
)
def test_boxes_are_refused_and_a_table_of_labels_is_the_remedy(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    pictures(tmp_path, *names)
    with pytest.raises(DataError, match=r"detection or segmentation.*label in records\.csv"):
        survey_dataset(tmp_path)
    table = f"file,label\n{names[0]}.png,ok\n{names[1]}.png,dent\n"
    (tmp_path / "records.csv").write_text(table)
    seen = survey_dataset(tmp_path)
    assert classes(seen) == {"dent": 1, "ok": 1} and not seen.problems


def workbook(path: Path, *sheets: tuple[tuple[object, ...], ...]) -> Path:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"s{number}", number)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_sheet_of_a_spreadsheet(tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", ROWS)
    with pytest.raises(DataError, match="--text-column"):
        survey_dataset(path)
    seen = survey_dataset(path, SurveyOptions(reading=NAMED))
    assert classes(seen) == {"": 1, "故障": 1, "正常": 1} and seen.data.records[1] == "異常なし"
    odd = (("text", "label", "lot"), ('a;b, "c"\nd', 1, 7.0), (2.5, True, None))
    seen = survey_dataset(workbook(path, odd), SurveyOptions(unit_column="lot"))
    assert seen.data.records[0] == 'a;b, "c" d' and seen.data.privacy_units == ("7",)
    assert [problem.reason for problem in seen.problems] == [
        "column 'lot' is empty: no privacy unit"
    ]
    with pytest.raises(DataError, match="several sheets; keep one"):
        survey_dataset(workbook(path, ROWS, ROWS), SurveyOptions(reading=NAMED))


@pytest.mark.parametrize(
    "fault", ["cut", "no archive", "entities", "bomb", "tags", "columns", "far row"]
)
def test_a_hostile_workbook_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = workbook(tmp_path / "x.xlsx", (("text", "label"), ("a", "b")))
    data = path.read_bytes()
    if fault == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif fault == "no archive":
        path.write_bytes(b"PK\x03\x04")
    elif fault == "bomb":
        monkeypatch.setattr(spreadsheets, "UNPACKED_BYTES_LIMIT", 1000)
    elif fault == "tags":
        monkeypatch.setattr(spreadsheets, "ELEMENTS_LIMIT", 50)
    elif fault == "columns":
        workbook(path, (("text", *map(str, range(300))),))
    else:
        sheet = "xl/worksheets/sheet1.xml"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        if fault == "entities":
            doctype = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'
            start = parts[sheet].index(b"<worksheet")
            parts[sheet] = doctype + parts[sheet][start:]
        else:
            parts[sheet] = parts[sheet].replace(b'<row r="2"', b'<row r="999999999"')
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
    with pytest.raises(DataError, match=r"x\.xlsx"):
        spreadsheets.workbook_to_csv(path)


def test_a_table_of_an_old_encoding_with_japanese_columns(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("\n".join(map(",".join, ROWS)) + "\n", encoding="cp932")
    with pytest.raises(DataError, match="--text-column"):
        survey_dataset(table)
    seen = survey_dataset(table, SurveyOptions(reading=NAMED))
    assert classes(seen) == {"": 1, "故障": 1, "正常": 1} and seen.data.records[0] == ROWS[1][0]
    assert "CP932" in seen.hints[0]
    with pytest.raises(DataError, match="no column '区分'"):
        survey_dataset(table, SurveyOptions(reading=replace(NAMED, columns=("内容", "区分"))))


def test_sound(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("ok", "worn"):
        (tmp_path / name).mkdir()
        with wave.open(str(tmp_path / name / "a.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(1000)
            file.writeframes(rng.integers(-999, 999, 3000, dtype=np.int16).tobytes())
    assert "--window" in survey_dataset(tmp_path).unsupported_files[0].reason
    options = ReadingOptions(
        bits="16", encoding="auto", window=1.0, hop=None, rate=None, time_column=None,
        channels=None, text_column=None, label_column=None, intervals=None,
    )  # fmt: skip
    reading = build_reading_config(tmp_path, None, options)
    seen = survey_dataset(tmp_path, SurveyOptions(reading=reading))
    assert classes(seen) == {"ok": 3, "worn": 3} and seen.data.records[0].shape == (1, 1000)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 28, 28, 1), (4, 28, 28, 3)])
def test_float_arrays_of_pictures(tmp_path: Path, scale: int, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.npz"
    levels = np.random.default_rng(1).integers(0, 256, shape)
    y, names = np.zeros(4, np.int64), np.array(["a"])
    np.savez(path, x=(levels / 255 * scale).astype(np.float32), y=y, classes=names)
    seen = survey_dataset(path)
    assert seen.data.modality == "images" and "pictures" in seen.hints[0]
    np.testing.assert_array_equal(seen.data.records[0], levels[0].squeeze())
    np.savez(
        path, x=levels / 256, y=y, classes=names
    )  # no such levels: which they are is not known
    try:
        (sentence,) = inspect_records(survey_dataset(path), has_units=False).hints
    except DataError as error:
        sentence = str(error)
    assert "uint8" in sentence


def test_one_float_picture_changes_no_other(tmp_path: Path) -> None:
    masks = (np.random.default_rng(0).random((6, 16, 16)) > 0.5).astype(np.float32)
    odd = [np.full((16, 16), 2.0), np.full((16, 16), 0.001), np.full((16, 16), np.nan)]
    surveys = []
    for count in range(len(odd) + 1):
        path = tmp_path / f"{count}.npz"
        x = np.concatenate([masks, np.reshape(odd[:count], (count, 16, 16))])
        np.savez(path, x=x, y=np.zeros(len(x), int), classes=["a", "b"])
        surveys.append(survey_dataset(path, SurveyOptions(modality="images")))
    for survey in surveys:
        assert np.array_equal(np.stack(list(survey.data.records))[:6], 255 * masks)
    assert [len(survey.problems) for survey in surveys] == [0, 0, 1, 2]


def test_a_long_gap_does_not_end_a_sheet(tmp_path: Path) -> None:
    counts = []
    for middle in (False, True):
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        rows = [1, 700, 1500] if middle else [1, 1500]
        for number in rows:
            for column, value in enumerate(("text", "label") if number == 1 else ("pump", "ok"), 1):
                sheet.cell(number, column, value)
        book.save(tmp_path / "notes.xlsx")
        counts.append(len(survey_dataset(tmp_path / "notes.xlsx").data))
    assert counts == [1, 2]


@pytest.mark.parametrize("name", ["ok/a.heic", "a.heic"])
def test_pictures_of_a_telephone(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "ok/b")
    (tmp_path / name).write_bytes(b"\0")
    (stray,) = survey_dataset(tmp_path).unsupported_files
    assert "save it as JPEG or PNG" in stray.reason
    with pytest.raises(DataError, match="save it as JPEG or PNG"):
        survey_dataset(tmp_path / name, SurveyOptions(reading=DEFAULT_READING_CONFIG))
