"""Freezing: all that is wrong is named, a version is whole or not there, and content decides."""

# long: a case for each thing that a freeze may meet

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures

from wg_client.cli.main import group
from wg_client.data import plant_data as plants
from wg_client.release.folder_change import FolderChange
from wg_client.release.preview import preview_release
from wg_common.modalities.base import content_digest
from wg_common.modalities.images import Images
from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import BudgetExceeded, ConfigError, DataError, StorageError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.release import budget_history
from wg_core.release import freeze as freezing
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query
from wg_core.site.config import PrivacyConfig

POLICY = PrivacyConfig(answer_slot_seconds=0.05)


def _picture(path: Path, seed: int, label: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pictures(np.random.default_rng(seed), label, 1)[0]).save(path)
    return path


@pytest.fixture
def plant(make_plant: MakePlant, tmp_path: Path) -> TestPlant:
    """A plant with a folder of four images, not frozen yet."""
    plant = make_plant(frozen=False)
    folder = tmp_path / "folder"
    for number in range(4):
        _picture(folder / LABELS[number % 3] / f"{number}.png", number, number % 3)
    plant.configure(data=replace(plant.config.data, path=str(folder)))
    return plant


def _folder(plant: TestPlant) -> Path:
    return Path(plant.config.data.path)


def _kinds(plant: TestPlant) -> list[str]:
    with Ledger.open(plant.home.ledger) as ledger:
        return [entries.decode(ledger.entry_bytes(seq)).head.kind for seq in range(ledger.size)]


def _ask(plant: TestPlant, epsilon: str = "1") -> bytes:
    return answer_query(plant.home, plant.query(epsilon=epsilon), witness=plant.witness)


# -------------------------------------------------------------------------- what cannot be used


def _torn(folder: Path) -> str:
    path = _picture(folder / "dots" / "torn.png", 9)
    path.write_bytes(path.read_bytes()[:100])
    return "dots/torn.png"


def _undeclared(folder: Path) -> str:
    _picture(folder / "cracks" / "a.png", 9)
    return "cracks"


def _float_tiff(folder: Path) -> str:
    Image.fromarray(np.zeros((6, 6), np.float32)).save(folder / "dots" / "float.tif")
    return "dots/float.tif"


def _stray(folder: Path) -> str:
    (folder / "dots" / "index.db").write_bytes(b"x")
    return "dots/index.db"


def _bomb(folder: Path) -> str:
    (folder / "dots" / "bomb.ppm").write_bytes(b"P6 100000 100000 255\n")
    return "dots/bomb.ppm"


def _window(folder: Path) -> str:
    np.save(folder / "dots" / "w.npy", np.zeros((2, 64)))
    return "dots/w.npy"


def _link(folder: Path) -> str:
    (folder / "dots" / "out.png").symlink_to(_picture(folder.parent / "outside.png", 9))
    return "dots/out.png"


def _two_labels(folder: Path) -> str:
    _picture(folder / "dots" / "same.png", 9)
    _picture(folder / "rings" / "same.png", 9)
    return "dots/same.png"


FAULTS: list[Callable[[Path], str]] = [
    _torn,
    _undeclared,
    _float_tiff,
    _stray,
    _bomb,
    _window,
    _link,
    _two_labels,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_what_cannot_be_used_is_named_and_freezes_nothing(
    plant: TestPlant, fault: Callable[[Path], str]
) -> None:
    name = fault(_folder(plant))
    found = plant.look()
    assert name in [problem.name for problem in found.problems]
    with pytest.raises(DataError, match="nothing was frozen"):
        plant.freeze()
    assert snapshots.find_current(plant.home) is None and len(_kinds(plant)) == 2


def test_all_faults_are_named_at_once_and_can_be_set_aside(plant: TestPlant) -> None:
    names = {fault(_folder(plant)) for fault in FAULTS}
    found = plant.look()
    assert names <= {problem.name for problem in found.problems}
    frozen = plant.freeze(set_aside=True)
    assert frozen.records == 4
    assert names <= {problem.name for problem in frozen.listing.set_aside}
    _ask(plant)


def test_a_decoder_that_fails_in_an_unforeseen_way_is_a_named_problem(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: Images, path: Path) -> NDArray[np.uint8]:
        raise RecursionError

    monkeypatch.setattr(Images, "read", fail)
    found = plant.look()
    assert len(found.problems) == 4 and "RecursionError" in found.problems[0].reason


def test_nothing_at_all_needs_a_word(plant: TestPlant) -> None:
    shutil.rmtree(_folder(plant))
    _folder(plant).mkdir()
    with pytest.raises(DataError, match="--allow-empty"):
        plant.freeze()
    assert plant.freeze(allow_empty=True).records == 0
    _ask(plant)


# ------------------------------------------------------------------------------------- duplicates


def test_one_content_is_one_privacy_unit(plant: TestPlant) -> None:
    before = plant.freeze().snapshot.statistics()
    for number in range(50):
        shutil.copy(_folder(plant) / "bars" / "0.png", _folder(plant) / "bars" / f"c{number}.png")
    shutil.copy(_folder(plant) / "bars" / "0.png", _folder(plant) / "unlabelled.png")
    frozen = plant.freeze()
    np.testing.assert_array_equal(frozen.snapshot.statistics(), before)
    assert len(frozen.listing.duplicates) == 51
    assert {one.same_as for one in frozen.listing.duplicates} == {"bars/0.png"}


def test_the_same_pixels_in_another_file_format_are_the_same_content(plant: TestPlant) -> None:
    with Image.open(_folder(plant) / "bars" / "0.png") as image:
        image.save(_folder(plant) / "bars" / "0.bmp")
    assert [one.name for one in plant.freeze().listing.duplicates] == ["bars/0.png"]


def test_a_second_freeze_at_the_same_time_says_so_and_changes_nothing(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    before = snapshots.load_current(plant.home)
    said: list[str] = []

    def second(stage: str, done: int, total: int) -> None:
        if stage == "encoded" and not said:
            with pytest.raises(ConfigError, match="another process is freezing") as caught:
                plant.freeze()
            said.append(str(caught.value))

    after = plant.freeze(on_progress=second).snapshot
    assert said and after.manifest.number == before.manifest.number + 1
    assert snapshots.load_current(plant.home) == after
    after.verify_files()


@pytest.fixture
def parts(make_plant: MakePlant, tmp_path: Path) -> TestPlant:
    """Six images of three parts, in a table."""
    plant = make_plant(privacy=POLICY, unit_column="part", frozen=False)
    folder = tmp_path / "parts"
    for number in range(6):
        _picture(folder / f"{number}.png", number)
    _table(folder, [(f"{number}.png", "dots", f"p{number // 2}") for number in range(6)])
    plant.configure(data=replace(plant.config.data, path=str(folder)))
    return plant


def _table(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    lines = ["file,label,part", *(",".join(row) for row in rows)]
    (folder / "records.csv").write_text("\n".join(lines) + "\n")


def test_a_content_in_two_units_counts_in_each_as_if_the_other_were_not_there(
    parts: TestPlant,
) -> None:
    """Else one unit more would change what another one adds, and the sensitivity would not hold."""
    folder = _folder(parts)
    rows = [(f"{number}.png", "dots", f"p{number // 2}") for number in range(6)]
    exact = []
    for table in (rows[:2], [("0.png", "dots", "p2"), *rows[4:]], [*rows[:2], *rows[4:]]):
        _table(folder, table)
        exact.append(parts.freeze().snapshot.statistics())
    apart = exact[0] + exact[1]
    _table(folder, [*rows[:2], *rows[4:], ("0.png", "dots", "p2")])
    found = parts.look()
    assert found.problems == () and "several privacy units, first in p0, p2" in found.hints[-1]
    together = parts.freeze()
    assert together.records == 5 and together.listing.duplicates == ()
    assert np.array_equal(together.snapshot.statistics(), apart)
    assert not np.array_equal(apart, exact[2])
    _table(folder, [*rows, ("0.png", "dots", "p0"), ("1.png", "dots", "")])
    frozen = parts.freeze(set_aside=True)
    assert frozen.records == 6 and len(frozen.listing.duplicates) == 1
    assert "no privacy unit" in frozen.listing.set_aside[0].reason


def test_statistics_are_those_of_the_units(parts: TestPlant) -> None:
    snapshot = parts.freeze().snapshot
    here = plants.open_plant_data(parts.home)
    expected = exact_statistics(
        snapshot.manifest.schema,
        here.features.released_features,
        here.data.labels,
        [f"p{n // 2}" for n in range(6)],
    )
    np.testing.assert_array_equal(snapshot.statistics(), expected)
    assert here.data.privacy_units is not None and len(set(here.data.privacy_units)) == 3


def test_sums_by_chunks_are_the_sums(plant: TestPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plant.freeze().snapshot.statistics()
    monkeypatch.setattr(snapshots, "_RECORDS_PER_CHUNK", 3)
    np.testing.assert_array_equal(plant.freeze().snapshot.statistics(), whole)


# ---------------------------------------------------------------------------------- on the disk


def test_a_snapshot_is_private_and_the_only_one(plant: TestPlant) -> None:
    plant.freeze()
    plant.freeze()
    folder = plant.home.snapshots
    assert sorted(path.name for path in folder.iterdir()) == ["2", "current"]
    for path in folder.rglob("*"):
        allowed = stat.S_IMODE(path.stat().st_mode)
        assert allowed == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    text = b"".join(path.read_bytes() for path in folder.rglob("records.npz"))
    digest = content_digest(Images().read(_folder(plant) / "bars" / "0.png"))
    assert digest not in text  # digests are keyed


@pytest.mark.parametrize("where", ["encode", "write", "move", "point"])
def test_an_interrupted_freeze_leaves_the_earlier_snapshot(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    plant.freeze()
    first = _ask(plant)
    _picture(_folder(plant) / "bars" / "new.png", 77)

    def fail(*_: object, **__: object) -> Any:
        raise OSError(28, "No space left on device")

    place = {
        "encode": (freezing, "_encode_records"),
        "write": (freezing, "_write_parts"),
        "move": (atomic, "rename_file"),
        "point": (snapshots, "make_current"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with pytest.raises(StorageError, match="No space left"):
            plant.freeze()
    assert snapshots.load_current(plant.home).manifest.number == 1
    assert _ask(plant) == first
    assert not list(plant.home.snapshots.glob(".new-*"))
    frozen = plant.freeze()
    assert frozen.records == 5 and frozen.snapshot.manifest.number > 1


def test_a_deletion_that_was_cut_off_is_finished_by_the_next_freeze(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.freeze()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        plant.freeze()
    assert (plant.home.snapshots / "1" / snapshots.FEATURES_FILE).exists()
    assert [found.manifest.number for found in snapshots.load_all_snapshots(plant.home)] == [2]
    plant.freeze()
    assert sorted(path.name for path in plant.home.snapshots.iterdir()) == ["3", "current"]


def test_a_crash_between_pointer_and_ledger_is_made_good_by_the_next_release(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.freeze()
    with monkeypatch.context() as patch:
        patch.setattr(
            budget_history,
            "register_dataset_version",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            plant.freeze()
    assert snapshots.load_current(plant.home).manifest.number == 2
    _ask(plant)
    with Ledger.open(plant.home.ledger) as ledger:
        known = ledger.dataset_commitment(plant.config.data.name)
    assert known == snapshots.load_current(plant.home).manifest.commitment


def test_a_file_that_changes_between_check_and_encoding_is_found(plant: TestPlant) -> None:
    found = plant.look()
    _picture(_folder(plant) / "bars" / "0.png", 99)
    with pytest.raises(DataError, match=r"bars/0\.png: changed while it was frozen"):
        plant.freeze(found=found)


def test_records_are_checked_against_the_snapshot_when_they_are_read(plant: TestPlant) -> None:
    plant.freeze()
    records = plants.open_plant_data(plant.home).data.records
    assert len(records) == 4 and records[0].shape == (32, 32)
    _picture(_folder(plant) / "bars" / "0.png", 99)
    with pytest.raises(DataError, match=r"bars/0\.png: changed since it was frozen"):
        records[0]


def test_check_says_how_the_folder_differs(plant: TestPlant) -> None:
    plant.freeze()
    folder = _folder(plant)
    assert not preview_release(plant.home).snapshot.change.has_changes
    for number in range(12):
        _picture(folder / "rings" / f"new{number}.png", 100 + number)
    (folder / "bars" / "0.png").unlink()
    _picture(folder / "dots" / "1.png", 200)
    change = preview_release(plant.home).snapshot.change
    assert (change.more, change.gone, change.touched) == (12, 1, 1)
    shutil.rmtree(folder)
    assert "not there" in preview_release(plant.home).snapshot.change.unreadable


def test_check_counts_labels_and_units_that_were_edited_in_a_table(
    plant: TestPlant, tmp_path: Path
) -> None:
    rows = [f"{LABELS[number]}/{number}.png,{LABELS[number]},p{number}" for number in range(3)]
    table = _folder(plant) / "records.csv"

    def write(*lines: str) -> FolderChange:
        table.write_text("\n".join(["file,label,part", *lines]))
        return preview_release(plant.home).snapshot.change

    table.write_text("\n".join(["file,label,part", *rows]))
    plant.configure(data=replace(plant.config.data, unit_column="part"))
    plant.freeze()
    assert write(*rows[::-1]) == FolderChange()
    first, second = rows[0].replace(",bars", ",dots"), rows[1].replace(",p1", ",p9")
    assert write(first, *rows[1:]) == FolderChange(label_changes=1)
    assert write(rows[0].replace(",bars", ","), second, rows[2]) == FolderChange(label_changes=2)
    assert write(*rows[1:]) == FolderChange(gone=1)
    write(first, *rows[1:])
    words = (
        ("en", "1 with another label or privacy unit: wg-client freeze"),
        ("ja", "単位の変更 1 件"),
    )
    for language, line in words:
        arguments = ["--language", language, "check", "--home", str(plant.home.root)]
        shown = CliRunner().invoke(group, arguments, env={"LANG": "C.UTF-8"}).output
        assert line.replace(" ", "") in "".join(shown.split())


def test_records_set_aside_for_acceptance_are_not_new(plant: TestPlant) -> None:
    for number in range(10, 30):
        _picture(_folder(plant) / LABELS[number % 3] / f"{number}.png", number, number % 3)
    plant.configure(data=replace(plant.config.data, acceptance=0.5))
    assert plant.freeze().records < 24
    assert preview_release(plant.home).snapshot.change == FolderChange()


# ------------------------------------------------------------------------------- lineage by content


def test_each_freeze_is_an_entry_in_the_one_lineage(plant: TestPlant) -> None:
    first = plant.freeze().snapshot.manifest
    second = plant.freeze().snapshot.manifest
    assert first.commitment != second.commitment and first.salt != second.salt
    assert _kinds(plant)[2:] == [entries.DATASET_KIND, entries.DATASET_KIND]
    with Ledger.open(plant.home.ledger) as ledger:
        found = [entries.decode(ledger.entry_bytes(seq)) for seq in (2, 3)]
    assert {getattr(entry, "lineage", None) for entry in found} == {found[0].lineage}  # type: ignore[union-attr]


def _spent(plant: TestPlant) -> tuple[int, float]:
    spend = read_plant_spending(plant.home, plant.config)
    return spend.charge_count, spend.epsilon


def test_another_name_does_not_give_another_budget(plant: TestPlant) -> None:
    plant.freeze()
    _ask(plant)
    plant.configure(data=replace(plant.config.data, name="other-name"))
    plant.freeze()
    _ask(plant)
    charges, epsilon = _spent(plant)
    assert charges == 2 and 1.3 < epsilon < 1.6


def test_a_cap_that_was_raised_in_the_file_freezes_nothing(plant: TestPlant) -> None:
    plant.freeze()
    plant.configure(privacy=replace(plant.config.privacy, cap_epsilon="100"))
    for name in (plant.config.data.name, "other-name"):
        plant.configure(data=replace(plant.config.data, name=name))
        with pytest.raises(ConfigError, match="a cap does not change"):
            plant.freeze()
    assert snapshots.load_current(plant.home).manifest.number == 1
    assert _kinds(plant).count(entries.DATASET_KIND) == 1


def test_a_spent_budget_stays_spent_under_every_name(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(cap_epsilon="1", max_request_epsilon="1", answer_slot_seconds=0.05)
    plant = make_plant({0: 4, 1: 4}, privacy=privacy)
    _ask(plant)
    for number in range(3):
        plant.configure(data=replace(plant.config.data, name=f"name-{number}"))
        plant.freeze()
        with pytest.raises(BudgetExceeded):
            _ask(plant)


def test_units_are_remembered_after_their_snapshot_is_gone(plant: TestPlant) -> None:
    snapshot = plant.freeze().snapshot
    contents = {bytes(row) for row in snapshot.records().contents}
    _ask(plant)
    (_folder(plant) / "bars" / "0.png").unlink()
    plant.freeze()
    plant.freeze()  # the first snapshot is long deleted
    assert contents <= budget_history.read_charged_digests(plant.home)


def test_a_freeze_after_snapshots_were_lost_continues_the_lineage(plant: TestPlant) -> None:
    plant.freeze()
    _ask(plant)
    shutil.rmtree(plant.home.snapshots)
    with pytest.raises(ConfigError, match="run 'wg-client freeze"):
        _ask(plant)
    plant.freeze()
    _ask(plant)
    assert _spent(plant)[0] == 2


def test_another_unit_column_after_a_charge_is_refused_with_what_to_put_back(
    parts: TestPlant,
) -> None:
    parts.freeze()
    _ask(parts)
    before = snapshots.load_current(parts.home)
    parts.configure(data=replace(parts.config.data, unit_column=None))
    with pytest.raises(ConfigError, match=r"set data\.unit_column .* back to part, and freeze"):
        parts.freeze()
    assert snapshots.load_current(parts.home) == before
    parts.configure(data=replace(parts.config.data, unit_column="part"))
    parts.freeze()
