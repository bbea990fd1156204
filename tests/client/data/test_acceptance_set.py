"""Acceptance records are in no release and no training; to set them aside moves no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.client.conftest import LABELS, MakePlant, TestPlant, waves, write_npz

from wg_client.cli.main import group
from wg_client.data import acceptance_set
from wg_client.data import plant as plants
from wg_client.data.acceptance_set import AcceptanceSet
from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt
from wg_core.errors import ConfigError, DataError, UsageError, VerificationError
from wg_core.site.config import DataConfig


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
    apply_and_adopt(plant.home, plant.package({"s": (good_head, "diffusion")}))
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
    acceptance_set.mark_as_trained(plant.home, trained)
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
