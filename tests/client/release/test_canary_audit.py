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
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opendp.measurements
import pytest
from click.testing import CliRunner
from tests.client.conftest import remembering
from tests.client.release import holdout_bugs as holdout
from tests.client.release import holdout_bugs_second as second
from tests.client.release import machine_bugs as machine
from tests.client.release import outside_bugs as outside
from tests.client.release import planted_bugs as first
from tests.client.release import review_bugs as review
from tests.client.release.planted_bugs import Plant
from tests.core.ledger.conftest import closed_form

from wg_audit import cli
from wg_audit.installed import audit as installed
from wg_audit.installed import behaviour_probes, noise_tests, plant_audit, probes
from wg_audit.installed.audit import AuditReport
from wg_audit.installed.audited_plant import CheckResult, PlantFactory, PlantSetup
from wg_audit.installed.plant_audit import AuditBench, AuditSize
from wg_client.release import canary_audit
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.errors import ConfigError, ExitCode
from wg_core.ledger import budget_ledger, entries, log_succession
from wg_core.privacy import mechanism
from wg_server.generator.evaluation.simulated_release import add_simulated_noise

Probe = Callable[[AuditBench], None]


@dataclasses.dataclass(frozen=True)
class Planted:
    """A bug, the check that must fail, and the probe after which it does."""

    plant: Plant
    check: str
    probe: Probe


SMALL = AuditSize(
    canary_count=16, snapshot_count=2, dimensions=range(1, 4), larger_dimension_count=1
)
SEEDS = range(20)

WIDTH, SUMS, RELEASES, ENTRIES, DEPENDENCE, NORMAL, REMAINDERS = noise_tests.TESTS_BY_PROPERTY
BUGS: dict[tuple[Probe, str], dict[str, Plant]] = {
    (behaviour_probes.exhaust_budget, plant_audit.BUDGET_CHECK): {
        "the budget starts anew with each version": review.budget_of_each_version,
        "the cap is not held": review.cap_not_held,
        "burned charges come back with a version": holdout.burned_charges_come_back,
        "machine statistics are free": machine.machine_is_free,
    },
    (behaviour_probes.interrupt_releases, plant_audit.ORDER_CHECK): {
        "an open charge pays for a greater guarantee": second.an_open_charge_pays_for_more,
        "a release leaves without a cosignature": second.sent_without_a_cosignature,
    },
    (behaviour_probes.probe_guarantees, plant_audit.LEDGER_CHECK): {
        "one delta for all questions": second.one_delta_for_all,
    },
    (behaviour_probes.probe_guarantees, plant_audit.ORDER_CHECK): {
        "fresh noise for a repeated question": first.fresh_noise_for_a_repeated_question,
    },
    (behaviour_probes.probe_guarantees, plant_audit.SAMPLER_CHECK): {
        "noise at small epsilons is too narrow": second.narrow_noise_at_small_epsilons,
    },
    (probes.probe_copies, RELEASES): {
        "noise is seeded by time": review.changed_draws(review.seeded_by_time),
    },
    (probes.probe_copies, plant_audit.FRESHNESS_CHECK): {
        "the release's id follows from the statistics": holdout.id_from_the_exact_statistics,
        "the release's id is a hash of request and statistics": outside.release_id_of_the_data,
    },
    (probes.probe_declarations, plant_audit.EQUALITY_CHECK): {
        "the number set aside is in the software's name": review.set_aside_in_the_software,
        "stated classes are ordered by frequency": review.stated_labels(review.by_frequency),
        "classes without a record are not stated": review.stated_labels(review.with_a_record),
        "the number of records is in a release's time": holdout.records_in_the_time(
            entries.RELEASE_KIND, 100
        ),
        "the number of records is in a version's time": holdout.records_in_the_time(
            entries.DATASET_KIND, 1
        ),
    },
    (probes.probe_declarations, plant_audit.EXACTNESS_CHECK): {
        "the last record of a part counts twice": first.last_of_a_part_counts_twice,
        "the acceptance set is in the sum": review.acceptance_set_in_the_sum,
        "the acceptance set is exactly the share": outside.acceptance_by_rank,
    },
    (probes.probe_declarations, plant_audit.SAMPLER_CHECK): {
        "exact counts from 100 records on": first.exact_counts_of_many,
    },
    (probes.probe_dimensions, plant_audit.EXACTNESS_CHECK): {
        "features are not clipped at some dimensions": review.clipped_at_whole_vectors_alone,
    },
    (probes.probe_dimensions, plant_audit.FRESHNESS_CHECK): {
        "a count in the release's id": first.a_count_in_the_id,
    },
    (probes.probe_dimensions, plant_audit.LEDGER_CHECK): {
        "counts forgotten in the sensitivity": first.forgets("count_weight"),
        "sums forgotten in the sensitivity": first.forgets("sum_weight"),
        "moments forgotten in the sensitivity": first.forgets("moment_weight"),
        "sigma of another epsilon": first.another_epsilon,
    },
    (probes.probe_dimensions, plant_audit.SAMPLER_CHECK): {
        "noise is halved for two classes": review.halved_where(
            lambda schema: len(schema.labels) == 2
        ),
        "noise is halved from ten classes on": review.halved_where(
            lambda schema: len(schema.labels) >= 10
        ),
        "noise is halved at thirty-two features": review.halved_where(
            lambda schema: schema.dimension == 32
        ),
    },
    (probes.probe_encoding_groups, plant_audit.ENCODER_CHECK): {
        "features normalised by the batch": first.normalised_by_the_batch,
        "features are normalised by large batches": holdout.normalised_by_large_batches,
    },
    (probes.probe_file_layouts, plant_audit.EXACTNESS_CHECK): {
        "class names that differ in case are one": second.class_names_without_case,
    },
    (probes.probe_file_layouts, plant_audit.LEDGER_CHECK): {
        "a machine's class names are those with a record": machine.machine_classes_with_a_record,
    },
    (probes.probe_snapshot_sizes, plant_audit.ANSWERS_CHECK): {
        "a data set without labels is refused": second.refused_without_labels,
    },
    (probes.probe_snapshot_sizes, plant_audit.EXACTNESS_CHECK): {
        "copies of a record count": first.copies_count,
        "site's mean subtracted before clipping": first.changed_features(first.less_mean),
        "scaled by the plant's own deviation": first.changed_features(first.by_deviation),
        "clip radius from the data": first.changed_features(first.by_largest),
        "labels ordered by frequency": first.frequent_labels_first,
        "centre taken from exact statistics": first.in_parts(first.exact_centre),
        "norm not clipped": first.on_grid(lambda x, radius: x),
        "sums in single precision": first.single_precision,
        "each coordinate clipped instead of the norm": first.on_grid(
            lambda x, radius: x.clip(-radius, radius)
        ),
        "clipped after the sum": first.clipped_after_the_sum,
        "deviations beyond the radius": first.deviations_beyond_the_radius,
        "a content with two labels counts under each": review.a_record_for_each_label,
        "a content with two labels counts without one": review.set_aside_without_its_label,
        "contents are known by their first half": holdout.contents_known_by_their_first_half,
        "the longest vectors are beyond the clip": second.longest_vectors_beyond_the_clip,
        "the centre is that of exact sums": outside.centre_of_exact_sums,
        "missing labels are those of the nearest mean": outside.labels_from_nearest_mean,
        "machine features are scaled by the longest beside them": outside.machine_features_by_chunk,
        "machine statistics of labelled records alone": machine.machine_of_labelled_records,
    },
    (probes.probe_snapshot_sizes, plant_audit.FRESHNESS_CHECK): {
        "one salt for two snapshots": first.one_salt_for_all_snapshots,
        "commitments have no salt": outside.commitment_without_salt,
    },
    (probes.probe_snapshot_sizes, plant_audit.LEDGER_CHECK): {
        "each kind of statistics has a budget": outside.budget_for_each_kind,
    },
    (probes.probe_snapshot_sizes, plant_audit.ORDER_CHECK): {
        "noise drawn before the charge": first.noise_before_the_charge,
    },
    (probes.probe_snapshot_sizes, plant_audit.SAMPLER_CHECK): {
        "noise halved": first.changed_noise(first.halved),
        "counts without noise": first.changed_noise(first.bare(slice(0, 5))),
        "last integer without noise": first.changed_noise(first.bare(slice(-1, None))),
        "one noise at two epsilons": first.one_noise_for_all,
        "second part with half of the noise": first.in_parts(first.half_noise_on_the_second_part),
        "noise of the first part used in the second": first.in_parts(first.noise_of_the_first_part),
        "noise seeded by the request": first.seeded_by_the_request,
        "noise of another shape": first.changed_noise(first.uniform),
        "counts below zero are zero": holdout.counts_below_zero_are_zero,
        "rare classes have less noise": holdout.less_noise_on_rare_classes,
        "an empty data set has no noise": holdout.no_noise_on_nothing,
        "what is zero has no noise": outside.no_noise_on_nothing,
        "machine statistics without noise": machine.machine_parts(lambda exact, noisy: exact),
        "number of a machine's records without noise": machine.machine_parts(
            lambda exact, noisy: np.r_[exact[:1], noisy[1:]]
        ),
    },
    (probes.probe_unit_weights, plant_audit.EXACTNESS_CHECK): {
        "each record a unit in spite of the column": first.a_unit_for_each_record,
        "a unit counts once in each class": first.a_unit_for_each_class,
        "unit names are cut at 16 characters": review.other_unit_names(lambda name: name[:16]),
        "unit names that look alike are one": review.other_unit_names(
            lambda name: unicodedata.normalize("NFKC", name).casefold()
        ),
        "units of many records weigh more": holdout.large_units_weigh_more,
        "units weigh one over their labelled records": outside.unit_weighed_by_labelled_records,
    },
    (probes.score_canaries, DEPENDENCE): {
        "noise has the sign of what it hides": second.away_from_zero,
    },
    (probes.score_canaries, ENTRIES): {
        "noise is shared by neighbouring entries": review.changed_draws(
            review.shared_by_neighbours
        ),
        "noise comes from a pool of drawn values": holdout.noise_of_a_pool,
    },
    (probes.score_canaries, NORMAL): {
        "noise is cut at four sigma": review.changed_draws(review.cut_at_four_sigma),
    },
    (probes.score_canaries, RELEASES): {
        "noise is half that of the release before": review.half_of_the_release_before,
    },
    (probes.score_canaries, REMAINDERS): {
        "noise is always even": review.changed_draws(review.even),
        "noise is a multiple of seven": review.changed_draws(review.multiples_of_seven),
    },
    (probes.score_canaries, WIDTH): {
        "every fiftieth draw has no noise": second.every_fiftieth_draw_bare,
    },
}
"""Bugs that the audit is known to find, by the probe and the check that see them."""
PLANTED = {
    name: Planted(plant, check, probe)
    for (probe, check), plants in BUGS.items()
    for name, plant in plants.items()
}
MISSED = outside.clip_at_a_quantile
"""Bug of an outsider that the audit does not find: a third of most made-up data is too long."""
BY_CHANCE = "the acceptance set is exactly the share"
"""A bug of an outsider that is found in 68 of 100 runs: they look at one pair of data sets."""
OF_MANY_RECORDS = "the last record of a part counts twice"
"""A bug that needs more records than a part has."""
SIZES = {
    "noise is cut at four sigma": AuditSize(snapshot_count=5),
    "every fiftieth draw has no noise": AuditSize(canary_count=16, snapshot_count=8),
    "noise comes from a pool of drawn values": AuditSize(canary_count=64, snapshot_count=1),
    "noise is halved at thirty-two features": AuditSize(
        dimensions=range(32, 33), larger_dimension_count=0
    ),
}
"""Sizes of benches on which a bug can be seen, where a small one does not do."""
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
        return lambda values: add_simulated_noise(np.array(values), scale, rng).tolist()

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
        if self.errors_by_check[self.check]:
            raise _Found


def is_found(bug: str, encoder: bytes, seed: int) -> None:
    """Plant a bug against the probe that should see it, and stop once it is seen.

    Budgets are added up by the closed form, which is what the accountant gives to 1e-6.
    """
    planted = PLANTED[bug]
    load = load_encoder if planted.check == plant_audit.ENCODER_CHECK else remembering
    plants = canary_audit.plants(encoder, load_encoder=load)
    rng, size = np.random.default_rng(seed), SIZES.get(bug, SMALL)
    run = _Brief(plants, rng, size, lambda number: None)
    run.check = planted.check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_ledger.Ledger, "accountant", staticmethod(closed_form))
        if planted.probe is not probes.probe_copies:
            simulated(patch, seed)
        if bug != OF_MANY_RECORDS:
            patch.setattr(probes, "LARGE_DATASET_SIZE", 300)
        planted.plant(patch)
        with contextlib.suppress(_Found):
            planted.probe(run)
    checks = installed.behaviour_checks(run)
    if planted.check in noise_tests.TESTS_BY_PROPERTY:
        checks = noise_tests.noise_checks(run.noise_by_shape)
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
        patch.setattr(budget_ledger.Ledger, "accountant", staticmethod(closed_form))
        return installed.audit_installed_code(canary_audit.plants(encoder), size=size, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug", [bug for bug in PLANTED if PLANTED[bug].check in noise_tests.TESTS_BY_PROPERTY]
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
def test_a_bug_that_is_missed_passes_the_whole_audit(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    MISSED(monkeypatch)
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
    first.changed_noise(first.halved)(monkeypatch)
    report = audited(encoder_package, AuditSize())
    assert installed.CANARIES_CHECK in failed(report.checks)
    assert report.bounds is not None
    assert report.bounds.clopper_pearson > report.epsilon


def test_the_command_runs_the_installed_sampler_and_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, encoder_package: bytes
) -> None:
    monkeypatch.setattr(budget_ledger.Ledger, "accountant", staticmethod(closed_form))
    monkeypatch.setattr(plant_audit, "AuditSize", lambda: SMALL)
    monkeypatch.setattr(probes, "LARGE_DATASET_SIZE", 300)
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
    assert {plant_audit.ANSWERS_CHECK, plant_audit.CENTRES_CHECK} <= failed(report.checks)
    assert report.bounds is None


def test_a_release_that_asks_for_no_noise_is_found(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanism, "add_noise", lambda exact, sigma, sampler: exact.copy())
    plants = canary_audit.plants(encoder_package, load_encoder=remembering)
    run = AuditBench(plants, np.random.default_rng(0), SMALL, lambda number: None)
    probes.probe_snapshot_sizes(run)
    assert {
        plant_audit.EXACTNESS_CHECK,
        plant_audit.SAMPLER_CHECK,
        plant_audit.ORDER_CHECK,
    } <= failed(installed.behaviour_checks(run))


def test_a_new_ledger_that_inherits_no_spend_is_found(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_succession, "_inherited_spends", lambda state: ())
    plants = canary_audit.plants(encoder_package, load_encoder=remembering)
    run = AuditBench(plants, np.random.default_rng(0), SMALL, lambda number: None)
    behaviour_probes.exhaust_budget(run)
    assert {*run.errors_by_check} == {plant_audit.BUDGET_CHECK}
    assert {*run.errors_by_check[plant_audit.BUDGET_CHECK]} == {
        f"a release is {verb} since another ledger takes over" for verb in ("made", "charged")
    }


def test_a_failed_audit_ends_the_command_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [_EntryPoint(refusing)])
    done = CliRunner().invoke(cli.group, ["empirical"], standalone_mode=False)
    assert done.return_value == ExitCode.VERIFICATION
    assert f"FAILS: {plant_audit.ANSWERS_CHECK} (RuntimeError: no plant today" in done.stdout
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
    assert f'[project.entry-points."{cli.PLANTS_ENTRY_POINT_GROUP}"]' in text
    value = text.split(f'"{cli.PLANTS_ENTRY_POINT_GROUP}"]\nclient = "')[1].split('"')[0]
    assert EntryPoint("client", value, cli.PLANTS_ENTRY_POINT_GROUP).load() is canary_audit.plants


def test_a_made_up_encoder_has_public_dimensions() -> None:
    from wg_core.privacy.schema import RELEASED_DIMENSION

    encoder = load_encoder(canary_audit.fit_encoder_on_noise())
    assert encoder.dimension == RELEASED_DIMENSION
    assert math.isclose(encoder.clip_radius, 1.0)
