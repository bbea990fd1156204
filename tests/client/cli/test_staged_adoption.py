"""``wg-client models``: a shadow predicts beside the model in use, and a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, MakePlant, write_npz

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core import errors


@pytest.fixture
def home(make_plant: MakePlant, good_head: LinearHead) -> Path:
    plant = make_plant({0: 4, 1: 4})
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    return plant.home.root


def test_a_shadow_predicts_beside_and_changes_no_call(
    home: Path, tmp_path: Path, here: Json
) -> None:
    records = write_npz(tmp_path / "new.npz", {0: 5, 1: 5, 2: 5}, seed=78, labels=LABELS)
    before = here("predict", "--home", home, records)
    package = before["package"]
    assert before["shadow"] == {"compared": 0, "differences": []}
    model = "local-only" if before["model"] != "local-only" else "generated"
    here("models", "shadow", "--home", home, package, "--model", model, "--by", "QA")
    rows = here("models", "show", "--home", home)["models"]
    assert [row["model"] for row in rows if row["shadow"]] == [model]
    latest = here("predict", "--home", home, records)
    assert latest["results"] == before["results"] and latest["shadow"]["compared"] == 15
    alone = here("predict", "--home", home, records, "--model", model)
    differ = [
        one["name"]
        for one, other in zip(
            before["results"][0]["predictions"], alone["results"][0]["predictions"], strict=True
        )
        if one["label"] != other["label"]
    ]
    assert [each["name"] for each in latest["shadow"]["differences"]] == differ
    assert alone["shadow"]["compared"] == 0  # it was asked by name
    here("models", "use", "--home", home, "--shadow", "--by", "QA")
    assert here("predict", "--home", home, records)["model"] == model
    none = here(
        "models", "use", "--home", home, "--shadow", "--by", "QA", code=errors.ExitCode.CONFIG
    )
    assert "no model is in shadow" in none["error"]["message"]
    here("models", "use", "--home", home, package, "--by", "QA")
    assert here("predict", "--home", home, records)["results"] == before["results"]
    log = here("models", "show", "--home", home)["changes"]
    assert [change["what"] for change in log] == ["use", "shadow", "use", "use"]
    assert [change["by"] for change in log] == ["weightgate", "QA", "QA", "QA"]
