"""``wg-client watch``: drift tests of incoming records against the frozen ones.

Two tests share one rate of false alarms, ``FALSE_ALARM_RATE``, with half each (Bonferroni): mean
and spread of the released features, and the number of new records. Neither needs a label or a
model. Nothing is sent, charged or stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wg_client.data import plant_data as plants
from wg_client.data.record_inspection import decode_in_batches
from wg_client.data.site_data import SiteData
from wg_client.models import drift, novelty
from wg_client.models.drift import ShiftTestResult
from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import DataError
from wg_core.site.home import ClientHome
from wg_core.snapshot import UnusableItem

FALSE_ALARM_RATE = 0.01  # Probability of an alarm for a batch of records like the frozen ones
TEST_COUNT = 2  # Number of tests that share the rate of false alarms
_TEST_SIGNIFICANCE_LEVEL = FALSE_ALARM_RATE / TEST_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Result of the drift tests for one batch of new records.

    Attributes:
        snapshot: Version of the data set that the batch was compared with.
        records: Number of readable records in the batch.
        new: Number of these that are new, that is, unlike the frozen ones.
        p_features: p-value of the shift of the released features.
        p_new: p-value of the number of new records.
        alarm: True if a p-value is below its share of ``FALSE_ALARM_RATE``.
        shift: Test of the released features for a shift; None: too few records.
        left_out: Records that could not be read.
    """

    snapshot: int
    records: int
    new: int
    p_features: float
    p_new: float
    alarm: bool
    shift: ShiftTestResult | None
    left_out: tuple[UnusableItem, ...]


def test_batch_for_drift(
    home: ClientHome,
    batch_parts: Sequence[SiteData],
    *,
    unreadable_records: Sequence[UnusableItem] = (),
    progress: Callable[[int], None] | None = None,
) -> DriftReport:
    """Test one batch of new records, in one or several parts, for drift from the frozen ones.

    Args:
        unreadable_records: Records of the batch that could not be read.
        progress: Receives the number of records read.

    Raises:
        ConfigError: There is no snapshot.
        DataError: The batch has no readable record, or the snapshot too few records.
    """
    fewest_records = 5
    plant = plants.open_plant_data(home)
    frozen_features, units = plant.features.local_features, plant.data.privacy_units
    plant_novelty = novelty.fit_novelty_test(frozen_features, plant.layout, units)
    if plant_novelty is None or len(plant.data) < fewest_records:
        raise DataError(f"{len(plant.data)} frozen records: too few to hold others against")
    encoder, problems, record_count = plant.load_encoder(), list(unreadable_records), 0
    largest_likeness = novelty.LARGEST_NEW_LIKENESS
    limit = plant_novelty.score_limit(largest_likeness)
    released_parts = [np.zeros((0, plant.features.released_width), np.float32)]
    distances = [np.zeros(0, np.float32)]
    for data in batch_parts:
        for part, bad in decode_in_batches(data):
            problems += bad
            record_count += len(part) + len(bad)
            if len(part):
                local = encoder.encode_local_batched(part.records)
                released_parts.append(local[:, : plant.features.released_width])
                distances.append(plant_novelty.score(local))
            if progress is not None:
                progress(record_count)
    features = np.concatenate(released_parts)
    records, new = len(features), int((np.concatenate(distances) > limit).sum())
    if not records:
        first_problem = f", first {problems[0].name}: {problems[0].reason}" if problems else ""
        raise DataError(f"no record can be read{first_problem}")
    shift = None
    if records >= fewest_records:
        frozen = np.asarray(plant.features.released_features)
        rng = streams.stream_generator(Stream.DRIFT)
        shift = drift.test_for_shift(frozen, features, _TEST_SIGNIFICANCE_LEVEL, rng)
    p_features = 1.0 if shift is None else shift.p
    p_new = drift.new_record_p_value(new, records, largest_likeness, len(plant_novelty.scores))
    return DriftReport(
        snapshot=plant.snapshot.manifest.number,
        records=records,
        new=new,
        p_features=p_features,
        p_new=p_new,
        alarm=min(p_features, p_new) < _TEST_SIGNIFICANCE_LEVEL,
        shift=shift,
        left_out=tuple(problems),
    )
