"""The empirical audit: made-up records as files, through freeze, encoder, charge and release.

Plants of the audit's own run the installed code over records whose features the audit chooses, and
its sampler and its files are held against a computation that shares no code with the client's. So
what a change does is looked at, and not where it was made:

*Exact.* What the sampler is asked to add noise to is, to the last bit, what ``reference`` finds:
with centres away from the origin, records beyond the clip, without a label, with features that are
not finite, there twice, and more of them than any part in which the code works; for each unit rule;
for several snapshots of one plant.

*Noise.* What files have beyond the reference is as wide as charged, normal, and independent, at
several epsilons (``noise``).

*Order.* When the sampler is asked, another process sees the charge on the disk. A release that was
cut off keeps its charge; a question that comes again gets the same bytes, no noise and no charge.

*Nothing else.* All that is not noise is the same for 60 records and for 12,000; salts, commitments
and identifiers never repeat, also on a clock that stands still. The plant's own encoder reads each
record by itself. Ledgers verify with their files.

*Canaries* say what an adversary gets: a lower bound on epsilon (``canaries``).

Whatever cannot be looked at fails: an error of the program under test, a part that does not ask for
noise, a centre that never leaves the origin.

*Not guaranteed*: that there is no bug. What shows only on other records, in other kinds of
releases, or in how long something takes is not looked for. Noise that is predictable, but has the
right distribution and never repeats, passes.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wg_audit.installed import canaries as scoring
from wg_audit.installed import noise as noises
from wg_audit.installed import probes
from wg_audit.installed.canaries import Bounds
from wg_audit.installed.plant import Check, Fresh, Sampler
from wg_audit.installed.probes import Probes, Size
from wg_core.language import template, text

CANARIES = template("canaries show no more than is charged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the audit found.

    Attributes:
        epsilon: The claim that the canaries test.
        delta: Its delta.
        seed: Of what was made up.
        questions: How often plants were asked.
        checks: What was looked at.
        bounds: What canaries say; None if some plant did not answer.
        narrower: Share by which noise has to be too narrow to be seen 99 times in 100.
    """

    epsilon: float
    delta: float
    seed: int
    questions: int
    checks: tuple[Check, ...]
    bounds: Bounds | None
    narrower: float

    @property
    def passed(self) -> bool:
        """All of it was looked at, and holds."""
        return self.bounds is not None and all(check.passed for check in self.checks)


def audit(
    fresh: Fresh,
    *,
    size: Size | None = None,
    seed: int = 0,
    sampler: Sampler | None = None,
    on_question: Callable[[int], None] | None = None,
) -> Report:
    """Audit the installed code.

    Args:
        fresh: Makes plants that run it.
        size: How many canaries.
        seed: Of what is made up; noise comes from the program itself and cannot be repeated.
        sampler: Adds the noise instead of the installed one; in tests only.
        on_question: Called with the number of questions answered, 0 first.
    """
    run = Probes(fresh, np.random.default_rng(seed), size or Size(), sampler, on_question)
    run.release_twice_frozen_data()
    run.compare_few_and_many()
    run.count_units()
    run.encode_apart()
    members, non_members = run.score_canaries()
    checks = _path_checks(run)
    bounds, narrower = None, 1.0
    if not run.wrong[probes.ANSWERED]:
        checks += noises.checks([run.path, run.crowded])
        narrower = noises.visible(
            sum(release.integers.size for release in (*run.path, *run.crowded))
        )
        bounds = scoring.bounds(members, non_members, probes.EPSILON, probes.DELTA)
        fits = bounds.parametric <= probes.EPSILON
        above = [] if fits else [f"epsilon is above {bounds.parametric:.3f}"]
        checks.append(_check(CANARIES, above, text("{count} canaries", count=bounds.canaries)))
    return Report(
        epsilon=probes.EPSILON,
        delta=probes.DELTA,
        seed=seed,
        questions=run.questions,
        checks=tuple(checks),
        bounds=bounds,
        narrower=narrower,
    )


def _path_checks(run: Probes) -> list[Check]:
    if run.questions != run.size.questions:
        run.wrong[probes.ANSWERED].append(f"{run.questions} of {run.size.questions} questions")
    if not run.centred:
        run.wrong[probes.CENTRED].append("all are at the origin")
    run.wrong[probes.FRESH] += _repeated(run.values)
    details = {
        probes.ANSWERED: text("{count} questions", count=run.questions),
        probes.EXACT: text(
            "{count} releases of up to {most} records, two unit rules",
            count=len(run.path),
            most=probes.MANY,
        ),
        probes.CENTRED: text("in {count} releases", count=run.centred),
        probes.ORDER: text("as another process sees the ledger; repeated and interrupted, too"),
        probes.EQUAL: text("{few} and {many} records", few=probes.FEW, many=probes.MANY),
        probes.FRESH: text("{count} snapshots", count=len(run.values["salt"])),
        probes.ENCODER: text("{count} pictures, together and apart", count=probes.PICTURES),
        probes.LEDGER: text("by code that is not the client's"),
    }
    return [_check(name, run.wrong[name], detail) for name, detail in details.items()]


def _check(name: str, wrong: Sequence[str], right: str) -> Check:
    """A check that holds if nothing is wrong; else it names the first few things."""
    return Check(name=name, passed=not wrong, detail="; ".join(wrong[:3]) or right)


def _repeated(values: dict[str, list[str]]) -> Iterator[str]:
    for name, words in values.items():
        if len(set(words)) < len(words):
            yield f"a {name} is there twice"
        if any(len(set(letters)) == 1 for letters in itertools.zip_longest(*words)):
            yield f"a part of every {name} is the same"
