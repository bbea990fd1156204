"""Sensor windows end to end, in files: a zoo, generators, one release, packages, predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.e2e import file_support

from wg_client.data.dataset_survey import load_dataset
from wg_client.models import predict
from wg_client.models.export import export_model
from wg_client.models.manifest import KEPT_ALIAS
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.site import config as configuration
from wg_server.campaigns.airgap import generate_from_file
from wg_server.generator.plan import GeneratorPlan
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan
from wg_server.zoo.procedural_windows import families

ZOO = ZooPlan(
    seed=5,
    architecture="window-head",
    encoder=EncoderPlan(records=400),
    sources=(SourcePlan(kind="procedural-windows", families=10, sites=2, per_class=8),),
)
TRAINING = GeneratorPlan(episodes=4)


@pytest.mark.slow
def test_windows_go_all_the_way_without_a_network(tmp_path: Path) -> None:
    server = file_support.without_encoder(tmp_path / "server")
    build_zoo(server, ZOO, workers=1, progress=lambda *_: None)
    data_file = tmp_path / "data.npz"
    labels = file_support.plant_data(data_file, families, "rotating", shown=8, held=4)
    plant = file_support.enrolled(server, tmp_path / "plant", data_file)
    version = file_support.trained(server, TRAINING)
    assert version.card["architecture"] == "window-head"
    statistics, package = tmp_path / "plant.wgs", tmp_path / "plant.wgw"
    file_support.release(server, plant, statistics)
    made = generate_from_file(server, statistics, package)
    assert made.site == file_support.SITE

    applied = apply_and_adopt_package(plant, package)
    assert applied.manifest.architecture == "window-head"
    assert applied.manifest.labels == labels == configuration.load(plant).data.labels
    data = load_dataset(data_file, labels, split=1)
    features = predict.compute_model_inputs(plant, applied.manifest, data)
    rows = predict.predict(plant, applied.manifest, KEPT_ALIAS, features, data.names)
    assert len(rows) == 4 * len(labels)
    right = np.mean([row.label == labels[y] for row, y in zip(rows, data.labels, strict=True)])
    assert right > 1.2 / len(labels)
    assert plant.report.is_file()

    metadata = export_model(plant, applied.manifest, KEPT_ALIAS, "onnx", tmp_path / "m.onnx")
    assert metadata["views"].startswith("n,")
