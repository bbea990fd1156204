"""The auditor derives each charge again, from its blocks and from the file that it paid for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audit.workshop import insider
from tests.core.ledger.conftest import Site

from wg_audit import charge_derivation, verification
from wg_audit.charge_derivation import ReleaseLayout
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import charging, entries
from wg_core.ledger.charge_parts import BlockShare
from wg_core.ledger.charging import ChargeRequest
from wg_core.privacy import mechanism
from wg_core.privacy.schema import StatisticsSchema, default_schema, machine_schema
from wg_core.wire import bundle, canonical, statistics_file
from wg_core.wire.data_sheet import DataSheet, RotatingMachine


def layout(schema: StatisticsSchema) -> ReleaseLayout:
    return ReleaseLayout(
        blocks=tuple(BlockShare(b.name, b.size, b.weight) for b in schema.blocks),
        label_count=len(schema.labels),
        grid_bits=schema.bits,
        dimension=schema.dimension,
    )


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    rule=st.sampled_from(["record", "weight"]),
    labels=st.integers(0, 5),
    dimension=st.integers(1, 70),
    bits=st.integers(4, 12),
)
def test_the_same_sensitivity_follows_from_other_code(
    rule: Any, labels: int, dimension: int, bits: int
) -> None:
    schema = default_schema(
        encoder="ab" * 32,
        dimension=dimension,
        labels=[f"c{i}" for i in range(labels)],
        clip_radius=1.0,
        bits=bits,
        unit_rule=rule,
    )
    assert charge_derivation.sensitivity_squared(layout(schema)) == schema.sensitivity_squared()


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    sensitivity=st.integers(1, 1 << 90), sigma=st.floats(64.0, 2.0**57), epsilon=st.floats(0.01, 9)
)
def test_the_same_mu_squared_follows_from_other_code(
    sensitivity: int, sigma: float, epsilon: float
) -> None:
    expected = math.ceil(Fraction(sensitivity) / Fraction(sigma) ** 2 * 2**40)
    assert charge_derivation.rounded_mu_squared(sensitivity, sigma) == expected
    assert charge_derivation.parse_sigma(sigma.hex()) == sigma
    assert charge_derivation.parse_number(str(epsilon), "epsilon") == epsilon


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-1", "1e9999", "0x1p9999", "1_0", "0x2p0", "1e30000000", "٣", "0"]
)
def test_what_is_no_noise_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="sigma"):
        charge_derivation.parse_sigma(text)


def refused(site: Site, request: ChargeRequest, match: str, payload: bytes = b"x") -> None:
    """The writer cannot tell; the auditor refuses, and names the entry."""
    with site.create() as ledger:
        charged = ledger.charge(request)
        ledger.record_release(charged.seq, payload)
    with pytest.raises(VerificationError, match=rf"entry 3: .*{match}"):
        verification.audit_log(site.path)


def test_a_smaller_sensitivity_than_the_blocks_imply_is_refused(site: Site) -> None:
    """Sensitivity and sigma a hundredth: the release is the same, the charge says epsilon 1."""
    true = site.request()
    lie = insider(
        true,
        sensitivity_squared=str(int(true.mechanism.sensitivity_squared) // 10_000),
        sigma=(float.fromhex(true.mechanism.sigma) / 100).hex(),
    )
    refused(site, lie, "states a squared sensitivity")


def test_noise_of_few_grid_units_is_refused(site: Site) -> None:
    true = site.request()
    share = (32 / float.fromhex(true.mechanism.sigma)) ** 2
    smaller = str(int(int(true.mechanism.sensitivity_squared) * share))
    lie = insider(true, sensitivity_squared=smaller, sigma=(32.0).hex())
    refused(site, lie, "noise of 32 grid units")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"unit": "part"}, "promises something to each 'part'"),  # each of its records moves it
        ({"records_per_unit": "as they come"}, "unknown to this auditor"),
        ({"epsilon": "0.5"}, r"states epsilon 0\.5 at delta 1e-05 for itself"),
        ({"epsilon": "2.9"}, "for itself"),
        ({"delta": "0.9"}, "for itself"),
        ({"delta": "1e-9"}, "for itself"),
        ({"labels": ("good",)}, "block counts has 3 entries, expected 2"),
        ({"dimension": 5}, "block sums has 8 entries, expected 10"),
        ({"bits": 1 << 40}, "bits is"),
        ({"dimension": 0}, "dimension is 0"),
        ({"adjacency": "replace-one"}, "neighbouring relation"),
        ({"blocks": (BlockShare("sums", 8, 1),)}, r"blocks \('sums',\)"),
        ({"blocks": ()}, r"blocks \(\)"),
    ],
)
def test_a_charge_that_its_own_figures_contradict_is_refused(
    site: Site, changes: dict[str, Any], match: str
) -> None:
    refused(site, insider(site.request(), **changes), match)


# --- files


def released(
    site: Site, tmp_path: Path, charged: ChargeRequest, made: ChargeRequest, schema: Any = None
) -> Path:
    """A release made under one request, on a log that charges another."""
    payload = site.payload(made) if schema is None else packed(site, made, schema)
    with site.create() as ledger:
        seq = ledger.charge(charged).seq
        ledger.record_release(seq, payload)
        site.cosign(ledger)
        covered = site.covered(ledger, charged.request_id)
    received = tmp_path / "received"
    received.mkdir()
    (received / "a.wgs").write_bytes(bundle.encode(covered))
    return received


def packed(site: Site, request: ChargeRequest, schema: StatisticsSchema, **fields: Any) -> bytes:
    integers = np.zeros(schema.vector_length, dtype=np.int64)
    manifest = statistics_file.StatisticsManifest(
        schema=schema,
        site="plant-a",
        dataset=request.dataset,
        request_id=request.request_id,
        release_id="00",
        epsilon=request.epsilon,
        delta=request.delta,
        sigma=request.mechanism.sigma,
        sensitivity_squared=request.mechanism.sensitivity_squared,
        purpose=request.use.purpose,
        integers_sha256=canonical.sha256_hex(statistics_file.integers_to_bytes(integers)),
        **fields,
    )
    return statistics_file.encode_release(manifest, integers, site.signing_key)


def test_files_that_fit_their_charges_pass(site: Site, tmp_path: Path) -> None:
    request = site.request()
    folder = released(site, tmp_path, request, request)
    (folder / "readme.txt").write_text("ignored")
    found = verification.audit_log(site.path, statistics=[folder])
    assert [item.file for item in found.received_files] == ["a.wgs"]


Lie = Callable[[Site, ChargeRequest], ChargeRequest]
LIES: dict[str, Lie] = {
    "more noise than the file has": lambda site, made: site.request("r1", "0.067"),
    "another request": lambda site, made: site.request("r9", "2.5"),
    "another purpose": lambda site, made: dataclasses.replace(
        made, use=dataclasses.replace(made.use, purpose="test")
    ),
    "another encoder": lambda site, made: insider(made, encoder="00" * 32),
    "another clip radius": lambda site, made: insider(made, clip_radius="2.0"),
    "other labels": lambda site, made: insider(made, labels=("good", "worse")),
}


@pytest.mark.parametrize("name", LIES)
def test_a_charge_that_differs_from_its_file_is_refused(
    site: Site, tmp_path: Path, name: str
) -> None:
    """Made at epsilon 2.5, and charged as something else; each charge holds by itself."""
    made = site.request("r1", "2.5")
    folder = released(site, tmp_path, LIES[name](site, made), made)
    verification.audit_log(site.path)
    with pytest.raises(VerificationError, match=r"a\.wgs: entry 3: .* on the ledger, .* file"):
        verification.audit_log(site.path, statistics=[folder])


def sheet(speed: str) -> DataSheet:
    bearing = RotatingMachine(
        shaft_speed_rpm=Decimal(speed),
        sampling_hz=Decimal(12_000),
        rolling_elements=9,
        rolling_element_diameter_mm=Decimal("7.94"),
        pitch_diameter_mm=Decimal("39.04"),
        contact_angle_deg=Decimal(0),
    )
    return DataSheet(rotating_machine=bearing)


STATEMENTS = [
    ("class names is", {"labels": ("good", "worse")}),
    ("class names is", {"labels": ("bad", "good")}),
    ("data sheet is", {"data_sheet": sheet("900")}),
    ("data sheet is", {"data_sheet": None}),
    ("no public statement", {"recipient": "other.example"}),
    ("", {}),
]


@pytest.mark.parametrize(("problem", "changes"), STATEMENTS)
def test_a_machine_release_is_read_by_what_its_log_states_before(
    site: Site, tmp_path: Path, problem: str, changes: dict[str, Any]
) -> None:
    public_words: dict[str, Any] = {"labels": ("good", "bad"), "data_sheet": sheet("1772")}
    schema = machine_schema("ab" * 32, "record")
    request = charging.make_charge_request(
        schema,
        mechanism.noise_scale(schema, 1.0, 1e-5),
        charging.ReleaseTerms(
            request_id="r1",
            dataset="parts",
            epsilon="1",
            delta="1e-5",
            purpose="first model",
            recipient="server.example",
        ),
    )
    path = tmp_path / "a.wgs"
    with site.create() as ledger:
        words = public_words | {
            "dataset_name": "parts",
            "recipient": "server.example",
            "encoder_sha256": "ab" * 32,
        }
        ledger.record_statement(**(words | changes))
        seq = ledger.charge(request).seq
        ledger.record_release(seq, packed(site, request, schema, **public_words))
        ledger.record_statement(**words)  # too late
        site.cosign(ledger)
        path.write_bytes(bundle.encode(site.covered(ledger)))
    if problem:
        with pytest.raises(VerificationError, match=problem):
            verification.audit_log(site.path, statistics=[path])
    else:
        finding = verification.audit_log(site.path, statistics=[path])
        assert [item.file for item in finding.received_files] == ["a.wgs"]
        assert not [line for line in finding.remark_sentences if "class names of" in line]


def test_a_file_that_carries_another_charge_than_the_log_is_refused(
    site: Site, tmp_path: Path
) -> None:
    request = site.request()
    folder = released(site, tmp_path, request, request)
    covered = bundle.decode_statistics((folder / "a.wgs").read_bytes())
    entry = entries.decode(covered.charge_entry)
    assert isinstance(entry, entries.Charge)
    other = entries.encode(dataclasses.replace(entry, fingerprint="00" * 32))
    (folder / "a.wgs").write_bytes(bundle.encode(dataclasses.replace(covered, charge_entry=other)))
    with pytest.raises(VerificationError, match="another charge entry than entry 3"):
        verification.audit_log(site.path, statistics=[folder])


def test_a_manifest_of_another_shape_is_no_manifest(site: Site, tmp_path: Path) -> None:
    from wg_core.wire import container

    sections = {"manifest": b'{"a":' * 2000, "signature": b"", "integers": b""}
    for manifest in (sections["manifest"], b"{}", b'{"a" :1}'):
        payload = container.encode("wgs", 1, {**sections, "manifest": manifest})
        with site.create() as ledger:
            charged = ledger.charge(site.request())
            ledger.record_release(charged.seq, payload)
            covered = site.covered(ledger)
        path = tmp_path / "a.wgs"
        path.write_bytes(bundle.encode(covered))
        with pytest.raises(DecodeError, match=r"a\.wgs: manifest"):
            verification.audit_log(site.path, statistics=[path])
        for file in site.folder.glob("ledger.sqlite*"):
            file.unlink()
