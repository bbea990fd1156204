"""Bugs in releases for machines, planted as those of ``planted_bugs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.release.planted_bugs import Plant, Planted

from wg_audit.installed import bench, conduct, probes
from wg_core.ledger.entries import Charge
from wg_core.ledger.state import LedgerState
from wg_core.privacy import mechanism
from wg_core.privacy.schema import MACHINE_STATISTICS, StatisticsSchema
from wg_core.release import freeze as freezing
from wg_core.release import query
from wg_core.wire import statistics_file

Integers = NDArray[np.int64]


def machine_parts(change: Callable[[Integers, Integers], Integers]) -> Plant:
    """A release for a machine is a function of its exact and its noisy statistics."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = mechanism.release_statistics

        def release(schema: StatisticsSchema, exact: Integers, *words: Any) -> Integers:
            noisy = original(schema, exact, *words)
            return change(exact, noisy) if schema.statistics == MACHINE_STATISTICS else noisy

        patch.setattr(query, "release_statistics", release)

    return plant


def machine_is_free(patch: pytest.MonkeyPatch) -> None:
    original = LedgerState._apply_charge

    def charge(state: LedgerState, entry: Charge) -> None:
        original(state, entry)
        if entry.mechanism.statistics == MACHINE_STATISTICS:
            state.lineage(entry.lineage).mu_squared -= int(entry.event.mu_squared)

    patch.setattr(LedgerState, "_apply_charge", charge)


def machine_of_labelled_records(patch: pytest.MonkeyPatch) -> None:
    original = freezing._exact_statistics

    def exact(source: Any, rows: Any) -> dict[str, Integers]:
        rows.machine_features[source.inspection.data.labels < 0] = 0
        return original(source, rows)

    patch.setattr(freezing, "_exact_statistics", exact)


def machine_classes_with_a_record(patch: pytest.MonkeyPatch) -> None:
    original, manifest_of = query.make_release, statistics_file.StatisticsManifest

    def make(config: Any, snapshot: Any, request: Any, **words: Any) -> bytes:
        present = {int(label) for label in snapshot.records().labels} | {0}
        names = tuple(name for row, name in enumerate(config.data.labels) if row in present)

        def manifest(**fields: Any) -> Any:
            of_machine = fields["schema"].statistics == MACHINE_STATISTICS
            return manifest_of(**(fields | ({"labels": names} if of_machine else {})))

        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(statistics_file, "StatisticsManifest", manifest)
            return original(config, snapshot, request, **words)

    patch.setattr(query, "make_release", make)


OF_MACHINE: dict[str, Planted] = {
    "machine statistics without noise": Planted(
        machine_parts(lambda exact, noisy: exact), bench.SAMPLER_CHECK, probes.probe_snapshot_sizes
    ),
    "number of a machine's records without noise": Planted(
        machine_parts(lambda exact, noisy: np.concatenate([exact[:1], noisy[1:]])),
        bench.SAMPLER_CHECK,
        probes.probe_snapshot_sizes,
    ),
    "machine statistics are free": Planted(
        machine_is_free, bench.BUDGET_CHECK, conduct.exhaust_budget
    ),
    "machine statistics of labelled records alone": Planted(
        machine_of_labelled_records, bench.EXACTNESS_CHECK, probes.probe_snapshot_sizes
    ),
    "a machine's class names are those with a record": Planted(
        machine_classes_with_a_record, bench.LEDGER_CHECK, probes.probe_file_layouts
    ),
}
