"""Ten more bugs of further kinds, written before the audit was extended, which then found three.

It was extended again since, by families of properties; these ten are held out no more.

They are planted as those of ``planted_bugs``, and are of kinds that neither that file nor
``review_bugs`` nor ``holdout_bugs`` has.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import opendp.measurements
import pytest
from numpy.typing import NDArray
from tests.client.release.review_bugs import Plant

from wg_client.data import dataset as datasets
from wg_core import snapshot as snapshots
from wg_core.connection import cosigning
from wg_core.errors import PolicyRefused
from wg_core.ledger import entries
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.entries import Charge
from wg_core.ledger.store import ChargeRecord, Ledger
from wg_core.ledger.witness import WitnessRefused
from wg_core.privacy import exact, mechanism
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import query
from wg_core.site.home import ClientHome
from wg_core.wire import statistics_file

Integers = NDArray[np.int64]


def one_delta_for_all(patch: pytest.MonkeyPatch) -> None:
    """Noise is that of delta 1e-5, whatever delta is asked for and charged."""
    original = mechanism.noise_scale
    for module in (mechanism, query, statistics_file):
        patch.setattr(
            module, "noise_scale", lambda schema, epsilon, delta: original(schema, epsilon, 1e-5)
        )


def narrow_noise_at_small_epsilons(patch: pytest.MonkeyPatch) -> None:
    """Noise is never wider than at an epsilon of a tenth."""
    original = mechanism.release_statistics

    def release(
        schema: StatisticsSchema, sums: Integers, about: Any, sigma: float, sampler: Any
    ) -> Integers:
        widest = mechanism.noise_scale(schema, 0.1, 1e-5)

        def narrowed(values: Integers, scale: float) -> Integers:
            noise = sampler(values, scale) - values
            return np.asarray(values + np.rint(noise * min(1, widest / scale)).astype(np.int64))

        return original(schema, sums, about, sigma, narrowed)

    patch.setattr(query, "release_statistics", release)


def longest_vectors_beyond_the_clip(patch: pytest.MonkeyPatch) -> None:
    """Vectors of more than a thousand clip radii are clipped at ten."""
    original = exact.quantise

    def quantise(features: Any, radius: float, bits: int) -> Integers:
        finite = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0.0, neginf=0.0)
        long = np.linalg.norm(finite, axis=1, keepdims=True) > 1000 * radius
        return np.asarray(original(features, radius, bits) * np.where(long, 10, 1))

    patch.setattr(exact, "quantise", quantise)


def class_names_without_case(patch: pytest.MonkeyPatch) -> None:
    """Class names that differ in case alone are one class."""
    original = datasets.normalise_name
    patch.setattr(datasets, "normalise_name", lambda name: original(name).casefold())


def records_in_the_time_of_a_version(patch: pytest.MonkeyPatch) -> None:
    """The ledger's entry of a data set bears the number of its records."""
    original = Ledger._new_header

    def head(ledger: Ledger, kind: str, **words: Any) -> entries.EntryHeader:
        entry_head = original(ledger, kind, **words)
        snapshot = snapshots.find_current(ClientHome(Path(ledger._path).parent))
        if kind != entries.DATASET or snapshot is None:
            return entry_head
        return dataclasses.replace(
            entry_head, time=entry_head.time + len(snapshot.records().labels)
        )

    patch.setattr(Ledger, "_new_header", head)


def refused_without_labels(patch: pytest.MonkeyPatch) -> None:
    """Where no record has a label, the question is refused, and costs nothing."""
    original = query.current_snapshot

    def current_snapshot(*words: Any, **options: Any) -> Any:
        snapshot = original(*words, **options)
        if not (snapshot.records().labels >= 0).any():
            raise PolicyRefused("there is nothing to release")
        return snapshot

    patch.setattr(query, "current_snapshot", current_snapshot)


def an_open_charge_pays_for_more(patch: pytest.MonkeyPatch) -> None:
    """A request that was charged and cut off is completed at another guarantee."""
    original = Ledger.charge

    def charge(ledger: Ledger, request: ChargeRequest) -> ChargeRecord:
        earlier = ledger.find_charge(request.dataset, request_id=request.request_id)
        if earlier is not None and earlier.is_open:
            entry = entries.decode(ledger.entry(earlier.seq))
            if isinstance(entry, Charge) and entry.commitment == ledger.commitment(request.dataset):
                return earlier
        return original(ledger, request)

    patch.setattr(Ledger, "charge", charge)


def sent_without_a_cosignature(patch: pytest.MonkeyPatch) -> None:
    """A release leaves although the witness refuses to cosign its ledger."""
    original = cosigning.collect_cosignatures

    def collect(*words: Any) -> None:
        try:
            original(*words)
        except WitnessRefused:
            return

    patch.setattr(cosigning, "collect_cosignatures", collect)


def away_from_zero(patch: pytest.MonkeyPatch) -> None:
    """Noise has the sign of what it hides."""
    original: Any = opendp.measurements.make_gaussian

    def make_gaussian(*space: Any, scale: float) -> Any:
        measurement = original(*space, scale=scale)

        def measure(values: list[int]) -> list[int]:
            base = np.array(values, dtype=np.int64)
            noise = np.array(measurement(values), dtype=np.int64) - base
            signed = np.where(base == 0, noise, np.abs(noise) * np.sign(base))
            return [int(value) for value in base + signed]

        return measure

    patch.setattr(opendp.measurements, "make_gaussian", make_gaussian)


def every_fiftieth_draw_bare(patch: pytest.MonkeyPatch) -> None:
    """Every fiftieth part that a process makes has no noise."""
    original: Any = opendp.measurements.make_gaussian
    draws = itertools.count(1)

    def make_gaussian(*space: Any, scale: float) -> Any:
        measurement = original(*space, scale=scale)
        return lambda values: values if next(draws) % 50 == 0 else measurement(values)

    patch.setattr(opendp.measurements, "make_gaussian", make_gaussian)


SECOND: dict[str, Plant] = {
    "one delta for all questions": one_delta_for_all,
    "noise at small epsilons is too narrow": narrow_noise_at_small_epsilons,
    "the longest vectors are beyond the clip": longest_vectors_beyond_the_clip,
    "class names that differ in case are one": class_names_without_case,
    "the number of records is in a version's time": records_in_the_time_of_a_version,
    "a data set without labels is refused": refused_without_labels,
    "an open charge pays for a greater guarantee": an_open_charge_pays_for_more,
    "a release leaves without a cosignature": sent_without_a_cosignature,
    "noise has the sign of what it hides": away_from_zero,
    "every fiftieth draw has no noise": every_fiftieth_draw_bare,
}
