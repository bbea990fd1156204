"""A method and a check are added in one file each, and one line each; nothing else changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.cli.conftest import Json, here
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods import registry as methods
from wg_client.models import adoption, store
from wg_client.selection.checks import registry as checks
from wg_core import errors

__all__ = ["here"]

METHOD = '''
"""Nearest class mean on the public trunk; classes without records are as far as can be."""

import numpy as np

from wg_client.fitting.fitted_model import select_and_fit
from wg_client.fitting.folds import single_configuration
from wg_client.fitting.linear_head import LinearHead, extend_to_classes
from wg_client.methods.base import FittedMethod


class NearestMean:
    name = "nearest-mean"
    title = "nearest class mean"
    is_reference = False

    def fit(self, records, package):
        x, y = records.labelled_features(records.encoder_features), records.labels

        def refit(rows, choice=0):
            classes = np.unique(y[rows])
            means = np.stack([x[rows][y[rows] == label].mean(axis=0) for label in classes])
            head = LinearHead(means, -0.5 * np.sum(means**2, axis=1))
            return extend_to_classes(head, classes, records.class_count)

        def predict(train, held):
            return refit(train).logits(x[held])

        fitted, _ = select_and_fit(single_configuration(predict), refit, y, records.folds)
        return FittedMethod(trunk=records.encoder_features, fitted_model=fitted)
'''
CHECK = '''
"""WG-F99: the weights are longer than allowed."""

import numpy as np

from wg_client.models.manifest import CheckFinding

LIMIT = 1e6


def check(comparison):
    norm = float(np.linalg.norm(comparison.model.tensors()["head.weight"]))
    return CheckFinding(
        model=comparison.name,
        code="WG-F99",
        passed=norm <= LIMIT,
        figures={"norm": norm, "limit": LIMIT},
        message=f"Weights of length {norm:.3g}.",
    )
'''


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package of one method and one check, registered."""
    folder = tmp_path / "site_extension"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "nearest_mean.py").write_text(METHOD)
    (folder / "long_weights.py").write_text(CHECK)
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("site_extension.nearest_mean")
    check = importlib.import_module("site_extension.long_weights")
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, added.NearestMean()))
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, check.check))
    yield check
    for name in [name for name in sys.modules if name.startswith("site_extension")]:
        del sys.modules[name]


def _package(plant: TestPlant, head: LinearHead) -> Path:
    path = plant.home.root / "package.wgw"
    path.write_bytes(plant.package({"sample-0": (head, "diffusion")}))
    return path


def test_a_method_and_a_check_of_another_package_take_part(
    make_plant: MakePlant, good_head: LinearHead, extension: Any, here: Json, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    applied = here("apply", "--home", plant.home.root, _package(plant, good_head))
    assert applied["accepted"]
    assert applied["models"][-1]["name"] == "nearest-mean"
    manifest, _ = adoption.model_in_use(plant.home)
    found = {(item.model, item.code): item for item in manifest.findings}
    assert {("nearest-mean", "WG-F01"), ("nearest-mean", "WG-F99")} <= set(found)
    assert ("local-only", "WG-F99") not in found
    tensors = store.load_model_tensors(plant.home, manifest, "nearest-mean")
    norm = float(np.linalg.norm(tensors["head.weight"]))
    assert found["nearest-mean", "WG-F99"].figures["norm"] == pytest.approx(norm, rel=1e-5)
    page = plant.home.report.read_text(encoding="utf-8")
    assert "nearest class mean" in page and "WG-F99 passed" in page

    x = np.concatenate([pictures(np.random.default_rng(9), label, 20) for label in range(2)])
    np.savez(tmp_path / "new.npz", x=x, y=np.repeat(range(2), 20), classes=np.array(LABELS))
    words = ("--model", "nearest-mean")
    said = here("predict", "--home", plant.home.root, tmp_path / "new.npz", *words)
    assert said["model"] == "nearest-mean"
    (result,) = said["results"]
    right = [row["label"] == LABELS[i // 20] for i, row in enumerate(result["predictions"])]
    assert np.mean(right) > 0.5


def test_a_check_that_fails_keeps_every_model_out(
    make_plant: MakePlant,
    good_head: LinearHead,
    extension: Any,
    here: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extension, "LIMIT", 0.0)
    plant = make_plant({0: 4, 1: 4})
    words = ("apply", "--home", plant.home.root, _package(plant, good_head))
    applied = here(*words, code=errors.ExitCode.NOT_ACCEPTED)
    assert applied["kept"] == "local-only"
    failed = {item["model"] for item in applied["findings"] if item["code"] == "WG-F99"}
    assert "generated" in failed
    assert not any(i["passed"] for i in applied["findings"] if i["code"] == "WG-F99")
    assert "WG-F99 failed" in plant.home.report.read_text(encoding="utf-8")
