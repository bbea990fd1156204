"""Bugs in releases for machines, planted as those of ``planted_bugs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.client.release.planted_bugs import Integers, Plant, instead_of

from wg_core.ledger.entries import Charge
from wg_core.ledger.log_state import LedgerState
from wg_core.privacy.schema import MACHINE_STATISTICS, StatisticsSchema
from wg_core.release import freeze as freezing
from wg_core.release import query_answers
from wg_core.wire import statistics_file


def machine_parts(change: Callable[[Integers, Integers], Integers]) -> Plant:
    """A release for a machine is a function of its exact and its noisy statistics."""

    @instead_of(query_answers, "release_statistics")
    def plant(original: Any, schema: StatisticsSchema, exact: Integers, *words: Any) -> Any:
        noisy = original(schema, exact, *words)
        return change(exact, noisy) if schema.release_kind == MACHINE_STATISTICS else noisy

    return plant


@instead_of(LedgerState, "_apply_charge")
def machine_is_free(original: Any, state: LedgerState, entry: Charge) -> None:
    original(state, entry)
    if entry.mechanism.release_kind == MACHINE_STATISTICS:
        state.lineage_by_id(entry.lineage).mu_squared_units -= int(entry.event.mu_squared)


@instead_of(freezing, "_exact_statistics")
def machine_of_labelled_records(original: Any, source: Any, rows: Any) -> Any:
    rows.machine_features[source.inspection.data.labels < 0] = 0
    return original(source, rows)


@instead_of(query_answers, "make_release")
def machine_classes_with_a_record(
    original: Any, config: Any, snapshot: Any, request: Any, **words: Any
) -> Any:
    present = {int(label) for label in snapshot.records().labels} | {0}
    names = tuple(name for row, name in enumerate(config.data.labels) if row in present)

    @instead_of(statistics_file, "StatisticsManifest")
    def manifest(manifest_of: Any, **fields: Any) -> Any:
        of_machine = fields["schema"].release_kind == MACHINE_STATISTICS
        return manifest_of(**(fields | ({"labels": names} if of_machine else {})))

    with pytest.MonkeyPatch.context() as inside:
        manifest(inside)
        return original(config, snapshot, request, **words)
