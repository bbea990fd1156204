"""A large package is applied from its file, and comes to the same as from its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.conftest import MakePlant

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import take_package
from wg_common import weights_file
from wg_core.errors import ConfigError, VerificationError
from wg_core.wire import protocol


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "INLINE_LIMIT", 100)

    def whole(*words: object, **named: object) -> object:
        pytest.fail("a large package was held in memory")

    monkeypatch.setattr(weights_file, "decode", whole)


def test_a_large_package_is_applied_from_its_file(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    path = tmp_path / "package.wgw"
    path.write_bytes(plant.package({"sample-0": (good_head, "diffusion")}))
    applied = take_package(plant.home, path)
    assert applied.accepted and not applied.already
    kept = plant.home.packages / f"{applied.manifest.package_id}.wgw"
    assert kept.read_bytes() == path.read_bytes() and kept.stat().st_mode & 0o077 == 0
    assert take_package(plant.home, path).already


def test_a_large_package_with_a_flipped_byte_is_refused(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    plant = make_plant()
    data = bytearray(plant.package({"sample-0": (good_head, "diffusion")}))
    data[-1] ^= 1
    path = tmp_path / "package.wgw"
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="hash"):
        take_package(plant.home, path)
    assert not plant.home.packages.exists()


def test_a_package_that_is_not_there_says_so(make_plant: MakePlant, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.wgw"):
        take_package(make_plant().home, tmp_path / "gone.wgw")
