"""A better package is one that says a fifth more, and nothing else is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.generator.conftest import ENCODER, World, generator, world, zoo_tasks

from wg_common import weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.wire import canonical, signing
from wg_server.campaigns.package_comparison import is_more_informative
from wg_server.generator.prior import evidence_pools
from wg_server.generator.weights import head_generation
from wg_server.generator.weights.head_generation import HeadGenerator

__all__ = ["generator", "world", "zoo_tasks"]

LABELS = ("c0", "c1", "c2", "c3")


@pytest.fixture
def packages(generator: HeadGenerator, world: World) -> dict[int, bytes]:
    """What a plant is sent of 0, 4, 5 and 40 other sites, by their number."""
    releases = [world.release(3, site, epsilon=1.0, shots=20) for site in range(40)]
    return {
        count: _package(
            generator,
            evidence_pools.pools_of_releases(generator.package.priors, None, releases[:count]),
        )
        for count in (0, 4, 5, 40)
    }


def _package(generator: HeadGenerator, pools: list[evidence_pools.EvidencePool]) -> bytes:
    made = head_generation.generate_heads(generator, pools, LABELS)
    tensors = weights_package.pack_tensors({c.name: c.tensors for c in made})
    manifest = WeightsManifest(
        package_id="ab" * 16,
        request_id="cd" * 16,
        site="plant-a",
        encoder=ENCODER,
        generator=generator.id,
        labels=LABELS,
        own_release="",
        pool_root="",
        pool_releases=0,
        candidates=tuple(
            Candidate(name=c.name, source=c.source, architecture="lite0-head") for c in made
        ),
        tensors_sha256=canonical.sha256_hex(tensors),
        created=1,
        expires=2,
    )
    return weights_package.encode_package(manifest, tensors, signing.generate_key())


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [(0, 4, True), (4, 40, True), (4, 4, False), (40, 40, False), (40, 5, False)],
)
def test_it_takes_a_fifth_of_the_posterior_variance(
    tmp_path: Path, packages: dict[int, bytes], before: int, after: int, more: bool
) -> None:
    sent = tmp_path / "sent.wgw"
    sent.write_bytes(packages[before])
    assert is_more_informative(sent, packages[after]) is more


def test_one_more_of_forty_says_nothing_else(
    tmp_path: Path, generator: HeadGenerator, world: World
) -> None:
    releases = [world.release(3, site, epsilon=1.0, shots=20) for site in range(41)]
    fewer, all_of_them = (
        _package(
            generator,
            evidence_pools.pools_of_releases(generator.package.priors, None, releases[:count]),
        )
        for count in (40, 41)
    )
    sent = tmp_path / "sent.wgw"
    sent.write_bytes(fewer)
    assert not is_more_informative(sent, all_of_them)


def test_where_it_cannot_be_told_it_is_sent(tmp_path: Path, packages: dict[int, bytes]) -> None:
    assert is_more_informative(tmp_path / "gone.wgw", packages[4])
    other = tmp_path / "networks.wgw"
    other.write_bytes(b"of another kind")
    assert is_more_informative(other, packages[4])
