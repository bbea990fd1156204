"""Ten bugs of further kinds, written before the audit that was first judged by them.

It found five, and was then extended, in general, to the kinds that it had missed.
They are planted as those of ``planted_bugs``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.release.review_bugs import Plant, changed_draws

from wg_client.data import inspection
from wg_common.modalities.base import content_digest
from wg_common.nets.encoder.module import Encoder
from wg_core import snapshot as snapshots
from wg_core.ledger import entries
from wg_core.ledger.entries import Charge, Dataset
from wg_core.ledger.state import LedgerState
from wg_core.ledger.store import Ledger
from wg_core.privacy import exact, mechanism
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import query
from wg_core.site.home import ClientHome

Integers = NDArray[np.int64]


def counts_below_zero_are_zero(patch: pytest.MonkeyPatch) -> None:
    original = mechanism.release_statistics

    def release(schema: StatisticsSchema, *words: Any) -> Integers:
        noisy = original(schema, *words)
        size = schema.blocks[0].size
        noisy[:size] = np.maximum(noisy[:size], 0)
        return noisy

    patch.setattr(query, "release_statistics", release)


def noise_of_a_pool(patch: pytest.MonkeyPatch) -> None:
    """Noise is drawn, with replacement, from values that a process draws once."""
    rng = np.random.default_rng(secrets.randbits(64))
    pool = rng.normal(size=65_536)
    changed_draws(lambda noise, sigma: sigma * rng.choice(pool, len(noise)))(patch)


def less_noise_on_rare_classes(patch: pytest.MonkeyPatch) -> None:
    """Sums of classes with few records have less noise, and those of others more."""
    original = mechanism.release_statistics

    def release(
        schema: StatisticsSchema, sums: Integers, about: Any, sigma: float, sampler: Any
    ) -> Integers:
        counts = sums[: len(schema.labels)]
        factors = np.where(counts <= np.median(counts), 0.8, (2 - 0.8**2) ** 0.5)
        parts = 0

        def uneven(values: Integers, scale: float) -> Integers:
            nonlocal parts
            parts += 1
            noise = sampler(values, scale) - values
            if parts == 2:
                noise = np.rint(noise * np.repeat(factors, schema.dimension)).astype(np.int64)
            return np.asarray(values + noise)

        return original(schema, sums, about, sigma, uneven)

    patch.setattr(query, "release_statistics", release)


def large_units_weigh_more(patch: pytest.MonkeyPatch) -> None:
    """A unit of more than 32 records weighs as if it had 32."""
    original = exact.divide_toward_zero
    patch.setattr(
        exact, "divide_toward_zero", lambda value, divisor: original(value, min(divisor, 32))
    )


def records_in_the_time_of_a_release(patch: pytest.MonkeyPatch) -> None:
    """A release's entry bears the time at which the work was done, a second for 100 records."""
    original = Ledger._new_header

    def head(ledger: Ledger, kind: str, **words: Any) -> entries.EntryHeader:
        made = original(ledger, kind, **words)
        snapshot = snapshots.find_current(ClientHome(Path(ledger._path).parent))
        if kind != entries.RELEASE or snapshot is None:
            return made
        return dataclasses.replace(made, time=made.time + len(snapshot.records().labels) // 100)

    patch.setattr(Ledger, "_new_header", head)


def no_noise_on_nothing(patch: pytest.MonkeyPatch) -> None:
    """An empty data set is released as it is."""
    original = mechanism.release_statistics

    def release(schema: StatisticsSchema, sums: Integers, *words: Any) -> Integers:
        noisy = original(schema, sums, *words)
        return noisy if sums.any() else sums

    patch.setattr(query, "release_statistics", release)


def burned_charges_come_back(patch: pytest.MonkeyPatch) -> None:
    """With the next version of the data a budget gets back what was charged and not released."""
    costs: dict[tuple[str, int], int] = {}
    charge, dataset = LedgerState._apply_charge, LedgerState._apply_dataset

    def charged(state: LedgerState, entry: Charge) -> None:
        charge(state, entry)
        costs[entry.head.origin, entry.head.seq] = int(entry.event.mu_squared)

    def registered(state: LedgerState, entry: Dataset) -> None:
        before = state.datasets.get(entry.name)
        dataset(state, entry)
        for seq, paid in state.charges.items():
            if before is not None and paid.is_open and seq > before.head.seq:
                state.lineage(paid.lineage).mu_squared -= costs[entry.head.origin, seq]

    patch.setattr(LedgerState, "_apply_charge", charged)
    patch.setattr(LedgerState, "_apply_dataset", registered)


def id_from_the_exact_statistics(patch: pytest.MonkeyPatch) -> None:
    original = query.make_release

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        known = snapshot.statistics().tobytes() + request.request_id.encode()
        release_id = hashlib.sha256(known).hexdigest()[:32]
        return original(config, snapshot, request, release_id=release_id, **words)

    patch.setattr(query, "make_release", make)


def normalised_by_large_batches(patch: pytest.MonkeyPatch) -> None:
    original = Encoder.encode_local

    def encode_local(encoder: Encoder, records: Any) -> NDArray[np.float32]:
        features = original(encoder, records)
        mean = features.mean(axis=0) if len(records) > 16 else 0
        return np.asarray(features - mean, dtype=np.float32)

    patch.setattr(Encoder, "encode_local", encode_local)


def contents_known_by_their_first_half(patch: pytest.MonkeyPatch) -> None:
    original = content_digest
    patch.setattr(
        inspection, "content_digest", lambda record: original(record[: max(1, len(record) // 2)])
    )


HOLDOUT: dict[str, Plant] = {
    "counts below zero are zero": counts_below_zero_are_zero,
    "noise comes from a pool of drawn values": noise_of_a_pool,
    "rare classes have less noise": less_noise_on_rare_classes,
    "units of many records weigh more": large_units_weigh_more,
    "the number of records is in a release's time": records_in_the_time_of_a_release,
    "an empty data set has no noise": no_noise_on_nothing,
    "burned charges come back with a version": burned_charges_come_back,
    "the release's id follows from the statistics": id_from_the_exact_statistics,
    "features are normalised by large batches": normalised_by_large_batches,
    "contents are known by their first half": contents_known_by_their_first_half,
}
