"""The audit of the installed path finds planted bugs, and passes the code as it is.

Each bug is planted here, in the functions that a plant runs; production code has no switch for any.
Noise is simulated from a seed, so that a verdict never changes from run to run, but for one run
with the installed sampler. The default suite looks at one seed, few classes and one bug of each
kind; the slow tests look at all bugs and twenty seeds. Bugs of the mechanism that the encoder hides
from a file are found by the canaries of ``wg_common.audit.empirical``: see ``MECHANISM``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.client.conftest import remembering

from wg_client.data import inspection
from wg_client.data import snapshot as snapshots
from wg_client.release import canary_audit, query
from wg_client.release import freeze as freezing
from wg_common.audit import cli, empirical
from wg_common.audit.installed import audit as installed
from wg_common.audit.installed.audit import InstalledReport, Size
from wg_common.errors import EXIT_VERIFICATION, VerificationError
from wg_common.modalities.base import content_digest
from wg_common.privacy import exact, mechanism
from wg_common.privacy.schema import StatisticsSchema
from wg_common.privacy.simulate import simulate_release
from wg_common.wire import statistics_file

Integers = NDArray[np.int64]
Plant = Callable[[pytest.MonkeyPatch], None]

SMALL = Size(classes=24, folders=3)
LARGE = Size()
SEEDS = range(20)

RECORD = "one record more changes nothing else"
LENGTH = "no record adds more than the sensitivity"
NAMES = "names, order and copies change nothing"
LABELS = "permuted labels permute the release"
NEIGHBOURS = "neighbours differ in nothing but noise and fresh identifiers"
IDENTIFIERS = "identifiers say nothing of the data"
WIDTH = "the noise of each block is as wide as charged"
QUIET = "no entry is without noise"
TWICE = "noise is never used twice"
SAMPLED = "what leaves is what was sampled, as stated"
LEDGER = "the ledger verifies, and pays for each file"


def audited(encoder: bytes, seed: int, size: Size = SMALL) -> InstalledReport:
    rng = np.random.default_rng(seed + 1000)
    return installed.audit(
        canary_audit.plants(encoder, load=remembering),
        size=size,
        seed=seed,
        sampler=lambda values, sigma: simulate_release(values, sigma, rng),
    )


def failed(report: InstalledReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed} | {
        f"canaries in {score.block}" for score in report.scores if not score.passed
    }


# --- bugs, each with the checks that must find it


def halved_noise(patch: pytest.MonkeyPatch) -> None:
    original = mechanism.release
    patch.setattr(
        mechanism, "release", lambda exact, sigma, sampler: original(exact, sigma / 2, sampler)
    )


def forgets(block: str) -> Plant:
    """The sensitivity leaves out a block, everywhere in the plant's program."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = StatisticsSchema.sensitivity_squared

        def less(schema: StatisticsSchema, *words: Any) -> Any:
            without = dataclasses.replace(schema)
            field = {"counts": "count_weight", "sums": "sum_weight", "moments": "moment_weight"}
            object.__setattr__(without, field[block], 0)
            return original(without, *words)

        patch.setattr(StatisticsSchema, "sensitivity_squared", less)

    return plant


def another_epsilon(patch: pytest.MonkeyPatch) -> None:
    original = mechanism.sigma_for
    for module in (mechanism, query, statistics_file):
        patch.setattr(
            module, "sigma_for", lambda schema, epsilon, delta: original(schema, 2 * epsilon, delta)
        )


def changed_features(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Plant:
    """Something is done to the features of the data set before they are clipped and summed."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = snapshots.exact_sums

        def exact(schema: Any, features: NDArray[Any], *words: Any) -> Integers:
            found: Integers = original(schema, change(np.asarray(features)), *words)
            return found

        patch.setattr(snapshots, "exact_sums", exact)

    return plant


def own_mean(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features - features.mean(axis=0))


def own_deviation(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / (20 * features.std(axis=0) + 0.1))


def radius_of_the_data(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / np.linalg.norm(features, axis=1).max())


def frequent_labels_first(patch: pytest.MonkeyPatch) -> None:
    original = snapshots.exact_sums

    def exact(schema: Any, features: Any, labels: NDArray[Any], *words: Any) -> Integers:
        counts = np.bincount(labels[labels >= 0], minlength=len(schema.labels))
        place = np.argsort(np.argsort(-counts, kind="stable"))
        ordered = np.where(labels >= 0, place[labels], labels)
        found: Integers = original(schema, features, ordered, *words)
        return found

    patch.setattr(snapshots, "exact_sums", exact)


def without_noise(entries: slice) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        original = mechanism.release

        def leaky(exact: Integers, sigma: float, sampler: Any) -> Integers:
            noisy = original(exact, sigma, sampler).copy()
            noisy[entries] = exact[entries]
            return noisy

        patch.setattr(mechanism, "release", leaky)

    return plant


def one_noise_for_all(patch: pytest.MonkeyPatch) -> None:
    """The noise of the first release is scaled and used again."""
    kept: dict[int, NDArray[np.float64]] = {}
    original = mechanism.release

    def again(exact: Integers, sigma: float, sampler: Any) -> Integers:
        noisy = original(exact, sigma, sampler)
        if np.array_equal(noisy, exact):  # draws nothing that could be kept
            return noisy
        drawn = kept.setdefault(len(exact), (noisy - exact) / sigma)
        return np.rint(exact + sigma * drawn).astype(np.int64)

    patch.setattr(mechanism, "release", again)


def a_count_in_the_id(patch: pytest.MonkeyPatch) -> None:
    original = query.make

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        count = len(snapshot.records().labels)
        return original(
            config, snapshot, request, release_id=f"{count:08x}{secrets.token_hex(12)}", **words
        )

    patch.setattr(query, "make", make)


def copies_count(patch: pytest.MonkeyPatch) -> None:
    """Each file is a unit, also one with the content of another."""
    original = inspection.inspect

    def inspect(survey: Any, **words: Any) -> Any:
        found = original(survey, **words)
        rows = [survey.data.names.index(copy.name) for copy in found.duplicates]
        if not rows:
            return found
        every = range(len(survey.data))
        digests = tuple(content_digest(inspection.decode(survey.data, row)) for row in every)
        shapes = np.repeat(found.shapes[:1], len(every), axis=0)
        return dataclasses.replace(
            found, data=survey.data, digests=digests, shapes=shapes, duplicates=()
        )

    patch.setattr(freezing, "inspect", inspect)


BUGS: dict[str, tuple[Plant, set[str]]] = {
    "noise halved": (halved_noise, {SAMPLED, WIDTH}),
    "counts forgotten in the sensitivity": (forgets("counts"), {LEDGER}),
    "sums forgotten in the sensitivity": (forgets("sums"), {LENGTH, LEDGER}),
    "moments forgotten in the sensitivity": (forgets("moments"), {LEDGER}),
    "sigma of another epsilon": (another_epsilon, {LEDGER}),
    "copies of a record count": (copies_count, {NAMES}),
    "site's mean subtracted before clipping": (
        changed_features(own_mean),
        {RECORD},
    ),
    "scaled by the plant's own deviation": (changed_features(own_deviation), {RECORD}),
    "labels ordered by frequency": (frequent_labels_first, {LABELS}),
    "counts without noise": (without_noise(slice(0, 5)), {SAMPLED, QUIET}),
    "last integer without noise": (without_noise(slice(-1, None)), {SAMPLED, QUIET}),
    "one noise at two epsilons": (one_noise_for_all, {TWICE}),
    "a count in the release's id": (a_count_in_the_id, {IDENTIFIERS}),
    "clip radius from the data": (changed_features(radius_of_the_data), {RECORD}),
}


def unclipped(
    schema: StatisticsSchema, x: Any, labels: Any, units: Any, centre: Any = None
) -> Integers:
    kept = [row for row, unit in enumerate(units) if unit not in units[:row]]
    q = np.trunc(x[kept] / schema.radius * schema.grid).astype(np.int64)
    return exact._total(schema, q, labels[kept], centre)


def two_records(
    schema: StatisticsSchema, x: Any, labels: Any, units: Any, centre: Any = None
) -> Integers:
    two = dataclasses.replace(schema, unit_cap=2)
    return exact.exact_statistics(two, x, labels, units, centre)


MECHANISM: dict[str, Callable[..., Integers]] = {
    "no clipping": unclipped,
    "two records of a unit count": two_records,
}
"""Bugs behind a part that hides them from files: the encoder clips as well, and a file audit has
units of one record."""


QUICK = (
    "site's mean subtracted before clipping",
    "labels ordered by frequency",
    "last integer without noise",
    "one noise at two epsilons",
    "a count in the release's id",
)
"""One bug for each kind of check; all of them are the slow test's."""


@pytest.mark.parametrize("bug", QUICK)
def test_a_planted_bug_is_found(
    bug: str, encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, checks = BUGS[bug]
    plant(monkeypatch)
    report = audited(encoder_package, 0)
    assert not report.passed
    assert checks <= failed(report), report.checks


def test_the_code_as_it_is_passes(encoder_package: bytes) -> None:
    report = audited(encoder_package, 0)
    assert report.passed, report
    assert {score.block for score in report.scores} == {"counts", "sums", "moments", "all"}
    assert report.canaries == SMALL.classes * SMALL.folders


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_for_every_seed(
    bug: str, encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, checks = BUGS[bug]
    for seed in SEEDS:
        with monkeypatch.context() as patch:
            plant(patch)
            assert checks <= failed(audited(encoder_package, seed))


@pytest.mark.slow
def test_the_code_as_it_is_passes_for_every_seed(encoder_package: bytes) -> None:
    for seed in SEEDS:
        report = audited(encoder_package, seed)
        assert report.passed, (seed, failed(report))


@pytest.mark.slow
@pytest.mark.parametrize("bug", MECHANISM)
def test_a_bug_that_files_hide_is_found_in_the_mechanism_for_every_seed(bug: str) -> None:
    sigma = functools.lru_cache(mechanism.sigma_for)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)

        def released(
            schema: StatisticsSchema,
            x: Any,
            labels: Any,
            units: Any,
            epsilon: float,
            delta: float,
            rng: np.random.Generator = rng,
        ) -> Integers:
            return mechanism.release_statistics(
                schema,
                MECHANISM[bug](schema, x, labels, units),
                lambda centre: MECHANISM[bug](schema, x, labels, units, centre),
                sigma(schema, epsilon, delta),
                lambda exact, scale: simulate_release(exact, scale, rng),
            )

        assert not empirical.audit(1.0, 1e-5, repetitions=600, seed=seed, release=released).passed


def test_canaries_alone_find_halved_noise(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved_noise(monkeypatch)
    report = audited(encoder_package, 0, Size(classes=96, folders=6))
    (whole,) = (score for score in report.scores if score.block == "all")
    assert not whole.passed
    assert report.epsilon_lower > report.epsilon


def test_the_command_goes_through_files_with_the_installed_sampler(
    monkeypatch: pytest.MonkeyPatch, encoder_package: bytes
) -> None:
    monkeypatch.setattr(installed, "Size", lambda: SMALL)
    monkeypatch.setattr(
        cli, "entry_points", lambda group: [_EntryPoint(encoder_package, monkeypatch)]
    )
    words = ["empirical", "--repetitions", "50", "--json"]
    done = CliRunner().invoke(cli.group, words, standalone_mode=False, catch_exceptions=False)
    document = json.loads(done.stdout)
    assert done.return_value == 0
    assert document["passed"] and document["installed"]["passed"]
    assert document["mechanism"]["canaries"] == 400
    halved_noise(monkeypatch)
    done = CliRunner().invoke(cli.group, words, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == EXIT_VERIFICATION


def test_a_release_that_asks_for_no_noise_ends_the_audit(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanism, "release", lambda exact, sigma, sampler: exact.copy())
    with pytest.raises(VerificationError, match="without asking its sampler"):
        audited(encoder_package, 0)


class _EntryPoint:
    """An installed client whose encoder is already fitted."""

    def __init__(self, encoder: bytes, patch: pytest.MonkeyPatch) -> None:
        self._encoder = encoder

    def load(self) -> Callable[[], Any]:
        return lambda: canary_audit.plants(self._encoder, load=remembering)


def test_the_client_is_what_the_command_finds() -> None:
    from importlib.metadata import EntryPoint

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    assert f'[project.entry-points."{cli.PLANTS_GROUP}"]' in text
    value = text.split(f'"{cli.PLANTS_GROUP}"]\nclient = "')[1].split('"')[0]
    found = EntryPoint("client", value, cli.PLANTS_GROUP).load()
    assert found is canary_audit.plants


def test_a_made_up_encoder_has_public_dimensions() -> None:
    from wg_common.catalogue import DIMENSION
    from wg_common.nets.encoder.module import load_encoder

    encoder = load_encoder(canary_audit.made_up_encoder())
    assert encoder.dimension == DIMENSION
    assert math.isclose(encoder.clip_radius, 1.0)
