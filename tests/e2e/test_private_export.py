"""``models export --private`` by the installed commands, and an auditor who adds the charge up."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from tests.e2e.test_copied_home import enrolled  # noqa: F401 - a fixture
from tests.homes import make

from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

SITE = "plant-b"


@pytest.fixture
def home(enrolled: Path, tmp_path: Path) -> Path:  # noqa: F811 - the fixture above
    subprocess.run(["cp", "-a", enrolled / SITE, tmp_path / SITE], check=True)
    plant = ClientHome(tmp_path / SITE)
    config = configuration.load(plant)
    fast = replace(config.privacy, answer_slot_seconds=0.1)  # training takes thirty slots
    configuration.save(plant, replace(config, privacy=fast))
    return plant.root


@pytest.mark.slow
def test_a_private_head_is_exported_charged_once_and_audited(home: Path, tmp_path: Path) -> None:
    out, again, ledger = (tmp_path / name for name in ("m.onnx", "n.onnx", "l.wgl"))
    words = "models", "export", "--home", home, "--private"
    made = make.command("wg-client", *words, "2", "--out", out)
    repeated = make.command("wg-client", *words, "2", "--out", again)
    assert made["charged"] and not repeated["charged"]
    assert out.read_bytes() == again.read_bytes()
    metadata = {item.key: item.value for item in onnx.load(out).metadata_props}
    assert metadata["records"].startswith("epsilon 2, delta")
    make.command("wg-audit", "export", "--home", home, "--out", ledger)
    verify = "verify", ledger, "--statistics", made["evidence"]
    _, document = make.result_of("wg-audit", *verify)
    assert document["epsilon"]["independent"] == pytest.approx(made["epsilon_spent"], rel=1e-4)
    assert document["epsilon"]["primary"] == pytest.approx(2, rel=1e-4)
    assert len(document["received"]) == 1 and not document["verdict"]["problems"]
