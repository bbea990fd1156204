"""Twenty bugs that a reviewer planted, or could have, and that the empirical audit did not find.

They are planted as those of ``planted_bugs``. Bugs of the noise are planted below OpenDP's
measurement, so that whatever surrounds the sampler is as it was.
"""

from __future__ import annotations

import dataclasses
import math
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opendp.measurements
import pytest
from numpy.typing import NDArray

from wg_client.data import acceptance_set, inspection, npz_file
from wg_client.data import survey as surveys
from wg_client.data.site_data import UNLABELLED
from wg_core import snapshot as snapshots
from wg_core.ledger import store
from wg_core.ledger.entries import Dataset
from wg_core.ledger.state import LedgerState
from wg_core.privacy import exact, mechanism
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import query
from wg_core.site.home import ClientHome
from wg_core.wire import statistics_file

Integers = NDArray[np.int64]
Plant = Callable[[pytest.MonkeyPatch], None]


# --- noise


def changed_draws(change: Callable[[Integers, float], Any]) -> Plant:
    """The sampler's noise is a function of the noise that was drawn, and of sigma."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original: Any = opendp.measurements.make_gaussian

        def make_gaussian(*space: Any, scale: float) -> Any:
            measurement = original(*space, scale=scale)

            def measure(values: list[int]) -> list[int]:
                base = np.array(values, dtype=np.int64)
                noise = np.array(measurement(values), dtype=np.int64) - base
                return [int(x) for x in base + np.rint(change(noise, scale)).astype(np.int64)]

            return measure

        patch.setattr(opendp.measurements, "make_gaussian", make_gaussian)

    return plant


def halved_where(condition: Callable[[StatisticsSchema], bool]) -> Plant:
    """Releases of some layouts have half of the noise."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = mechanism.release_statistics

        def release(
            schema: StatisticsSchema, exact_sums: Any, about: Any, sigma: float, sampler: Any
        ) -> Integers:
            def halving(values: Integers, scale: float) -> Integers:
                noisy = sampler(values, scale)
                return np.asarray(values + (noisy - values) // 2 if condition(schema) else noisy)

            return original(schema, exact_sums, about, sigma, halving)

        patch.setattr(query, "release_statistics", release)

    return plant


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


def budget_of_each_version(patch: pytest.MonkeyPatch) -> None:
    original = LedgerState._apply_dataset

    def dataset(state: LedgerState, entry: Dataset) -> None:
        before = state.datasets.get(entry.name)
        original(state, entry)
        if before is not None and before.commitment != entry.commitment:
            lineage = state.lineage(entry.lineage)
            lineage.mu_squared = lineage.charges = 0

    patch.setattr(LedgerState, "_apply_dataset", dataset)


def cap_not_held(patch: pytest.MonkeyPatch) -> None:
    def lenient(text: str) -> float:
        return float(text) if float(text) < 0.1 else math.inf  # deltas stay what they are

    patch.setattr(store, "float", lenient, raising=False)


# --- records


def acceptance_set_in_the_sum(patch: pytest.MonkeyPatch) -> None:
    original = acceptance_set.split_acceptance_set

    def split_acceptance_set(home: Any, config: Any, inspected: Any, encoder: Any) -> Any:
        main, acceptance = original(home, config, inspected, encoder)
        return dataclasses.replace(inspected, problems=main.problems), acceptance

    patch.setattr(acceptance_set, "split_acceptance_set", split_acceptance_set)


def a_record_for_each_label(patch: pytest.MonkeyPatch) -> None:
    """A content with two labels counts under both."""
    original = inspection._settle

    def settle(data: Any, rows: list[int], counted: list[int], *words: Any) -> None:
        labels = sorted({int(data.labels[row]) for row in rows} - {UNLABELLED})
        if len(labels) < 2:
            return original(data, rows, counted, *words)
        counted += [next(row for row in rows if data.labels[row] == label) for label in labels]
        return None

    patch.setattr(inspection, "_settle", settle)


def set_aside_without_its_label(patch: pytest.MonkeyPatch) -> None:
    """A content with two labels counts as a record without one."""
    original = inspection._settle

    def settle(data: Any, rows: list[int], counted: list[int], *words: Any) -> None:
        if len({int(data.labels[row]) for row in rows} - {UNLABELLED}) > 1:
            data.labels[rows[0]] = UNLABELLED
            counted.append(rows[0])
        original(data, rows, counted, *words)
        counted[:] = sorted(set(counted))

    patch.setattr(inspection, "_settle", settle)


def other_unit_names(change: Callable[[str], str]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        original = npz_file.survey_npz

        def survey_npz(*words: Any) -> Any:
            surveyed = original(*words)
            if surveyed.data.units is None:
                return surveyed
            units = tuple(map(change, surveyed.data.units))
            return dataclasses.replace(
                surveyed, data=dataclasses.replace(surveyed.data, units=units)
            )

        patch.setattr(surveys, "survey_npz", survey_npz)

    return plant


def clipped_at_whole_vectors_alone(patch: pytest.MonkeyPatch) -> None:
    """Features are clipped where their number is a multiple of four."""
    original = exact.quantise

    def quantise(features: Any, radius: float, bits: int) -> Integers:
        values = np.asarray(features, dtype=np.float64)
        if values.shape[1] % 4 == 0:
            return original(features, radius, bits)
        finite = np.where(np.isfinite(values), values, 0.0)
        return np.trunc(finite / radius * (1 << bits)).astype(np.int64)

    patch.setattr(exact, "quantise", quantise)


# --- fields


def set_aside_in_the_software(patch: pytest.MonkeyPatch) -> None:
    original, encode = query.make_release, statistics_file.encode_release

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        count = len(snapshot.listing().set_aside)

        def with_count(manifest: Any, *parts: Any) -> bytes:
            software = f"{manifest.software}+{count}"
            return encode(dataclasses.replace(manifest, software=software), *parts)

        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(statistics_file, "encode_release", with_count)
            return original(config, snapshot, request, **words)

    patch.setattr(query, "make_release", make)


def stated_labels(choose: Callable[[NDArray[np.int64]], list[int]]) -> Plant:
    """The free statement names the labels that a function of the plant's counts chooses."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = query._statement_index

        def stated(ledger: Any, config: Any, encoder: str) -> int:
            snapshot = snapshots.find_current(ClientHome(Path(ledger._path).parent))
            if snapshot is None:
                return original(ledger, config, encoder)
            labels = snapshot.records().labels
            counts = np.bincount(labels[labels >= 0], minlength=len(config.data.labels))
            names = tuple(config.data.labels[row] for row in choose(counts))
            data = dataclasses.replace(config.data, labels=names)
            return original(ledger, dataclasses.replace(config, data=data), encoder)

        patch.setattr(query, "_statement_index", stated)

    return plant


def by_frequency(counts: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in np.argsort(-counts, kind="stable")]


def with_a_record(counts: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in np.flatnonzero(counts)]


REVIEW: dict[str, Plant] = {
    "noise is always even": changed_draws(even),
    "noise is cut at four sigma": changed_draws(cut_at_four_sigma),
    "noise is shared by neighbouring entries": changed_draws(shared_by_neighbours),
    "noise is seeded by time": changed_draws(seeded_by_time),
    "noise is a multiple of seven": changed_draws(multiples_of_seven),
    "noise is half that of the release before": half_of_the_release_before,
    "noise is halved for two classes": halved_where(lambda schema: len(schema.labels) == 2),
    "noise is halved from ten classes on": halved_where(lambda schema: len(schema.labels) >= 10),
    "noise is halved at thirty-two features": halved_where(lambda schema: schema.dimension == 32),
    "the budget starts anew with each version": budget_of_each_version,
    "the cap is not held": cap_not_held,
    "the acceptance set is in the sum": acceptance_set_in_the_sum,
    "a content with two labels counts under each": a_record_for_each_label,
    "a content with two labels counts without one": set_aside_without_its_label,
    "unit names are cut at 16 characters": other_unit_names(lambda name: name[:16]),
    "unit names that look alike are one": other_unit_names(
        lambda name: unicodedata.normalize("NFKC", name).casefold()
    ),
    "features are not clipped at some dimensions": clipped_at_whole_vectors_alone,
    "the number set aside is in the software's name": set_aside_in_the_software,
    "stated classes are ordered by frequency": stated_labels(by_frequency),
    "classes without a record are not stated": stated_labels(with_a_record),
}
