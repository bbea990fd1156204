"""Ten bugs by somebody who had not read the audit, each of which costs privacy or hides a cost.

They are planted as those of ``planted_bugs``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from tests.client.release.review_bugs import Plant

from wg_client.data import acceptance_set
from wg_core import snapshot as snapshots
from wg_core.ledger import entries
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.store import ChargeRecord, Ledger
from wg_core.privacy import centring, exact, mechanism
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import StatisticsSchema
from wg_core.release import encoding, freeze, query

Integers = NDArray[np.int64]
Sums = Callable[..., Integers]


def centre_of_exact_sums(patch: pytest.MonkeyPatch) -> None:
    """The second part is taken about a centre found before noise was added."""

    def in_parts(
        schema: StatisticsSchema,
        integers: Integers,
        about: mechanism.StatisticsAboutCentre,
        sigma: float,
        noise: Callable[[Integers], Integers],
    ) -> Integers:
        counts, middle, moments = schema.blocks
        first = np.concatenate([integers[: counts.size], integers[moments.offset :]])
        noisy = noise(first)
        if not middle.size:
            return noisy
        centre = centring.estimate_centre(schema, first[: counts.size], first[counts.size :], sigma)
        second = noise(about(centre)[middle.offset : moments.offset])
        return np.concatenate([noisy[: counts.size], second, noisy[counts.size :]])

    patch.setattr(mechanism, "release_in_parts", in_parts)


def summed_by(patch: pytest.MonkeyPatch, sums: Sums) -> None:
    for module in (exact, snapshots):
        patch.setattr(module, "exact_statistics", sums)


def unit_weighed_by_labelled_records(patch: pytest.MonkeyPatch) -> None:
    """Records of a unit weigh one over its labelled ones, so the others weigh too much."""
    original = exact.exact_statistics

    def sums(
        schema: StatisticsSchema,
        features: ArrayLike,
        labels: ArrayLike,
        units: Sequence[str] | None = None,
        centre: centring.Centre | None = None,
    ) -> Integers:
        if units is None:
            return original(schema, features, labels, units, centre)
        phi, y = exact._check_records(schema, features, labels, units)
        q = exact.quantise(phi, schema.radius, schema.bits)
        result = np.zeros(schema.length, dtype=np.int64)
        for rows in exact.rows_by_unit(units):
            labelled = max(1, int((y[rows] >= 0).sum()))
            total = exact._record_sums(schema, q[rows], y[rows], centre)
            result += exact.divide_toward_zero(total, labelled)
        return result

    summed_by(patch, sums)


def no_noise_on_nothing(patch: pytest.MonkeyPatch) -> None:
    """What is exactly zero, as an empty class, is released without noise."""
    original = mechanism.add_noise

    def release(integers: Integers, sigma: float, sampler: Any) -> Integers:
        return np.where(integers == 0, 0, original(integers, sigma, sampler))

    patch.setattr(mechanism, "add_noise", release)


def budget_for_each_kind(patch: pytest.MonkeyPatch) -> None:
    """Class and machine statistics each have the whole cap, as if of disjoint data."""
    charge, cost = Ledger.charge, Ledger._epsilon_before_and_after
    kind: list[str] = []

    def charged(self: Ledger, request: ChargeRequest) -> ChargeRecord:
        kind[:] = [request.mechanism.statistics]
        return charge(self, request)

    def of_kind(self: Ledger, lineage: Any, event: PrivacyEvent) -> tuple[float, float]:
        alike = type(lineage)(lineage.id, lineage.cap_epsilon, lineage.cap_delta)
        for state in self._state.charges.values():
            entry = entries.decode(self.entry(state.seq))
            if isinstance(entry, entries.Charge) and [state.statistics] == kind:
                alike.add(entry.event)
        return cost(self, alike, event)

    patch.setattr(Ledger, "charge", charged)
    patch.setattr(Ledger, "_epsilon_before_and_after", of_kind)


def clip_at_a_quantile(patch: pytest.MonkeyPatch) -> None:
    """Records are clipped at the 95th percentile of the data set's norms, where that is shorter."""
    original = exact.quantise

    def quantise(features: ArrayLike, radius: float, bits: int) -> Integers:
        phi = np.nan_to_num(np.asarray(features, np.float64), posinf=0, neginf=0)
        norms = np.sqrt((phi**2).sum(axis=1))
        if len(norms):
            shorter = min(radius, float(np.quantile(norms, 0.95)))
            phi = phi * np.minimum(1, shorter / np.maximum(norms, 1e-12))[:, None]
        return original(phi, radius, bits)

    patch.setattr(exact, "quantise", quantise)


def labels_from_nearest_mean(patch: pytest.MonkeyPatch) -> None:
    """A record without a label counts in the class whose mean in the data is nearest."""
    original = exact.exact_statistics

    def sums(
        schema: StatisticsSchema, features: ArrayLike, labels: ArrayLike, *others: Any, **more: Any
    ) -> Integers:
        phi, y = np.asarray(features, np.float64), np.array(labels)
        classes = np.unique(y[y >= 0])
        if classes.size and (y < 0).any():
            means = np.stack([phi[y == label].mean(axis=0) for label in classes])
            bare = np.flatnonzero(y < 0)
            distances = ((phi[bare, None] - means) ** 2).sum(axis=2)
            y[bare] = classes[distances.argmin(axis=1)]
        return original(schema, features, y, *others, **more)

    summed_by(patch, sums)


def release_id_of_the_data(patch: pytest.MonkeyPatch) -> None:
    """The release id is a hash of request and exact statistics: a guess can be confirmed."""
    original = query.make_release

    def make(config: Any, snapshot: Any, request: ChargeRequest, **words: Any) -> bytes:
        private = snapshot.statistics(request.mechanism.statistics).tobytes()
        digest = hashlib.sha256(request.request_id.encode() + private).hexdigest()
        return original(config, snapshot, request, **{"release_id": digest[:32], **words})

    patch.setattr(query, "make_release", make)


def acceptance_by_rank(patch: pytest.MonkeyPatch) -> None:
    """Exactly the share is set aside, so that one unit may move another one."""

    def ranks(records: snapshots.FrozenRecords) -> NDArray[np.float64]:
        words = np.ascontiguousarray(records.units[:, :8]).view(">u8").ravel()
        distinct, rank = np.unique(words, return_inverse=True)
        return np.asarray(rank.ravel() / max(1, distinct.size))

    patch.setattr(acceptance_set, "_chances", ranks)


def machine_features_by_chunk(patch: pytest.MonkeyPatch) -> None:
    """Machine features of a record are divided by the longest of those beside it in its chunk."""
    original = encoding._MachineFeatureEncoder.encode_local

    def encode_local(self: Any, records: Sequence[Any]) -> NDArray[np.float32]:
        rows = original(self, records)
        longest = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)).max(initial=0.0)
        return (rows / longest).astype(np.float32) if longest > 0 else rows

    patch.setattr(encoding._MachineFeatureEncoder, "encode_local", encode_local)


def commitment_without_salt(patch: pytest.MonkeyPatch) -> None:
    """Equal data have an equal commitment, so the ledger tells whether anything changed."""
    original = freeze._commitment

    def commitment(source: Any, secret: bytes, salt: bytes) -> str:
        return original(source, secret, bytes(len(salt)))

    patch.setattr(freeze, "_commitment", commitment)


OUTSIDE: dict[str, Plant] = {
    "the centre is that of exact sums": centre_of_exact_sums,
    "units weigh one over their labelled records": unit_weighed_by_labelled_records,
    "what is zero has no noise": no_noise_on_nothing,
    "each kind of statistics has a budget": budget_for_each_kind,
    "vectors are clipped at a quantile of the data": clip_at_a_quantile,
    "missing labels are those of the nearest mean": labels_from_nearest_mean,
    "the release's id is a hash of request and statistics": release_id_of_the_data,
    "the acceptance set is exactly the share": acceptance_by_rank,
    "machine features are scaled by the longest beside them": machine_features_by_chunk,
    "commitments have no salt": commitment_without_salt,
}
