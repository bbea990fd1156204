"""``wg-client`` as a plant engineer meets it: real processes, exit codes, pure ``--json``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures, write_npz

from wg_client.cli.main import group
from wg_client.fitting.linear_head import LinearHead
from wg_client.release import preview
from wg_common import cli
from wg_core import errors, installed_code, logs
from wg_core.fleet import __main__ as process
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.config import PrivacyConfig

Finished = subprocess.CompletedProcess[str]
SMALL_BUDGET = PrivacyConfig(cap_epsilon="1.5", max_request_epsilon="1.5")


def _run(*words: object) -> Finished:
    """Run the installed command as a shell would."""
    command = Path(sys.executable).with_name("wg-client")
    return subprocess.run(
        [str(command), *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def _json(*words: object, code: int = 0) -> Any:
    """Run with ``--json``: standard output must be one document and nothing else."""
    done = _run(*words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_check_shows_what_would_leave_and_changes_nothing(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4, 2: 3})
    before = plant.home.ledger.read_bytes()
    found = _json("check", "--home", plant.home.root, "--epsilon", "1")
    assert plant.home.ledger.read_bytes() == before
    assert not plant.home.outbox.exists()
    assert found["data"]["per_label"] == {"bars": 4, "dots": 0, "rings": 3}
    leaves = found["would_leave"]
    assert sum(block["integers"] for block in leaves["blocks"]) == leaves["integers"]
    cost = found["cost"]
    assert cost["alone"] == pytest.approx(1, rel=1e-3) and cost["spent"] == 0
    assert cost["allowed"] and cost["releases_left"] > 10
    text = _run("check", "--home", plant.home.root).stdout
    assert "nothing was sent, nothing was charged" in text and "dots" in text
    sent = answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    assert leaves["file_bytes"] == pytest.approx(len(sent), rel=0.01)


def test_the_size_of_a_release_with_many_long_names_is_known_before(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4}, labels=("bars", *(f"傷{number:060}" for number in range(90))))
    stated = preview.preview_release(plant.home, epsilon="1").would_leave.file_bytes
    sent = answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    assert stated == pytest.approx(len(sent), rel=0.01)


def test_check_says_by_what_a_release_would_be_refused(make_plant: MakePlant, here: Json) -> None:
    plant = make_plant({0: 4, 1: 4}, privacy=SMALL_BUDGET)
    answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    words = ("check", "--home", plant.home.root)
    found = here(*words, code=errors.ExitCode.REFUSED)
    assert found["cost"]["refused_by"] == "budget"
    found = here(*words, "--epsilon", "5", code=errors.ExitCode.REFUSED)
    assert found["cost"]["refused_by"] == "policy" and not found["cost"]["allowed"]


def test_a_node_states_the_digest_of_the_code_that_it_began_with(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 4, 1: 4})
    began: list[str] = []
    before = installed_code.installed_code_digest().sha256
    installed_code.installed_code_digest.cache_clear()

    def serve(*words: object, **named: object) -> None:
        upgrade = installed_code.digest_files({"wg_core/new.py": b""})
        monkeypatch.setattr(installed_code, "digest_files", lambda files: upgrade)
        began.append(installed_code.installed_code_digest().sha256)

    monkeypatch.setattr(process, "run_node", serve)
    monkeypatch.setattr(logs, "set_log_format", lambda *words, **named: None)
    monkeypatch.setattr(signal, "signal", lambda *words: None)
    with pytest.raises(SystemExit):
        cli.run_program(process.node, ["--home", str(plant.home.root)])
    installed_code.installed_code_digest.cache_clear()
    assert began == [before]


def test_statistics_go_to_a_file_once_and_the_budget_knows(
    make_plant: MakePlant, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 4, 1: 4}, privacy=SMALL_BUDGET)
    words = ["statistics", "--home", plant.home.root, "--epsilon", "1", "--out"]
    first = here(*words, tmp_path / "a.wgs")
    again = here(*words, tmp_path / "b.wgs")
    assert first["charged"] and not again["charged"]
    assert (tmp_path / "a.wgs").read_bytes() == (tmp_path / "b.wgs").read_bytes()
    words[4] = "1.2"
    refused = here(*words, tmp_path / "c.wgs", code=errors.ExitCode.REFUSED)
    assert refused["error"]["code"] == "budget" and not (tmp_path / "c.wgs").exists()
    words[4] = "9"
    refused = here(*words, tmp_path / "c.wgs", code=errors.ExitCode.REFUSED)
    assert refused["error"]["code"] == "policy"
    budget = here("status", "--home", plant.home.root)["budget"]
    assert budget["charges"] == 1 and len(budget["releases"]) == 1
    assert budget["epsilon"] == pytest.approx(1, rel=1e-3)
    assert budget["releases"][0]["size"] > 0


def test_freeze_names_all_that_is_wrong_and_changes_nothing(
    make_plant: MakePlant, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 4})
    folder = tmp_path / "folder"
    for number, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        picture = pictures(np.random.default_rng(number), number, 1)[0]
        Image.fromarray(picture).save(folder / label / "a.png")
    (folder / "dots" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    (folder / "dots" / "notes.txt").write_text("x")
    (folder / "crack").mkdir()
    text = plant.home.config.read_text().replace(str(plant.config.data.path), str(folder))
    plant.home.config.write_text(text)
    home = ("--home", plant.home.root)
    found = here("freeze", *home, code=errors.ExitCode.CONFIG)
    assert not found["frozen"] and found["error"]["code"] == "data"
    assert [one["name"] for one in found["problems"]] == ["crack", "dots/notes.txt", "dots/bad.png"]
    shown = here("check", *home)["snapshot"]
    assert shown["number"] == 1 and shown["change"]["gone"] == 4 and shown["change"]["more"] == 6
    done = here("freeze", *home, "--set-aside")
    assert done["frozen"] and (done["version"], done["records"]) == (2, 3)
    assert done["set_aside"] == found["problems"]
    shown = here("check", *home)
    assert shown["data"]["per_label"] == dict.fromkeys(LABELS, 1)
    assert shown["snapshot"]["set_aside"] == 3
    assert not any(shown["snapshot"]["change"].values())
    assert read_plant_spending(plant.home, plant.config).charge_count == 0


@pytest.mark.parametrize("command", ["check", "run", "statistics", "apply"])
def test_a_home_without_a_snapshot_is_told_what_to_do(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path, command: str
) -> None:
    plant = make_plant({0: 4}, frozen=False)
    package = tmp_path / "p.wgw"
    package.write_bytes(plant.package({"s": (good_head, "diffusion")}))
    options: dict[str, list[object]] = {"statistics": ["--out", tmp_path / "o"], "apply": [package]}
    more = options.get(command, [])
    with pytest.raises(SystemExit) as caught:
        cli.run_program(group, [command, "--home", str(plant.home.root), *map(str, more)])
    assert caught.value.code == errors.ExitCode.CONFIG
    with Ledger.open(plant.home.ledger) as ledger:
        assert ledger.size == 2  # genesis and witness


def test_apply_ends_with_0_5_or_6(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 4, 1: 4})
    good = plant.package({"s": (good_head, "diffusion")})
    (tmp_path / "good.wgw").write_bytes(good)
    (tmp_path / "bad.wgw").write_bytes(plant.package({"s": (good_head, "diffusion")}, site="x"))
    plant.configure(acceptance=AcceptanceConfig(standard_errors=0.0))
    found = here("apply", "--home", plant.home.root, tmp_path / "good.wgw")
    assert found["accepted"] and not found["already_applied"]
    assert here("apply", "--home", plant.home.root, tmp_path / "good.wgw")["already_applied"]
    refused = here(
        "apply", "--home", plant.home.root, tmp_path / "bad.wgw", code=errors.ExitCode.VERIFICATION
    )
    assert refused["error"]["code"] == "verification"
    plant.configure(acceptance=AcceptanceConfig(standard_errors=10.0))
    (tmp_path / "useless.wgw").write_bytes(
        plant.package({"s": (LinearHead(-good_head.weight, -good_head.bias), "diffusion")})
    )
    words = ["apply", "--home", plant.home.root, tmp_path / "useless.wgw"]
    found = here(*words, code=errors.ExitCode.NOT_ACCEPTED)
    assert found["kept"] == "local-only" and not found["accepted"]


def test_models_are_listed_shown_and_exported(
    applied: TestPlant, tmp_path: Path, here: Json
) -> None:
    home = applied.home.root
    rows = here("models", "show", "--home", home)["models"]
    assert sum(row["current"] for row in rows) == 1
    shown = here("models", "show", "--home", home, rows[0]["package"])
    assert shown["kept"] in {row["model"] for row in rows}
    out = tmp_path / "m.safetensors"
    found = here("models", "export", "--home", home, "--model", "local-only", "--out", out)
    assert found["model"] == "local-only" and out.stat().st_size == found["bytes"]
    words = ["models", "export", "--home", home, "--model", "best", "--out", out]
    wrong = here(*words, code=errors.ExitCode.CONFIG)
    assert "local-only" in wrong["error"]["message"]


def test_predict_gives_a_label_and_a_probability(
    applied: TestPlant, tmp_path: Path, here: Json
) -> None:
    home = applied.home.root
    test = write_npz(tmp_path / "t.npz", {0: 6, 1: 6, 2: 6}, seed=77, labels=LABELS)
    single = tmp_path / "one.png"
    Image.fromarray(pictures(np.random.default_rng(3), 0, 1)[0]).save(single)
    found = here("predict", "--home", home, test)
    (result,) = found["results"]
    assert len(result["predictions"]) == 18
    for row in result["predictions"]:
        assert row["label"] in LABELS and 1 / 3 <= row["probability"] <= 1
    folder = here("predict", "--home", home, tmp_path, "--model", "local-only")
    assert folder["model"] == "local-only" and len(folder["results"][0]["predictions"]) == 1
