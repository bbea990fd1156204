"""Quality files: what comes in from a plant that may lie about any part of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.mechanism import sigma_for
from wg_core.privacy.quality import CANDIDATES_LIMIT, WEIGHT, QualityLayout
from wg_core.wire import canonical, container, protocol, quality_file, signing
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.quality_file import Counts, QualityManifest
from wg_core.wire.statistics_file import integers_to_bytes

KEY = signing.generate()
INTEGERS = np.array([120, 85, 40], dtype=np.int64) * WEIGHT


def _manifest(integers: np.ndarray = INTEGERS, **changes: Any) -> QualityManifest:
    layout = QualityLayout(candidates=2, unit_rule="record", unit_cap=1)
    fields: dict[str, Any] = {
        "layout": layout,
        "site": "plant-a",
        "dataset": "line",
        "request_id": "ab" * 16,
        "release_id": "cd" * 16,
        "encoder": "11" * 32,
        "package_id": "ef" * 16,
        "package_sha256": "22" * 32,
        "candidates": ("mean", "sample-0"),
        "epsilon": "1",
        "delta": "1e-5",
        "sigma": sigma_for(layout, 1.0, 1e-5).hex(),
        "sensitivity_squared": str(layout.sensitivity_squared()),
        "purpose": protocol.quality_purpose("22" * 32, "pilot"),
        "integers_sha256": canonical.sha256_hex(integers_to_bytes(integers)),
    }
    return QualityManifest(**{**fields, **changes})


def test_a_report_comes_back_as_it_went() -> None:
    data = quality_file.encode_report(_manifest(), INTEGERS, KEY)
    manifest, counts = quality_file.decode_report(data, KEY.public_key())
    assert manifest == _manifest()
    assert counts.labelled == 120 and counts.right == {"mean": 85, "sample-0": 40}
    assert counts.std == pytest.approx(3.730 * np.sqrt(3), abs=1e-2)
    covered = CoveredStatistics(data, b"a", b"b", b"c", b"d")
    assert quality_file.decode_covered(quality_file.encode_covered(covered)) == covered


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"candidates": ("mean",)}, "as many as its layout"),
        ({"candidates": ("mean", "mean")}, "unique"),
        ({"candidates": ("mean", "x" * 101)}, "printable"),
        ({"candidates": ("mean", "a\x1b[2J")}, "printable"),
        ({"candidates": ("mean", "")}, "printable"),
        ({"sigma": (1000.0).hex()}, "sigma"),
        ({"sigma": "nan"}, "sigma"),
        ({"epsilon": "0"}, "epsilon"),
        ({"epsilon": "1" + "0" * 50}, "characters"),
        ({"sensitivity_squared": "1"}, "from its layout"),
        ({"package_sha256": "../x"}, "hex digits"),
        ({"package_id": "../x"}, "hex digits"),
        ({"release_id": "f" * 65}, "hex digits"),
        ({"encoder": ""}, "hex digits"),
        ({"site": "PLANT"}, "site name"),
        ({"purpose": "p" * 5000}, "purpose"),
        ({"dataset": ""}, "not empty"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        _manifest(**changes)


def test_bytes_that_are_not_signed_or_not_of_the_layout_are_refused() -> None:
    data = quality_file.encode_report(_manifest(), INTEGERS, KEY)
    with pytest.raises(VerificationError):
        quality_file.decode_report(data, signing.generate().public_key())
    sections = quality_file.FILE.sections(data)
    for name, value in (
        ("integers", sections["integers"][:-8]),
        ("integers", sections["integers"][:-8] + b"\x01" * 8),
        ("integers", b""),
        ("manifest", sections["manifest"].replace(b"plant-a", b"plant-b")),
        ("manifest", sections["manifest"].replace(b'"candidates":2', b'"candidates":9')),
    ):
        changed = container.encode(protocol.QUALITY_KIND, 1, {**sections, name: value})
        with pytest.raises((DecodeError, VerificationError)):
            quality_file.decode_report(changed, KEY.public_key())
    with pytest.raises(DecodeError):
        quality_file.decode_covered(data)
    with pytest.raises(DecodeError, match="at most"):
        quality_file.decode_covered(b"x" * (protocol.QUALITY_LIMIT + 1))
    with pytest.raises(VerificationError, match="hash"):
        quality_file.encode_report(_manifest(), INTEGERS + 1, KEY)


def test_any_integers_are_finite_figures() -> None:
    ends = np.array([-(1 << 63), (1 << 63) - 1, 0], dtype=np.int64)
    data = quality_file.encode_report(_manifest(ends), ends, KEY)
    _, counts = quality_file.decode_report(data, KEY.public_key())
    assert counts.rate("mean") is None
    turned = ends[[1, 0, 2]]
    data = quality_file.encode_report(_manifest(turned), turned, KEY)
    _, counts = quality_file.decode_report(data, KEY.public_key())
    assert counts.rate("mean") == pytest.approx((0.0, 0.0), abs=1e-12)


def test_the_standard_error_is_that_of_noisy_counts() -> None:
    """Against draws: eight standard errors of a standard deviation from 20,000 of them."""
    rng = np.random.default_rng(3)
    std, labelled, right = 4.0, 120.0, 85.0
    draws = (right + rng.normal(0, std, 20_000)) / (labelled + rng.normal(0, std, 20_000))
    found = Counts(labelled=labelled, right={"a": right}, std=std).rate("a")
    assert found is not None and found[0] == right / labelled
    assert found[1] == pytest.approx(draws.std(), rel=8 / np.sqrt(40_000))
    few = Counts(labelled=11.0, right={"a": 9.0}, std=std)
    assert few.rate("a") is None  # the noise could make them all up


def test_the_largest_report_fits() -> None:
    layout = QualityLayout(candidates=CANDIDATES_LIMIT, unit_rule="record", unit_cap=1)
    integers = np.zeros(layout.length, dtype=np.int64)
    names = tuple(f"{index:02}".ljust(100, "名") for index in range(CANDIDATES_LIMIT))
    manifest = dataclasses.replace(
        _manifest(integers),
        layout=layout,
        candidates=names,
        sigma=sigma_for(layout, 1.0, 1e-5).hex(),
        sensitivity_squared=str(layout.sensitivity_squared()),
    )
    data = quality_file.encode_report(manifest, integers, KEY)
    assert quality_file.decode_report(data, KEY.public_key())[0] == manifest
