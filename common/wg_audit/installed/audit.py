"""Empirical audit of the installed release code, on simulated plants from files to release.

The audit's plants run the installed code on records whose features the audit chooses. The audit
tests properties of two kinds rather than known bugs.

*Certain* properties (``probes``, ``behaviour_probes``), which a correct program never violates. The
integers that the plant passes to its noise sampler equal those of ``reference_statistics``, which
shares no code with the client, and the sampler's outputs are released unchanged, however large.
This is tested for class and machine statistics, 0 to thousands of records, vectors of all lengths,
units of 1 to 1000 records, contents that differ in one bit, similar class names, and all file
layouts. Another process sees the charge on disk before the release. A repeated question costs
nothing, after any failure, and its charge pays for no other guarantee. A budget is used up over
several versions of the data, including interrupted releases; afterwards nothing makes the plant
release more, not even a new ledger. Every field of every file, every ledger entry and every refusal
is the same for plants with the same declarations and other records, or none. Ledgers verify with
their files. The plant's encoder gives a record the same features in batches of all sizes.

*Statistical* properties (``noise_tests`` and ``canaries``), with a small probability of false
alarm. The noise that plants add is compared with its charge, also in copies of one plant that
differ only in the operating system's randomness. Canaries give a lower bound on epsilon.

Any part that cannot be tested counts as failed: an error of the program under test, a block that
draws no noise, a centre that never leaves the origin.

*Not guaranteed*: that there is no bug. The audit does not test other records, reading maps, the air
gap, concurrent processes, or timing. Predictable noise with the right distribution that differs
between copies of a plant passes. So does noise that the sampler truncates beyond about four
standard deviations, where half a million entries do not show it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wg_audit.installed import behaviour_probes, probes
from wg_audit.installed import canaries as scoring
from wg_audit.installed import noise_tests as noises
from wg_audit.installed import plant_audit as benches
from wg_audit.installed.audited_plant import CheckResult, PlantFactory
from wg_audit.installed.canaries import EpsilonBounds
from wg_audit.installed.plant_audit import AuditBench, AuditSize
from wg_common.language import template, text

_MIN_STRINGS_COMPARED = 10
"""Number of random hex strings that all have the same digit at a given position once in 10^9."""
CANARIES_CHECK = template("canaries show no more than is charged")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """Findings of the empirical audit of the installed release code.

    Attributes:
        epsilon: Claimed epsilon of the releases with canaries.
        delta: Claimed delta of these releases.
        seed: Seed of the simulated records.
        questions: Number of questions that plants answered.
        checks: Results of the checks.
        bounds: Lower bounds on epsilon from canaries; None if the code under test raised an error.
        narrower: Smallest relative shrinkage of the noise that the audit detects with 99 %
            probability.
    """

    epsilon: float
    delta: float
    seed: int
    questions: int
    checks: tuple[CheckResult, ...]
    bounds: EpsilonBounds | None
    narrower: float

    @property
    def is_passed(self) -> bool:
        """True if all checks of the audit were made and passed."""
        return self.bounds is not None and all(check.passed for check in self.checks)


def audit_installed_code(
    make_plant: PlantFactory,
    *,
    size: AuditSize | None = None,
    seed: int = 0,
    on_question: Callable[[int], None] = lambda number: None,
) -> AuditReport:
    """Audit the installed release code on simulated plants.

    Args:
        make_plant: Factory of plants that run the installed code.
        size: Extent of the audit; None for the full audit.
        seed: Seed of the simulated records; the program's own noise cannot be repeated.
        on_question: Callback with the number of answered questions, 0 first.
    """
    bench = AuditBench(make_plant, np.random.default_rng(seed), size or AuditSize(), on_question)
    on_question(0)
    for probe in probes.PROBES:
        probe(bench)
    checks, bounds, narrower = behaviour_checks(bench), None, 1.0
    if not bench.errors_by_check[benches.ANSWERS_CHECK]:
        checks += noises.noise_checks(bench.noise_by_shape)
        releases = [release for group in bench.noise_by_shape.values() for release in group]
        narrower = noises.detectable_shrinkage(sum(x.noise_integers.size for x in releases))
        members, non_members = (np.concatenate(group) for group in bench.canary_scores)
        bounds = scoring.epsilon_bounds(
            members, non_members, benches.CANARY_EPSILON, benches.QUESTION_DELTA
        )
        fits = bounds.parametric <= benches.CANARY_EPSILON
        above = [] if fits else [f"epsilon is above {bounds.parametric:.3f}"]
        checks.append(
            _check_result(CANARIES_CHECK, above, text("{count} canaries", count=bounds.canaries))
        )
    return AuditReport(
        epsilon=benches.CANARY_EPSILON,
        delta=benches.QUESTION_DELTA,
        seed=seed,
        questions=bench.question_count,
        checks=tuple(checks),
        bounds=bounds,
        narrower=narrower,
    )


def behaviour_checks(bench: AuditBench) -> list[CheckResult]:
    """Return the results of all checks that correct code passes, whatever noise it draws."""
    if not bench.centred_release_count:
        bench.errors_by_check[benches.CENTRES_CHECK].append("all are at the origin")
    bench.errors_by_check[benches.FRESHNESS_CHECK] += _describe_repetitions(bench.random_values)
    releases = text(
        "{count} releases of up to {most} records",
        count=bench.exact_release_count,
        most=probes.LARGE_DATASET_SIZE,
    )
    details = {
        benches.ANSWERS_CHECK: text("{count} questions", count=bench.question_count),
        benches.EXACTNESS_CHECK: releases,
        benches.CENTRES_CHECK: text("in {count} releases", count=bench.centred_release_count),
        benches.SAMPLER_CHECK: text("with noise of up to 30 standard deviations"),
        benches.ORDER_CHECK: text(
            "as another process sees the ledger; repeated and interrupted, too"
        ),
        benches.TERMS_CHECK: text("{count} guarantees", count=behaviour_probes.GUARANTEE_COUNT),
        benches.BUDGET_CHECK: text("until it is used up"),
        benches.EQUALITY_CHECK: text(
            "{few} and {many} records", few=0, many=probes.LARGE_DATASET_SIZE
        ),
        benches.FRESHNESS_CHECK: text("{count} snapshots", count=len(bench.random_values["salt"])),
        benches.ENCODER_CHECK: text(
            "{count} pictures, together and apart", count=probes.PICTURE_COUNT
        ),
        benches.LEDGER_CHECK: text("by code that is not the client's"),
    }
    return [
        _check_result(name, bench.errors_by_check[name], detail) for name, detail in details.items()
    ]


def _check_result(name: str, errors: Sequence[str], passed_detail: str) -> CheckResult:
    """Return a check's result, with its first three errors, or ``passed_detail`` if it has none."""
    return CheckResult(name=name, passed=not errors, detail="; ".join(errors[:3]) or passed_detail)


def _describe_repetitions(values_by_name: dict[str, list[str]]) -> Iterator[str]:
    for name, words in values_by_name.items():
        if len(set(words)) < len(words):
            yield f"a {name} is there twice"
        parts = itertools.zip_longest(*words)
        if len(words) >= _MIN_STRINGS_COMPARED and any(len(set(letters)) == 1 for letters in parts):
            yield f"a part of every {name} is the same"
