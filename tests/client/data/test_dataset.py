"""Data sets from folders, tables and .npz files, honest and hostile."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wg_client.data.dataset import SurveyOptions
from wg_client.data.dataset_survey import load_dataset, survey_dataset
from wg_client.data.site_data import UNLABELLED
from wg_client.models.predict import load_records
from wg_core.errors import DataError


def _write(path: Path, value: int, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def _folder(root: Path) -> Path:
    for index, name in enumerate(("pit", "pit", "scratch", "scratch", "scratch")):
        _write(root / name / f"{index}.png", 10 * index, (8 + index, 6))
    return root


def _npz(path: Path, **changes: object) -> Path:
    arrays: dict[str, object] = {
        "x": np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4),
        "y": np.array([0, 0, 1, 1, 2, -1]),
        "classes": np.array(["a", "b", "c"]),
    }
    arrays.update(changes)
    kept: dict[str, Any] = {k: np.asarray(v) for k, v in arrays.items() if v is not None}
    np.savez(path, **kept)
    return path


def test_folders_name_classes_and_sizes_may_differ(tmp_path: Path) -> None:
    data = load_dataset(_folder(tmp_path))
    assert data.label_names == ("pit", "scratch")
    assert data.labels.tolist() == [0, 0, 1, 1, 1]
    assert {image.shape for image in data.records} == {(6, 8 + i) for i in range(5)}


def test_a_declared_class_may_have_no_record_and_order_is_the_declared_one(tmp_path: Path) -> None:
    data = load_dataset(_folder(tmp_path), ["scratch", "crack", "pit"])
    assert data.labels.tolist() == [2, 2, 0, 0, 0]
    assert data.occurring_labels == ("scratch", "pit")


def test_images_beside_the_folders_and_in_unlabelled_have_no_label(tmp_path: Path) -> None:
    _folder(tmp_path)
    _write(tmp_path / "loose.png", 1)
    _write(tmp_path / "_unlabelled" / "x.png", 2)
    data = load_dataset(tmp_path)
    assert sorted(data.labels.tolist()) == [-1, -1, 0, 0, 1, 1, 1]


def test_hidden_files_texts_and_links_out_of_the_folder_are_left_out(tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    (root / "pit" / "notes.txt").write_text("x")
    _write(root / "pit" / ".hidden.png", 1)
    _write(tmp_path / "outside.png", 3)
    (root / "pit" / "link.png").symlink_to(tmp_path / "outside.png")
    assert len(load_dataset(root)) == 5


def test_a_table_gives_labels_and_units(tmp_path: Path) -> None:
    for index in range(4):
        _write(tmp_path / "img" / f"{index}.png", index)
    (tmp_path / "records.csv").write_text(
        "file,label,part\nimg/0.png,ok,A\nimg/1.png,ok,A\nimg/2.png,dent,B\nimg/3.png,,B\n"
    )
    data = load_dataset(tmp_path, unit_column="part")
    assert data.label_names == ("dent", "ok")
    assert data.labels.tolist() == [1, 1, 0, -1]
    assert data.privacy_units == ("A", "A", "B", "B")


def test_npz_follows_the_declared_order_and_its_split(tmp_path: Path) -> None:
    path = _npz(tmp_path / "d.npz", split=np.array([0, 1, 0, 1, 0, 0]))
    data = load_dataset(path, ["c", "z", "b", "a"])
    assert data.labels.tolist() == [3, 2, 0, -1]
    assert data.names[1] == "d.npz[2]"
    assert len(load_dataset(path, split=1)) == 2
    assert len(load_dataset(path, split=None)) == 6


def test_npz_units(tmp_path: Path) -> None:
    path = _npz(tmp_path / "d.npz", group=np.array([7, 7, 8, 8, 9, 9]))
    assert load_dataset(path, unit_column="group").privacy_units == ("7", "7", "8", "8", "9", "9")
    with pytest.raises(DataError, match="'board'"):
        load_dataset(path, unit_column="board")


def test_a_label_in_use_must_be_declared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'c' is not declared"):
        load_dataset(_npz(tmp_path / "d.npz"), ["a", "b"])
    y = np.array([0, 0, 1, 1, 1, -1])
    data = load_dataset(_npz(tmp_path / "e.npz", y=y), ["a", "b"])
    assert data.labels.tolist() == [0, 0, 1, 1, 1, -1]


def _texts(path: Path) -> Path:
    path.write_text("text,label\nit hums,pit\nit rings,c\n")
    return path


def _label_table(root: Path) -> Path:
    _write(_folder(root) / "loose.png", 1)
    (root / "records.csv").write_text("file,label\npit/0.png,pit\nloose.png,c\n")
    return root


@pytest.mark.parametrize(
    ("make", "label", "count"),
    [
        (_folder, "scratch", 5),
        (_label_table, "c", 2),
        (lambda root: _texts(root / "new.csv"), "c", 2),
        (lambda root: _npz(root / "d.npz", classes=["pit", "pit2", "c"]), "c", 6),
    ],
    ids=["folders", "records.csv", "texts", "npz"],
)
def test_a_prediction_ignores_an_undeclared_label(
    make: Callable[[Path], Path], label: str, count: int, tmp_path: Path
) -> None:
    options = SurveyOptions(labels=["pit", "pit2"], split=None)
    path = make(tmp_path)
    refused = survey_dataset(path, options)
    assert f"{label!r} is not declared" in refused.problems[0].reason
    assert refused.undeclared_labels == ()
    survey = survey_dataset(path, replace(options, for_prediction=True))
    assert not survey.problems and survey.undeclared_labels == (label,)
    assert len(survey.data) == count and UNLABELLED in survey.data.labels
    assert len(load_records(path, ["pit", "pit2"])) == count


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wg_common.modalities.arrays.NPZ_BYTES_LIMIT", 1 << 20)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(4 << 20))
    with pytest.raises(DataError, match="unpacked"):
        load_dataset(path)
