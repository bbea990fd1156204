"""The empirical audit: made-up records as files, through freeze, encoder, charge and release.

Plants of the audit's own run the installed code over records whose features the audit chooses.
Properties are tested, not bugs, and each is one of two kinds.

*Certain* (``probes``, ``conduct``; a correct program never fails one). To the last bit, the sampler
is asked about what ``reference`` finds, which shares no code with the client's, and what it answers
is what leaves, however far out: of classes and of a machine, for no record to thousands, vectors of
all lengths, units of one record to a thousand, contents that differ in one bit, classes that look
alike, in all layouts. Another process sees the charge before; a question that comes again, after
whatever trouble, costs nothing, and pays for no other guarantee; a budget is used up over several
versions of the data, by charges that were cut off, too, and nothing that a plant does then makes it
pay more, a new ledger included. Every field of every file, every entry of the ledger and every
refusal is the same for plants that declare the same and have other records, or none. Ledgers verify
with their files. The plant's own encoder reads each record by itself, in parts of all sizes.

*Statistical* (``noise``, with the probability of a false alarm; ``canaries``). Noise that plants
add by themselves is held against what was charged, that of copies of one plant included, which
differ in nothing but what the operating system draws. Canaries give a lower bound on epsilon.

Whatever cannot be looked at fails: an error of the program under test, a part that does not ask for
noise, a centre that never leaves the origin.

*Not guaranteed*: that there is no bug. What shows only on other records, in reading maps, over the
air gap, between two processes at once, or in how long something takes is not looked for. Noise that
is predictable, but has the right distribution and differs in copies of a plant, passes; so does
noise that the sampler itself cuts so far out that half a million entries do not tell, beyond four
standard deviations.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wg_audit.installed import bench as benches
from wg_audit.installed import canaries as scoring
from wg_audit.installed import conduct, probes
from wg_audit.installed import noise as noises
from wg_audit.installed.bench import Bench, Size
from wg_audit.installed.canaries import Bounds
from wg_audit.installed.plant import Check, Fresh
from wg_common.language import template, text

_WORDS = 10  # From so many random words of hex on no digit is that of all, but once in 10^9
CANARIES = template("canaries show no more than is charged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Findings of the audit.

    Attributes:
        epsilon: The claim that the canaries test.
        delta: Delta of the claim.
        seed: Seed of what was made up.
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
    def is_passed(self) -> bool:
        """All of it was looked at, and holds."""
        return self.bounds is not None and all(check.passed for check in self.checks)


def audit(
    fresh: Fresh,
    *,
    size: Size | None = None,
    seed: int = 0,
    on_question: Callable[[int], None] = lambda number: None,
) -> Report:
    """Audit the installed code.

    Args:
        fresh: Makes plants that run it.
        size: How much of it; by default all.
        seed: Seed of what is made up; noise comes from the program itself and cannot be repeated.
        on_question: Called with the number of questions answered, 0 first.
    """
    bench = Bench(fresh, np.random.default_rng(seed), size or Size(), on_question)
    on_question(0)
    for probe in probes.PROBES:
        probe(bench)
    checks, bounds, narrower = path_checks(bench), None, 1.0
    if not bench.wrong[benches.ANSWERED]:
        checks += noises.checks(bench.noise)
        releases = [release for group in bench.noise.values() for release in group]
        narrower = noises.detectable_shrinkage(sum(x.integers.size for x in releases))
        members, non_members = (np.concatenate(group) for group in bench.scores)
        bounds = scoring.bounds(members, non_members, benches.EPSILON, benches.DELTA)
        fits = bounds.parametric <= benches.EPSILON
        above = [] if fits else [f"epsilon is above {bounds.parametric:.3f}"]
        checks.append(_check(CANARIES, above, text("{count} canaries", count=bounds.canaries)))
    return Report(
        epsilon=benches.EPSILON,
        delta=benches.DELTA,
        seed=seed,
        questions=bench.questions,
        checks=tuple(checks),
        bounds=bounds,
        narrower=narrower,
    )


def path_checks(bench: Bench) -> list[Check]:
    """Check what is certain, whatever noise is drawn: a correct program fails none of it."""
    if not bench.centred:
        bench.wrong[benches.CENTRED].append("all are at the origin")
    bench.wrong[benches.FRESH] += _repetitions(bench.values)
    releases = text("{count} releases of up to {most} records", count=bench.exact, most=probes.MANY)
    details = {
        benches.ANSWERED: text("{count} questions", count=bench.questions),
        benches.EXACT: releases,
        benches.CENTRED: text("in {count} releases", count=bench.centred),
        benches.PASSED_ON: text("with noise of up to 30 standard deviations"),
        benches.ORDER: text("as another process sees the ledger; repeated and interrupted, too"),
        benches.ASKED: text("{count} guarantees", count=conduct.GUARANTEES),
        benches.BUDGET: text("until it is used up"),
        benches.EQUAL: text("{few} and {many} records", few=0, many=probes.MANY),
        benches.FRESH: text("{count} snapshots", count=len(bench.values["salt"])),
        benches.ENCODER: text("{count} pictures, together and apart", count=probes.PICTURES),
        benches.LEDGER: text("by code that is not the client's"),
    }
    return [_check(name, bench.wrong[name], detail) for name, detail in details.items()]


def _check(name: str, wrong: Sequence[str], right: str) -> Check:
    """A check that holds if nothing is wrong; else it names the first few things."""
    return Check(name=name, passed=not wrong, detail="; ".join(wrong[:3]) or right)


def _repetitions(values: dict[str, list[str]]) -> Iterator[str]:
    for name, words in values.items():
        if len(set(words)) < len(words):
            yield f"a {name} is there twice"
        parts = itertools.zip_longest(*words)
        if len(words) >= _WORDS and any(len(set(letters)) == 1 for letters in parts):
            yield f"a part of every {name} is the same"
