"""The contribution file: round trips; lies about the cost and flipped bytes are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.events import dp_sgd_event, gaussian_event
from wg_core.wire import canonical, container, protocol, signing
from wg_core.wire import contribution_file as cf
from wg_core.wire import tensors as tensors_files

KEY = signing.generate()
PUBLIC = KEY.public_key()
TENSORS = {
    "head.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head.bias": np.zeros(2, dtype=np.float32),
}
BODY = tensors_files.pack(TENSORS)


def manifest(body: bytes = BODY, **changes: Any) -> cf.ContributionManifest:
    fields: dict[str, Any] = {
        "site": "plant-a",
        "dataset": "line-3",
        "request_id": "r-1",
        "contribution_id": "00ff",
        "architecture": "lite0-head",
        "plan": "head",
        "encoder": "ab" * 32,
        "labels": ("good", "scratch"),
        "event": dp_sgd_event(0.05, 2.0, 20),
        "sampler": "poisson/os-csprng",
        "epsilon": "1.0",
        "delta": "1e-05",
        "purpose": "zoo",
        "tensors_sha256": canonical.sha256_hex(body),
    }
    return cf.ContributionManifest(**(fields | changes))


def signed(record: Any, body: bytes) -> bytes:
    """A file with a valid signature, whatever it says."""
    text = canonical.encode(record)
    signature = signing.sign(KEY, cf.SIGNATURE_CONTEXT, text)
    parts = {"manifest": text, "signature": signature, "tensors": body}
    return container.encode(protocol.CONTRIBUTION_KIND, 1, parts)


def test_a_contribution_comes_back_as_it_was() -> None:
    data = cf.encode_contribution(manifest(), BODY, KEY)
    found, tensors = cf.decode_contribution(data, PUBLIC)
    assert found == manifest()
    assert tensors.keys() == TENSORS.keys()
    assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert cf.encode_contribution(found, tensors_files.pack(tensors), KEY) == data


def test_every_flipped_byte_is_found() -> None:
    data = cf.encode_contribution(manifest(), BODY, KEY)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x80
        with pytest.raises((DecodeError, VerificationError)):
            cf.decode_contribution(bytes(broken), PUBLIC)


def test_another_sites_signature_does_not_hold() -> None:
    data = cf.encode_contribution(manifest(), BODY, signing.generate())
    with pytest.raises(VerificationError, match="signature"):
        cf.decode_contribution(data, PUBLIC)


def test_tensors_that_the_manifest_does_not_name_are_refused() -> None:
    other = tensors_files.pack({"x": np.ones(1, np.float32)})
    with pytest.raises(VerificationError, match="tensors"):
        cf.encode_contribution(manifest(), other, KEY)
    with pytest.raises(VerificationError, match="tensors"):
        cf.decode_contribution(signed(manifest(), other), PUBLIC)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": dp_sgd_event(0.05, 0.5, 20)},
        {"event": dp_sgd_event(0.05, 2.0, 2000)},
        {"event": dp_sgd_event(0.05, 0.01, 1)},
        {"epsilon": "0.001"},
        {"delta": "1.0"},
        {"delta": "0"},
    ],
    ids=str,
)
def test_a_run_that_costs_more_than_claimed_is_refused_on_both_sides(
    changes: dict[str, Any],
) -> None:
    record = manifest(**changes)
    with pytest.raises(VerificationError, match="cost"):
        cf.encode_contribution(record, BODY, KEY)
    with pytest.raises(VerificationError, match="cost"):
        cf.decode_contribution(signed(record, BODY), PUBLIC)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("site name", {"site": "A"}),
        ("architecture", {"architecture": ""}),
        ("sampler", {"sampler": ""}),
        ("labels", {"labels": ()}),
        ("labels", {"labels": ("a", "a")}),
        ("event", {"event": gaussian_event(1, 10.0)}),
        ("epsilon", {"epsilon": "inf"}),
        ("delta", {"delta": "-1"}),
        ("purpose", {"purpose": "x" * 5000}),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match=field):
        manifest(**changes)
    plain = canonical.to_builtins(manifest()) | canonical.to_builtins(changes)
    with pytest.raises(DecodeError, match=field):
        cf.decode_contribution(signed(plain, BODY), PUBLIC)


BODIES: list[bytes] = [
    b"not safetensors",
    safetensors.numpy.save({}),
    safetensors.numpy.save({"x": np.full(2, np.nan, np.float32)}),
    safetensors.numpy.save({"x": np.ones(2, np.float64)}),
    safetensors.numpy.save({"x": np.ones(2, np.float16)}),
]


@pytest.mark.parametrize("body", BODIES, ids=["noise", "empty", "nan", "float64", "float16"])
def test_tensors_that_are_not_finite_float32_are_refused(body: bytes) -> None:
    with pytest.raises(DecodeError, match="contribution"):
        cf.decode_contribution(signed(manifest(body), body), PUBLIC)
