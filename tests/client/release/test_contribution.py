"""A contribution: charged first, trained under verified sampling, signed, and audited."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.conftest import LABELS, MakePlant, TestPlant

from wg_audit.cli import group as audit_group
from wg_client.cli.main import group
from wg_client.release import contribution as contributing
from wg_client.release import dp_training
from wg_client.release.contribution import ContributionRequest, contribute
from wg_client.release.dp_training import DpCheckpoint
from wg_core import cli
from wg_core.errors import InternalError, PolicyRefused
from wg_core.ledger import entries
from wg_core.ledger.store import Ledger
from wg_core.release.query import answer_query
from wg_core.site.config import PrivacyConfig
from wg_core.wire import signing
from wg_core.wire.contribution_file import FILE, decode_contribution

Json = Callable[..., Any]
STEPS = 6
REQUEST = ContributionRequest(
    epsilon="2", delta="1e-5", steps=STEPS, sampling_probability=0.5, units=24
)
WORDS = ("--epsilon", "2", "--steps", STEPS, "--sampling-probability", 0.5, "--units", 24)


@pytest.fixture(autouse=True)
def plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans by argument: the same search for the least noise need not be made for each test."""
    monkeypatch.setattr(contributing, "plan_for", _plan_for)


_PLANS: dict[str, dp_training.DpTrainingPlan] = {}


def _plan_for(*words: float, **named: float) -> dp_training.DpTrainingPlan:
    key = repr((words, sorted(named.items())))
    if key not in _PLANS:
        _PLANS[key] = dp_training.plan_for(*words, **named)  # type: ignore[arg-type]
    return _PLANS[key]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Json:
    """A command with ``--json``, in this process."""

    def call(commands: Any, *words: object, code: int = 0) -> Any:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.run(commands, [*map(str, words), "--json"])
        assert caught.value.code == code
        return json.loads(capfd.readouterr().out)

    return call


def _charges(plant: TestPlant) -> int:
    return _kinds(plant).count(entries.CHARGE)


def _kinds(plant: TestPlant) -> list[str]:
    with Ledger.open(plant.home.ledger) as ledger:
        return [entries.decode(ledger.entry(seq)).head.kind for seq in range(ledger.size)]


def _public(plant: TestPlant) -> Any:
    return signing.load(plant.home.signing_key).public_key()


def test_a_contribution_is_charged_signed_and_audited_by_both_code_bases(
    make_plant: MakePlant, run: Json, tmp_path: Path
) -> None:
    plant = make_plant({0: 8, 1: 8, 2: 8})
    out = tmp_path / "plant.wgc"
    done = run(group, "contribute", "--home", plant.home.root, "--out", out, *WORDS)
    manifest, tensors = decode_contribution(out.read_bytes(), _public(plant))
    assert manifest.site == plant.config.site and manifest.labels == LABELS
    assert manifest.encoder == plant.encoder and manifest.sampler == dp_training.SAMPLER
    assert tensors["head.weight"].shape == (3, 64) and tensors["head.bias"].shape == (3,)
    assert done["charged"] and done["event"]["steps"] == STEPS
    assert _kinds(plant)[-2:] == [entries.CHARGE, entries.RELEASE]

    export = tmp_path / "plant.wgl"
    with Ledger.open(plant.home.ledger) as ledger:
        ledger.export(export)
    found = run(audit_group, "verify", export, "--statistics", out)
    assert found["verified"] and found["charges"] == found["releases"] == 1
    assert found["verdict"]["received"] == 1, "the file is what its charge says"
    epsilon = found["epsilon"]
    assert 1.9 < epsilon["primary"] <= 2.0 + 1e-9
    assert epsilon["primary"] == pytest.approx(done["epsilon_spent"])
    assert epsilon["independent"] == pytest.approx(epsilon["primary"], abs=0.02)


def test_a_repeated_request_gets_the_stored_bytes_and_charges_nothing(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()
    first = contribute(plant.home, REQUEST)
    again = contribute(plant.home, dataclasses.replace(REQUEST, epsilon="2.0"))
    assert again.data == first.data and first.charged and not again.charged
    assert again.request_id == first.request_id and _charges(plant) == 1


def test_another_training_plan_is_another_charge(make_plant: MakePlant) -> None:
    plant = make_plant()
    first = contribute(plant.home, REQUEST)
    second = contribute(plant.home, dataclasses.replace(REQUEST, learning_rate=1.0))
    assert second.charged and second.data != first.data and _charges(plant) == 2


def test_a_cap_that_is_spent_refuses_and_writes_nothing(
    make_plant: MakePlant, run: Json, tmp_path: Path
) -> None:
    plant = make_plant(privacy=PrivacyConfig(cap_epsilon="2", max_request_epsilon="2"))
    answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    before = _kinds(plant)
    out = tmp_path / "plant.wgc"
    run(group, "contribute", "--home", plant.home.root, "--out", out, *WORDS, code=4)
    assert not out.exists() and _kinds(plant) == before


def test_policy_is_asked_before_the_data(make_plant: MakePlant) -> None:
    plant = make_plant(privacy=PrivacyConfig(max_request_epsilon="1", purposes=("inspection",)))
    Path(plant.config.data.path).unlink()
    with pytest.raises(PolicyRefused, match="epsilon 2, this plant allows 1"):
        contribute(plant.home, REQUEST)
    with pytest.raises(PolicyRefused, match="purpose"):
        contribute(plant.home, dataclasses.replace(REQUEST, epsilon="1"))


def test_the_charge_is_on_disk_before_noise_is_drawn(make_plant: MakePlant) -> None:
    plant = make_plant()
    seen: set[int] = set()

    def sampler(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        del sigma
        seen.add(_charges(plant))
        return exact

    contribute(plant.home, REQUEST, sampler=sampler)
    assert seen == {1}


def test_a_run_that_was_cut_short_is_completed_under_its_charge(make_plant: MakePlant) -> None:
    plant = make_plant()

    def fail(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contribute(plant.home, REQUEST, sampler=fail)
    assert _kinds(plant)[-1] == entries.CHARGE
    done = contribute(plant.home, REQUEST)
    assert not done.charged and _charges(plant) == 1
    assert FILE.read_manifest(done.data).request_id == done.request_id
    assert _kinds(plant)[-1] == entries.RELEASE


def test_an_answer_does_not_wait_for_training(make_plant: MakePlant) -> None:
    plant = make_plant()
    answers: list[bytes] = []

    def train(plan: Any, *words: Any, charge: Any, **named: Any) -> DpCheckpoint:
        def pay(event: Any) -> None:
            charge(event)
            answers.append(answer_query(plant.home, plant.query(), witness=plant.witness))

        return dp_training.train(plan, *words, charge=pay, **named)

    contribute(plant.home, REQUEST, train=train)
    assert len(answers) == 1
    kinds = _kinds(plant)[-4:]
    assert kinds == [entries.CHARGE, entries.CHARGE, entries.RELEASE, entries.RELEASE]


def test_sampling_that_is_not_poisson_releases_nothing(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 60, 1: 60})
    every = np.arange(120)
    monkeypatch.setattr(dp_training, "poisson_batches", lambda *_: iter([every] * STEPS))
    with pytest.raises(InternalError, match="sampling is not as charged"):
        contribute(plant.home, REQUEST)
    assert _kinds(plant)[-1] == entries.CHARGE


def test_a_trainer_that_runs_another_event_is_refused_before_it_charges(
    make_plant: MakePlant,
) -> None:
    plant = make_plant()

    def train(plan: Any, *words: Any, **named: Any) -> DpCheckpoint:
        return dp_training.train(dataclasses.replace(plan, steps=STEPS + 1), *words, **named)

    with pytest.raises(InternalError, match="not the one to be charged"):
        contribute(plant.home, REQUEST, train=train)
    assert _charges(plant) == 0


@pytest.mark.parametrize("counts", [{0: 8, 1: 8, 2: 8}, {0: 0}])
def test_records_without_a_label_are_left_out(
    make_plant: MakePlant, counts: dict[int, int]
) -> None:
    plant = make_plant()
    with np.load(plant.config.data.path) as archive:
        arrays = dict(archive)
    arrays["y"][8:] = -1
    if counts == {0: 0}:
        arrays["y"][:] = -1
    np.savez(plant.config.data.path, **arrays)
    plant.freeze()
    seen: list[int] = []

    def train(plan: Any, features: Any, labels: Any, *words: Any, **named: Any) -> DpCheckpoint:
        seen.append(len(labels))
        return dp_training.train(plan, features, labels, *words, **named)

    contribute(plant.home, REQUEST, train=train)
    assert seen == [0 if counts == {0: 0} else 8]


def test_units_with_several_records_are_clipped_as_one(make_plant: MakePlant) -> None:
    plant = make_plant(privacy=PrivacyConfig(unit_rule="weight"), unit_column="group")
    units: list[int] = []

    def train(*words: Any, **named: Any) -> DpCheckpoint:
        found = dp_training.train(*words, **named)
        units.append(found.log.units)
        return found

    contribute(plant.home, REQUEST, train=train)
    assert units == [12]
    with Ledger.open(plant.home.ledger) as ledger:
        charge = entries.decode(ledger.entry(ledger.size - 2))
    assert isinstance(charge, entries.Charge)
    assert charge.guarantee.unit == "group" and "as one" in charge.guarantee.records_per_unit
