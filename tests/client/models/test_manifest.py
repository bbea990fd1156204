"""Manifests of earlier versions still open, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.client.conftest import LABELS, MakePlant, pictures

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import adoption, predict, store
from wg_client.models import manifest as manifests
from wg_client.models.manifest import KEPT
from wg_client.selection.apply import apply_package
from wg_common import atomic
from wg_common.errors import DecodeError
from wg_common.wire import canonical

WRITTEN = Path(__file__).with_name("manifest_v1.json")
"""Written by version 1 of this program."""


def _decode(data: bytes) -> manifests.ModelsManifest:
    return manifests.decode(data, what="manifest.json", limit=1 << 20)


def test_a_manifest_of_version_1_opens_with_its_evidence_as_findings() -> None:
    found = _decode(WRITTEN.read_bytes())
    assert found.version == manifests.VERSION
    assert found.kept == "closed-form-finetuned" and found.accepted
    assert found.entry(KEPT).accuracy == 1 and found.entry("local-only").origin == ""
    finding = next(item for item in found.findings if item.model == found.kept)
    assert (finding.code, finding.passed) == ("WG-F01", True)
    assert finding.figures["gain"] == found.gain
    assert finding.figures["log_loss_gain"] == 0 < finding.figures["lower"]
    assert {item.model for item in found.findings} == {
        "dp-closed-form",
        "generated",
        "closed-form-finetuned",
        "generated-finetuned",
    }


def test_what_is_written_is_read_again() -> None:
    found = _decode(WRITTEN.read_bytes())
    assert _decode(canonical.encode(found)) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":2'),  # its fields are not those of version 2
        (b'"version":1', b'"version":3'),
        (b'"version":1', b'"version":4'),
        (b'"version":1', b'"version":"1"'),
        (b'"version":1', b'"version":1,"version":1'),
        (b'"gain":', b'"extra":0,"gain":'),
        (b'"nats":0,', b""),
    ],
)
def test_a_manifest_that_is_of_no_version_is_refused(old: bytes, new: bytes) -> None:
    data = WRITTEN.read_bytes()
    assert old in data
    with pytest.raises(DecodeError, match=r"manifest"):
        _decode(data.replace(old, new))


def test_an_unknown_version_is_named() -> None:
    found = canonical.encode(_decode(WRITTEN.read_bytes()))
    with pytest.raises(DecodeError, match="version 7, expected 3"):
        _decode(found.replace(b'"version":3', b'"version":7'))


def test_every_finding_of_version_2_blocks() -> None:
    new = _decode(WRITTEN.read_bytes())
    old = canonical.to_builtins(new) | {"version": 2}
    del old["sure"], old["novelty"]
    old["findings"] = [
        {key: value for key, value in item.items() if key != "action"} for item in old["findings"]
    ]
    found = _decode(canonical.encode(old))
    assert found == new and {finding.action for finding in found.findings} == {"block"}


def test_a_home_of_version_1_predicts_and_takes_the_next_package(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant({0: 4, 1: 4})
    new = apply_package(plant.home, plant.package({"s": (good_head, "diffusion")})).manifest
    evidence = [item for item in new.findings if item.code == "WG-F01"]
    old = canonical.to_builtins(new) | {
        "version": 1,
        "evidence": [
            {
                "name": item.model,
                "accepted": item.passed,
                "nats": item.figures["log_loss_gain"],
                **{key: item.figures[key] for key in ("gain", "sd", "unseen_recall")},
                "lower": 0.0,
            }
            for item in evidence
        ],
    }
    del old["findings"], old["sure"], old["novelty"]
    path = store.folder(plant.home, new.package_id) / store.MANIFEST
    atomic.write_bytes(path, canonical.encode(old), mode=atomic.PRIVATE)
    manifest, model = adoption.in_use(plant.home)
    assert model == new.kept
    assert [(f.model, f.passed, f.figures["gain"]) for f in manifest.findings] == [
        (f.model, f.passed, f.figures["gain"]) for f in evidence
    ]
    np.savez(
        path.parent / "new.npz",
        x=pictures(np.random.default_rng(3), 1, 4),
        y=np.ones(4, dtype=np.int64),
        classes=np.array(LABELS),
    )
    data = predict.load_records(path.parent / "new.npz", LABELS, split=None)
    features = predict.encode_records(plant.home, manifest, data)
    assert len(predict.predict(plant.home, manifest, KEPT, features, data.names)) == 4
    assert apply_package(plant.home, plant.package({"s": (good_head, "network")})).accepted
    assert len(store.all_manifests(plant.home)) == 2
