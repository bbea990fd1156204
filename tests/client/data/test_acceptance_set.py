"""Acceptance records are in no release and no training; to set them aside moves no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures, waves, write_npz

from wg_client.cli.freeze import freeze_result_lines
from wg_client.cli.main import group
from wg_client.data import acceptance_set
from wg_client.data import plant_data as plants
from wg_client.data.acceptance_set import AcceptanceSet
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.near_duplicates import find_near_duplicates
from wg_client.data.record_inspection import Inspection, inspect_records
from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.errors import ConfigError, DataError, UsageError, VerificationError
from wg_core.site.config import DataConfig

DATASETS = Path(__file__).parents[4] / "shared" / "datasets"


def _acceptance(plant: TestPlant) -> AcceptanceSet:
    opened = plants.open_plant_data(plant.home).acceptance_set
    assert opened is not None
    return opened


def _folder(tmp_path: Path, counts: dict[int, int], seed: int = 9) -> str:
    return str(write_npz(tmp_path / f"spare-{seed}.npz", counts, seed, LABELS))


def test_a_folder_of_them_changes_no_release(make_plant: MakePlant, tmp_path: Path) -> None:
    alone = make_plant({0: 5, 1: 5})
    judged = make_plant(
        {0: 5, 1: 5}, name="plant-b", acceptance=_folder(tmp_path, {0: 4, 1: 3, 2: 1})
    )
    assert len(_acceptance(judged)) == 8
    np.testing.assert_array_equal(
        plants.open_plant_data(alone.home).snapshot.statistics(),
        plants.open_plant_data(judged.home).snapshot.statistics(),
    )


def test_a_record_of_the_data_set_judges_nothing(make_plant: MakePlant, tmp_path: Path) -> None:
    same = _folder(tmp_path, {0: 4, 1: 4}, seed=3)  # drawn as the plant's own are
    plant = make_plant({0: 4, 1: 4}, frozen=False, acceptance=same)
    frozen = plant.freeze()
    assert frozen.records == 8 and len(_acceptance(plant)) == 0
    assert all("acceptance set" in problem.reason for problem in frozen.listing.set_aside)


def _written(path: Path, records: Any) -> Inspection:
    """An inspected data set of windows, or of texts with one label."""
    if isinstance(records, np.ndarray):
        np.savez(path, x=records, y=np.zeros(len(records), int), classes=np.array(["a"]))
    else:
        path.write_text("".join(json.dumps({"text": t, "label": "a"}) + "\n" for t in records))
    return inspect_records(survey_dataset(path), has_units=False)


def test_copies_of_pictures_are_named_and_stay_in_the_set(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant({0: 6, 1: 6}, frozen=False)
    with np.load(plant.config.data.path) as file:
        originals = file["x"]
    others = pictures(np.random.default_rng(77), 1, 8)
    for name in LABELS[:2]:
        (tmp_path / "spare" / name).mkdir(parents=True)
    for row in range(4):
        copy = Image.fromarray(originals[row]).resize((48, 48), Image.Resampling.LANCZOS)
        copy.save(tmp_path / "spare" / LABELS[0] / f"copy{row}.jpg", quality=75)
    for row, picture in enumerate(others):
        Image.fromarray(picture).save(tmp_path / "spare" / LABELS[1] / f"other{row}.png")
    plant.configure(data=replace(plant.config.data, acceptance=str(tmp_path / "spare")))
    frozen = plant.freeze()
    assert len(_acceptance(plant)) == 12
    said = [(found.name, found.same_as) for found in _acceptance(plant).listing.duplicates]
    assert said == [(f"{LABELS[0]}/copy{row}.jpg", f"data.npz[{row}]") for row in range(4)]
    first = "bars/copy0.jpg = data.npz[0], bars/copy1.jpg = data.npz[1], bars/copy2.jpg = data"
    (line,) = [line for line in freeze_result_lines(frozen) if "nearly the same" in line]
    assert f": 4 (first {first}" in line and "replace them" in line
    words = ["check", "--home", str(plant.home.root)]
    said_by_check = " ".join(CliRunner().invoke(group, words).stdout.split())
    assert "warning: acceptance records that are nearly the same" in said_by_check
    document = json.loads(CliRunner().invoke(group, [*words, "--json"]).stdout)
    assert len(document["snapshot"]["near_duplicates"]) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["neu_det", "gtsrb", "elpv_mono", "fashion_mnist", "deeppcb_a", "mnist10k"]
)
def test_copies_of_real_pictures_are_found_and_few_others(name: str, tmp_path: Path) -> None:
    if not (DATASETS / name).is_dir():
        pytest.skip(f"no {DATASETS / name}")
    with np.load(DATASETS / name / "data.npz") as file:
        x, split = file["x"], file["split"]
    rng = np.random.default_rng(1)
    mine = _written(tmp_path / "mine.npz", x[rng.permutation(np.flatnonzero(split == 0))[:3000]])
    other = _written(tmp_path / "other.npz", x[rng.permutation(np.flatnonzero(split == 1))[:600]])
    assert len(find_near_duplicates(other, mine)) <= 0.012 * len(other.data)
    for factor, quality in ((1.0, 75), (0.75, None), (1.5, None), (1.5, 75)):
        copies = []
        for row in range(200):
            picture = Image.fromarray(mine.read(row)[0])
            picture = picture.resize((round(picture.width * factor),) * 2)
            if quality is not None:
                picture.save(tmp_path / "copy.jpg", quality=quality)
                picture = Image.open(tmp_path / "copy.jpg")
            copies.append(np.asarray(picture))
        found = find_near_duplicates(_written(tmp_path / "copies.npz", np.array(copies)), mine)
        right = [one for one in found if one.name == one.same_as.replace("mine", "copies")]
        assert len(right) >= 0.93 * 200, (factor, quality)


def test_overlapping_cuts_of_a_recording_are_near_duplicates(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    recording = rng.normal(size=(2, 2048)).astype(np.float32)
    starts = range(0, 1024, 64)
    mine = np.array([recording[:, start : start + 64] for start in starts])
    cuts = np.array([recording[:, start + 32 : start + 96] for start in starts[:4]])
    still = np.ones((1, 2, 64), np.float32)
    others = np.concatenate([waves(rng, 0, 3), cuts, recording[None, :, 1500:1564], still])
    found = find_near_duplicates(
        _written(tmp_path / "others.npz", others),
        _written(tmp_path / "mine.npz", np.concatenate([mine, waves(rng, 0, 3), still])),
    )
    assert {duplicate.name for duplicate in found} == {f"others.npz[{row}]" for row in range(3, 7)}


def test_equal_words_in_other_writing_are_near_duplicates(tmp_path: Path) -> None:
    mine = _written(tmp_path / "mine.jsonl", ["The pump hums.", "Seal 4 leaks", "!!", "火花が出た"])
    others = ["the  pump HUMS", "seal 5 leaks", "?", "火花が出た。", "THE PUMP hums!"]
    found = find_near_duplicates(_written(tmp_path / "others.jsonl", others), mine)
    assert [(one.name, one.same_as) for one in found] == [
        (f"others.jsonl line {row}", f"mine.jsonl line {same}")
        for row, same in ((1, 1), (4, 4), (5, 1))
    ]


def test_a_share_leaves_the_data_set_and_moves_nothing_else(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant({0: 12, 1: 12}, acceptance=0.4)
    aside = {bytes(row) for row in _acceptance(plant).records.contents}
    main = {bytes(row) for row in plants.open_plant_data(plant.home).snapshot.records().contents}
    assert aside and main and not aside & main
    with np.load(plant.config.data.path) as file:
        arrays = dict(file)
    arrays |= {name: arrays[name][:-1] for name in ("x", "y", "group")}
    np.savez(plant.config.data.path, **arrays)
    plant.freeze()
    judging = {bytes(row) for row in _acceptance(plant).records.contents}
    fewer = {bytes(row) for row in plants.open_plant_data(plant.home).snapshot.records().contents}
    assert judging <= aside and fewer <= main and len(judging | fewer) == len(aside | main) - 1


def test_units_are_set_aside_whole_and_one_record_of_each_is_judged(make_plant: MakePlant) -> None:
    plant = make_plant({0: 12, 1: 12}, acceptance=0.5, unit_column="group")
    acceptance = _acceptance(plant)
    units = [bytes(row) for row in acceptance.records.units]
    assert len(units) == 2 * len(set(units))
    assert len(acceptance.independent_rows) == len(set(units))
    main = plants.open_plant_data(plant.home).snapshot.records()
    assert not set(units) & {bytes(row) for row in main.units}


def test_what_a_model_was_trained_on_judges_none_later(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    spare = plant.config.data.path
    other = write_npz(tmp_path / "other.npz", {0: 5, 1: 5}, seed=21, labels=LABELS)
    data = DataConfig(
        name=plant.config.data.name,
        path=str(other),
        labels=LABELS,
        encoder=plant.encoder,
        acceptance=spare,
    )
    plant.configure(data=data)
    plant.freeze()
    assert len(_acceptance(plant)) == 0


def test_a_share_takes_nothing_that_trained_a_model(make_plant: MakePlant, tmp_path: Path) -> None:
    plant = make_plant({0: 12, 1: 12})
    trained = plants.open_plant_data(plant.home).snapshot.records()
    acceptance_set.mark_as_trained_on(plant.home, trained)
    plant.configure(data=replace(plant.config.data, acceptance=0.4))
    with pytest.raises(DataError, match="trained on, and cannot judge a model; name a folder"):
        plant.freeze()
    write_npz(Path(plant.config.data.path), {0: 12, 1: 12, 2: 24}, seed=3, labels=LABELS)
    frozen = plant.freeze()
    main = {bytes(row) for row in plants.open_plant_data(plant.home).snapshot.records().contents}
    assert not frozen.listing.set_aside and {bytes(row) for row in trained.contents} <= main
    assert len(_acceptance(plant)) == 48 - len(main) > 0


def test_init_sets_a_share_aside_before_the_first_training(tmp_path: Path) -> None:
    home, records = tmp_path / "home", tmp_path / "records.npz"
    rng = np.random.default_rng(4)
    windows = np.concatenate([waves(rng, label, 12) for label in range(2)])
    np.savez(records, x=windows, y=np.repeat([0, 1], 12), classes=np.array(LABELS))
    words = ["init", "--home", str(home), "--data", str(records), "--acceptance"]
    wrong = CliRunner().invoke(group, [*words, str(tmp_path / "none")])
    assert isinstance(wrong.exception, UsageError) and not home.exists()
    walk = CliRunner().invoke(group, [*words, "0.4", "--json"])
    assert walk.exit_code == 0, walk.output
    snapshot = json.loads(walk.stdout)["snapshot"]
    aside = sum(snapshot["acceptance"].values())
    assert aside > 0 and snapshot["records"] + aside == 24
    again = CliRunner().invoke(group, [*words, "0.4"])
    assert "wg-client freeze takes new records" in str(again.exception)


def test_a_set_that_changed_on_disk_is_refused(make_plant: MakePlant, tmp_path: Path) -> None:
    plant = make_plant({0: 4, 1: 4}, acceptance=_folder(tmp_path, {0: 3, 1: 3}))
    path = plants.open_plant_data(plant.home).snapshot.folder / "acceptance.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="changed since it was frozen"):
        plants.open_plant_data(plant.home)


def test_a_folder_that_is_not_there_or_a_share_of_all_is_refused(make_plant: MakePlant) -> None:
    with pytest.raises(DataError, match="not there"):
        make_plant({0: 4, 1: 4}, acceptance="/nowhere")
    with pytest.raises(ConfigError, match=r"data\.acceptance"):
        make_plant({0: 4, 1: 4}, name="plant-b", acceptance=1.0)
