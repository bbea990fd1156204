"""An audit of the installed path: made-up records as files, through freeze, encoder and release.

``empirical`` tests the mechanism's kernel with canaries as feature vectors. What surrounds a sound
kernel can still leak: a mean that is subtracted before clipping, a radius taken from the data, an
order of labels by frequency, a count in an identifier, noise that is used twice. This module runs a
whole plant over folders of pictures that it draws itself, and looks at the files that would leave.

Three kinds of checks:

*Metamorphic* (noise replaced by nothing, and the centre by a fixed one, so that each check is
exact). One record more adds one vector, the same in any company, no longer than the charge's
sensitivity; the order and the names of files change nothing; permuted labels permute the blocks;
neighbouring data sets give files of the same size whose manifest and charge agree in every field
that is not random by nature.

*Noise* (the installed sampler, watched). What leaves is what was sampled, with the sigma that the
file states; in each block the noise is as wide as that; no entry is without noise; two releases
have independent noise, and so have neighbouring entries; identifiers have no fixed part.

*Canaries* (nothing replaced, nothing known but the canaries). Each is alone in its class, in or
out by a coin. Scores per block, and over all blocks, give lower bounds on epsilon, as ``empirical``
has them (Dong, Roth and Su 2022; Steinke, Nasr and Jagielski 2023).

Each plant's ledger is verified, with the files beside it, by code that is not the client's.

*Not guaranteed*: that there is no bug. A difference that shows only on other records, at other
sizes, or in how long something takes is not looked for here.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_common.audit import verification
from wg_common.audit.installed import canaries, datasets, metamorphic, noise
from wg_common.audit.installed.canaries import ALL, BlockScore
from wg_common.audit.installed.plant import (
    AuditedPlant,
    Check,
    Fresh,
    Frozen,
    Integers,
    Opened,
    Question,
    Record,
    Sampler,
    Watch,
    Watched,
    check,
    opened,
    watched,
)
from wg_common.errors import WgError
from wg_common.privacy import calibration, mechanism

REPEATS = 12  # Releases of one and the same data set
EPSILON = 4.0
DELTA = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is looked at. More canaries find smaller violations.

    Attributes:
        classes: Labels. Each has at most one canary, so that canaries do not meet in a block.
        folders: Data sets with a random half of the canaries.
    """

    classes: int = 96
    folders: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledReport:
    """What the audit of the installed path found.

    Attributes:
        epsilon: The claim under which the canaries were released.
        delta: Its delta.
        releases: Files looked at.
        canaries: Scores a block, members and others.
        checks: Metamorphic and noise checks.
        scores: Canaries' scores by block.
        epsilon_lower: Lower bound on epsilon from all blocks together, 99.9 %.
        passed: All of it holds.
    """

    epsilon: float
    delta: float
    releases: int
    canaries: int
    checks: tuple[Check, ...]
    scores: tuple[BlockScore, ...]
    epsilon_lower: float
    passed: bool


def audit(
    fresh: Fresh,
    *,
    size: Size | None = None,
    seed: int = 0,
    sampler: Sampler | None = None,
    on_release: Callable[[int], None] | None = None,
) -> InstalledReport:
    """Audit the installed path.

    Args:
        fresh: Makes plants that run the installed code.
        sampler: Adds the noise of noisy releases; None: the installed one.
        on_release: Called with the number of releases made, for a progress bar.
    """
    rng = np.random.default_rng(seed)
    size = size or Size()
    labels = tuple(f"class-{number:02}" for number in range(size.classes))
    run = _Run(fresh, labels, sampler, on_release)
    sets = datasets.neighbours(rng, labels)
    neighbours = {name: run.watch(records, 2) for name, records in sets.items()}
    same = run.watch(sets[datasets.COMPANY], REPEATS)
    birds = datasets.canaries(rng, labels)
    chosen = rng.integers(0, 2, (size.folders, size.classes)).astype(bool)
    files = [run.plain([birds[n] for n in np.flatnonzero(row)]) for row in chosen]
    checks = [
        *metamorphic.checks(neighbours, size.classes),
        noise.identifiers(same),
        *noise.checks([*neighbours.values(), same]),
        check("the ledger verifies, and pays for each file", run.refused, "by independent code"),
    ]
    scores = list(canaries.scores(chosen, files, run.on_the_grid(birds)))
    (whole,) = (score for score in scores if score.block == ALL)
    return InstalledReport(
        epsilon=EPSILON,
        delta=DELTA,
        releases=run.releases,
        canaries=chosen.size,
        checks=tuple(checks),
        scores=tuple(scores),
        epsilon_lower=calibration.gaussian_epsilon(max(whole.mu_lower, 0.0), DELTA),
        passed=all(check.passed for check in checks) and all(score.passed for score in scores),
    )


class _Run:
    """Freezes and asks, and counts the releases."""

    def __init__(
        self,
        fresh: Fresh,
        labels: tuple[str, ...],
        sampler: Sampler | None,
        on_release: Callable[[int], None] | None,
    ) -> None:
        self._fresh = fresh
        self._labels = labels
        self._sampler = sampler
        self._on_release = on_release
        self.releases = 0
        self.refused: list[str] = []
        self._first: Integers | None = None

    def watch(self, records: Sequence[Record], repeats: int) -> Frozen:
        """Freeze with a plant of its own; release without noise, then with it, and watch."""
        with self._fresh(self._labels) as plant:
            plant.freeze(records)
            exact = self._watched(plant, 0, Watch(_without_noise, first=self._first))
            if self._first is None:
                self._first = exact.parts[0]
            sampler = self._sampler or mechanism.opendp_sampler
            noisy = [self._watched(plant, 1 + n, Watch(sampler)) for n in range(repeats)]
            self._verify(plant, [each.file for each in (exact, *noisy)])
        return Frozen(exact, tuple(noisy))

    def plain(self, records: Sequence[Record]) -> Opened:
        """Freeze and release with a plant of its own, as a plant does it."""
        with self._fresh(self._labels) as plant:
            plant.freeze(records)
            file = self._ask(plant, 0, self._sampler)
            self._verify(plant, [file])
        return file

    def on_the_grid(self, records: Sequence[Record]) -> Integers:
        """What records, one of each label in the labels' order, are on the grid, ``[K, d]``.

        Nothing is known of a centre where the first part is all zeros: the sums are about the
        origin then.
        """
        with self._fresh(self._labels) as plant:
            plant.freeze(records)
            length = len(self._first) if self._first is not None else 0
            zeros = np.zeros(length, dtype=np.int64)
            found = self._watched(plant, 0, Watch(_without_noise, first=zeros))
        schema, sums = found.file.manifest.schema, found.file.blocks()["sums"]
        return found.exact[sums].reshape(len(records), -1) // schema.sum_weight

    def _watched(self, plant: AuditedPlant, number: int, watch: Watch) -> Watched:
        return watched(self._ask(plant, number, watch), watch)

    def _verify(self, plant: AuditedPlant, files: Sequence[Opened]) -> None:
        """Verify the plant's ledger, and that it pays for what these files say."""
        with tempfile.TemporaryDirectory(prefix="wg-audit-") as folder:
            paths = [Path(folder) / f"{number}.wgs" for number in range(len(files))]
            for path, file in zip(paths, files, strict=True):
                path.write_bytes(file.data)
            try:
                verification.verify(plant.home, statistics=paths)
            except WgError as error:
                self.refused.append(str(error))

    def _ask(self, plant: AuditedPlant, number: int, sampler: Sampler | None) -> Opened:
        # Each question has an epsilon of its own: an equal one would get the stored bytes. All are
        # written with four decimals, so that the files have one size.
        epsilon = EPSILON + (2 * number + 1) / 10_000
        question = Question(
            request_id=f"{number:032x}", epsilon=f"{epsilon:.4f}", delta=repr(DELTA)
        )
        data = plant.release(question, sampler)
        self.releases += 1
        if self._on_release is not None:
            self._on_release(self.releases)
        return opened(data)


def _without_noise(exact: Integers, sigma: float) -> Integers:
    del sigma
    return exact.copy()
