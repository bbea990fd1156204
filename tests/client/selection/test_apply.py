"""A package is used only if everything about it holds, and only once."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.conftest import LABELS, MakePlant, TestPlant
from tests.client.families import beside, family_head

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import HANDED_ON, HANDED_ON_FINETUNED, LOCAL_ONLY
from wg_client.models import adoption, predict, store
from wg_client.selection.apply import AppliedModel
from wg_client.selection.delivery import apply_and_adopt_package
from wg_client.selection.sensor_package import receive_package
from wg_common.catalogue import ANY_FAMILY_SOURCE, SAME_FAMILY_SOURCE
from wg_common.nets import family_network, site_norms
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.errors import (
    ConfigError,
    DecodeError,
    NotAcceptedError,
    PolicyRefused,
    VerificationError,
)
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.config import PrivacyConfig
from wg_core.wire import protocol, signing


@pytest.fixture
def heads(good_head: LinearHead) -> dict[str, tuple[LinearHead, str]]:
    return {"sample-0": (good_head, "diffusion"), "closed-form": (good_head, "diffusion")}


Heads = dict[str, tuple[LinearHead, str]]


def _nothing_was_made(plant: TestPlant) -> bool:
    return not store.all_manifests(plant.home) and not plant.home.report.exists()


def test_good_weights_leave_models_provenance_and_a_report(
    make_plant: MakePlant, heads: Heads
) -> None:
    plant = make_plant({0: 4, 1: 4})
    applied = apply_and_adopt_package(plant.home, plant.package(heads))
    assert applied.keeps_delivered_model and not applied.was_applied_before
    manifest, model = adoption.model_in_use(plant.home)
    assert manifest == applied.manifest and model == manifest.kept
    assert (manifest.pool_root, manifest.pool_releases) == ("aa" * 32, 1)
    for entry in manifest.models:
        assert set(store.load_model_tensors(plant.home, manifest, entry.name)) == {
            "head.weight",
            "head.bias",
        }
    page = plant.home.report.read_text(encoding="utf-8")
    assert "your own model" in page and "http-equiv" not in page
    assert plant.home.report.stat().st_mode & 0o077 == 0


def test_a_report_is_written_where_the_only_model_waits_for_a_person(
    make_plant: MakePlant, heads: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "predicts_few_site_class", lambda manifest, model: True)
    monkeypatch.setattr(adoption, "LOCAL_ONLY", "a model that is not there")
    plant = make_plant({0: 4, 1: 4})
    applied = apply_and_adopt_package(plant.home, plant.package(heads))
    assert adoption.read_adoption_history(plant.home).latest_change.in_use is None
    waiting = adoption.shadow_model(plant.home)
    assert waiting is not None and waiting[0] == applied.manifest
    assert plant.home.report.is_file()


def test_the_report_loads_nothing_from_anywhere(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant()
    apply_and_adopt_package(plant.home, plant.package(heads))
    page = plant.home.report.read_text(encoding="utf-8")
    for word in ("<script", "<link", "@import", "url(http"):
        assert word not in page
    assert re.findall(r'src="(?!data:image/)', page) == []


def test_a_head_of_the_plant_s_kind_stands_on_its_standardised_features(
    make_plant: MakePlant, heads: Heads, encoder_package: bytes, good_head: LinearHead
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    family = family_head(encoder_package, len(good_head.bias)), SAME_FAMILY_SOURCE
    applied = apply_and_adopt_package(plant.home, plant.package({"kin": family, **heads}))
    models = {entry.name: entry for entry in applied.manifest.models}
    assert (models[HANDED_ON].origin, models[HANDED_ON].source) == ("kin", SAME_FAMILY_SOURCE)
    for name in (HANDED_ON, HANDED_ON_FINETUNED):
        tensors = store.load_model_tensors(plant.home, applied.manifest, name)
        assert tensors["head.weight"].shape[1] == load_encoder(encoder_package).local_dimension


def test_records_of_another_kind_veto_the_head_that_their_names_say(
    make_plant: MakePlant, encoder_package: bytes, good_head: LinearHead
) -> None:
    family = family_head(encoder_package, len(good_head.bias), unlike=1.5), SAME_FAMILY_SOURCE
    plant = make_plant({0: 4, 1: 4, 2: 4})
    manifest = apply_and_adopt_package(plant.home, plant.package({"kin": family})).manifest
    assert manifest.kept == LOCAL_ONLY and "do not look like the operator's" in manifest.reason
    assert "do not look like the operator" in plant.home.report.read_text(encoding="utf-8")
    found = {f.code: f for f in manifest.findings if f.model == HANDED_ON}
    assert found["WG-F12"].blocks_model and found["WG-F12"].figures["unlike"] == 1.5


def test_labels_choose_among_all_families_where_names_say_nothing(
    make_plant: MakePlant, encoder_package: bytes
) -> None:
    wide = {name: family_head(encoder_package, 5, unlike) for name, unlike in UNLIKE.items()}
    offered = {name: (tensors, ANY_FAMILY_SOURCE) for name, tensors in wide.items()}
    plant = make_plant({0: 12, 1: 12, 2: 12})
    manifest = apply_and_adopt_package(plant.home, plant.package(offered)).manifest
    models = {entry.name: entry for entry in manifest.models}
    assert models[HANDED_ON].origin == "like" and models[HANDED_ON].source == ANY_FAMILY_SOURCE
    tensors = store.load_model_tensors(plant.home, manifest, HANDED_ON)
    assert len(tensors["head.weight"]) == len(LABELS)


def test_without_a_label_of_each_class_none_of_them_is_taken(
    make_plant: MakePlant, encoder_package: bytes
) -> None:
    offered: dict[str, Any] = {"like": (family_head(encoder_package, 5), ANY_FAMILY_SOURCE)}
    plant = make_plant({0: 12})
    models = apply_and_adopt_package(plant.home, plant.package(offered)).manifest.models
    assert HANDED_ON not in {entry.name for entry in models}


OUTER = site_norms.network_head_shapes("lite0-low")["outer"]
UNLIKE = {"unlike": 1.5, "like": 0.0}
"""Families that are offered, and how unlike them the plant's records are."""


def test_a_network_that_came_with_it_stands_beside_the_encoder(
    make_plant: MakePlant, heads: Heads, encoder_package: bytes, good_head: LinearHead
) -> None:
    plant, classes = make_plant({0: 4, 1: 4, 2: 4}), len(good_head.bias)
    network = beside(classes)
    both = family_head(encoder_package, classes) | family_network.pack_network(network)
    manifest = apply_and_adopt_package(
        plant.home, plant.package({"kin": (both, SAME_FAMILY_SOURCE), **heads})
    ).manifest
    assert manifest == store.read_manifest(plant.home, manifest.package_id)
    local = load_encoder(encoder_package).local_dimension
    for name in (HANDED_ON, HANDED_ON_FINETUNED):
        tensors = store.load_model_tensors(plant.home, manifest, name)
        assert tensors["head.weight"].shape[1] == local + network.head.weight.shape[1]
        assert np.abs(tensors["head.weight"][:, local:]).max() > 0
    records = predict.load_records(Path(plant.config.data.path), LABELS)
    inputs = predict.compute_model_inputs(plant.home, manifest, records)
    for name in (HANDED_ON, LOCAL_ONLY):  # local-only does without it
        rows = predict.predict(plant.home, manifest, name, inputs, records.names)
        assert len(rows) == len(records.names)
    found = store.load_companion_tensors(plant.home, manifest, store.NETWORK_NAME)
    assert found is not None
    assert found.keys() == {f"{network.architecture}.{name}" for name in network.trunk_tensors}
    path = store.models_folder(plant.home, manifest.package_id) / "network.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="network"):
        predict.compute_model_inputs(plant.home, manifest, records)


@pytest.mark.parametrize(
    "wrong",
    [
        {"network.lite0-low.trunk.stem.norm.bias": np.full(32, np.nan, np.float32)},
        {"network.lite0-low.trunk.stem.norm.bias": np.zeros(31, np.float32)},
        {"network.lite0-low.trunk.more": np.zeros(1, np.float32)},
        {"network.lite0-low.weight": np.zeros((2, 240), np.float32)},
        {"network.lite0-low.records": -np.ones(1, np.float32)},
        {"network.lite0-low.outer": np.full(OUTER, 9, np.float32)},
        {"network.lite0-low.more": np.zeros(1, np.float32)},
        {"network.more": np.zeros(1, np.float32)},
        {"network.cnn-m.trunk.more": np.zeros(1, np.float32)},
    ],
)
def test_a_network_that_is_none_is_refused(
    make_plant: MakePlant,
    heads: Heads,
    encoder_package: bytes,
    good_head: LinearHead,
    wrong: dict[str, NDArray[np.float32]],
) -> None:
    plant, classes = make_plant({0: 4, 1: 4}), len(good_head.bias)
    both = (
        family_head(encoder_package, classes) | family_network.pack_network(beside(classes)) | wrong
    )
    with pytest.raises(DecodeError, match=r"network of the family|family head|not finite"):
        apply_and_adopt_package(
            plant.home, plant.package({"kin": (both, SAME_FAMILY_SOURCE), **heads})
        )
    assert _nothing_was_made(plant)


@pytest.mark.parametrize("name", ["kin", "sample-0"])
def test_a_head_on_other_features_than_its_source_says_is_refused(
    make_plant: MakePlant, heads: Heads, encoder_package: bytes, good_head: LinearHead, name: str
) -> None:
    wide = good_head.pad_features(load_encoder(encoder_package).scaled_dimension)
    wrong = {"kin": (good_head, SAME_FAMILY_SOURCE), "sample-0": (wide, "diffusion")}[name]
    plant = make_plant({0: 4, 1: 4})
    with pytest.raises(DecodeError, match=f"candidate {name}"):
        apply_and_adopt_package(plant.home, plant.package({**heads, name: wrong}))
    assert _nothing_was_made(plant)


def test_a_package_is_applied_once(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant({0: 4, 1: 4})
    data = plant.package(heads)
    first = apply_and_adopt_package(plant.home, data)
    again = apply_and_adopt_package(plant.home, data)
    assert again.was_applied_before and again.manifest == first.manifest
    late = apply_and_adopt_package(plant.home, data, clock=lambda: time.time() + 1e6)
    assert late.was_applied_before  # what was applied stays applied after it expired
    with pytest.raises(VerificationError, match="other bytes"):
        apply_and_adopt_package(
            plant.home, plant.package(heads, package_id=first.manifest.package_id)
        )


def test_another_signer_is_refused(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant()
    with pytest.raises(VerificationError, match="signature"):
        apply_and_adopt_package(plant.home, plant.package(heads, key=signing.generate_key()))
    assert _nothing_was_made(plant)


def test_tensors_of_another_shape_are_refused(make_plant: MakePlant, good_head: LinearHead) -> None:
    plant = make_plant()
    wrong = LinearHead(good_head.weight[:, :-1], good_head.bias)
    with pytest.raises(DecodeError, match="candidate sample-0"):
        apply_and_adopt_package(plant.home, plant.package({"sample-0": (wrong, "diffusion")}))
    assert _nothing_was_made(plant)


def test_a_plant_that_takes_no_packages_says_so(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant(
        privacy=PrivacyConfig(
            message_types=(protocol.QUERY_MESSAGE_TYPE,), answer_slot_seconds=0.05
        )
    )
    with pytest.raises(PolicyRefused):
        apply_and_adopt_package(plant.home, plant.package(heads))


def test_without_labels_the_policy_decides(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant({-1: 9})
    plant.configure(acceptance=AcceptanceConfig(checks={"WG-F11": "block"}))
    data = plant.package(heads)
    with pytest.raises(NotAcceptedError):
        apply_and_adopt_package(plant.home, data)
    plant.configure(acceptance=AcceptanceConfig())
    with pytest.raises(NotAcceptedError, match="no other site has released"):
        apply_and_adopt_package(plant.home, plant.package(heads, pool_releases=0))
    applied = apply_and_adopt_package(plant.home, data)
    assert applied.manifest.kept == "generated"
    assert applied.manifest.find_entry("kept").accuracy is None
    assert "Nothing was measured here" in plant.home.report.read_text(encoding="utf-8")


def test_a_model_file_that_was_changed_is_found(make_plant: MakePlant, heads: Heads) -> None:
    plant = make_plant({0: 4, 1: 4})
    manifest = apply_and_adopt_package(plant.home, plant.package(heads)).manifest
    path = store.models_folder(plant.home, manifest.package_id) / "local-only.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(VerificationError, match="local-only"):
        store.load_model_tensors(plant.home, manifest, "local-only")
    with pytest.raises(ConfigError, match="has kept"):
        manifest.find_entry("best")


def test_a_later_package_that_helps_less_does_not_replace_an_earlier_one(
    make_plant: MakePlant, heads: Heads, good_head: LinearHead
) -> None:
    plant = make_plant({0: 4, 1: 4})
    first = apply_and_adopt_package(plant.home, plant.package(heads)).manifest
    inverted = LinearHead(-good_head.weight, -good_head.bias)
    bad = {"sample-0": (inverted, "diffusion")}
    second = apply_and_adopt_package(plant.home, plant.package(bad)).manifest
    assert second.gain < first.gain
    assert adoption.model_in_use(plant.home)[0].package_id == first.package_id


def test_only_a_package_that_waited_is_verified_by_the_former_key(
    make_plant: MakePlant, heads: Heads
) -> None:
    plant, key = make_plant({0: 4, 1: 4}), signing.generate_key()
    plant.home.waiting_packages.mkdir(parents=True)
    waiting = plant.home.waiting_packages / f"{'0' * 32}.wgw"
    elsewhere = plant.home.root / "sent.wgw"
    for path in (waiting, elsewhere):
        path.write_bytes(plant.package(heads, key=key))
        path.with_suffix(".key").write_text(signing.public_bytes(key.public_key()).hex())
    with pytest.raises(VerificationError, match="signature"):
        receive_package(plant.home, elsewhere)
    applied = receive_package(plant.home, waiting)
    assert isinstance(applied, AppliedModel) and applied.keeps_delivered_model
