"""What commands show of a release of machine statistics, before it is paid for and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.cli.conftest import Json
from tests.client.conftest import MakePlant, TestPlant

from wg_client.data import plant_data as plants
from wg_core.errors import ApprovalPending
from wg_core.privacy.schema import CLASS_STATISTICS, MACHINE_STATISTICS
from wg_core.release.query_answers import answer_query
from wg_core.site.config import PrivacyConfig

Shown = Callable[..., tuple[str, str]]


@pytest.fixture
def plant(make_plant: MakePlant) -> TestPlant:
    plant = make_plant()
    plant.state_machine()
    return plant


def test_check_says_what_leaves_what_it_costs_and_how_large_the_noise_is(
    plant: TestPlant, here: Json, shown: Shown
) -> None:
    home = ("--home", plant.home.root)
    of_classes, of_machine = (
        here("check", *home, "--of", kind) for kind in (CLASS_STATISTICS, MACHINE_STATISTICS)
    )
    assert [block["name"] for block in of_machine["would_leave"]["blocks"]] == ["counts", "moments"]
    assert of_machine["would_leave"]["integers"] == 33
    assert of_machine["cost"] == of_classes["cost"]
    mean = of_machine["mean"]
    assert (mean["units"], mean["numbers"]) == (24, 32) and 0 < mean["length"] <= 1
    # epsilon 4: 1.11 on each of 32 numbers of the sum
    assert mean["noise_length"] == pytest.approx(1.109 * 32**0.5 / 24, rel=1e-3)
    said, _ = shown("check", *home, "--of", "machine")
    words = " ".join(said.split())
    assert "of the declared machine, without labels: the mean of 32 numbers over 24" in words
    assert "too few for machine statistics: 24 privacy units" in words and "100" in words
    assert "machine statistics of it" in shown("check", *home)[0]


def test_few_records_are_said_and_not_refused(
    plant: TestPlant, here: Json, shown: Shown, tmp_path: Path
) -> None:
    done = here(
        *("statistics", "--home", plant.home.root, "--of", "machine"),
        *("--epsilon", "1", "--out", tmp_path / "x.wgs"),
    )
    assert done["charged"] and done["statistics"] == MACHINE_STATISTICS
    again = here(
        *("statistics", "--home", plant.home.root, "--of", "machine"),
        *("--epsilon", "1", "--out", tmp_path / "y.wgs"),
    )
    assert not again["charged"]
    assert (tmp_path / "x.wgs").read_bytes() == (tmp_path / "y.wgs").read_bytes()
    words = ("--of", "machine", "--epsilon", "1", "--out", tmp_path / "z.wgs")
    _, said = shown("statistics", "--home", plant.home.root, *words)
    assert "too few for machine statistics: 24 privacy units" in " ".join(said.split())
    (row,) = here("status", "--home", plant.home.root, code=(0, 6))["budget"]["releases"]
    assert row["statistics"] == MACHINE_STATISTICS


def test_enough_records_bring_no_warning(make_plant: MakePlant, here: Json) -> None:
    plant = make_plant({0: 50, 1: 50})
    plant.state_machine()
    document = here("check", "--home", plant.home.root, "--of", "machine")
    assert not [hint for hint in document["hints"] if "too few" in hint]


@pytest.mark.parametrize("command", ["check", "statistics"])
def test_without_a_sheet_it_is_refused_with_what_to_do(
    make_plant: MakePlant, shown: Shown, tmp_path: Path, command: str
) -> None:
    plant = make_plant()
    words = [command, "--home", plant.home.root, "--of", "machine"]
    if command == "statistics":
        words += ["--out", tmp_path / "x.wgs"]
    _, said = shown(*words, code=4)
    assert "data-sheet.yaml is missing" in said and "wg-client freeze" in said
    assert not (tmp_path / "x.wgs").exists()


def test_check_says_of_a_stated_machine_why_it_has_no_statistics(
    plant: TestPlant, here: Json, shown: Shown
) -> None:
    plant.home.data_sheet.write_text(
        plant.home.data_sheet.read_text().replace("1772", "900"), encoding="utf-8"
    )
    document = here("check", "--home", plant.home.root)
    assert "changed since snapshot 2" in document["no_machine"]
    assert "no machine statistics:" in shown("check", "--home", plant.home.root)[0]


def test_a_policy_that_forbids_it_is_said_at_check(plant: TestPlant, here: Json) -> None:
    plant.configure(privacy=PrivacyConfig(answer_slot_seconds=0.05, statistics=(CLASS_STATISTICS,)))
    document = here("check", "--home", plant.home.root, "--of", "machine", code=4)
    assert document["cost"]["refused_by"] == "policy"
    assert here("check", "--home", plant.home.root)["cost"]["allowed"]


def test_epsilon_0_releases_no_machine_statistics(
    plant: TestPlant, shown: Shown, tmp_path: Path
) -> None:
    words = ("--of", "machine", "--epsilon", "0", "--out", tmp_path / "x.wgs")
    _, said = shown("statistics", "--home", plant.home.root, *words, code=2)
    assert "leave out --of machine" in said


def test_a_person_who_decides_sees_what_the_request_is_of(
    plant: TestPlant, here: Json, shown: Shown
) -> None:
    plant.configure(privacy=PrivacyConfig(answer_slot_seconds=0.05, approve="human"))
    query = plant.query(statistics=MACHINE_STATISTICS)
    with pytest.raises(ApprovalPending):
        answer_query(plant.home, query, witness=plant.witness)
    home = ("--home", plant.home.root)
    (row,) = here("requests", *home)["requests"]
    assert row["statistics"] == MACHINE_STATISTICS
    said, _ = shown("requests", *home, query.request_id[:16])
    assert "33 noisy integers of the stated machine, without labels" in " ".join(said.split())
    here("requests", *home, query.request_id[:16], "--approve", "--by", "Aiko")
    answer_query(plant.home, query, witness=plant.witness)
    assert here("requests", *home)["requests"][0]["state"] == "answered"


@pytest.mark.parametrize(("kinds", "expected"), [(("rotating_machine",), True), ((), False)])
def test_freeze_says_whether_the_machine_is_read(
    plant: TestPlant,
    here: Json,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    kinds: tuple[str, ...],
    expected: bool,
) -> None:
    loaded = plant.load(plant.home.encoder.read_bytes())
    monkeypatch.setattr(type(loaded), "machine_kinds", kinds, raising=False)
    monkeypatch.setattr(plants, "caching_encoder_loader", lambda: plant.load)
    assert here("freeze", "--home", plant.home.root)["machine"] is expected
    said, _ = shown("freeze", "--home", plant.home.root)
    assert ("machine statistics: of the machine" in said) is expected
    assert ("no reading map of a rotating_machine" in said) is not expected
