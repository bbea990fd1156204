"""Ten bugs by somebody who had not read the audit, each of which costs privacy or hides a cost.

They are planted as those of ``planted_bugs``.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from tests.client.release.planted_bugs import Integers, changed_noise, in_parts, instead_of

from wg_client.data import acceptance_set
from wg_core import snapshot as snapshots
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.lineage import LineageState
from wg_core.privacy import exact_statistics
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import MACHINE_DIMENSION, StatisticsSchema
from wg_core.release import encoding_failures, freeze, query_answers


@in_parts
def centre_of_exact_sums(first: Integers, second: Any, noise: Any, sigma: float) -> Any:
    """The second part is taken about a centre found before noise was added."""
    return noise(first), noise(second(first, sigma))


@instead_of(exact_statistics, "exact_statistics", snapshots)
def unit_weighed_by_labelled_records(
    original: Any, schema: StatisticsSchema, features: Any, labels: Any, *others: Any
) -> Any:
    """Records of a unit weigh one over its labelled ones, so the others weigh too much."""
    units, centre = (*others, None, None)[:2]
    if units is None:
        return original(schema, features, labels, *others)
    phi, y = exact_statistics._checked_features_and_labels(schema, features, labels, units)
    q = exact_statistics.quantise(phi, schema.radius, schema.bits)
    result = np.zeros(schema.vector_length, dtype=np.int64)
    for rows in exact_statistics.rows_by_unit(units):
        labelled = max(1, int((y[rows] >= 0).sum()))
        total = exact_statistics._sum_record_vectors(schema, q[rows], y[rows], centre)
        result += exact_statistics.divide_toward_zero(total, labelled)
    return result


@changed_noise
def no_noise_on_nothing(integers: Integers, noisy: Integers, sigma: float) -> Integers:
    """What is exactly zero, as an empty class, is released without noise."""
    return np.where(integers == 0, 0, noisy)


def budget_for_each_kind(patch: pytest.MonkeyPatch) -> None:
    """Class and machine statistics each have the whole cap, as if of disjoint data."""
    kind: list[str] = []

    @instead_of(Ledger, "charge")
    def charged(charge: Any, self: Ledger, request: ChargeRequest) -> Any:
        kind[:] = [request.mechanism.release_kind]
        return charge(self, request)

    @instead_of(Ledger, "_epsilon_before_and_after")
    def of_kind(cost: Any, self: Ledger, lineage: LineageState, event: PrivacyEvent) -> Any:
        alike = type(lineage)(lineage.lineage_id, lineage.cap_epsilon, lineage.cap_delta)
        for state in self._state.charges.values():
            entry = entries.decode(self.entry_bytes(state.seq))
            if isinstance(entry, entries.Charge) and [state.release_kind] == kind:
                alike.add_event(entry.event)
        return cost(self, alike, event)

    charged(patch)
    of_kind(patch)


@instead_of(exact_statistics, "quantise")
def clip_at_a_quantile(original: Any, features: Any, radius: float, bits: int) -> Any:
    """Records are clipped at the 95th percentile of the data set's norms, where that is shorter."""
    phi = np.nan_to_num(np.asarray(features, np.float64), posinf=0, neginf=0)
    norms = np.sqrt((phi**2).sum(axis=1))
    if len(norms):
        shorter = min(radius, float(np.quantile(norms, 0.95)))
        phi = phi * np.minimum(1, shorter / np.maximum(norms, 1e-12))[:, None]
    return original(phi, radius, bits)


@instead_of(exact_statistics, "exact_statistics", snapshots)
def labels_from_nearest_mean(
    original: Any, schema: Any, features: Any, labels: Any, *others: Any, **more: Any
) -> Any:
    """A record without a label counts in the class whose mean in the data is nearest."""
    phi, y = np.asarray(features, np.float64), np.array(labels)
    classes = np.unique(y[y >= 0])
    if classes.size and (y < 0).any():
        means = np.stack([phi[y == label].mean(axis=0) for label in classes])
        bare = np.flatnonzero(y < 0)
        distances = ((phi[bare, None] - means) ** 2).sum(axis=2)
        y[bare] = classes[distances.argmin(axis=1)]
    return original(schema, features, y, *others, **more)


@instead_of(query_answers, "make_release")
def release_id_of_the_data(
    original: Any, config: Any, snapshot: Any, request: ChargeRequest, **words: Any
) -> Any:
    """The release id is a hash of request and exact statistics: a guess can be confirmed."""
    private = snapshot.statistics(request.mechanism.release_kind).tobytes()
    digest = hashlib.sha256(request.request_id.encode() + private).hexdigest()
    return original(config, snapshot, request, **{"release_id": digest[:32], **words})


@instead_of(acceptance_set, "_unit_hash_fractions")
def acceptance_by_rank(_: Any, records: snapshots.FrozenRecords) -> Any:
    """Exactly the share is set aside, so that one unit may move another one."""
    words = np.ascontiguousarray(records.units[:, :8]).view(">u8").ravel()
    distinct, rank = np.unique(words, return_inverse=True)
    return np.asarray(rank.ravel() / max(1, distinct.size))


@instead_of(encoding_failures, "encode_or_zero")
def machine_features_by_chunk(original: Any, encode: Any, width: int, records: Any) -> Any:
    """Machine features of a record are divided by the longest of those beside it in its chunk."""
    rows, failures = original(encode, width, records)
    longest = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)).max(initial=0.0)
    if width == MACHINE_DIMENSION and longest > 0:
        rows = (rows / longest).astype(np.float32)
    return rows, failures


@instead_of(freeze, "_data_commitment")
def commitment_without_salt(original: Any, source: Any, secret: bytes, salt: bytes) -> Any:
    """Equal data have an equal commitment, so the ledger tells whether anything changed."""
    return original(source, secret, bytes(len(salt)))
