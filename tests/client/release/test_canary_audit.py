"""The empirical audit finds planted bugs, and passes the code as it is.

A bug is planted against the one probe that should see it. Where noise is looked at it is simulated
from a seed, so that a verdict never changes from run to run; copies of a process, and whole runs,
draw from the installed sampler, and a run fails with a probability of 2e-5. The default suite
plants a few bugs; the slow tests plant all of them with twenty seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opendp.measurements
import pytest
from click.testing import CliRunner
from tests.client.conftest import remembering
from tests.client.release.holdout_bugs import HOLDOUT
from tests.client.release.holdout_bugs_second import SECOND
from tests.client.release.machine_bugs import OF_MACHINE
from tests.client.release.outside_bugs import OUTSIDE
from tests.client.release.planted_bugs import ALL, Planted, changed_noise, halved
from tests.client.release.review_bugs import REVIEW
from tests.core.ledger.conftest import closed_form

from wg_audit import cli
from wg_audit.installed import audit as installed
from wg_audit.installed import bench, conduct, noise, probes
from wg_audit.installed.audit import AuditReport
from wg_audit.installed.bench import AuditBench, AuditSize
from wg_audit.installed.plant import CheckResult, PlantFactory, PlantSetup
from wg_client.release import canary_audit
from wg_common.nets.encoder.module import load_encoder
from wg_core.errors import ConfigError, ExitCode
from wg_core.ledger import recovery, store
from wg_core.privacy import mechanism
from wg_server.generator.evaluation.simulated_release import simulate_release

SMALL = AuditSize(canaries=16, snapshots=2, dimensions=range(1, 4), larger=1)
SEEDS = range(20)

WIDTH, SUMS, RELEASES, ENTRIES, DEPENDENCE, NORMAL, REMAINDERS = noise.TESTS_BY_PROPERTY
PROBE_OF = {
    "noise is always even": (probes.score_canaries, REMAINDERS),
    "noise is cut at four sigma": (probes.score_canaries, NORMAL),
    "noise is shared by neighbouring entries": (probes.score_canaries, ENTRIES),
    "noise is seeded by time": (probes.probe_copies, RELEASES),
    "noise is a multiple of seven": (probes.score_canaries, REMAINDERS),
    "noise is half that of the release before": (probes.score_canaries, RELEASES),
    "noise is halved for two classes": (probes.probe_dimensions, bench.SAMPLER_CHECK),
    "noise is halved from ten classes on": (probes.probe_dimensions, bench.SAMPLER_CHECK),
    "noise is halved at thirty-two features": (probes.probe_dimensions, bench.SAMPLER_CHECK),
    "the budget starts anew with each version": (conduct.exhaust_budget, bench.BUDGET_CHECK),
    "the cap is not held": (conduct.exhaust_budget, bench.BUDGET_CHECK),
    "the acceptance set is in the sum": (probes.probe_declarations, bench.EXACTNESS_CHECK),
    "a content with two labels counts under each": (
        probes.probe_snapshot_sizes,
        bench.EXACTNESS_CHECK,
    ),
    "a content with two labels counts without one": (
        probes.probe_snapshot_sizes,
        bench.EXACTNESS_CHECK,
    ),
    "unit names are cut at 16 characters": (probes.probe_unit_weights, bench.EXACTNESS_CHECK),
    "unit names that look alike are one": (probes.probe_unit_weights, bench.EXACTNESS_CHECK),
    "features are not clipped at some dimensions": (probes.probe_dimensions, bench.EXACTNESS_CHECK),
    "the number set aside is in the software's name": (
        probes.probe_declarations,
        bench.EQUALITY_CHECK,
    ),
    "stated classes are ordered by frequency": (probes.probe_declarations, bench.EQUALITY_CHECK),
    "classes without a record are not stated": (probes.probe_declarations, bench.EQUALITY_CHECK),
    "counts below zero are zero": (probes.probe_snapshot_sizes, bench.SAMPLER_CHECK),
    "noise comes from a pool of drawn values": (probes.score_canaries, ENTRIES),
    "rare classes have less noise": (probes.probe_snapshot_sizes, bench.SAMPLER_CHECK),
    "units of many records weigh more": (probes.probe_unit_weights, bench.EXACTNESS_CHECK),
    "the number of records is in a release's time": (
        probes.probe_declarations,
        bench.EQUALITY_CHECK,
    ),
    "an empty data set has no noise": (probes.probe_snapshot_sizes, bench.SAMPLER_CHECK),
    "burned charges come back with a version": (conduct.exhaust_budget, bench.BUDGET_CHECK),
    "the release's id follows from the statistics": (probes.probe_copies, bench.FRESHNESS_CHECK),
    "features are normalised by large batches": (probes.probe_encoding_groups, bench.ENCODER_CHECK),
    "contents are known by their first half": (probes.probe_snapshot_sizes, bench.EXACTNESS_CHECK),
    "one delta for all questions": (conduct.try_guarantees, bench.LEDGER_CHECK),
    "noise at small epsilons is too narrow": (conduct.try_guarantees, bench.SAMPLER_CHECK),
    "the longest vectors are beyond the clip": (probes.probe_snapshot_sizes, bench.EXACTNESS_CHECK),
    "class names that differ in case are one": (probes.probe_file_layouts, bench.EXACTNESS_CHECK),
    "the number of records is in a version's time": (
        probes.probe_declarations,
        bench.EQUALITY_CHECK,
    ),
    "a data set without labels is refused": (probes.probe_snapshot_sizes, bench.ANSWERS_CHECK),
    "an open charge pays for a greater guarantee": (conduct.interrupt_releases, bench.ORDER_CHECK),
    "a release leaves without a cosignature": (conduct.interrupt_releases, bench.ORDER_CHECK),
    "noise has the sign of what it hides": (probes.score_canaries, DEPENDENCE),
    "every fiftieth draw has no noise": (probes.score_canaries, WIDTH),
    "the centre is that of exact sums": (probes.probe_snapshot_sizes, bench.EXACTNESS_CHECK),
    "units weigh one over their labelled records": (
        probes.probe_unit_weights,
        bench.EXACTNESS_CHECK,
    ),
    "what is zero has no noise": (probes.probe_snapshot_sizes, bench.SAMPLER_CHECK),
    "each kind of statistics has a budget": (probes.probe_snapshot_sizes, bench.LEDGER_CHECK),
    "missing labels are those of the nearest mean": (
        probes.probe_snapshot_sizes,
        bench.EXACTNESS_CHECK,
    ),
    "the release's id is a hash of request and statistics": (
        probes.probe_copies,
        bench.FRESHNESS_CHECK,
    ),
    "the acceptance set is exactly the share": (probes.probe_declarations, bench.EXACTNESS_CHECK),
    "machine features are scaled by the longest beside them": (
        probes.probe_snapshot_sizes,
        bench.EXACTNESS_CHECK,
    ),
    "commitments have no salt": (probes.probe_snapshot_sizes, bench.FRESHNESS_CHECK),
}
"""Probe and check that see each bug of the review, of those that were once held out, and of an
outsider's."""
MISSED = {
    "vectors are clipped at a quantile of the data",  # a third of most made-up data is too long
}
"""Bugs of an outsider that the audit does not find."""
BY_CHANCE = "the acceptance set is exactly the share"
"""A bug of an outsider that is found in 68 of 100 runs: they look at one pair of data sets."""
SIZES = {
    "noise is cut at four sigma": AuditSize(snapshots=5),
    "every fiftieth draw has no noise": AuditSize(canaries=16, snapshots=8),
    "noise comes from a pool of drawn values": AuditSize(canaries=64, snapshots=1),
    "noise is halved at thirty-two features": AuditSize(dimensions=range(32, 33), larger=0),
}
"""Sizes of benches on which a bug can be seen, where a small one does not do."""
OF_OTHERS = (
    REVIEW | HOLDOUT | SECOND | {name: OUTSIDE[name] for name in OUTSIDE if name not in MISSED}
)
PLANTED = (
    ALL
    | OF_MACHINE
    | {
        name: Planted(plant, PROBE_OF[name][1], PROBE_OF[name][0])
        for name, plant in OF_OTHERS.items()
    }
)
"""Bugs that the audit is known to find. Of ten that were held out it had found five before it was
extended, and of ten others three before it was extended once more; of an outsider's ten eight in
every run."""
QUICK = (
    "centre taken from exact statistics",
    "noise drawn before the charge",
    "noise is always even",
    "noise is shared by neighbouring entries",
    "noise is seeded by time",
    "the budget starts anew with each version",
    "unit names are cut at 16 characters",
)


def simulated(patch: pytest.MonkeyPatch, seed: int) -> None:
    """Let OpenDP's measurement draw from a seeded generator, fast."""
    rng = np.random.default_rng(seed + 1000)

    def make_gaussian(*space: Any, scale: float) -> Callable[[list[int]], list[int]]:
        return lambda values: simulate_release(np.array(values), scale, rng).tolist()

    patch.setattr(opendp.measurements, "make_gaussian", make_gaussian)


def failed(checks: tuple[CheckResult, ...] | list[CheckResult]) -> set[str]:
    return {check.name for check in checks if not check.passed}


class _Found(BaseException):
    """Ends a probe, which takes no error of a program for its own."""


class _Brief(AuditBench):
    """A bench at which a probe ends once a check has failed."""

    check = ""

    def count_answer(self) -> None:
        super().count_answer()
        if self.wrong[self.check]:
            raise _Found


def is_found(bug: str, encoder: bytes, seed: int) -> None:
    """Plant a bug against the probe that should see it, and stop once it is seen.

    Budgets are added up by the closed form, which is what the accountant gives to 1e-6.
    """
    planted = PLANTED[bug]
    load = load_encoder if planted.check == bench.ENCODER_CHECK else remembering
    plants = canary_audit.plants(encoder, load_encoder=load)
    rng, size = np.random.default_rng(seed), SIZES.get(bug, SMALL)
    run = _Brief(plants, rng, size, lambda number: None)
    run.check = planted.check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.Ledger, "accountant", staticmethod(closed_form))
        if planted.probe is not probes.probe_copies:
            simulated(patch, seed)
        if bug in OF_OTHERS:
            patch.setattr(probes, "LARGE_DATASET", 300)
        planted.plant(patch)
        with contextlib.suppress(_Found):
            planted.probe(run)
    checks = installed.behaviour_checks(run)
    if planted.check in noise.TESTS_BY_PROPERTY:
        checks = noise.noise_checks(run.noise)
    assert planted.check in failed(checks), checks


@pytest.mark.parametrize("bug", QUICK)
def test_a_planted_bug_is_found(bug: str, encoder_package: bytes) -> None:
    is_found(bug, encoder_package, 0)


@pytest.mark.slow
@pytest.mark.parametrize("bug", sorted({*PLANTED} - {BY_CHANCE}))
def test_a_planted_bug_is_found_for_every_seed(bug: str, encoder_package: bytes) -> None:
    for seed in SEEDS:
        is_found(bug, encoder_package, seed)


def audited(encoder: bytes, size: AuditSize, seed: int = 0) -> AuditReport:
    """Audit, with budgets added up by the closed form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.Ledger, "accountant", staticmethod(closed_form))
        return installed.audit_installed_code(canary_audit.plants(encoder), size=size, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug", [bug for bug in PLANTED if PLANTED[bug].check in noise.TESTS_BY_PROPERTY]
)
def test_a_bug_of_the_noise_fails_the_whole_audit(
    bug: str, encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise of all probes is looked at together; whatever else fails for one fails for all."""
    PLANTED[bug].plant(monkeypatch)
    assert not audited(encoder_package, SIZES.get(bug, SMALL)).is_passed


@pytest.mark.slow
def test_a_bug_that_seldom_moves_a_record_is_found_for_some_seed(encoder_package: bytes) -> None:
    for seed in SEEDS:
        with contextlib.suppress(AssertionError):
            return is_found(BY_CHANCE, encoder_package, seed)
    pytest.fail("found for no seed")


@pytest.mark.slow
@pytest.mark.parametrize("bug", sorted(MISSED))
def test_a_bug_that_is_missed_passes_the_whole_audit(
    bug: str, encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    OUTSIDE[bug](monkeypatch)
    assert audited(encoder_package, SMALL).is_passed


@pytest.mark.slow
def test_the_code_as_it_is_passes_for_every_seed(encoder_package: bytes) -> None:
    for seed in SEEDS:
        report = audited(encoder_package, SMALL, seed)
        assert report.is_passed, (seed, failed(report.checks))
        assert report.questions == probes.count_questions(SMALL)
        assert report.bounds is not None
        assert report.bounds.canaries == 16 * 2 * 4


@pytest.mark.slow
def test_canaries_alone_find_halved_noise(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_noise(halved)(monkeypatch)
    report = audited(encoder_package, AuditSize())
    assert installed.CANARIES_CHECK in failed(report.checks)
    assert report.bounds is not None
    assert report.bounds.clopper_pearson > report.epsilon


def test_the_command_runs_the_installed_sampler_and_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, encoder_package: bytes
) -> None:
    monkeypatch.setattr(store.Ledger, "accountant", staticmethod(closed_form))
    monkeypatch.setattr(bench, "AuditSize", lambda: SMALL)
    monkeypatch.setattr(probes, "LARGE_DATASET", 300)
    plants = canary_audit.plants(encoder_package, load_encoder=remembering)
    monkeypatch.setattr(cli, "entry_points", lambda group: [_EntryPoint(plants)])
    done = CliRunner().invoke(cli.group, ["empirical", "--json"], standalone_mode=False)
    document = json.loads(done.stdout)
    assert document["passed"], document
    assert done.return_value == 0
    total = probes.count_questions(SMALL)
    assert done.stderr.startswith(f"questions to simulated plants: 0/{total}")
    assert done.stderr.splitlines()[-1] == f"questions to simulated plants: {total}/{total}"


@pytest.mark.parametrize("count", [0, 2])
def test_without_the_one_program_to_audit_the_command_fails(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [object()] * count)
    with pytest.raises(ConfigError, match="nothing was audited"):
        CliRunner().invoke(cli.group, ["empirical"], standalone_mode=False, catch_exceptions=False)


def refusing(setup: PlantSetup) -> Any:
    raise RuntimeError("no plant today")


def test_what_cannot_be_looked_at_fails() -> None:
    report = installed.audit_installed_code(refusing, size=SMALL)
    assert not report.is_passed
    assert {bench.ANSWERS_CHECK, bench.CENTRES_CHECK} <= failed(report.checks)
    assert report.bounds is None


def test_a_release_that_asks_for_no_noise_is_found(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanism, "add_noise", lambda exact, sigma, sampler: exact.copy())
    plants = canary_audit.plants(encoder_package, load_encoder=remembering)
    run = AuditBench(plants, np.random.default_rng(0), SMALL, lambda number: None)
    probes.probe_snapshot_sizes(run)
    assert {bench.EXACTNESS_CHECK, bench.SAMPLER_CHECK, bench.ORDER_CHECK} <= failed(
        installed.behaviour_checks(run)
    )


def test_a_new_ledger_that_inherits_no_spend_is_found(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_inherited_spends", lambda state: ())
    plants = canary_audit.plants(encoder_package, load_encoder=remembering)
    run = AuditBench(plants, np.random.default_rng(0), SMALL, lambda number: None)
    conduct.exhaust_budget(run)
    assert {*run.wrong} == {bench.BUDGET_CHECK}
    assert {*run.wrong[bench.BUDGET_CHECK]} == {
        f"a release is {verb} since another ledger takes over" for verb in ("made", "charged")
    }


def test_a_failed_audit_ends_the_command_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [_EntryPoint(refusing)])
    done = CliRunner().invoke(cli.group, ["empirical"], standalone_mode=False)
    assert done.return_value == ExitCode.VERIFICATION
    assert f"FAILS: {bench.ANSWERS_CHECK} (RuntimeError: no plant today" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED")


@dataclasses.dataclass(frozen=True)
class _EntryPoint:
    """An installed client."""

    plants: PlantFactory

    def load(self) -> Callable[[], PlantFactory]:
        return lambda: self.plants


def test_the_client_is_what_the_command_finds() -> None:
    from importlib.metadata import EntryPoint

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    assert f'[project.entry-points."{cli.PLANTS_GROUP}"]' in text
    value = text.split(f'"{cli.PLANTS_GROUP}"]\nclient = "')[1].split('"')[0]
    assert EntryPoint("client", value, cli.PLANTS_GROUP).load() is canary_audit.plants


def test_a_made_up_encoder_has_public_dimensions() -> None:
    from wg_core.privacy.schema import DIMENSION

    encoder = load_encoder(canary_audit.noise_fitted_encoder())
    assert encoder.dimension == DIMENSION
    assert math.isclose(encoder.clip_radius, 1.0)
