"""Norms that each site standardises: what they take out, and that one site's are plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.common.nets.random_tensors import draw_trunk

from wg_common.inference.family_head import FamilyHead, NetworkHead
from wg_common.nets import network, site_norms
from wg_common.nets.site_norms import ChannelScale, NormModulation, TrunkSiteNorms

NET = "lite0-low"
RANK = network.network_kind(NET).modulation_rank


def _batch(n: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    records = list(rng.integers(0, 256, (n, 24, 24, 3)).astype(np.uint8))
    return network.trunk_input(torch.from_numpy(network.prepare_batch(NET, records)))


def _tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = draw_trunk(NET, rng)
    return {
        name: value + rng.normal(0, 0.2, value.shape).astype(np.float32) * (value.ndim == 1)
        for name, value in found.items()
    }


def _modulated(norms: TrunkSiteNorms, seed: int = 5) -> NormModulation:
    """One that has learnt something."""
    rng = np.random.default_rng(seed)
    found = NormModulation(norms.norms[0].channels, _size(), RANK, rng)
    with torch.no_grad():
        found.outer.copy_(torch.from_numpy(rng.normal(0, 0.1, found.outer.shape)))
    norms.set_modulation(found)
    return found


def _size() -> int:
    return site_norms.network_head_shapes(NET)["norms"][1]


def _head(typical: np.ndarray, modulation: NormModulation | None = None) -> NetworkHead:
    """At rest but for norms."""
    further = {name: np.zeros(shape) for name, shape in site_norms.network_head_shapes(NET).items()}
    if modulation is not None:
        further |= {k: v.detach().numpy() for k, v in modulation.named_parameters()}
    plain = FamilyHead(np.zeros((2, 64)), np.ones(1), np.zeros((2, 64)), np.zeros(2))
    own = (plain.reference, plain.records, plain.weight, plain.bias)
    return NetworkHead(*own, **{**further, "norms": typical})


def test_what_is_sent_has_the_size_of_the_trunk_s_norms() -> None:
    trunk = network.build_trunk(NET)
    plain = [module for module in trunk.modules() if isinstance(module, ChannelScale)]
    total, first = sum(len(norm.weight) for norm in plain), len(plain[0].weight)
    assert site_norms.network_head_shapes(NET) == {
        "norms": (2, total),
        "inner": (RANK, 2 * first + 1),
        "outer": (2 * total, RANK + 1),
    }
    names = list(trunk.state_dict())
    assert len(site_norms.install_site_norms(trunk).norms) == len(plain) > 0
    assert list(trunk.state_dict()) == names


@pytest.mark.parametrize("changed", [False, True])
def test_folded_at_a_site_plain_norms_do_what_site_norms_did_there(changed: bool) -> None:
    tensors, batch = _tensors(), _batch(12, 3)
    trunk = network.load_trunk(NET, tensors)
    norms = site_norms.install_site_norms(trunk)
    with torch.no_grad():
        before = trunk(batch)
        if changed:
            _modulated(norms)
        seen = trunk(batch)
    assert torch.allclose(before, seen) != changed
    site = norms.site_moments()
    norms.merge_site_statistics(site)
    plain = network.load_trunk(NET, network.trunk_tensors(trunk))
    with torch.inference_mode():
        torch.testing.assert_close(plain(batch), seen, atol=1e-3, rtol=1e-3)
    norms.undo_merge(site)
    for name, value in network.trunk_tensors(trunk).items():
        np.testing.assert_allclose(value, tensors[name], atol=1e-5)


def test_a_modulation_that_has_learnt_nothing_changes_nothing_whatever_sites_were_seen() -> None:
    trunk, batch = network.load_trunk(NET, _tensors()), _batch(12, 3)
    norms = site_norms.install_site_norms(trunk)
    with torch.no_grad():
        before = trunk(batch)
        channels = norms.norms[0].channels
        found = NormModulation(channels, _size(), RANK, np.random.default_rng(1))
        seen = torch.from_numpy(np.random.default_rng(2).normal(3, 2, (9, 2, channels))).float()
        raw = found.inner[:, :-1].clone()
        found.fit_standardisation(seen)
        norms.set_modulation(found)
        torch.testing.assert_close(trunk(batch), before)
    flat = seen.flatten(1)
    alike = (flat - flat.mean(dim=0)) / (flat.std(dim=0) + 0.05)
    inner = flat @ found.inner[:, :-1].T + found.inner[:, -1]
    torch.testing.assert_close(inner - inner.mean(dim=0), alike @ raw.T, atol=1e-4, rtol=1e-4)


def test_a_site_makes_its_own_trunk_of_that_for_a_typical_one() -> None:
    """Whatever site is called typical, it is the same."""
    tensors, batch = _tensors(), _batch(12, 3)
    made = []
    for seed in (5, 6):
        trunk = network.load_trunk(NET, tensors)
        norms = site_norms.install_site_norms(trunk)
        modulation = _modulated(norms)
        typical = np.random.default_rng(seed).normal(0, 0.3, (2, _size()))
        norms.merge_site_statistics(typical)
        sent = network.trunk_tensors(trunk)
        made.append(site_norms.adapt_trunk_to_site(NET, sent, _head(typical, modulation), batch))
    assert made[0].keys() == tensors.keys()
    for name in tensors:
        np.testing.assert_allclose(made[0][name], made[1][name], atol=1e-4)


def test_sites_of_one_batch_are_standardised_and_changed_apart() -> None:
    trunk = network.load_trunk(NET, _tensors())
    norms = site_norms.install_site_norms(trunk)
    _modulated(norms)
    one, other = _batch(6, 1), _batch(6, 2) * 0.2
    with torch.no_grad():
        each = torch.cat([trunk(one), trunk(other)])
        with norms.site_batches(2):
            both = trunk(torch.cat([one, other]))
        assert [norm.sites for norm in norms.norms] == [1] * len(norms.norms)
    torch.testing.assert_close(both, each, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 3), (1000, 256)])
def test_no_more_records_are_measured_than_are_enough(count: int, rows: int) -> None:
    found = site_norms.measured_rows(count)
    assert len(found) == rows
    assert found[0] == 0
    assert found[-1] == count - 1
