"""Private exports: charged before noise is drawn, the same again, and added up by an auditor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
from tests.client.conftest import MakePlant, TestPlant

from wg_audit import verification
from wg_client.models.export import export_private
from wg_core.errors import BudgetExceeded, PolicyRefused
from wg_core.ledger import entries
from wg_core.ledger.entries import Charge, Decision
from wg_core.ledger.store import Ledger
from wg_core.privacy.mechanism import Integers, opendp_sampler
from wg_core.privacy.schema import CLASSES
from wg_core.release.budget import read_spend
from wg_core.release.exported_release import HOLDERS, ExportOrder, release_for_export
from wg_core.release.query import CHARGED, RECORDED, SAMPLED, Means, answer_query
from wg_core.site.config import PrivacyConfig
from wg_core.wire import statistics_file

FAST = PrivacyConfig(answer_slot_seconds=0.05)


def order(number: int, epsilon: str = "1") -> ExportOrder:
    return ExportOrder(request_id=f"{number:032x}", epsilon=epsilon, delta="1e-5")


def release(plant: TestPlant, number: int = 1, epsilon: str = "1", **words: Any) -> bytes:
    return release_for_export(plant.home, order(number, epsilon), witness=plant.witness, **words)


def charge_of(data: bytes) -> Charge:
    charge = entries.decode(statistics_file.decode_covered(data).charge_entry)
    assert isinstance(charge, Charge)
    return charge


def spent(plant: TestPlant) -> tuple[int, int]:
    spend = read_spend(plant.home, plant.config)
    return spend.charges, spend.burned


def test_a_charge_is_on_the_ledger_before_noise_is_drawn(make_plant: MakePlant) -> None:
    plant = make_plant()

    def sample(exact: Integers, sigma: float) -> Integers:
        assert spent(plant) == (1, 1)
        return opendp_sampler(exact, sigma)

    release(plant, means=Means(sampler=sample))
    assert spent(plant) == (1, 0)
    (row,) = read_spend(plant.home, plant.config).releases
    assert row.statistics == CLASSES and row.recipient == HOLDERS


def test_an_equal_order_gives_the_same_head_and_files_and_charges_nothing(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant()
    data, again = release(plant), release(plant, 2, "1.0")
    covered, second = map(statistics_file.decode_covered, (data, again))
    assert covered.release == second.release and spent(plant) == (1, 0)
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file, part in zip(files, (data, again), strict=True):
        export_private(plant.home, part, "safetensors", file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with safetensors.safe_open(files[0], "np") as model:
        assert "epsilon 1, delta" in model.metadata()["model"]
    release(plant, 3, "2")
    assert spent(plant) == (2, 0)
    answer_query(plant.home, plant.query(epsilon="2"), witness=plant.witness)
    assert spent(plant) == (2, 0)  # whoever has it, it is the same release


@pytest.mark.parametrize("step", [CHARGED, SAMPLED, RECORDED])
def test_what_a_crash_left_is_completed_for_the_one_charge(
    make_plant: MakePlant, step: str
) -> None:
    plant = make_plant()

    def stop(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(plant, means=Means(on_step=stop))
    assert spent(plant) == (1, int(step != RECORDED))
    data = release(plant, 2)
    assert spent(plant) == (1, 0)
    assert (
        statistics_file.decode_covered(data).release
        == statistics_file.decode_covered(release(plant, 3)).release
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
    signed = replace(order(1), by="quality lead")
    data = release_for_export(plant.home, signed, witness=plant.witness)
    assert release(plant, 2) == data  # made before: nobody is asked again
    with Ledger.open(plant.home.ledger) as ledger:
        kinds = [entries.decode(ledger.entry(seq)) for seq in range(ledger.size)]
    (decision,) = [entry for entry in kinds if isinstance(entry, Decision)]
    assert decision.recipient == charge_of(data).use.recipient == HOLDERS


def test_an_auditor_adds_the_charge_up_from_its_blocks(
    make_plant: MakePlant, tmp_path: Path
) -> None:
    plant = make_plant()
    answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    file = tmp_path / "head.wgs"
    file.write_bytes(release(plant, 1, "2"))
    finding = verification.verify(plant.home.root, statistics=[file])
    assert not finding.verdict.problems and len(finding.received) == 1
    spend = read_spend(plant.home, plant.config)
    assert finding.verdict.total is not None
    assert finding.verdict.total.epsilon == pytest.approx(spend.epsilon, rel=1e-4)
