"""Ten more bugs of further kinds, written before the audit was extended, which then found three.

It was extended again since, by families of properties; these ten are held out no more.

They are planted as those of ``planted_bugs``, and are of kinds that neither that file nor
``review_bugs`` nor ``holdout_bugs`` has.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest
from tests.client.release.planted_bugs import Integers, instead_of
from tests.client.release.review_bugs import changed_draws, changed_measurement, changed_parts

from wg_client.data import dataset as datasets
from wg_core.connection import cosigning
from wg_core.errors import PolicyRefused
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.entries import Charge
from wg_core.ledger.witness import WitnessRefused
from wg_core.privacy import exact_statistics, mechanism
from wg_core.release import query_answers
from wg_core.wire import statistics_file


@instead_of(mechanism, "noise_scale", query_answers, statistics_file)
def one_delta_for_all(original: Any, schema: Any, epsilon: float, delta: float) -> Any:
    """Noise is that of delta 1e-5, whatever delta is asked for and charged."""
    return original(schema, epsilon, 1e-5)


@changed_parts
def narrow_noise_at_small_epsilons(schema: Any, noise: Integers, scale: float) -> Any:
    """Noise is never wider than at an epsilon of a tenth."""
    return noise * min(1, mechanism.noise_scale(schema, 0.1, 1e-5) / scale)


@instead_of(exact_statistics, "quantise")
def longest_vectors_beyond_the_clip(original: Any, features: Any, radius: float, bits: int) -> Any:
    """Vectors of more than a thousand clip radii are clipped at ten."""
    finite = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0.0, neginf=0.0)
    long = np.linalg.norm(finite, axis=1, keepdims=True) > 1000 * radius
    return np.asarray(original(features, radius, bits) * np.where(long, 10, 1))


@instead_of(datasets, "normalise_name")
def class_names_without_case(original: Any, name: str) -> Any:
    """Class names that differ in case alone are one class."""
    return original(name).casefold()


@instead_of(query_answers, "current_snapshot")
def refused_without_labels(original: Any, *words: Any, **options: Any) -> Any:
    """Where no record has a label, the question is refused, and costs nothing."""
    snapshot = original(*words, **options)
    if not (snapshot.records().labels >= 0).any():
        raise PolicyRefused("there is nothing to release")
    return snapshot


@instead_of(Ledger, "charge")
def an_open_charge_pays_for_more(original: Any, ledger: Ledger, request: ChargeRequest) -> Any:
    """A request that was charged and cut off is completed at another guarantee."""
    earlier = ledger.find_charge(request.dataset, request_id=request.request_id)
    if earlier is not None and earlier.is_open:
        entry = entries.decode(ledger.entry_bytes(earlier.seq))
        if isinstance(entry, Charge) and entry.commitment == ledger.dataset_commitment(
            request.dataset
        ):
            return earlier
    return original(ledger, request)


@instead_of(cosigning, "collect_cosignatures")
def sent_without_a_cosignature(original: Any, *words: Any) -> None:
    """A release leaves although the witness refuses to cosign its ledger."""
    with contextlib.suppress(WitnessRefused):
        original(*words)


@changed_measurement
def away_from_zero(base: Integers, noise: Integers, scale: float) -> Any:
    """Noise has the sign of what it hides."""
    return np.where(base == 0, noise, np.abs(noise) * np.sign(base))


def every_fiftieth_draw_bare(patch: pytest.MonkeyPatch) -> None:
    """Every fiftieth part that a process makes has no noise."""
    draws = itertools.count(1)
    changed_draws(lambda noise, sigma: noise * (next(draws) % 50 != 0))(patch)
