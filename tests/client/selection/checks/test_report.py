"""What checks find reaches the people at the plant: manifest, report and log, by its code."""

from __future__ import annotations

import pytest
from tests.client.conftest import MakePlant

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.selection.checks import finite_weights
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.site.weights_failures import FAILURE_CODES

UNLABELLED = "WG-F11"
OF_KIND, OF_OTHERS, OF_SHEET = "WG-F12", "WG-F13", "WG-F14"


def test_every_code_is_in_the_report_and_every_failure_in_the_log(
    make_plant: MakePlant,
    good_head: LinearHead,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = FAILURE_CODES - {UNLABELLED, OF_KIND, OF_OTHERS, OF_SHEET}
    monkeypatch.setattr(finite_weights, "_LARGEST_LOGIT", 0.0)
    plant = make_plant({0: 4, 1: 4})
    package = plant.package({"s": (good_head, "diffusion"), "c": (good_head, "diffusion")})
    manifest = apply_and_adopt_package(plant.home, package).manifest
    assert manifest.kept == LOCAL_ONLY
    failed = {finding.code for finding in manifest.findings if not finding.passed}
    page = plant.home.report.read_text("utf-8")
    assert {finding.code for finding in manifest.findings} == codes
    assert "WG-F08" in failed
    assert all(code in page for code in codes)
    assert all(code in caplog.text for code in failed)


def test_a_plant_without_labels_is_told_so_by_its_code(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant({-1: 6})
    data = plant.package({"s": (good_head, "diffusion")})
    manifest = apply_and_adopt_package(plant.home, data).manifest
    assert {f.code for f in manifest.findings} >= {"WG-F08", UNLABELLED}
    assert UNLABELLED in plant.home.report.read_text("utf-8")
