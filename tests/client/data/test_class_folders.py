"""Folders and tables as plants really have them: what is no class, which names are one, and how."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wg_client.data.dataset import SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.record_inspection import inspect_records
from wg_core.errors import DataError
from wg_core.site.reading_config import ReadingConfig


def _picture(path: Path, value: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)
    return path


def test_whoever_declares_such_names_means_them(tmp_path: Path) -> None:
    for name in ("train", "test"):
        _picture(tmp_path / name / "a.png")
    assert survey_dataset(
        tmp_path, SurveyOptions(labels=["test", "train"])
    ).data.labels.tolist() == [0, 1]
    for name in ("OK", "ok"):
        _picture(tmp_path / "case" / name / "a.png")
    assert len(survey_dataset(tmp_path / "case", SurveyOptions(labels=["OK", "ok"])).data) == 2


def test_a_folder_as_a_mac_writes_it_is_the_label_as_a_person_does(tmp_path: Path) -> None:
    name = "ガス漏れ"
    _picture(tmp_path / unicodedata.normalize("NFD", name) / "a.png")
    assert survey_dataset(tmp_path).data.label_names == (unicodedata.normalize("NFC", name),)
    found = survey_dataset(tmp_path, SurveyOptions(labels=[name, "other"]))
    assert found.data.labels.tolist() == [0] and not found.problems


def test_what_archives_leave_behind_and_links_to_folders_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _picture(root / "ok" / "a.png")
    _picture(root / "__MACOSX" / "a.png")
    _picture(tmp_path / "elsewhere" / "b.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    found = survey_dataset(root)
    assert found.data.label_names == ("ok",) and len(found.data) == 1
    assert [(one.name, one.reason.split(";")[0]) for one in found.problems] == [
        ("linked", "a link to a folder")
    ]
    assert [one.name for one in found.unsupported_files] == ["__MACOSX"]


def test_a_table_of_labels_beside_folders_of_images_is_called_one(tmp_path: Path) -> None:
    _picture(tmp_path / "ok" / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,ok\n")
    (stray,) = survey_dataset(tmp_path).unsupported_files
    assert stray.name == "labels.csv" and "records.csv" in stray.reason


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932"], ids=lambda name: name
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    _picture(tmp_path / "表面1.png")
    _picture(tmp_path / "b.png", 2)
    rows = [("File", " Label", "ロット"), ("表面1.png", "傷", "7"), ("b.png", "", "8")]
    text = "".join(delimiter.join(row) + "\r\n" for row in rows)
    (tmp_path / "records.csv").write_bytes(text.encode(encoding))
    found = survey_dataset(tmp_path, SurveyOptions(unit_column="ロット"))
    assert found.data.label_names == ("傷",) and found.data.labels.tolist() == [0, -1]
    assert found.data.privacy_units == ("7", "8") and not found.problems
    assert any("CP932" in hint for hint in found.hints) == (encoding == "cp932")


def test_an_old_encoding_is_refused_until_it_is_said(tmp_path: Path) -> None:
    _picture(tmp_path / "a.png")
    (tmp_path / "records.csv").write_bytes("file,label\na.png,größe\n".encode("cp1252"))
    with pytest.raises(DataError, match="say its encoding"):
        survey_dataset(tmp_path)
    found = survey_dataset(tmp_path, SurveyOptions(reading=ReadingConfig(encoding="cp1252")))
    assert found.data.label_names == ("größe",)


def test_a_twelve_bit_camera_is_pointed_out_and_read_when_it_is_said(tmp_path: Path) -> None:
    deep = np.full((8, 8), 4000, dtype=np.uint16)
    (tmp_path / "ok").mkdir()
    Image.fromarray(deep).save(tmp_path / "ok" / "a.png")
    found = inspect_records(survey_dataset(tmp_path), has_units=False)
    assert "nearly black" in found.hints[0] and "--bits 12" in found.hints[0]
    found = inspect_records(
        survey_dataset(tmp_path, SurveyOptions(reading=ReadingConfig(bits=12))), has_units=False
    )
    assert not found.hints and found.data.records[0].max() == 250
    found = inspect_records(
        survey_dataset(tmp_path, SurveyOptions(reading=ReadingConfig(bits=10))), has_units=False
    )
    assert "which 10 bits do not hold" in found.problems[0].reason


def test_windows_of_different_channels_are_pointed_out(tmp_path: Path) -> None:
    for name, channels in (("a", 2), ("b", 2), ("c", 1)):
        (tmp_path / "ok").mkdir(exist_ok=True)
        values = np.random.default_rng(0).normal(size=(channels, 16)).astype(np.float32)
        np.save(tmp_path / "ok" / f"{name}.npy", values + len(name))
    (hint,) = inspect_records(survey_dataset(tmp_path), has_units=False).hints
    assert "2 of 2" in hint or "1 of 2" in hint
