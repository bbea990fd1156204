"""Bugs that a developer could write into a plant's program.

They are planted in the functions that a plant runs; production code has no switch for any. Each is
named by what it does to a release. ``test_canary_audit`` says what must find it.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_client.data import record_inspection
from wg_client.release import home_freeze
from wg_common.modalities.base import content_digest
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_core import snapshot as snapshots
from wg_core.privacy import class_centres, exact_statistics, mechanism
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import freeze as freezing
from wg_core.release import query_answers
from wg_core.wire import bundle, canonical, signing, statistics_file

Integers = NDArray[np.int64]
Plant = Callable[[pytest.MonkeyPatch], None]


def instead_of(owner: Any, name: str, *others: Any) -> Callable[[Callable[..., Any]], Plant]:
    """Make a bug of a function that runs in the place of one of the program, and gets it first.

    Args:
        others: Further modules that hold the function by its name.
    """

    def as_bug(changed: Callable[..., Any]) -> Plant:
        def plant(patch: pytest.MonkeyPatch) -> None:
            original = getattr(owner, name)

            def run(*words: Any, **options: Any) -> Any:
                return changed(original, *words, **options)

            for holder in (owner, *others):
                patch.setattr(holder, name, run)

        return plant

    return as_bug


# --- noise


def changed_noise(change: Callable[[Integers, Integers, float], Integers]) -> Plant:
    """What is released is a function of exact part, noisy part and sigma."""

    @instead_of(mechanism, "add_noise")
    def plant(original: Any, exact: Integers, sigma: float, sampler: Any) -> Integers:
        return change(exact, original(exact, sigma, sampler), sigma)

    return plant


def halved(exact: Integers, noisy: Integers, sigma: float) -> Integers:
    return np.asarray(exact + (noisy - exact) // 2)


def bare(entries: slice) -> Callable[[Integers, Integers, float], Integers]:
    def without_noise(exact: Integers, noisy: Integers, sigma: float) -> Integers:
        changed = noisy.copy()
        changed[entries] = exact[entries]
        return changed

    return without_noise


def uniform(exact: Integers, noisy: Integers, sigma: float) -> Integers:
    """Noise of another shape, and of the right width."""
    rng = np.random.default_rng(secrets.randbits(64))
    drawn = rng.uniform(-(3**0.5), 3**0.5, len(exact))
    return np.asarray(exact + np.rint(sigma * drawn).astype(np.int64))


def one_noise_for_all(patch: pytest.MonkeyPatch) -> None:
    """The noise of the first release is scaled and used again."""
    first: dict[int, NDArray[np.float64]] = {}

    def again(exact: Integers, noisy: Integers, sigma: float) -> Integers:
        drawn = first.setdefault(len(exact), (noisy - exact) / sigma)
        return np.rint(exact + sigma * drawn).astype(np.int64)

    changed_noise(again)(patch)


def seeded_by_the_request(patch: pytest.MonkeyPatch) -> None:
    asked = ""

    @instead_of(query_answers, "make_release")
    def noting(original: Any, config: Any, snapshot: Any, request: Any, **words: Any) -> Any:
        nonlocal asked
        asked = request.request_id
        return original(config, snapshot, request, **words)

    def drawn(exact: Integers, noisy: Integers, sigma: float) -> Integers:
        rng = np.random.default_rng([int(asked, 16), len(exact)])
        return np.rint(exact + rng.normal(0, sigma, len(exact))).astype(np.int64)

    noting(patch)
    changed_noise(drawn)(patch)


def in_parts(change: Callable[..., tuple[Integers, Integers]]) -> Plant:
    """The two parts of a release are made in another way."""

    @instead_of(mechanism, "release_counts_then_sums")
    def plant(
        _: Any, schema: StatisticsSchema, exact: Integers, about: Any, sigma: float, noise: Any
    ) -> Integers:
        counts, sums, moments = schema.blocks
        first = np.concatenate([exact[: counts.size], exact[moments.offset :]])

        def second(values: Integers, sigma: float) -> Integers:
            if not sums.size:
                return exact[:0]
            centre = class_centres.estimate_centre(
                schema, values[: counts.size], values[counts.size :], sigma
            )
            return np.asarray(about(centre)[counts.size : moments.offset])

        one, two = change(first, second, noise, sigma)
        return np.concatenate([one[: counts.size], two, one[counts.size :]])

    return plant


def exact_centre(first: Integers, second: Any, noise: Any, sigma: float) -> Any:
    return noise(first), noise(second(first, 0.0))


def noise_of_the_first_part(first: Integers, second: Any, noise: Any, sigma: float) -> Any:
    one = noise(first)
    exact = second(one, sigma)
    noise(exact)
    return one, exact + np.resize(one - first, len(exact))


def half_noise_on_the_second_part(first: Integers, second: Any, noise: Any, sigma: float) -> Any:
    one = noise(first)
    exact = second(one, sigma)
    return one, halved(exact, noise(exact), sigma)


@instead_of(query_answers, "release_statistics")
def exact_counts_of_many(original: Any, schema: Any, exact: Integers, *words: Any) -> Integers:
    noisy: Integers = original(schema, exact, *words)
    size = schema.blocks[0].size
    if exact[:size].sum() >= 100 * schema.count_weight:
        noisy[:size] = exact[:size]
    return noisy


# --- what is charged


def forgets(field: str) -> Plant:
    """The sensitivity leaves out a block, everywhere in the plant's program."""

    @instead_of(StatisticsSchema, "sensitivity_squared")
    def plant(original: Any, schema: StatisticsSchema, *words: Any) -> Any:
        without = dataclasses.replace(schema)
        object.__setattr__(without, field, 0)
        return original(without, *words)

    return plant


@instead_of(mechanism, "noise_scale", query_answers, statistics_file)
def another_epsilon(original: Any, schema: Any, epsilon: float, delta: float) -> Any:
    return original(schema, 2 * epsilon, delta)


@instead_of(query_answers, "charge_and_release")
def noise_before_the_charge(_: Any, ledger: Any, request: Any, pack: Any, step: Any) -> Any:
    payload = pack(request)
    charged = ledger.charge(request)
    if charged.is_open:
        ledger.record_release(charged.seq, payload)
    return charged


def fresh_noise_for_a_repeated_question(patch: pytest.MonkeyPatch) -> None:
    answered = set()

    @instead_of(query_answers, "make_bundle")
    def cover(original: Any, home: Any, config: Any, ledger: Any, charged: Any, *words: Any) -> Any:
        data = original(home, config, ledger, charged, *words)
        if (home.root, charged.seq) not in answered:
            answered.add((home.root, charged.seq))
            return data
        covered = bundle.decode_statistics(data)
        manifest, integers = statistics_file.read_unverified_release(covered.release)
        integers = integers + np.arange(len(integers))  # whatever it is, it is not what it was
        raw = statistics_file.integers_to_bytes(integers)
        manifest = dataclasses.replace(manifest, integers_sha256=canonical.sha256_hex(raw))
        key = signing.load(home.signing_key)
        release = statistics_file.encode_release(manifest, integers, key)
        return bundle.encode(dataclasses.replace(covered, release=release))

    cover(patch)


# --- exact statistics


def changed_features(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Plant:
    """Something is done to the features of the data set before they are clipped and summed."""

    @instead_of(snapshots, "exact_sums")
    def plant(original: Any, schema: Any, features: NDArray[Any], *words: Any) -> Any:
        finite = np.nan_to_num(np.asarray(features), posinf=0.0)
        return original(schema, change(finite), *words)

    return plant


def less_mean(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features - features.mean(axis=0))


def by_deviation(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / (20 * features.std(axis=0) + 0.1))


def by_largest(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / np.linalg.norm(features, axis=1).max())


@instead_of(snapshots, "exact_sums")
def frequent_labels_first(
    original: Any, schema: Any, features: Any, labels: NDArray[Any], *words: Any
) -> Any:
    if not schema.labels:
        return original(schema, features, labels, *words)
    counts = np.bincount(labels[labels >= 0], minlength=len(schema.labels))
    place = np.argsort(np.argsort(-counts, kind="stable"))
    ordered = np.where(labels >= 0, place[labels], labels)
    return original(schema, features, ordered, *words)


@instead_of(home_freeze, "inspect_records")
def copies_count(original: Any, survey: Any, **words: Any) -> Any:
    """Each file is a unit, also one with the content of another."""
    looked = original(survey, **words)
    every = range(len(survey.data))
    digests = tuple(content_digest(record_inspection.decode_row(survey.data, row)) for row in every)
    shapes = np.repeat(looked.shapes[:1], len(every), axis=0)
    return dataclasses.replace(
        looked, data=survey.data, digests=digests, shapes=shapes, duplicates=()
    )


def on_grid(clip: Callable[[NDArray[Any], float], NDArray[Any]]) -> Plant:
    """Features are put on the grid with another clip than that of their norm."""

    @instead_of(exact_statistics, "quantise")
    def plant(_: Any, features: Any, radius: float, bits: int) -> Integers:
        finite = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0.0)
        return np.trunc(clip(finite, radius) / radius * (1 << bits)).astype(np.int64)

    return plant


def clipped_after_the_sum(patch: pytest.MonkeyPatch) -> None:
    @instead_of(exact_statistics, "_sum_record_vectors")
    def total(original: Any, schema: Any, q: Integers, *words: Any) -> Any:
        most = max(
            1.0, float(np.linalg.norm(q.sum(axis=0))) / (schema.radius_grid_units * max(len(q), 1))
        )
        return original(schema, np.trunc(q / most).astype(np.int64), *words)

    on_grid(lambda x, radius: x)(patch)
    total(patch)


@instead_of(class_centres, "clipped_deviations")
def deviations_beyond_the_radius(_: Any, q: Integers, about: Any) -> Any:
    return q - about.point


@instead_of(exact_statistics, "_sum_record_vectors")
def single_precision(original: Any, *words: Any) -> Any:
    return original(*words).astype(np.float32).astype(np.int64)


@instead_of(exact_statistics, "rows_by_unit")
def a_unit_for_each_record(_: Any, units: Sequence[str]) -> Any:
    return [np.array([row]) for row in range(len(units))]


@instead_of(snapshots, "exact_sums")
def a_unit_for_each_class(
    original: Any, schema: Any, features: Any, labels: Any, units: Any, *words: Any
) -> Any:
    if units is not None:
        units = [f"{unit} {label}" for unit, label in zip(units, labels, strict=True)]
    return original(schema, features, labels, units, *words)


@instead_of(snapshots, "exact_sums")
def last_of_a_part_counts_twice(
    original: Any, schema: Any, features: Any, labels: Any, units: Any, centre: Any = None
) -> Any:
    total, step = original(schema, features, labels, units, centre), snapshots._RECORDS_PER_CHUNK
    for row in range(step, len(labels), step):
        one = slice(row, row + 1)
        some = None if units is None else units[one]
        total += original(schema, features[one], labels[one], some, centre)
    return total


@instead_of(Encoder, "encode_local")
def normalised_by_the_batch(original: Any, encoder: Encoder, records: Any) -> Any:
    features = original(encoder, records)
    return np.asarray(features - features.mean(axis=0), dtype=np.float32)


# --- identifiers


@instead_of(query_answers, "make_release")
def a_count_in_the_id(original: Any, config: Any, snapshot: Any, request: Any, **words: Any) -> Any:
    number = f"{len(snapshot.records().labels):08x}{secrets.token_hex(12)}"
    return original(config, snapshot, request, release_id=number, **words)


def one_salt_for_all_snapshots(patch: pytest.MonkeyPatch) -> None:
    salts: dict[Path, bytes] = {}

    @instead_of(freezing, "_new_manifest")
    def manifest(original: Any, home: Any, *words: Any) -> Any:
        def token_bytes(count: int) -> bytes:
            return salts.setdefault(home.root, secrets.token_bytes(count))

        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(freezing, "secrets", SimpleNamespace(token_bytes=token_bytes))
            return original(home, *words)

    manifest(patch)
