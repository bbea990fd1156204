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
from tests.client.release.planted_bugs import Integers, Plant, instead_of
from tests.client.release.review_bugs import changed_draws

from wg_client.data import record_inspection
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_core import snapshot as snapshots
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Charge, Dataset
from wg_core.ledger.log_state import LedgerState
from wg_core.privacy import exact_statistics
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import query_answers
from wg_core.site.home import ClientHome


@instead_of(query_answers, "release_statistics")
def counts_below_zero_are_zero(original: Any, schema: StatisticsSchema, *words: Any) -> Any:
    noisy = original(schema, *words)
    size = schema.blocks[0].size
    noisy[:size] = np.maximum(noisy[:size], 0)
    return noisy


def noise_of_a_pool(patch: pytest.MonkeyPatch) -> None:
    """Noise is drawn, with replacement, from values that a process draws once."""
    rng = np.random.default_rng(secrets.randbits(64))
    pool = rng.normal(size=65_536)
    changed_draws(lambda noise, sigma: sigma * rng.choice(pool, len(noise)))(patch)


@instead_of(query_answers, "release_statistics")
def less_noise_on_rare_classes(
    original: Any, schema: StatisticsSchema, sums: Integers, about: Any, sigma: float, sampler: Any
) -> Any:
    """Sums of classes with few records have less noise, and those of others more."""
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


@instead_of(exact_statistics, "divide_toward_zero")
def large_units_weigh_more(original: Any, value: Any, divisor: int) -> Any:
    """A unit of more than 32 records weighs as if it had 32."""
    return original(value, min(divisor, 32))


def records_in_the_time(of_kind: str, records_in_a_second: int) -> Plant:
    """Entries of a kind bear a time that depends on the number of records."""

    @instead_of(Ledger, "_new_header")
    def plant(original: Any, ledger: Ledger, kind: str, **words: Any) -> Any:
        head = original(ledger, kind, **words)
        snapshot = snapshots.find_current(ClientHome(Path(ledger._path).parent))
        if kind != of_kind or snapshot is None:
            return head
        seconds = len(snapshot.records().labels) // records_in_a_second
        return dataclasses.replace(head, time=head.time + seconds)

    return plant


@instead_of(query_answers, "release_statistics")
def no_noise_on_nothing(original: Any, schema: Any, sums: Integers, *words: Any) -> Any:
    """An empty data set is released as it is."""
    noisy = original(schema, sums, *words)
    return noisy if sums.any() else sums


def burned_charges_come_back(patch: pytest.MonkeyPatch) -> None:
    """With the next version of the data a budget gets back what was charged and not released."""
    costs: dict[tuple[str, int], int] = {}

    @instead_of(LedgerState, "_apply_charge")
    def charged(charge: Any, state: LedgerState, entry: Charge) -> None:
        charge(state, entry)
        costs[entry.head.origin, entry.head.seq] = int(entry.event.mu_squared)

    @instead_of(LedgerState, "_apply_dataset")
    def registered(dataset: Any, state: LedgerState, entry: Dataset) -> None:
        before = state.datasets.get(entry.name)
        dataset(state, entry)
        for seq, paid in state.charges.items():
            if before is not None and paid.is_open and seq > before.head.seq:
                state.lineage_by_id(paid.lineage_id).mu_squared_units -= costs[
                    entry.head.origin, seq
                ]

    charged(patch)
    registered(patch)


@instead_of(query_answers, "make_release")
def id_from_the_exact_statistics(
    original: Any, config: Any, snapshot: Any, request: Any, **words: Any
) -> Any:
    known = snapshot.statistics().tobytes() + request.request_id.encode()
    release_id = hashlib.sha256(known).hexdigest()[:32]
    return original(config, snapshot, request, release_id=release_id, **words)


@instead_of(Encoder, "encode_local")
def normalised_by_large_batches(original: Any, encoder: Encoder, records: Any) -> Any:
    features = original(encoder, records)
    mean = features.mean(axis=0) if len(records) > 16 else 0
    return np.asarray(features - mean, dtype=np.float32)


@instead_of(record_inspection, "content_digest")
def contents_known_by_their_first_half(original: Any, record: Any) -> Any:
    return original(record[: max(1, len(record) // 2)])
