"""Private exports: charged before training, the same again, and added up by an auditor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from tests.client.conftest import LABELS, MakePlant, TestPlant

from wg_audit import charge_derivation, composition, verification
from wg_client.models.export import export_private_head
from wg_common.nets.private_head import train_private_head
from wg_core import snapshot as snapshots
from wg_core.errors import (
    BudgetExceeded,
    ConfigError,
    DecodeError,
    PolicyRefused,
    VerificationError,
)
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.charge_parts import BlockShare
from wg_core.ledger.entries import Charge, Decision
from wg_core.privacy import time_slots
from wg_core.privacy.gradients import ChargedGradientSums, HeadArrays, LabelledFeatures
from wg_core.privacy.schema import GRADIENTS
from wg_core.release.budget import read_plant_spending
from wg_core.release.private_head import (
    TRAINING_SLOTS,
    HeadOrder,
    labelled_features,
    release_private_head,
)
from wg_core.release.query_answers import (
    CHARGED_STEP,
    RECORDED_STEP,
    SAMPLED_STEP,
    ReleaseHooks,
    answer_query,
)
from wg_core.site import locks
from wg_core.site.config import PrivacyConfig
from wg_core.wire import bundle, head_file
from wg_server.fleet import bundle_verification

FAST = PrivacyConfig(answer_slot_seconds=0.05)


def order(number: int, epsilon: str = "1") -> HeadOrder:
    return HeadOrder(request_id=f"{number:032x}", epsilon=epsilon, delta="1e-5")


def release(plant: TestPlant, number: int = 1, epsilon: str = "1", **words: Any) -> bytes:
    return release_private_head(
        plant.home, order(number, epsilon), train_private_head, witness=plant.witness, **words
    )


def charge_of(data: bytes) -> Charge:
    charge = entries.decode(bundle.decode_statistics(data).charge_entry)
    assert isinstance(charge, Charge)
    return charge


def spent(plant: TestPlant) -> tuple[int, int]:
    spend = read_plant_spending(plant.home, plant.config)
    return spend.charge_count, spend.open_charge_count


def test_the_charge_is_on_the_ledger_before_a_gradient_is_summed(make_plant: MakePlant) -> None:
    plant = make_plant()

    def train(records: LabelledFeatures, charged: ChargedGradientSums) -> HeadArrays:
        assert spent(plant) == (1, 1)
        return train_private_head(records, charged)

    release_private_head(plant.home, order(1), train, witness=plant.witness)
    assert spent(plant) == (1, 0)
    (row,) = read_plant_spending(plant.home, plant.config).releases
    assert row.statistics == GRADIENTS and row.recipient != plant.config.server.name


def test_training_takes_a_fixed_time_for_answers_and_witnesses(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, events = make_plant(), list[Any]()

    def train(records: LabelledFeatures, charged: ChargedGradientSums) -> HeadArrays:
        events.append("trained")
        return train_private_head(records, charged)

    def wait(start_time: float, slot: float) -> None:
        with (
            pytest.raises(ConfigError, match="waits"),
            locks.lock_ledger(plant.home, busy_message="waits"),
        ):
            pass
        events.append(slot)

    def witness(body: bytes) -> bytes:
        events.append("asked")
        return plant.witness(body)

    monkeypatch.setattr(time_slots, "wait_for_slot_end", wait)
    for number in range(2):  # the second is made before, without training
        release_private_head(plant.home, order(number), train, witness=witness)
    slots = TRAINING_SLOTS * plant.config.privacy.answer_slot_seconds
    assert events[:3] == ["trained", slots, "asked"] and set(events[3:]) <= {"asked"}


def test_an_equal_order_gives_the_same_head_and_files_and_charges_nothing(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant()
    data, again = release(plant), release(plant, 2, "1.0")
    covered, second = map(bundle.decode_statistics, (data, again))
    assert covered.release == second.release and spent(plant) == (1, 0)
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file, part in zip(files, (data, again), strict=True):
        export_private_head(plant.home, part, "safetensors", file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with safetensors.safe_open(files[0], "np") as model:
        assert "epsilon 1, delta" in model.metadata()["model"]
    release(plant, 3, "2")
    assert spent(plant) == (2, 0)


@pytest.mark.parametrize("step", [CHARGED_STEP, SAMPLED_STEP, RECORDED_STEP])
def test_what_a_crash_left_is_completed_for_the_one_charge(
    make_plant: MakePlant, step: str
) -> None:
    plant = make_plant()

    def stop(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(plant, hooks=ReleaseHooks(on_step=stop))
    assert spent(plant) == (1, int(step != RECORDED_STEP))
    data = release(plant, 2)
    assert spent(plant) == (1, 0)
    assert (
        bundle.decode_statistics(data).release
        == bundle.decode_statistics(release(plant, 3)).release
    )


def test_what_cannot_be_paid_for_charges_nothing(make_plant: MakePlant) -> None:
    plant = make_plant(privacy=replace(FAST, cap_epsilon="2", max_request_epsilon="1.5"))
    with pytest.raises(PolicyRefused, match=r"this plant allows 1\.5"):
        release(plant, 1, "4")
    assert spent(plant) == (0, 0)
    release(plant, 2, "1.5")
    with pytest.raises(BudgetExceeded):
        release(plant, 3, "1.4")
    assert spent(plant) == (1, 0)


def test_a_person_s_name_is_asked_where_people_decide(make_plant: MakePlant) -> None:
    plant = make_plant(privacy=replace(FAST, approve="human"))
    with pytest.raises(PolicyRefused, match="--by"):
        release(plant)
    signed = replace(order(1), approver="quality lead")
    data = release_private_head(plant.home, signed, train_private_head, witness=plant.witness)
    assert release(plant, 2) == data  # made before: nobody is asked again
    with Ledger.open(plant.home.ledger) as ledger:
        kinds = [entries.decode(ledger.entry_bytes(seq)) for seq in range(ledger.size)]
    (decision,) = [entry for entry in kinds if isinstance(entry, Decision)]
    assert decision.statistics == GRADIENTS
    assert decision.recipient == charge_of(data).use.recipient


def test_training_sees_labelled_records_of_the_snapshot_by_unit(make_plant: MakePlant) -> None:
    plant = make_plant({0: 6, 1: 6, -1: 4}, unit_column="group")
    seen: list[LabelledFeatures] = []

    def train(records: LabelledFeatures, charged: ChargedGradientSums) -> HeadArrays:
        seen.append(records)
        assert sorted(np.concatenate(charged.unit_rows)) == list(range(12))
        assert {len(rows) for rows in charged.unit_rows} == {2}
        return train_private_head(records, charged)

    data = release_private_head(plant.home, order(1), train, witness=plant.witness)
    charge = charge_of(data)
    assert charge.guarantee.unit == "group" and "1/m" in charge.guarantee.records_per_unit
    (records,) = seen
    snapshot = snapshots.load_current(plant.home)
    assert len(records.labels) == 12 and records.features.shape[1] == 64
    assert np.array_equal(labelled_features(snapshot).features, records.features)


def test_an_auditor_adds_the_charge_up_from_its_blocks(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant()
    answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    file = tmp_path / "head.wgs"
    file.write_bytes(release(plant, 1, "2"))
    finding = verification.audit_log(plant.home.root, statistics=[file])
    assert not finding.verdict.problems and len(finding.received_files) == 1
    spend = read_plant_spending(plant.home, plant.config)
    assert finding.verdict.total is not None
    assert finding.verdict.total.epsilon == pytest.approx(spend.epsilon, rel=1e-4)
    assert any("trained privately" in line for line in finding.remark_sentences)
    charge = charge_of(file.read_bytes())
    steps = charge_derivation.training_steps(charge_derivation.stated_layout(charge))
    mu_squared = steps * 4**14 / float.fromhex(charge.mechanism.sigma) ** 2
    assert composition.gaussian_epsilon(round(mu_squared * 2**40), 1e-5) == pytest.approx(
        2, rel=1e-4
    )


def _gradients(length: int, weight: int = 1) -> dict[str, Any]:
    return {"blocks": (BlockShare("gradients", length, weight),)}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (_gradients(79 * 3 * 65), "its blocks imply"),
        (_gradients(80 * 3 * 65, 2), "its blocks imply"),
        (_gradients(80 * 3 * 65 - 1), "no number of steps"),
        ({"name": charge_derivation.CLASS_MECHANISM}, "not of one kind"),
    ],
)
def test_a_charge_that_is_not_its_training_is_refused(
    make_plant: MakePlant, changes: dict[str, Any], match: str
) -> None:
    charge = charge_of(release(make_plant()))
    charge_derivation.check_charge(charge)
    with pytest.raises(VerificationError, match=match):
        charge_derivation.check_charge(
            replace(charge, mechanism=replace(charge.mechanism, **changes))
        )


def test_a_head_is_not_taken_for_statistics_nor_a_flipped_byte_for_a_head(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant()
    data = release(plant)
    covered = bundle.decode_statistics(data)
    with pytest.raises(DecodeError):
        bundle_verification.check_charge_terms(charge_of(data), covered.release)
    manifest, (weight, bias) = head_file.decode(covered.release)
    assert weight.shape == (3, 64) and bias.shape == (3,) and manifest.schema.labels == LABELS
    for position in range(40, len(covered.release), 997):
        spoilt = bytearray(covered.release)
        spoilt[position] ^= 1
        with pytest.raises((DecodeError, VerificationError)):
            head_file.decode(bytes(spoilt))
    with pytest.raises(DecodeError, match="sigma"):
        replace(manifest, epsilon="0.5")
