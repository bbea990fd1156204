"""Twenty bugs that a reviewer planted, or could have, and that the empirical audit did not find.

They are planted as those of ``planted_bugs``. Bugs of the noise are planted below OpenDP's
measurement, so that whatever surrounds the sampler is as it was.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opendp.measurements
import pytest
from numpy.typing import NDArray
from tests.client.release.planted_bugs import Integers, Plant, instead_of

from wg_client.data import acceptance_set, record_inspection
from wg_client.data import dataset_survey as surveys
from wg_client.data.site_data import UNLABELLED
from wg_core import snapshot as snapshots
from wg_core.ledger import budget_ledger
from wg_core.ledger.entries import Dataset
from wg_core.ledger.log_state import LedgerState
from wg_core.privacy import exact_statistics
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import query_answers
from wg_core.site.home import ClientHome
from wg_core.wire import statistics_file

# --- noise


def changed_draws(change: Callable[[Integers, float], Any]) -> Plant:
    """The sampler's noise is a function of the noise that was drawn, and of sigma."""

    return changed_measurement(lambda base, noise, scale: change(noise, scale))


def changed_measurement(change: Callable[[Integers, Integers, float], Any]) -> Plant:
    """As ``changed_draws``; what the noise is added to is looked at, too."""

    @instead_of(opendp.measurements, "make_gaussian")
    def plant(original: Any, *space: Any, scale: float) -> Any:
        measurement = original(*space, scale=scale)

        def measure(values: list[int]) -> list[int]:
            base = np.array(values, dtype=np.int64)
            noise = np.array(measurement(values), dtype=np.int64) - base
            return [int(x) for x in base + np.rint(change(base, noise, scale)).astype(np.int64)]

        return measure

    return plant


def changed_parts(change: Callable[[StatisticsSchema, Integers, float], Any]) -> Plant:
    """As ``changed_draws``; what is released is looked at, too."""

    @instead_of(query_answers, "release_statistics")
    def plant(
        original: Any, schema: StatisticsSchema, sums: Any, about: Any, sigma: float, sampler: Any
    ) -> Any:
        def release(values: Integers, scale: float) -> Integers:
            noise = change(schema, sampler(values, scale) - values, scale)
            return np.asarray(values + np.rint(noise).astype(np.int64))

        return original(schema, sums, about, sigma, release)

    return plant


def halved_where(condition: Callable[[StatisticsSchema], bool]) -> Plant:
    """Releases of some layouts have half of the noise."""
    return changed_parts(lambda schema, noise, _: noise // 2 if condition(schema) else noise)


def even(noise: Integers, sigma: float) -> Any:
    return 2 * (noise // 2)


def cut_at_four_sigma(noise: Integers, sigma: float) -> Any:
    return noise.clip(-math.floor(4 * sigma), math.floor(4 * sigma))


def shared_by_neighbours(noise: Integers, sigma: float) -> Any:
    """A sum over entries has next to no noise."""
    return (noise - np.roll(noise, 1)) / math.sqrt(2)


def seeded_by_time(noise: Integers, sigma: float) -> Any:
    return np.random.default_rng(time.time_ns()).normal(0, sigma, len(noise))


def multiples_of_seven(noise: Integers, sigma: float) -> Any:
    return 7 * np.rint(noise / 7)


def half_of_the_release_before(patch: pytest.MonkeyPatch) -> None:
    noise_before: dict[int, NDArray[np.float64]] = {}

    def mixed(noise: Integers, sigma: float) -> Any:
        scaled = noise / sigma
        earlier = noise_before.get(len(noise))
        noise_before[len(noise)] = scaled
        return noise if earlier is None else sigma * (scaled + earlier) / math.sqrt(2)

    changed_draws(mixed)(patch)


# --- the budget


@instead_of(LedgerState, "_apply_dataset")
def budget_of_each_version(original: Any, state: LedgerState, entry: Dataset) -> None:
    before = state.datasets.get(entry.name)
    original(state, entry)
    if before is not None and before.commitment != entry.commitment:
        lineage = state.lineage_by_id(entry.lineage)
        lineage.mu_squared_units = lineage.charge_count = 0


def cap_not_held(patch: pytest.MonkeyPatch) -> None:
    def lenient(text: str) -> float:
        return float(text) if float(text) < 0.1 else math.inf  # deltas stay what they are

    patch.setattr(budget_ledger, "float", lenient, raising=False)


# --- records


@instead_of(acceptance_set, "split_acceptance_set")
def acceptance_set_in_the_sum(
    original: Any, home: Any, config: Any, inspected: Any, encoder: Any
) -> Any:
    main, acceptance = original(home, config, inspected, encoder)
    return dataclasses.replace(inspected, problems=main.problems), acceptance


@instead_of(record_inspection, "_resolve_duplicates")
def a_record_for_each_label(
    original: Any, data: Any, rows: list[int], counted: list[int], *words: Any
) -> None:
    """A content with two labels counts under both."""
    labels = sorted({int(data.labels[row]) for row in rows} - {UNLABELLED})
    if len(labels) < 2:
        original(data, rows, counted, *words)
    else:
        counted += [next(row for row in rows if data.labels[row] == label) for label in labels]


@instead_of(record_inspection, "_resolve_duplicates")
def set_aside_without_its_label(
    original: Any, data: Any, rows: list[int], counted: list[int], *words: Any
) -> None:
    """A content with two labels counts as a record without one."""
    if len({int(data.labels[row]) for row in rows} - {UNLABELLED}) > 1:
        data.labels[rows[0]] = UNLABELLED
        counted.append(rows[0])
    original(data, rows, counted, *words)
    counted[:] = sorted(set(counted))


def other_unit_names(change: Callable[[str], str]) -> Plant:
    @instead_of(surveys, "survey_npz")
    def plant(original: Any, *words: Any) -> Any:
        surveyed = original(*words)
        if surveyed.data.privacy_units is None:
            return surveyed
        units = tuple(map(change, surveyed.data.privacy_units))
        return dataclasses.replace(
            surveyed, data=dataclasses.replace(surveyed.data, privacy_units=units)
        )

    return plant


@instead_of(exact_statistics, "quantise")
def clipped_at_whole_vectors_alone(original: Any, features: Any, radius: float, bits: int) -> Any:
    """Features are clipped where their number is a multiple of four."""
    values = np.asarray(features, dtype=np.float64)
    if values.shape[1] % 4 == 0:
        return original(features, radius, bits)
    finite = np.where(np.isfinite(values), values, 0.0)
    return np.trunc(finite / radius * (1 << bits)).astype(np.int64)


# --- fields


@instead_of(query_answers, "make_release")
def set_aside_in_the_software(
    original: Any, config: Any, snapshot: Any, request: Any, **words: Any
) -> Any:
    @instead_of(statistics_file, "encode_release")
    def with_count(encode: Any, manifest: Any, *parts: Any) -> Any:
        software = f"{manifest.software}+{len(snapshot.listing().set_aside)}"
        return encode(dataclasses.replace(manifest, software=software), *parts)

    with pytest.MonkeyPatch.context() as inside:
        with_count(inside)
        return original(config, snapshot, request, **words)


def stated_labels(choose: Callable[[NDArray[np.int64]], list[int]]) -> Plant:
    """The free statement names the labels that a function of the plant's counts chooses."""

    @instead_of(query_answers, "_record_statement")
    def plant(original: Any, ledger: Any, config: Any, encoder: str) -> Any:
        snapshot = snapshots.find_current(ClientHome(Path(ledger._path).parent))
        if snapshot is None:
            return original(ledger, config, encoder)
        labels = snapshot.records().labels
        counts = np.bincount(labels[labels >= 0], minlength=len(config.data.labels))
        names = tuple(config.data.labels[row] for row in choose(counts))
        data = dataclasses.replace(config.data, labels=names)
        return original(ledger, dataclasses.replace(config, data=data), encoder)

    return plant


def by_frequency(counts: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in np.argsort(-counts, kind="stable")]


def with_a_record(counts: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in np.flatnonzero(counts)]
