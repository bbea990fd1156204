"""Weights packages: signed, hashed, finite, and nothing that is not named."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import pytest
import safetensors.numpy

from wg_common import signing, weights_package
from wg_common.errors import DecodeError, VerificationError
from wg_common.weights_package import Candidate, WeightsManifest

KEY = signing.generate()


def single(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def manifest(tensors: bytes, names: tuple[str, ...] = ("mean", "base")) -> WeightsManifest:
    return WeightsManifest(
        package_id="00" * 16,
        request_id="r1",
        site="plant-a",
        architecture="lite0-head",
        plan="head",
        encoder="11" * 32,
        generator="22" * 32,
        labels=("ok", "scratch"),
        own_release="33" * 16,
        memory_releases=(),
        candidates=tuple(Candidate(name=n, source="base", nearest_zoo_distance="1") for n in names),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
        created=1,
        expires=2,
    )


def heads(names: tuple[str, ...] = ("mean", "base")) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {n: {"head.weight": rng.normal(size=(2, 4)).astype(np.float32)} for n in names}


def package(tensors: bytes) -> bytes:
    return weights_package.encode(manifest(tensors), tensors, KEY)


def test_candidates_come_back_bit_for_bit() -> None:
    given = heads()
    tensors = weights_package.pack_tensors(given)
    found_manifest, found = weights_package.decode(package(tensors), KEY.public_key())
    assert found_manifest == manifest(tensors)
    for name, parts in given.items():
        for part, value in parts.items():
            np.testing.assert_array_equal(found[name][part], value)


def test_every_flipped_byte_is_found() -> None:
    data = package(weights_package.pack_tensors(heads()))
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x41
        with pytest.raises((DecodeError, VerificationError)):
            weights_package.decode(bytes(flipped), KEY.public_key())


def test_another_servers_package_is_refused() -> None:
    data = package(weights_package.pack_tensors(heads()))
    with pytest.raises(VerificationError, match="signature"):
        weights_package.decode(data, signing.generate().public_key())


@pytest.mark.parametrize(
    ("tensors", "want_error"),
    [
        ({"mean/w": single([np.nan]), "base/w": single([0])}, "finite"),
        ({"mean/w": np.array([1], np.float64), "base/w": single([0])}, "float32"),
        ({"mean/w": single([1]), "other/w": single([0])}, "no candidate"),
        ({"mean/w": single([1])}, "without tensors: base"),
        ({"mean": single([1]), "base/w": single([0])}, "no candidate"),
    ],
)
def test_tensors_that_nobody_asked_for_are_refused(
    tensors: Mapping[str, np.ndarray], want_error: str
) -> None:
    data = package(safetensors.numpy.save(dict(tensors)))
    with pytest.raises(DecodeError, match=want_error):
        weights_package.decode(data, KEY.public_key())


def test_signed_bytes_that_are_no_safetensors_are_refused() -> None:
    with pytest.raises(DecodeError, match="not a safetensors"):
        weights_package.decode(package(b"nonsense"), KEY.public_key())


def test_a_manifest_without_or_with_repeated_candidates_is_refused() -> None:
    tensors = weights_package.pack_tensors(heads())
    for names in ((), ("a", "a"), ("a/b",), ("",)):
        with pytest.raises(DecodeError, match="candidate"):
            manifest(tensors, names)
    with pytest.raises(DecodeError, match="version"):
        dataclasses.replace(manifest(tensors), version=2)


def test_tensors_other_than_the_manifests_are_not_signed() -> None:
    tensors = weights_package.pack_tensors(heads())
    with pytest.raises(VerificationError, match="hash to"):
        weights_package.encode(manifest(tensors), tensors + b"\0", KEY)
