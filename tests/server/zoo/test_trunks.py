"""An encoder stands on the trunks that the plan names, from files or by name, by one seam."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.common.nets.onnx_models import WIDTH, encoder_file
from tests.common.nets.test_trial import HOSTILE_FILES

from wg_common.nets.encoder import confined_trunk, image_trunk, package
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core import yaml_settings
from wg_core.errors import ConfigError, DataError, DecodeError, VerificationError, WgError
from wg_server.site.home import ServerHome
from wg_server.zoo import trunks
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import EncoderPlan, ZooPlan
from wg_server.zoo.store import ZooStore

PLAN = b"""
seed: 3
encoder:
  pixels: 64
  dimension: 8
  records: 64
  trunks:
    - {name: pooled, file: FILE, sha256: HASH, pixels: 32, licence: MIT}
    - {name: efficientnet-lite0-two-scales}
sources:
  - {kind: procedural, families: 2, sites: 2, per_class: 8, only: digits}
"""


def plan(folder: Path, graph: Any = None) -> ZooPlan:
    kind = encoder_file(graph)
    path = folder / "pooled.onnx"
    path.write_bytes(kind.file_bytes)
    text = PLAN.replace(b"FILE", str(path).encode()).replace(b"HASH", kind.digest().encode())
    return yaml_settings.parse_yaml(text, ZooPlan, "plan")


def chosen(read: ZooPlan, *trunks: TrunkChoice) -> ZooPlan:
    return dataclasses.replace(read, encoder=dataclasses.replace(read.encoder, trunks=trunks))


Built = tuple[ServerHome, ZooPlan]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A home with the zoo of a plan; the tests only read it."""
    folder = tmp_path_factory.mktemp("trunks")
    home, read = ServerHome(folder / "home"), plan(folder)
    build_zoo(home, read, workers=1, progress=lambda *_: None)
    return home, read


def test_a_zoo_stands_on_a_file_and_lite0_is_a_further_trunk(built: Built) -> None:
    home, read = built
    data = home.encoder_file.read_bytes()
    encoder = load_encoder(data)
    lite0 = image_trunk.ImageTrunk.local_block_sizes
    assert (
        encoder.local_block_sizes
        == (WIDTH, *lite0)
        == package.unpack_encoder(data).local_block_sizes
    )
    assert encoder.trunk_block_counts == (1, 3) == package.unpack_encoder(data).trunk_block_counts
    assert (encoder.dimension, encoder.scaled_dimension) == (8, 24)
    assert encoder.local_dimension == 24 + WIDTH + sum(lite0)
    rng = np.random.default_rng(4)
    images = list(rng.integers(0, 256, (3, 40, 50, 3), dtype=np.uint8))
    alone = encoder.encode_local(images)
    assert alone.shape == (3, encoder.local_dimension)
    np.testing.assert_array_equal(encoder.encode_local(images[::-1])[::-1], alone)
    np.testing.assert_array_equal(encoder.encode(images), alone[:, :8])
    np.testing.assert_allclose(encoder.encode_local_batched(images), alone, atol=1e-3, rtol=1e-3)
    assert len(list(ZooStore(home.zoo_folder).read_entries(encoder.id))) == 4
    assert build_zoo(home, read, workers=1, progress=lambda *_: None).encoder == encoder.id


def test_other_hashes_and_names_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    read = plan(tmp_path)
    good = read.encoder.trunks[0]
    with pytest.raises(VerificationError, match="SHA-256"):
        trunks.read_plan_trunks(chosen(read, dataclasses.replace(good, sha256="0" * 64)))
    with pytest.raises(DataError, match="cannot be read"):
        trunks.read_plan_trunks(
            chosen(read, dataclasses.replace(good, file=str(tmp_path / "none")))
        )
    with pytest.raises(ConfigError, match="of images there are efficientnet-lite0-two-scales"):
        trunks.read_plan_trunks(chosen(read, TrunkChoice(name="dinov2")))
    windows = dataclasses.replace(read.sources[0], kind="procedural-windows", only="")
    with pytest.raises(ConfigError, match="of sensor windows none is read from a file"):
        trunks.read_plan_trunks(
            ZooPlan(
                seed=3,
                architecture="window-head",
                sources=(windows,),
                encoder=EncoderPlan(trunks=(good,)),
            )
        )


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_hostile_file_is_refused_by_what_it_does(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, message, seconds = HOSTILE_FILES[name]
    monkeypatch.setattr(confined_trunk, "WALL_SECONDS_LIMIT", seconds)
    with pytest.raises(WgError, match=message) as refused:
        trunks.read_plan_trunks(plan(tmp_path, graph()))
    assert refused.value.exit_code == 3


def test_a_package_whose_trunks_are_not_what_it_says_is_refused(built: Built) -> None:
    data = built[0].encoder_file.read_bytes()
    for old, new in ((b"pooled", b"poodle"), (b"file-0", b"file-1"), (b":48}", b":47}")):
        assert old in data
        with pytest.raises((DecodeError, VerificationError)):
            load_encoder(data.replace(old, new, 1))
