"""Norms that each site standardises: what they take out, and that one site's are plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from wg_common.nets import network, site_norms

NET = "cnn-s"


def _batch(n: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    records = list(rng.integers(0, 256, (n, 24, 24, 3)).astype(np.uint8))
    return network.as_input(torch.from_numpy(network.prepared(NET, records)))


def _tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = network.draw_trunk(NET, rng)
    return {
        name: value + rng.normal(0, 0.2, value.shape).astype(np.float32) * (value.ndim == 1)
        for name, value in found.items()
    }


def test_channels_are_those_of_the_trunk_s_group_norms() -> None:
    trunk = network.build_trunk(NET)
    plain = [module for module in trunk.modules() if isinstance(module, nn.GroupNorm)]
    assert site_norms.channels(NET) == sum(norm.num_channels for norm in plain) > 0
    names = list(trunk.state_dict())
    assert len(site_norms.install(NET, trunk)) == len(plain)
    assert list(trunk.state_dict()) == names


@pytest.mark.parametrize("other", ["cnn1d-s", "lite0"])
def test_sites_standardise_no_norms_of_other_architectures(other: str) -> None:
    assert site_norms.channels(other) == 0
    assert site_norms.install(other, network.build_trunk(other)) == []
    assert site_norms.measured([]).shape == (2, 0)


def test_folded_at_a_site_plain_norms_do_what_site_norms_did_there() -> None:
    tensors, batch = _tensors(), _batch(12, 3)
    trunk = network.load_trunk(NET, tensors)
    norms = site_norms.install(NET, trunk)
    with torch.inference_mode():
        seen = trunk(batch)
    site = site_norms.measured(norms)
    site_norms.fold(norms, site)
    plain = network.load_trunk(NET, network.trunk_tensors(trunk))
    with torch.inference_mode():
        torch.testing.assert_close(plain(batch), seen, atol=1e-3, rtol=1e-3)
    site_norms.unfold(norms, site)
    for name, value in network.trunk_tensors(trunk).items():
        np.testing.assert_allclose(value, tensors[name], atol=1e-5)


def test_a_site_makes_its_own_trunk_of_that_for_a_typical_one() -> None:
    """Whatever site is called typical, it is the same."""
    tensors, batch = _tensors(), _batch(12, 3)
    trunk = network.load_trunk(NET, tensors)
    norms = site_norms.install(NET, trunk)
    rng = np.random.default_rng(5)
    typical = rng.normal(0, 0.3, (2, site_norms.channels(NET)))
    site_norms.fold(norms, typical)
    sent = network.trunk_tensors(trunk)
    made = site_norms.at_site(NET, sent, typical, batch)
    rest = np.zeros_like(typical)
    same = site_norms.at_site(NET, tensors, rest, batch)
    assert made.keys() == tensors.keys()
    for name in made:
        np.testing.assert_allclose(made[name], same[name], atol=1e-4)


def test_brightness_and_contrast_of_a_site_are_taken_out() -> None:
    tensors = _tensors()
    batch = _batch(24, 4)
    dimmed = 40 + 0.3 * batch
    rest = np.zeros((2, site_norms.channels(NET)))

    def seen(of: torch.Tensor) -> np.ndarray:
        trunk = network.load_trunk(NET, site_norms.at_site(NET, tensors, rest, of))
        with torch.inference_mode():
            return np.asarray(trunk(of).numpy())

    def plain(of: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(network.load_trunk(NET, tensors)(of).numpy())

    moved, before = np.abs(seen(dimmed) - seen(batch)), np.abs(plain(dimmed) - plain(batch))
    assert moved.mean() < before.mean() / 2


def test_sites_of_one_batch_are_standardised_apart() -> None:
    trunk = network.load_trunk(NET, _tensors())
    norms = site_norms.install(NET, trunk)
    one, other = _batch(6, 1), _batch(6, 2) * 0.2
    with torch.inference_mode():
        each = torch.cat([trunk(one), trunk(other)])
        with site_norms.together(norms, 2):
            both = trunk(torch.cat([one, other]))
        assert [norm.sites for norm in norms] == [1] * len(norms)
    torch.testing.assert_close(both, each, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 3), (1000, 256)])
def test_no_more_records_are_measured_than_are_enough(count: int, rows: int) -> None:
    found = site_norms.some(count)
    assert len(found) == rows
    assert found[0] == 0
    assert found[-1] == count - 1
