"""Bugs that a developer could write into a plant's program, each with what must find it.

They are planted in the functions that a plant runs; production code has no switch for any. Each is
named by what it does to a release.
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

from wg_audit.installed import bench, conduct, probes
from wg_audit.installed.bench import AuditBench
from wg_client.data import inspection
from wg_client.release import look
from wg_common.modalities.base import content_digest
from wg_common.nets.encoder.module import Encoder
from wg_core import snapshot as snapshots
from wg_core.privacy import centring, exact, mechanism
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import freeze as freezing
from wg_core.release import query
from wg_core.wire import canonical, signing, statistics_file

Integers = NDArray[np.int64]
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclasses.dataclass(frozen=True)
class Planted:
    """A bug, the check that must fail, and the probe after which it does."""

    plant: Plant
    check: str
    probe: Callable[[AuditBench], None]


# --- noise


def changed_noise(change: Callable[[Integers, Integers, float], Integers]) -> Plant:
    """What is released is a function of exact part, noisy part and sigma."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = mechanism.add_noise

        def release(exact: Integers, sigma: float, sampler: Any) -> Integers:
            return change(exact, original(exact, sigma, sampler), sigma)

        patch.setattr(mechanism, "add_noise", release)

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
    original = query.make_release

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        nonlocal asked
        asked = request.request_id
        return original(config, snapshot, request, **words)

    def drawn(exact: Integers, noisy: Integers, sigma: float) -> Integers:
        rng = np.random.default_rng([int(asked, 16), len(exact)])
        return np.rint(exact + rng.normal(0, sigma, len(exact))).astype(np.int64)

    patch.setattr(query, "make_release", make)
    changed_noise(drawn)(patch)


def in_parts(change: Callable[..., tuple[Integers, Integers]]) -> Plant:
    """The two parts of a release are made in another way."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        def changed(
            schema: StatisticsSchema, exact: Integers, about: Any, sigma: float, noise: Any
        ) -> Integers:
            counts, _, moments = schema.blocks
            first = np.concatenate([exact[: counts.size], exact[moments.offset :]])

            def second(middle: Integers, sigma: float) -> Integers:
                centre = centring.estimate_centre(
                    schema, middle[: counts.size], middle[counts.size :], sigma
                )
                return np.asarray(about(centre)[counts.size : moments.offset])

            one, two = change(first, second, noise, sigma)
            return np.concatenate([one[: counts.size], two, one[counts.size :]])

        patch.setattr(mechanism, "release_in_parts", changed)

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


def exact_counts_of_many(patch: pytest.MonkeyPatch) -> None:
    original = mechanism.release_statistics

    def release(schema: Any, exact: Integers, *words: Any) -> Integers:
        noisy = original(schema, exact, *words)
        size = schema.blocks[0].size
        if exact[:size].sum() >= 100 * schema.count_weight:
            noisy[:size] = exact[:size]
        return noisy

    patch.setattr(query, "release_statistics", release)


# --- what is charged


def forgets(field: str) -> Plant:
    """The sensitivity leaves out a block, everywhere in the plant's program."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = StatisticsSchema.sensitivity_squared

        def less(schema: StatisticsSchema, *words: Any) -> Any:
            without = dataclasses.replace(schema)
            object.__setattr__(without, field, 0)
            return original(without, *words)

        patch.setattr(StatisticsSchema, "sensitivity_squared", less)

    return plant


def another_epsilon(patch: pytest.MonkeyPatch) -> None:
    original = mechanism.noise_scale
    for module in (mechanism, query, statistics_file):
        patch.setattr(
            module,
            "noise_scale",
            lambda schema, epsilon, delta: original(schema, 2 * epsilon, delta),
        )


def noise_before_the_charge(patch: pytest.MonkeyPatch) -> None:
    def early(ledger: Any, request: Any, pack: Any, step: Any) -> Any:
        payload = pack(request)
        charged = ledger.charge(request)
        if charged.is_open:
            ledger.record_release(charged.seq, payload)
        return charged

    patch.setattr(query, "charge_and_release", early)


def fresh_noise_for_a_repeated_question(patch: pytest.MonkeyPatch) -> None:
    original, answered = query.make_bundle, set()

    def cover(home: Any, config: Any, ledger: Any, charged: Any, *words: Any) -> bytes:
        data = original(home, config, ledger, charged, *words)
        if (home.root, charged.seq) not in answered:
            answered.add((home.root, charged.seq))
            return data
        covered = statistics_file.decode_bundle(data)
        manifest, integers = statistics_file.read_unverified(covered.release)
        integers = integers + np.arange(len(integers))  # whatever it is, it is not what it was
        raw = statistics_file.integers_to_bytes(integers)
        manifest = dataclasses.replace(manifest, integers_sha256=canonical.sha256_hex(raw))
        key = signing.load(home.signing_key)
        release = statistics_file.encode_release(manifest, integers, key)
        return statistics_file.encode_bundle(dataclasses.replace(covered, release=release))

    patch.setattr(query, "make_bundle", cover)


# --- exact statistics


def changed_features(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Plant:
    """Something is done to the features of the data set before they are clipped and summed."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = snapshots.exact_sums

        def changed(schema: Any, features: NDArray[Any], *words: Any) -> Integers:
            finite = np.nan_to_num(np.asarray(features), posinf=0.0)
            return original(schema, change(finite), *words)

        patch.setattr(snapshots, "exact_sums", changed)

    return plant


def less_mean(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features - features.mean(axis=0))


def by_deviation(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / (20 * features.std(axis=0) + 0.1))


def by_largest(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / np.linalg.norm(features, axis=1).max())


def frequent_labels_first(patch: pytest.MonkeyPatch) -> None:
    original = snapshots.exact_sums

    def changed(schema: Any, features: Any, labels: NDArray[Any], *words: Any) -> Integers:
        if not schema.labels:
            return original(schema, features, labels, *words)
        counts = np.bincount(labels[labels >= 0], minlength=len(schema.labels))
        place = np.argsort(np.argsort(-counts, kind="stable"))
        ordered = np.where(labels >= 0, place[labels], labels)
        return original(schema, features, ordered, *words)

    patch.setattr(snapshots, "exact_sums", changed)


def copies_count(patch: pytest.MonkeyPatch) -> None:
    """Each file is a unit, also one with the content of another."""
    original = inspection.inspect_records

    def inspect(survey: Any, **words: Any) -> Any:
        looked = original(survey, **words)
        every = range(len(survey.data))
        digests = tuple(content_digest(inspection.decode_row(survey.data, row)) for row in every)
        shapes = np.repeat(looked.shapes[:1], len(every), axis=0)
        return dataclasses.replace(
            looked, data=survey.data, digests=digests, shapes=shapes, duplicates=()
        )

    patch.setattr(look, "inspect_records", inspect)


def on_grid(clip: Callable[[NDArray[Any], float], NDArray[Any]]) -> Plant:
    """Features are put on the grid with another clip than that of their norm."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        def quantise(features: Any, radius: float, bits: int) -> Integers:
            finite = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0.0)
            return np.trunc(clip(finite, radius) / radius * (1 << bits)).astype(np.int64)

        patch.setattr(exact, "quantise", quantise)

    return plant


def clipped_after_the_sum(patch: pytest.MonkeyPatch) -> None:
    on_grid(lambda x, radius: x)(patch)
    original = exact._record_sums

    def total(schema: Any, q: Integers, *words: Any) -> Integers:
        most = max(1.0, float(np.linalg.norm(q.sum(axis=0))) / (schema.grid_units * max(len(q), 1)))
        return original(schema, np.trunc(q / most).astype(np.int64), *words)

    patch.setattr(exact, "_record_sums", total)


def deviations_beyond_the_radius(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(centring, "clipped_deviations", lambda q, about: q - about.point)


def single_precision(patch: pytest.MonkeyPatch) -> None:
    original = exact._record_sums
    patch.setattr(
        exact, "_record_sums", lambda *words: original(*words).astype(np.float32).astype(np.int64)
    )


def a_unit_for_each_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        exact, "rows_by_unit", lambda units: [np.array([row]) for row in range(len(units))]
    )


def a_unit_for_each_class(patch: pytest.MonkeyPatch) -> None:
    original = snapshots.exact_sums

    def changed(
        schema: Any, features: Any, labels: Any, units: Sequence[str] | None, *words: Any
    ) -> Integers:
        if units is not None:
            units = [f"{unit} {label}" for unit, label in zip(units, labels, strict=True)]
        return original(schema, features, labels, units, *words)

    patch.setattr(snapshots, "exact_sums", changed)


def last_of_a_part_counts_twice(patch: pytest.MonkeyPatch) -> None:
    original, step = snapshots.exact_sums, snapshots._CHUNK_RECORDS

    def changed(schema: Any, features: Any, labels: Any, units: Any, centre: Any = None) -> Any:
        total = original(schema, features, labels, units, centre)
        for row in range(step, len(labels), step):
            one = slice(row, row + 1)
            some = None if units is None else units[one]
            total += original(schema, features[one], labels[one], some, centre)
        return total

    patch.setattr(snapshots, "exact_sums", changed)


def normalised_by_the_batch(patch: pytest.MonkeyPatch) -> None:
    original = Encoder.encode_local

    def changed(encoder: Encoder, records: Any) -> NDArray[np.float32]:
        features = original(encoder, records)
        return np.asarray(features - features.mean(axis=0), dtype=np.float32)

    patch.setattr(Encoder, "encode_local", changed)


# --- identifiers


def a_count_in_the_id(patch: pytest.MonkeyPatch) -> None:
    original = query.make_release

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        count = len(snapshot.records().labels)
        return original(
            config, snapshot, request, release_id=f"{count:08x}{secrets.token_hex(12)}", **words
        )

    patch.setattr(query, "make_release", make)


def one_salt_for_all_snapshots(patch: pytest.MonkeyPatch) -> None:
    salts: dict[Path, bytes] = {}
    original = freezing._manifest

    def manifest(home: Any, *words: Any) -> Any:
        def token_bytes(count: int) -> bytes:
            return salts.setdefault(home.root, secrets.token_bytes(count))

        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(freezing, "secrets", SimpleNamespace(token_bytes=token_bytes))
            return original(home, *words)

    patch.setattr(freezing, "_manifest", manifest)


FIRST: dict[str, Planted] = {
    "noise halved": Planted(
        changed_noise(halved), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "counts forgotten in the sensitivity": Planted(
        forgets("count_weight"), bench.LEDGER_CHECK, probes.probe_dimensions
    ),
    "sums forgotten in the sensitivity": Planted(
        forgets("sum_weight"), bench.LEDGER_CHECK, probes.probe_dimensions
    ),
    "moments forgotten in the sensitivity": Planted(
        forgets("moment_weight"), bench.LEDGER_CHECK, probes.probe_dimensions
    ),
    "sigma of another epsilon": Planted(
        another_epsilon, bench.LEDGER_CHECK, probes.probe_dimensions
    ),
    "copies of a record count": Planted(
        copies_count, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "site's mean subtracted before clipping": Planted(
        changed_features(less_mean), bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "scaled by the plant's own deviation": Planted(
        changed_features(by_deviation), bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "clip radius from the data": Planted(
        changed_features(by_largest), bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "labels ordered by frequency": Planted(
        frequent_labels_first, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "counts without noise": Planted(
        changed_noise(bare(slice(0, 5))), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "last integer without noise": Planted(
        changed_noise(bare(slice(-1, None))), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "one noise at two epsilons": Planted(
        one_noise_for_all, bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "a count in the release's id": Planted(
        a_count_in_the_id, bench.FRESHNESS_CHECK, probes.probe_dimensions
    ),
}
"""What the first audit of the path was made to find."""

LATER: dict[str, Planted] = {
    "centre taken from exact statistics": Planted(
        in_parts(exact_centre), bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "one salt for two snapshots": Planted(
        one_salt_for_all_snapshots, bench.FRESHNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "noise drawn before the charge": Planted(
        noise_before_the_charge, bench.ORDER_CHECK, probes.probe_snapshot_sizes
    ),
    "exact counts from 100 records on": Planted(
        exact_counts_of_many, bench.SAMPLER_CHECK, probes.probe_declarations
    ),
    "norm not clipped": Planted(
        on_grid(lambda x, radius: x), bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "sums in single precision": Planted(
        single_precision, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "second part with half of the noise": Planted(
        in_parts(half_noise_on_the_second_part), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "noise of the first part used in the second": Planted(
        in_parts(noise_of_the_first_part), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "noise seeded by the request": Planted(
        seeded_by_the_request, bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "noise of another shape": Planted(
        changed_noise(uniform), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "fresh noise for a repeated question": Planted(
        fresh_noise_for_a_repeated_question, bench.ORDER_CHECK, conduct.try_guarantees
    ),
    "each coordinate clipped instead of the norm": Planted(
        on_grid(lambda x, radius: x.clip(-radius, radius)),
        bench.EXACTNESS_CHECK,
        probes.probe_snapshot_sizes,
    ),
    "clipped after the sum": Planted(
        clipped_after_the_sum, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "deviations beyond the radius": Planted(
        deviations_beyond_the_radius, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "each record a unit in spite of the column": Planted(
        a_unit_for_each_record, bench.EXACTNESS_CHECK, probes.probe_unit_weights
    ),
    "a unit counts once in each class": Planted(
        a_unit_for_each_class, bench.EXACTNESS_CHECK, probes.probe_unit_weights
    ),
    "the last record of a part counts twice": Planted(
        last_of_a_part_counts_twice, bench.EXACTNESS_CHECK, probes.probe_declarations
    ),
    "features normalised by the batch": Planted(
        normalised_by_the_batch, bench.ENCODER_CHECK, probes.probe_encoding_groups
    ),
}
"""What it did not find, or was never asked."""

ALL = FIRST | LATER
