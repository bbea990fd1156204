"""Machine statistics: made at a freeze from a stated machine, charged and released like any other,
and refused with a remedy where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bearings import BEARING
from tests.client.conftest import LABELS, WITNESS, MakePlant, TestPlant

from wg_audit import charge_derivation
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, NoMachineStatistics, PolicyRefused, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.charge_parts import MECHANISM_NAMES
from wg_core.ledger.entries import Charge
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import CLASS_STATISTICS, MACHINE_STATISTICS
from wg_core.release import approval, encoding
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import ReleaseHooks, answer_query, open_ledger
from wg_core.site.config import PrivacyConfig
from wg_core.wire import bundle, signing
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.statistics_file import StatisticsManifest, decode_release
from wg_server.fleet.bundle_verification import verify_statistics_bundle

OTHER = replace(BEARING, shaft_speed_rpm=Decimal(900))


def _released(plant: TestPlant, **words: Any) -> tuple[StatisticsManifest, NoisyStatistics, Charge]:
    data = answer_query(
        plant.home, plant.query(statistics=MACHINE_STATISTICS, **words), witness=plant.witness
    )
    covered = bundle.decode_statistics(data)
    verify_statistics_bundle(
        covered,
        ledger_origin=plant.origin,
        ledger_key=signing.public_from_bytes(plant.ledger_key),
        witness_name=WITNESS,
        witness_key=plant.witness.key.public_key(),
    )
    charge = entries.decode(covered.charge_entry)
    assert isinstance(charge, Charge)
    key = signing.load(plant.home.signing_key).public_key()
    return *decode_release(covered.release, key), charge


def _entries(plant: TestPlant) -> int:
    with Ledger.open(plant.home.ledger) as ledger:
        return ledger.size


@pytest.mark.parametrize("unit_column", [None, "group"])
def test_a_release_is_of_the_stated_machine_and_of_no_class(
    make_plant: MakePlant, unit_column: str | None
) -> None:
    plant = make_plant({0: 8, 1: 6}, unit_column=unit_column)
    plant.state_machine()
    manifest, statistics, charge = _released(plant, epsilon="4")
    assert manifest.schema.labels == () and manifest.class_names == LABELS
    assert manifest.data_sheet == DataSheet(rotating_machine=BEARING)
    exact = snapshots.load_current(plant.home).statistics(MACHINE_STATISTICS)
    assert exact.shape == statistics.integers.shape == (33,) and exact.any()
    # eight standard deviations: false failure below 1e-13
    assert np.all(np.abs(statistics.integers - exact) < 8 * statistics.sigma)
    counted = exact[0] / manifest.schema.count_weight
    assert counted == pytest.approx(14 if unit_column is None else 7, abs=0.01)
    assert (
        charge.mechanism.name
        == MECHANISM_NAMES[MACHINE_STATISTICS]
        == charge_derivation.MACHINE_MECHANISM
    )
    assert charge.guarantee.labels == () and "data sheet" in charge.guarantee.unprotected
    charge_derivation.check_charge(charge)


def test_it_is_paid_for_beside_a_release_of_the_classes(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.state_machine()
    answer_query(plant.home, plant.query(), witness=plant.witness)
    _released(plant)
    spend = read_plant_spending(plant.home, plant.config)
    assert [row.statistics for row in spend.releases] == [CLASS_STATISTICS, MACHINE_STATISTICS]
    assert 1.3 < spend.epsilon < 1.6  # composed, not 2


def test_what_a_class_release_signs_and_charges_says_nothing_of_machines(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    plant.state_machine()
    covered = bundle.decode_statistics(
        answer_query(plant.home, plant.query(), witness=plant.witness)
    )
    assert MECHANISM_NAMES[CLASS_STATISTICS] == charge_derivation.CLASS_MECHANISM
    for data in (covered.release, covered.charge_entry):
        assert b'"features"' not in data and b"machine statistics" not in data
        assert b'"statistics"' not in data


class _Unreadable:
    """A reading map that finds nothing in some records, and says so in a way of its own."""

    machine_kinds: tuple[str, ...] = ("rotating_machine",)

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def machine_features(self, records: Sequence[Any], sheet: DataSheet) -> NDArray[np.float32]:
        rows = np.full((len(records), 32), np.float32(0.1))
        for number, record in enumerate(records):
            if int(record[0, 0]) % 2:
                rows[number] = (np.nan, np.inf, *[0.0] * 30)
        return rows


class _Failing(_Unreadable):
    """A reading map that stops at such a record."""

    def machine_features(self, records: Sequence[Any], sheet: DataSheet) -> NDArray[np.float32]:
        if any(int(record[0, 0]) % 2 for record in records):
            raise ValueError("no numbers")
        return super().machine_features(records, sheet)


@pytest.mark.parametrize("reader", [_Unreadable, _Failing])
def test_a_record_that_cannot_be_read_counts_as_zeros(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch, reader: type[_Unreadable]
) -> None:
    plant = make_plant()
    of_classes = snapshots.load_current(plant.home).statistics()
    load = plant.load
    monkeypatch.setattr(TestPlant, "load", lambda self, package: reader(load(package)))
    plant.state_machine()
    snapshot = snapshots.load_current(plant.home)
    exact = NoisyStatistics(
        snapshot.schema(MACHINE_STATISTICS), snapshot.statistics(MACHINE_STATISTICS), 0.0
    )
    read = sum(int(picture[0, 0]) % 2 == 0 for picture in plant.look().data.records)
    assert 0 < read < 24 and exact.unlabelled_count() == 24
    np.testing.assert_allclose(exact.moments(), 0.1 * read, rtol=1e-3)
    np.testing.assert_array_equal(snapshot.statistics(), of_classes)


def test_one_record_more_moves_the_sums_by_no_more_than_one_sensitivity(
    make_plant: MakePlant,
) -> None:
    sums = []
    for name, counts in (("plant-a", {0: 6, 1: 6}), ("plant-b", {0: 6, 1: 7})):
        plant = make_plant(counts, name=name)
        plant.state_machine()
        snapshot = snapshots.load_current(plant.home)
        sums.append(snapshot.statistics(MACHINE_STATISTICS))
    moved = sum(int(entry) ** 2 for entry in sums[1] - sums[0])
    schema = snapshot.schema(MACHINE_STATISTICS)
    assert schema.count_weight**2 < moved <= schema.sensitivity_squared()


def test_an_interrupted_freeze_goes_on_to_the_same_sums(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 70, 1: 70})
    plant.state_machine()
    whole = snapshots.load_current(plant.home).statistics(MACHINE_STATISTICS)
    read = encoding.RecordReader.compute_features
    calls: list[int] = []

    def cut(self: encoding.RecordReader, records: Sequence[Any]) -> Any:
        if calls:
            raise KeyboardInterrupt
        calls.append(len(records))
        return read(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(encoding.RecordReader, "compute_features", cut)
        with pytest.raises(KeyboardInterrupt):
            plant.freeze()
    plant.freeze()
    np.testing.assert_array_equal(
        snapshots.load_current(plant.home).statistics(MACHINE_STATISTICS), whole
    )


def _without_sheet(plant: TestPlant) -> None:
    plant.freeze()


def _without_freeze(plant: TestPlant) -> None:
    plant.configure(data_sheet=DataSheet(rotating_machine=BEARING))


def _with_another_sheet(plant: TestPlant) -> None:
    plant.state_machine()
    plant.configure(data_sheet=DataSheet(rotating_machine=OTHER))


@pytest.mark.parametrize(
    ("prepare", "remedy"),
    [
        (_without_sheet, r"data-sheet\.yaml is missing, .* run 'wg-client freeze"),
        (_without_freeze, "has no machine statistics; run 'wg-client freeze"),
        (_with_another_sheet, r"data-sheet\.yaml: changed since snapshot 2 .* run 'wg-client fr"),
    ],
)
def test_without_machine_statistics_nothing_is_charged_and_the_remedy_is_named(
    make_plant: MakePlant, prepare: Any, remedy: str
) -> None:
    plant = make_plant()
    prepare(plant)
    before = _entries(plant)
    with pytest.raises(NoMachineStatistics, match=remedy):
        answer_query(plant.home, plant.query(statistics=MACHINE_STATISTICS), witness=plant.witness)
    assert _entries(plant) == before and plant.witness.asked == 0
    answer_query(plant.home, plant.query(), witness=plant.witness)  # classes are released as ever


def test_the_remedy_for_a_changed_sheet_works_and_the_numbers_are_others(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    plant.state_machine()
    earlier = snapshots.load_current(plant.home).statistics(MACHINE_STATISTICS)
    plant.state_machine(OTHER)
    manifest, _, _ = _released(plant)
    assert manifest.data_sheet == DataSheet(rotating_machine=OTHER)
    assert not np.array_equal(
        snapshots.load_current(plant.home).statistics(MACHINE_STATISTICS), earlier
    )


def test_a_charge_that_was_cut_off_is_completed_with_the_sheet_of_its_numbers(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    plant.state_machine()
    query = plant.query(statistics=MACHINE_STATISTICS)

    def stop(step: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_query(plant.home, query, witness=plant.witness, hooks=ReleaseHooks(on_step=stop))
    plant.configure(data_sheet=DataSheet(rotating_machine=OTHER))
    manifest, _, _ = _released(plant, request_id=query.request_id)
    assert manifest.data_sheet == DataSheet(rotating_machine=BEARING)
    assert read_plant_spending(plant.home, plant.config).charge_count == 1


@pytest.mark.parametrize(("kinds", "reason"), [((), "no reading map"), (None, "unlike all")])
def test_a_machine_that_the_encoder_does_not_read_is_said_at_the_freeze(
    make_plant: MakePlant,
    monkeypatch: pytest.MonkeyPatch,
    kinds: tuple[str, ...] | None,
    reason: str,
) -> None:
    plant = make_plant(frozen=False)
    load = plant.load

    class Reader(_Unreadable):
        machine_kinds = _Unreadable.machine_kinds if kinds is None else kinds

        def machine_features(self, records: Sequence[Any], sheet: DataSheet) -> NDArray[np.float32]:
            raise ConfigError("unlike all that is simulated")

    monkeypatch.setattr(TestPlant, "load", lambda self, package: Reader(load(package)))
    plant.configure(data_sheet=DataSheet(rotating_machine=BEARING))
    frozen = plant.freeze()
    assert reason in frozen.unread_machine_reason
    assert not (frozen.snapshot.folder / "machine.bin").exists()
    with pytest.raises(NoMachineStatistics):
        answer_query(plant.home, plant.query(statistics=MACHINE_STATISTICS), witness=plant.witness)


def test_a_policy_can_forbid_it(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(answer_slot_seconds=0.05, statistics=(CLASS_STATISTICS,))
    plant = make_plant(privacy=privacy)
    plant.state_machine()
    with pytest.raises(PolicyRefused, match=r"machine statistics, this plant allows classes \(pri"):
        answer_query(plant.home, plant.query(statistics=MACHINE_STATISTICS), witness=plant.witness)
    answer_query(plant.home, plant.query(), witness=plant.witness)


def test_who_approved_class_statistics_has_approved_no_machine_statistics(
    make_plant: MakePlant,
) -> None:
    plant = make_plant(privacy=PrivacyConfig(answer_slot_seconds=0.05, approve="human"))
    plant.state_machine()
    query = plant.query()
    with open_ledger(plant.home) as ledger:
        approval.record_decision(plant.config, ledger, query, is_approved=True, person_name="Aiko")
    with pytest.raises(PolicyRefused, match="statistics is machine, approved was classes"):
        answer_query(
            plant.home, replace(query, statistics=MACHINE_STATISTICS), witness=plant.witness
        )
    answer_query(plant.home, query, witness=plant.witness)


def test_a_request_that_was_charged_for_the_one_is_not_answered_with_the_other(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    plant.state_machine()
    query = plant.query(statistics=MACHINE_STATISTICS)
    answer_query(plant.home, query, witness=plant.witness)
    other = replace(plant.query(), request_id=query.request_id)
    with pytest.raises(PolicyRefused, match="charged for something else"):
        answer_query(plant.home, other, witness=plant.witness)


def test_damaged_machine_statistics_are_found_before_the_charge(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.state_machine()
    path = snapshots.load_current(plant.home).folder / "machine.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    before = _entries(plant)
    with pytest.raises(VerificationError, match=r"machine\.bin: changed since it was frozen"):
        answer_query(plant.home, plant.query(statistics=MACHINE_STATISTICS), witness=plant.witness)
    assert _entries(plant) == before
