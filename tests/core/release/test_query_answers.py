"""Charge, sample, record, countersign: the order, the refusals, and every crash between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.conftest import LABELS, WITNESS, MakePlant, TestPlant, write_npz

from wg_core import snapshot as snapshots
from wg_core.connection import cosigning
from wg_core.errors import (
    BudgetExceeded,
    ConfigError,
    PeerError,
    PolicyRefused,
    RefusedError,
    VerificationError,
)
from wg_core.ledger import entries, log_sources, log_verification
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.witness import WitnessRefused
from wg_core.privacy import time_slots
from wg_core.privacy.schema import STATISTICS_KINDS, StatisticsKind, statistics_field
from wg_core.release import query_answers as release_query
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import (
    CHARGED_STEP,
    COSIGNED_STEP,
    RECORDED_STEP,
    RELEASE_STEPS,
    SAMPLED_STEP,
    ReleaseHooks,
    answer_query,
)
from wg_core.site.config import PrivacyConfig, WitnessConfig
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, signing
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.statistics_file import decode_release
from wg_server.fleet.bundle_verification import verify_statistics_bundle

PROCESS = Path(__file__).with_name("answer_process.py")


def _charges(plant: TestPlant) -> int:
    return read_plant_spending(plant.home, plant.config).charge_count


def _entries(plant: TestPlant) -> int:
    return read_plant_spending(plant.home, plant.config).ledger_entry_count


def _verify(plant: TestPlant, data: bytes) -> None:
    covered = bundle.decode_statistics(data)
    verify_statistics_bundle(
        covered,
        ledger_origin=plant.origin,
        ledger_key=signing.public_from_bytes(plant.ledger_key),
        witness_name=WITNESS,
        witness_key=plant.witness.key.public_key(),
    )


def test_an_answer_is_signed_covered_and_within_its_noise(make_plant: MakePlant) -> None:
    plant = make_plant({0: 8, 1: 5})
    data = answer_query(plant.home, plant.query(epsilon="4"), witness=plant.witness)
    _verify(plant, data)
    manifest, statistics = decode_release(
        bundle.decode_statistics(data).release, signing.load(plant.home.signing_key).public_key()
    )
    assert manifest.site == plant.config.site and manifest.schema.labels == LABELS
    # eight standard deviations: false failure below 1e-14
    assert np.all(np.abs(statistics.counts() - [8, 5, 0]) < 8 * statistics.count_std)


@pytest.mark.parametrize("statistics", STATISTICS_KINDS)
def test_a_repeated_request_gets_identical_bytes_and_charges_nothing(
    make_plant: MakePlant, statistics: StatisticsKind
) -> None:
    plant = make_plant()
    plant.state_machine()
    query = plant.query(statistics=statistics_field(statistics))
    first = answer_query(plant.home, query, witness=plant.witness)
    asked = plant.witness.asked
    assert answer_query(plant.home, query, witness=plant.witness) == first
    assert _charges(plant) == 1 and plant.witness.asked == asked


@pytest.mark.parametrize("statistics", STATISTICS_KINDS)
@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "1.000"])
def test_an_equal_release_under_another_id_is_the_same_release(
    make_plant: MakePlant, spelling: str, statistics: StatisticsKind
) -> None:
    plant = make_plant()
    plant.state_machine()
    queries = [
        plant.query(epsilon=text, statistics=statistics_field(statistics))
        for text in ("1", spelling)
    ]
    first, again = (answer_query(plant.home, query, witness=plant.witness) for query in queries)
    assert again == first and _charges(plant) == 1


def test_another_epsilon_is_another_release(make_plant: MakePlant) -> None:
    plant = make_plant()
    first = answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    second = answer_query(plant.home, plant.query(epsilon="2"), witness=plant.witness)
    _verify(plant, second)
    assert first != second and _charges(plant) == 2


def test_the_charge_is_on_disk_before_noise_is_drawn(make_plant: MakePlant) -> None:
    plant = make_plant()
    seen: list[int] = []

    def sampler(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        with Ledger.open(plant.home.ledger) as ledger:
            seen.append(ledger.read_spending(plant.config.data.name).charge_count)
        return exact

    answer_query(
        plant.home, plant.query(), witness=plant.witness, hooks=ReleaseHooks(sampler=sampler)
    )
    assert seen == [1, 1]  # the parts of one release, under one charge


def test_steps_come_in_order(make_plant: MakePlant) -> None:
    plant = make_plant()
    steps: list[str] = []
    answer_query(
        plant.home, plant.query(), witness=plant.witness, hooks=ReleaseHooks(on_step=steps.append)
    )
    assert (
        tuple(steps) == RELEASE_STEPS == (CHARGED_STEP, SAMPLED_STEP, RECORDED_STEP, COSIGNED_STEP)
    )


@pytest.mark.parametrize(
    "change",
    [{"site": "plant-b"}, {"expires": 1}, {"encoder": "00" * 32}, {"epsilon": "5"}, {"delta": "1"}],
)
def test_a_policy_refusal_touches_neither_ledger_nor_data(
    make_plant: MakePlant, change: dict[str, Any]
) -> None:
    plant = make_plant()
    before = _entries(plant)
    Path(plant.config.data.path).unlink()  # would be a DataError if it were looked at
    with pytest.raises(PolicyRefused):
        answer_query(plant.home, plant.query(**change), witness=plant.witness)
    assert _entries(plant) == before and plant.witness.asked == 0


def test_a_spent_budget_refuses_whatever_the_data_are(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(cap_epsilon="1.5", max_request_epsilon="1.5", answer_slot_seconds=0.05)
    messages = []
    for name, counts in (("plant-a", {0: 8, 1: 8, 2: 8}), ("plant-b", {1: 3})):
        plant = make_plant(counts, privacy=privacy, name=name)
        answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
        before = _entries(plant)
        with pytest.raises(BudgetExceeded) as caught:
            answer_query(plant.home, plant.query(epsilon="1.2"), witness=plant.witness)
        messages.append(str(caught.value).replace(name, "plant"))
        assert _entries(plant) == before and _charges(plant) == 1
    assert messages[0] == messages[1]


def test_whatever_becomes_of_the_data_folder_the_answer_is_that_of_the_snapshot(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    Path(plant.config.data.path).write_bytes(b"damaged")
    first = answer_query(plant.home, plant.query(), witness=plant.witness)
    Path(plant.config.data.path).unlink()
    assert answer_query(plant.home, plant.query(), witness=plant.witness) == first


@pytest.mark.parametrize("part", ["manifest.json", "statistics.bin"])
def test_a_damaged_snapshot_charges_nothing(make_plant: MakePlant, part: str) -> None:
    plant = make_plant()
    path = snapshots.load_current(plant.home).folder / part
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(VerificationError, match=f"{part}: changed since it was frozen"):
        answer_query(plant.home, plant.query(), witness=plant.witness)
    assert _charges(plant) == 0


def test_a_new_version_pays_from_the_same_budget(make_plant: MakePlant) -> None:
    plant = make_plant()
    first = answer_query(plant.home, plant.query(), witness=plant.witness)
    write_npz(Path(plant.config.data.path), {0: 9, 1: 8, 2: 8}, seed=4, labels=LABELS)
    assert answer_query(plant.home, plant.query(), witness=plant.witness) == first
    plant.freeze()
    assert answer_query(plant.home, plant.query(), witness=plant.witness) != first
    spend = read_plant_spending(plant.home, plant.config)
    assert spend.charge_count == 2 and 1.3 < spend.epsilon < 1.6  # composed, not 2


def test_equal_data_frozen_again_are_another_version_in_all_that_leaves(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    first = answer_query(plant.home, plant.query(), witness=plant.witness)
    plant.freeze()
    second = answer_query(plant.home, plant.query(), witness=plant.witness)
    charges = [_charge_entry(data) for data in (first, second)]
    assert charges[0].commitment != charges[1].commitment
    assert charges[0].fingerprint != charges[1].fingerprint
    assert charges[0].lineage == charges[1].lineage
    assert first != second and _charges(plant) == 2


def _charge_entry(data: bytes) -> entries.Charge:
    entry = entries.decode(bundle.decode_statistics(data).charge_entry)
    assert isinstance(entry, entries.Charge)
    return entry


def test_entries_bear_the_time_at_which_the_question_came(make_plant: MakePlant) -> None:
    plant = make_plant()
    came = int(time.time()) + 100

    def slow(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        time.sleep(0.01)  # the clock is the argument, whatever time goes by
        return exact

    answer_query(
        plant.home,
        plant.query(),
        witness=plant.witness,
        hooks=ReleaseHooks(sampler=slow),
        clock=lambda: came + 0.9,
    )
    with Ledger.open(plant.home.ledger) as ledger:
        times = [entries.decode(ledger.entry_bytes(seq)).head.time for seq in range(ledger.size)]
    assert times[-2:] == [came, came]


def test_a_snapshot_of_other_settings_is_refused_before_the_charge(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.configure(data=replace(plant.config.data, labels=(*LABELS, "cracks")))
    with pytest.raises(ConfigError, match=r"before data\.labels changed; run 'wg-client freeze"):
        answer_query(plant.home, plant.query(), witness=plant.witness)
    assert _charges(plant) == 0


def test_a_home_without_a_snapshot_is_told_to_freeze(make_plant: MakePlant) -> None:
    plant = make_plant(frozen=False)
    with pytest.raises(ConfigError, match="run 'wg-client freeze --home"):
        answer_query(plant.home, plant.query(), witness=plant.witness)


def test_a_release_is_made_without_ledger_and_network(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4, 1: 4})
    snapshot = snapshots.load_current(plant.home)
    request, sigma = release_query.price_release(
        plant.config,
        snapshot.manifest.schema,
        release_query.ReleaseOrder(request_id="0" * 32, epsilon="1", delta="1e-5", purpose="test"),
    )
    key = signing.load(plant.home.signing_key)
    made = [
        release_query.make_release(
            plant.config,
            snapshot,
            request,
            key=key,
            sampler=lambda exact, _: exact,
            release_id="ab",
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
    manifest, statistics = decode_release(made[0], key.public_key())
    assert manifest.sigma == sigma.hex()
    assert statistics.counts().tolist() == [4, 4, 0]


def test_a_cap_that_was_raised_in_the_file_is_refused(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.configure(privacy=PrivacyConfig(cap_epsilon="100", answer_slot_seconds=0.05))
    with pytest.raises(ConfigError, match="a cap does not change"):
        answer_query(plant.home, plant.query(), witness=plant.witness)
    assert _charges(plant) == 0


def test_units_are_released_by_their_rule(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(answer_slot_seconds=0.05)
    plant = make_plant(privacy=privacy, unit_column="group")
    data = answer_query(plant.home, plant.query(), witness=plant.witness)
    manifest, _ = decode_release(
        bundle.decode_statistics(data).release, signing.load(plant.home.signing_key).public_key()
    )
    assert manifest.schema.unit_rule == "weight"


def test_a_witness_that_refuses_keeps_the_release_for_later(make_plant: MakePlant) -> None:
    plant = make_plant()
    query = plant.query()

    def refuses(body: bytes) -> bytes:
        raise WitnessRefused(422, "no")

    with pytest.raises(PeerError):
        answer_query(plant.home, query, witness=refuses)
    data = answer_query(plant.home, query, witness=plant.witness)
    _verify(plant, data)
    assert _charges(plant) == 1


def test_a_ledger_that_is_missing_is_never_made_anew(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.home.ledger.unlink()
    with pytest.raises(ConfigError):
        answer_query(plant.home, plant.query(), witness=plant.witness)
    assert not plant.home.ledger.exists()


def test_without_the_server_other_witnesses_too_are_asked_when_the_slot_has_ended(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, events = make_plant(), list[str]()
    key = signing.public_bytes(signing.generate_key().public_key()).hex()
    other = WitnessConfig(name="witness.example/w1", key=key, url="https://witness.example")
    plant.configure(witnesses=(other,), witness_quorum=1)
    monkeypatch.setattr(time_slots, "wait_for_slot_end", lambda *_: events.append("slot"))
    monkeypatch.setattr(cosigning, "collect_cosignatures", lambda *_: events.append("asked"))
    answer_query(plant.home, plant.query(), witness=None)
    assert events == ["slot", "asked"]


def test_over_the_air_gap_the_same_release_travels(make_plant: MakePlant) -> None:
    plant = make_plant()
    query = plant.query()
    by_file = answer_query(plant.home, query, witness=None)
    assert answer_query(plant.home, query, witness=None) == by_file
    online = answer_query(plant.home, query, witness=plant.witness)
    assert bundle.decode_statistics(online).release == bundle.decode_statistics(by_file).release
    _verify(plant, online)
    assert _charges(plant) == 1


@pytest.mark.parametrize("connected", [True, False])
def test_another_purpose_of_an_equal_release_stands_on_the_ledger(
    make_plant: MakePlant, connected: bool
) -> None:
    """The purpose of a release that was handed out again was nowhere recorded."""
    plant = make_plant()
    witness = plant.witness if connected else None
    answer_query(plant.home, replace(plant.query(), purpose="first model"), witness=witness)
    for _ in range(2):
        query = replace(plant.query(), purpose="trial at line 2")
        answer_query(plant.home, query, witness=witness)
    with closing(log_sources.open_source(plant.home.ledger)) as source:
        (found,) = log_verification.verify_log(source).state.reuses.values()
    assert found.purpose == "trial at line 2" and _charges(plant) == 1


def _start(home: ClientHome, query: StatisticsQuery, step: str, out: Path) -> int:
    words = [sys.executable, str(PROCESS), str(home.root)]
    words += [msgspec.json.encode(query).decode(), step, str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, env=environment, check=False, capture_output=True).returncode


@pytest.mark.parametrize("statistics", STATISTICS_KINDS)
@pytest.mark.parametrize("step", RELEASE_STEPS)
def test_kill_9_after_any_step_charges_once_and_sends_one_release(
    make_plant: MakePlant, tmp_path: Path, step: str, statistics: StatisticsKind
) -> None:
    plant = make_plant({0: 4, 1: 4})
    plant.state_machine()
    query = plant.query(statistics=statistics_field(statistics))
    assert _start(plant.home, query, step, tmp_path / "never") == -9
    assert not (tmp_path / "never").exists()
    assert _charges(plant) == 1
    recorded = _outbox(plant, query)
    assert (recorded is not None) == (step in (RECORDED_STEP, COSIGNED_STEP))
    assert _start(plant.home, query, "", tmp_path / "first") == 0
    assert _start(plant.home, query, "", tmp_path / "second") == 0
    first = (tmp_path / "first").read_bytes()
    assert (tmp_path / "second").read_bytes() == first
    _verify(plant, first)
    assert recorded is None or bundle.decode_statistics(first).release == recorded
    spend = read_plant_spending(plant.home, plant.config)
    assert spend.charge_count == 1 and spend.open_charge_count == 0


def _outbox(plant: TestPlant, query: StatisticsQuery) -> bytes | None:
    with Ledger.open(plant.home.ledger) as ledger:
        return ledger.released_bytes(query.request_id)


def test_two_processes_with_one_request_make_one_release(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    query = plant.query()
    outs = [tmp_path / f"out{index}" for index in range(3)]
    words = [
        sys.executable,
        str(PROCESS),
        str(plant.home.root),
        msgspec.json.encode(query).decode(),
    ]
    running = [
        subprocess.Popen([*words, "", str(out)], env={**os.environ, "OMP_NUM_THREADS": "1"})
        for out in outs
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len({out.read_bytes() for out in outs}) == 1
    assert _charges(plant) == 1


def test_an_open_charge_is_not_completed_for_other_data(make_plant: MakePlant) -> None:
    plant = make_plant()
    query = plant.query()

    class Stopped(Exception):
        pass

    def stop(step: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        answer_query(plant.home, query, witness=plant.witness, hooks=ReleaseHooks(on_step=stop))
    write_npz(Path(plant.config.data.path), {0: 9}, seed=4, labels=LABELS)
    plant.freeze()
    with pytest.raises(RefusedError, match="burned"):
        answer_query(plant.home, query, witness=plant.witness)
    assert _charges(plant) == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1", "1"),
        ("1.50", "1.5"),
        ("1e-5", "1e-5"),
        ("0.00001", "1e-5"),
        ("10", "10"),
        ("4e0", "4"),
    ],
)
def test_numbers_have_one_spelling(number: str, expected: str) -> None:
    assert release_query.canonical_decimal(number) == expected
