"""The first blocks of EfficientNet-Lite0 beside heads: they are ImageNet's before training."""

from __future__ import annotations

import numpy as np
import torch

from wg_common import catalogue
from wg_common.nets import lite0_low, network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.site_norms import ChannelScale

NAME = "lite0-low"


def _images(n: int = 8) -> torch.Tensor:
    rng = np.random.default_rng(3)
    records = list(rng.integers(0, 256, (n, 64, 64, 3)).astype(np.uint8))
    return network.trunk_input(torch.from_numpy(network.prepare_batch(NAME, records)).float())


def test_with_imagenet_s_own_statistics_it_is_the_encoder_s_lower_half() -> None:
    trunk = network.load_trunk(NAME, lite0_low.imagenet_tensors())
    public = trunks.imagenet_network()
    published = [public._bn0]
    for block in public._blocks[:8]:
        names = ("_bn0", "_bn1", "_bn2")
        published += [getattr(block, name) for name in names if hasattr(block, name)]
    own = [module for module in trunk.modules() if isinstance(module, ChannelScale)]
    with torch.no_grad():
        for scale, norm in zip(own, published, strict=True):
            scale.weight.div_((norm.running_var + norm.eps).sqrt())
            scale.bias.sub_(scale.weight * norm.running_mean)
        found = trunk(_images())
        stages = trunks.FusedLite0()(_images())
    first, start = {}, 0
    for block, channels in trunks.STAGE_CHANNELS.items():
        first[block], start = (start, start + 2 * channels), start + 2 * channels
    expected = torch.cat(
        [stages[:, slice(*first[block])] for block in lite0_low.FEATURE_BLOCK_INDICES], dim=1
    )
    assert found.shape == (8, lite0_low.FEATURE_COUNT)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_folded_at_a_site_plain_norms_do_what_site_norms_did_there() -> None:
    trunk, batch = network.load_trunk(NAME, lite0_low.imagenet_tensors()), _images(12)
    norms = site_norms.install_site_norms(trunk)
    with torch.no_grad():
        seen = trunk(batch)
    site = norms.site_moments()
    assert site.shape == site_norms.network_head_shapes(NAME)["norms"]
    norms.merge_site_statistics(site)
    plain = network.load_trunk(NAME, network.trunk_tensors(trunk))
    with torch.inference_mode():
        torch.testing.assert_close(plain(batch), seen, atol=1e-3, rtol=1e-3)
        # What was moved to another brightness and contrast comes back.
        moved = plain(_images(12) * 0.5 + 40)
    other = lite0_low.imagenet_tensors()
    again = network.load_trunk(NAME, other)
    norms = site_norms.install_site_norms(again)
    with torch.no_grad():
        back = again(_images(12) * 0.5 + 40)
    assert (back - seen).abs().mean() < (moved - seen).abs().mean() / 2


def test_nobody_can_ask_for_it_as_a_whole_network() -> None:
    assert NAME not in catalogue.architectures()
    assert catalogue.find_network(NAME).module
    assert network.feature_count(NAME) == lite0_low.FEATURE_COUNT
