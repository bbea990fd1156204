"""Weights packages: signed, hashed, finite, nothing unnamed; from bytes and from files."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import safetensors.numpy

from wg_common import weights_file, weights_package
from wg_common.inference.hostile_tensors import Tensors
from wg_common.weights_package import Candidate, GeneratorCondition, WeightsManifest
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.wire import container, signing
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT
from wg_core.wire.signing import PublicKey

KEY = signing.generate_key()
ONE = np.ones(1, np.float32)

Read = Callable[[bytes, PublicKey], tuple[WeightsManifest, Mapping[str, Tensors]]]


@pytest.fixture
def read() -> Read:
    return weights_file.decode_weights_package


def single(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def half(values: list[float]) -> np.ndarray:
    return np.array(values, np.float16)


def manifest(tensors: bytes, names: tuple[str, ...] = ("mean", "base")) -> WeightsManifest:
    return WeightsManifest(
        package_id="00" * 16,
        request_id="r1",
        site="plant-a",
        encoder="11" * 32,
        generator="22" * 32,
        labels=("ok", "scratch"),
        own_release="33" * 16,
        pool_root="",
        pool_releases=0,
        candidates=tuple(
            Candidate(name=n, source="diffusion", architecture="lite0-head") for n in names
        ),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
        created=1,
        expires=2,
    )


def heads(names: tuple[str, ...] = ("mean", "base")) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {n: {"head.weight": rng.normal(size=(2, 4)).astype(np.float32)} for n in names}


def package(tensors: bytes) -> bytes:
    return weights_package.encode_package(manifest(tensors), tensors, KEY)


def test_candidates_come_back_bit_for_bit(read: Read) -> None:
    given = heads()
    tensors = weights_package.pack_tensors(given)
    found_manifest, found = read(package(tensors), KEY.public_key())
    assert found_manifest == manifest(tensors)
    for name, parts in given.items():
        for part, value in parts.items():
            np.testing.assert_array_equal(found[name][part], value)


def test_half_precision_takes_half_the_bytes_and_is_read_as_float32(read: Read) -> None:
    given = {"mean": {"w": half([1, -65504, 6e-8])}, "base": {"w": single([1 / 3])}}
    body = weights_package.pack_tensors(given)
    assert len(weights_package.pack_tensors({"a": {"w": half([0] * 1000)}})) < 2200
    _, found = read(package(body), KEY.public_key())
    for name, parts in given.items():
        assert found[name]["w"].dtype == np.float32
        np.testing.assert_array_equal(found[name]["w"], parts["w"].astype(np.float32))


@pytest.mark.parametrize("checkpoint", [b"", b"note\n"])
def test_every_flipped_byte_is_found(read: Read, checkpoint: bytes) -> None:
    data = package(weights_package.pack_tensors(heads()))
    data = weights_package.add_checkpoint(data, checkpoint)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x41
        with pytest.raises((DecodeError, VerificationError)):
            read(bytes(flipped), KEY.public_key())


def test_another_servers_package_is_refused(read: Read) -> None:
    data = package(weights_package.pack_tensors(heads()))
    with pytest.raises(VerificationError, match="signature"):
        read(data, signing.generate_key().public_key())


@pytest.mark.parametrize(
    ("tensors", "want_error"),
    [
        ({"mean/w": single([np.nan]), "base/w": single([0])}, "finite"),
        ({"mean/w": half([np.inf]), "base/w": single([0])}, "finite"),
        ({"mean/w": half([65504, np.nan]), "base/w": single([0])}, "finite"),
        ({"mean/w": np.array([1], np.float64), "base/w": single([0])}, "F32 or F16"),
        ({"mean/w": single([1]), "other/w": single([0])}, "no candidate"),
        ({"mean/w": single([1])}, "without tensors: base"),
        ({"mean": single([1]), "base/w": single([0])}, "no candidate"),
    ],
)
def test_tensors_that_nobody_asked_for_are_refused(
    read: Read, tensors: Mapping[str, np.ndarray], want_error: str
) -> None:
    data = package(safetensors.numpy.save(dict(tensors)))
    with pytest.raises(DecodeError, match=want_error):
        read(data, KEY.public_key())


def test_signed_bytes_that_are_no_safetensors_are_refused(read: Read) -> None:
    with pytest.raises(DecodeError, match="not a safetensors"):
        read(package(b"nonsense"), KEY.public_key())


def test_a_manifest_without_or_with_repeated_candidates_is_refused() -> None:
    tensors = weights_package.pack_tensors(heads())
    for names in ((), ("a", "a"), ("a/b",), ("",)):
        with pytest.raises(DecodeError, match="candidate"):
            manifest(tensors, names)


@pytest.mark.parametrize("shape", [[0, 1 << 62], [0, 1 << 70], [0] * 9, [1] * 70, [0, 1 << 16, 9]])
def test_a_shape_that_no_array_could_have_is_refused(read: Read, shape: list[int]) -> None:
    size = 4 * int(np.prod(shape, dtype=object))
    entries = {"mean/w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(
        entries | {"base/w": {**entries["mean/w"], "data_offsets": [size, 2 * size]}}
    )
    data = struct.pack("<Q", len(header)) + header.encode() + bytes(2 * size)
    with pytest.raises(DecodeError, match="axes"):
        read(package(data), KEY.public_key())


def test_a_manifest_of_too_many_candidates_is_refused() -> None:
    names = tuple(f"c{number}" for number in range(weights_package.CANDIDATES_LIMIT + 1))
    assert manifest(b"", names[1:])
    with pytest.raises(DecodeError, match="256 are read"):
        manifest(b"", names)


def test_a_condition_names_what_it_stands_on_or_is_refused() -> None:
    GeneratorCondition(generator="ab", data_sheet="rotating_machine", statistic="cd", epsilon="1")
    for words in (
        {"generator": "ab"},
        {"data_sheet": "rotating_machine"},
        {"generator": "ab", "statistic": "cd"},
        {"generator": "ab", "data_sheet": "rotating_machine", "epsilon": "1"},
    ):
        with pytest.raises(DecodeError, match="weights manifest"):
            GeneratorCondition(**words)


def test_provenance_is_read_of_packages_of_the_first_version_too() -> None:
    tensors = weights_package.pack_tensors(heads())
    data = package(tensors)
    told = weights_package.read_package_provenance(data)
    assert (told.own_release, told.generator) == ("33" * 16, "22" * 32)
    parts = weights_package.read_sections(data)
    earlier = container.encode("wgw", 1, parts)
    assert weights_package.read_package_provenance(earlier) == told
    with pytest.raises(DecodeError):
        weights_package.read_package_provenance(container.encode("wgw", 3, parts))


def test_tensors_other_than_the_manifests_are_not_signed() -> None:
    tensors = weights_package.pack_tensors(heads())
    with pytest.raises(VerificationError, match="hash to"):
        weights_package.encode_package(manifest(tensors), tensors + b"\0", KEY)


@pytest.mark.parametrize(
    "header",
    [
        {"mean/w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}},  # longer than its shape
        {"mean/w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 8]}},
        {"mean/w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},  # a gap before it
        {"mean/w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"mean/w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "more": 1}},
        {"mean/w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},  # beyond the end
        {
            "mean/w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "mean/v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},  # one place for two
        },
    ],
)
def test_a_tensor_lies_where_its_header_says_and_nowhere_else(
    read: Read, header: dict[str, object]
) -> None:
    text = json.dumps(header).encode()
    data = package(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(DecodeError, match="weights package"):
        read(data, KEY.public_key())


def test_a_package_that_no_message_takes_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_package, "WEIGHTS_BYTES_LIMIT", 1000)
    with pytest.raises(ConfigError, match="at most 1000 may travel"):
        package(
            weights_package.pack_tensors(
                {"mean": {"w": np.zeros(1000, np.float32)}, "base": {"w": ONE}}
            )
        )


def test_a_package_may_carry_a_cosigned_checkpoint(read: Read) -> None:
    tensors = weights_package.pack_tensors({"mean": {"w": single([1.0])}, "base": {"w": ONE}})
    plain = weights_package.encode_package(manifest(tensors), tensors, KEY)
    data = weights_package.add_checkpoint(plain, b"note\n")
    assert read(data, KEY.public_key())[0] == read(plain, KEY.public_key())[0]
    assert weights_package.read_checkpoint(io.BytesIO(data)) == b"note\n"
    assert weights_package.read_checkpoint(io.BytesIO(plain)) == b""
    with pytest.raises(DecodeError):
        weights_package.add_checkpoint(data, b"note\n")


def with_checkpoint_of(checkpoint: bytes) -> bytes:
    sections = dict.fromkeys(weights_package.SECTIONS, b"") | {"checkpoint": checkpoint}
    return container.encode("wgw", weights_package.VERSION, sections)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (container.encode("wgw", 1, {}), "version 1, this program reads 2"),
        (container.encode("wgw", 2, {"manifest": b""}), "sections"),
        (container.encode("wgs", 2, {}), "found kind"),
        (
            with_checkpoint_of(bytes(NOTE_CHARACTERS_LIMIT + 1)),
            f"section 'checkpoint': {NOTE_CHARACTERS_LIMIT + 1} bytes",
        ),
        (with_checkpoint_of(b"x")[:-1] + b"y", "does not match its hash"),
    ],
)
def test_a_damaged_checkpoint_section_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        weights_package.read_checkpoint(io.BytesIO(data))
