import numpy as np
import pytest
import torch
from tests.common.nets.random_tensors import initial_tensors

from wg_common.nets import assembly, tensor_set
from wg_common.nets.encoder import image_trunk
from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import ConfigError, DecodeError


@pytest.fixture(scope="module")
def encoder() -> encoders.Encoder:
    raw = np.random.default_rng(0).normal(size=(80, image_trunk.FEATURE_COUNT)).astype(np.float32)
    return encoders.load_encoder(
        fit_encoder(raw, np.arange(80) % 4, dimension=8, trunk_settings={"pixels": "64"})
    )


def test_the_model_is_the_head_on_the_features(encoder: encoders.Encoder) -> None:
    rng = np.random.default_rng(1)
    tensors = initial_tensors("lite0-head", 3, 8, rng)
    model = assembly.build_head_model("lite0-head", encoder, tensors, ["a", "b", "c"])
    images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    features = encoder.encode(list(images))
    expected = features @ tensors["head.weight"].T + tensors["head.bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_initial_tensors_depend_on_the_seed_alone() -> None:
    one, two = (initial_tensors("lite0-head", 3, 8, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "change",
    [
        {"head.weight": np.zeros((2, 8), np.float32)},
        {"head.bias": np.zeros(3)},
        {"head.bias": np.full(3, np.nan, np.float32)},
        {"spare": np.zeros(1, np.float32)},
    ],
)
def test_tensors_of_another_form_are_refused(change: dict[str, np.ndarray]) -> None:
    good = initial_tensors("lite0-head", 3, 8, np.random.default_rng(0))
    with pytest.raises(DecodeError, match="lite0-head"):
        tensor_set.check_tensors("lite0-head", {**good, **change}, 3, 8)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ConfigError, match="'vast'"):
        tensor_set.tensor_shapes("vast", 2, 2)
