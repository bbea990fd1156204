"""The statistics file: round trips, and every lie and every flipped byte is found."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.bearings import BEARING

from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.schema import MACHINE_STATISTICS, default_schema, machine_schema
from wg_core.wire import bundle, canonical, container, signing
from wg_core.wire import statistics_file as sf
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.data_sheet import DataSheet

KEY = signing.generate_key()
PUBLIC = KEY.public_key()
SCHEMA = default_schema(encoder="ab" * 32, dimension=2, labels=("a", "b"), clip_radius=2.0)
SIGMA = noise_scale(SCHEMA, 1.0, 1e-5)
INTEGERS = np.arange(-3, SCHEMA.vector_length - 3, dtype=np.int64) * (1 << 40)


def manifest(**changes: Any) -> sf.StatisticsManifest:
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "site": "plant-a",
        "dataset": "line-3",
        "request_id": "campaign-1",
        "release_id": "00ff",
        "epsilon": "1.0",
        "delta": "1e-05",
        "sigma": SIGMA.hex(),
        "sensitivity_squared": str(SCHEMA.sensitivity_squared()),
        "purpose": "weights for line 3",
        "integers_sha256": canonical.sha256_hex(sf.integers_to_bytes(INTEGERS)),
    }
    return sf.StatisticsManifest(**(fields | changes))


def test_a_release_comes_back_as_it_was() -> None:
    data = sf.encode_release(manifest(), INTEGERS, KEY)
    found, statistics = sf.decode_release(data, PUBLIC)
    assert found == manifest()
    assert np.array_equal(statistics.integers, INTEGERS)
    assert statistics.sigma == SIGMA
    assert statistics.schema == SCHEMA
    assert sf.encode_release(found, statistics.integers, KEY) == data


OF_MACHINE = machine_schema("ab" * 32, "record")
MACHINE_FIELDS: dict[str, Any] = {
    "schema": OF_MACHINE,
    "sigma": noise_scale(OF_MACHINE, 1.0, 1e-5).hex(),
    "sensitivity_squared": str(OF_MACHINE.sensitivity_squared()),
    "data_sheet": DataSheet(rotating_machine=BEARING),
    "labels": ("a", "b"),
    "integers_sha256": canonical.sha256_hex(sf.integers_to_bytes(np.zeros(33, dtype=np.int64))),
}


def test_machine_statistics_come_back_with_machine_and_class_names() -> None:
    data = sf.encode_release(manifest(**MACHINE_FIELDS), np.zeros(33, dtype=np.int64), KEY)
    found, statistics = sf.decode_release(data, PUBLIC)
    assert found == manifest(**MACHINE_FIELDS) and found.class_names == ("a", "b")
    assert statistics.schema.release_kind == MACHINE_STATISTICS


@pytest.mark.parametrize(
    "changes",
    [
        {"data_sheet": None},
        {"labels": UNSET},
        {"labels": ()},
        {"labels": ("a", "a")},
        {"labels": ("a", "")},
    ],
    ids=str,
)
def test_machine_statistics_of_no_machine_or_no_class_names_are_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(DecodeError, match=r"statistics manifest: (labels|data_sheet) is|name ''"):
        manifest(**{**MACHINE_FIELDS, **changes})


@pytest.mark.parametrize("labels", [("a", "b"), ()])
def test_class_names_stand_in_a_release_of_classes_once(labels: tuple[str, ...]) -> None:
    with pytest.raises(DecodeError, match="labels"):
        manifest(labels=labels)


def test_integers_travel_in_little_endian_order() -> None:
    assert sf.integers_to_bytes(np.array([1, -2], dtype=np.int64)) == (
        b"\x01" + bytes(7) + b"\xfe" + b"\xff" * 7
    )


def test_every_flipped_byte_is_found() -> None:
    data = sf.encode_release(manifest(), INTEGERS, KEY)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x01
        with pytest.raises((DecodeError, VerificationError)):
            sf.decode_release(bytes(broken), PUBLIC)


def test_every_cut_is_found() -> None:
    data = sf.encode_release(manifest(), INTEGERS, KEY)
    for size in range(0, len(data), 7):
        with pytest.raises(DecodeError):
            sf.decode_release(data[:size], PUBLIC)


def test_another_sites_signature_does_not_hold() -> None:
    data = sf.encode_release(manifest(), INTEGERS, signing.generate_key())
    with pytest.raises(VerificationError, match="signature"):
        sf.decode_release(data, PUBLIC)


def test_integers_that_the_manifest_does_not_name_are_refused_on_both_sides() -> None:
    with pytest.raises(VerificationError, match="integers"):
        sf.encode_release(manifest(), INTEGERS + 1, KEY)
    with pytest.raises(DecodeError, match="integers"):
        sf.encode_release(manifest(), INTEGERS[:-1], KEY)
    text = canonical.encode(manifest())
    parts = {
        "manifest": text,
        "signature": signing.sign(KEY, signing.STATISTICS_CONTEXT, text),
        "integers": sf.integers_to_bytes(INTEGERS + 1),
    }
    with pytest.raises(VerificationError, match="integers"):
        sf.decode_release(container.encode("wgs", 1, parts), PUBLIC)


LIES: list[tuple[str, dict[str, Any]]] = [
    ("sigma", {"sigma": (SIGMA / 2).hex()}),
    ("sigma", {"sigma": (SIGMA * 1.001).hex()}),
    ("sigma", {"sigma": str(SIGMA)}),
    ("sigma", {"sigma": "nan"}),
    ("sigma", {"sigma": "inf"}),
    ("sigma", {"epsilon": "0.9"}),
    ("sigma", {"epsilon": "2.0"}),
    ("sigma", {"delta": "1e-9"}),
    ("epsilon", {"epsilon": "one"}),
    ("epsilon", {"epsilon": "0"}),
    ("epsilon", {"epsilon": "900"}),
    ("epsilon", {"epsilon": " 1.0"}),
    ("epsilon", {"epsilon": "+1.0"}),
    ("epsilon", {"epsilon": "1_0"}),
    ("epsilon", {"epsilon": "nan"}),
    ("epsilon", {"delta": "1.0"}),
    ("epsilon", {"sigma": "0x1p99999"}),
    ("sensitivity_squared", {"sensitivity_squared": "1"}),
    ("sensitivity_squared", {"sensitivity_squared": f"+{SCHEMA.sensitivity_squared()}"}),
    ("site", {"site": "Plant A"}),
    ("dataset", {"dataset": ""}),
    ("request_id", {"request_id": ""}),
    ("release_id", {"release_id": ""}),
    ("software", {"software": "x" * 5000}),
    ("purpose", {"purpose": "x" * 5000}),
]


@pytest.mark.parametrize(("field", "changes"), LIES)
def test_a_manifest_that_contradicts_itself_is_refused(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match=field):
        manifest(**changes)


@pytest.mark.parametrize(("field", "changes"), LIES)
def test_a_signed_lie_is_refused_at_decoding(field: str, changes: dict[str, Any]) -> None:
    plain = canonical.to_builtins(manifest()) | changes
    text = canonical.encode(plain)
    parts = {
        "manifest": text,
        "signature": signing.sign(KEY, signing.STATISTICS_CONTEXT, text),
        "integers": sf.integers_to_bytes(INTEGERS),
    }
    with pytest.raises(DecodeError, match=field):
        sf.decode_release(container.encode("wgs", 1, parts), PUBLIC)


def test_a_schema_of_another_grid_is_refused() -> None:
    other = dataclasses.replace(SCHEMA, bits=SCHEMA.bits + 1)
    with pytest.raises(DecodeError, match="sigma"):
        manifest(schema=other)


def test_decoded_integers_cannot_be_changed() -> None:
    _, statistics = sf.decode_release(sf.encode_release(manifest(), INTEGERS, KEY), PUBLIC)
    with pytest.raises(ValueError, match="read-only"):
        statistics.integers[0] = 0


PARTS = st.binary(max_size=200)


@settings(max_examples=30)
@given(st.tuples(PARTS, PARTS, PARTS, PARTS, PARTS))
def test_covered_statistics_come_back_as_they_were(
    parts: tuple[bytes, bytes, bytes, bytes, bytes],
) -> None:
    covered = StatisticsBundle(*parts)
    data = bundle.encode(covered)
    assert bundle.decode_statistics(data) == covered
    assert bundle.encode(bundle.decode_statistics(data)) == data


def test_a_release_is_not_taken_for_a_covered_one_nor_the_reverse() -> None:
    release = sf.encode_release(manifest(), INTEGERS, KEY)
    covered = bundle.encode(StatisticsBundle(release, b"a", b"b", b"c", b"d"))
    with pytest.raises(DecodeError, match="kind"):
        bundle.decode_statistics(release)
    with pytest.raises(DecodeError, match="kind"):
        sf.decode_release(covered, PUBLIC)


@given(st.binary(max_size=300))
def test_noise_is_never_decoded_and_never_crashes(data: bytes) -> None:
    for decode in (bundle.decode_statistics, lambda raw: sf.decode_release(raw, PUBLIC)):
        with pytest.raises(DecodeError):
            decode(data)
