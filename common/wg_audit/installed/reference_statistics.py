"""Slow, independent reference implementation of a data set's exact statistics, in integers.

It follows the formulas in the docstrings of ``privacy.schema``, ``privacy.exact_statistics`` and
``privacy.class_centres``, and shares no code with them. Features are whole multiples of
``simulated_records.FEATURE_STEP``, so clipping needs square roots of integers only.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from wg_audit.installed import simulated_records as made_up
from wg_audit.installed.audited_plant import (
    MACHINE_FEATURE_COUNT,
    DecodedRelease,
    ImageRecord,
    Integers,
    PlantSetup,
)
from wg_core.errors import VerificationError

_TYPICAL_MEAN_LENGTH = Fraction(4, 5)  # Typical length of the mean feature vector, in clip radii
_LARGEST_MEAN_LENGTH = Fraction(15, 16)  # Largest allowed estimate of this length, in clip radii


class ReferenceStatistics:
    """Exact statistics from which a plant's release must have been made.

    Args:
        setup: Configuration of the plant.
        records: Records of its data set outside the acceptance set.
        file: The release; its block weights, noisy counts and noisy sum are used.

    Raises:
        VerificationError: The labels, dimension or clip radius of the release are wrong.
    """

    def __init__(
        self, setup: PlantSetup, records: Sequence[ImageRecord], file: DecodedRelease
    ) -> None:
        schema = file.manifest.schema
        self._of_machine = file.is_machine_release
        expected = (
            ((), MACHINE_FEATURE_COUNT)
            if file.is_machine_release
            else (setup.labels, setup.dimension)
        )
        schema_values = (schema.labels, schema.dimension, float(schema.clip_radius))
        if schema_values != (*expected, 1.0):
            raise VerificationError(
                f"a release of {schema_values[1:]} and {len(schema.labels)} labels"
            )
        self._setup, self._records, self._schema = setup, records, schema
        self._grid = 1 << schema.bits
        self._vectors: dict[tuple[bytes, int], Integers] = {}
        blocks = file.blocks()
        self.centre, self.radius = [0] * schema.dimension, self._grid
        if not file.is_machine_release:
            self.centre, self.radius = self._centre_and_radius(
                [int(value) for value in file.integers[blocks["counts"]]],
                [int(value) for value in file.integers[blocks["moments"]]],
                Fraction(file.sigma) ** 2,
            )
        self._weight = schema.sum_weight * self._grid // self.radius

    def statistics(self) -> Integers:
        """Return the data set's exact statistics, int64, in the order of the release's integers."""
        total = np.zeros(self._schema.vector_length, dtype=np.int64)
        for rows in self._records_by_unit():
            unit_sum = sum(
                (self.record_contribution(record) for record in rows), np.zeros_like(total)
            )
            divisor = max(len(rows), 1)
            total += np.sign(unit_sum) * (np.abs(unit_sum) // divisor)
        return total

    def record_contribution(self, record: ImageRecord) -> Integers:
        """Return one record's contribution to the exact statistics, an array of their shape."""
        before, label = (self._setup.dimension, -1) if self._of_machine else (0, record.label)
        features = made_up.read_features(record.pixels, self._schema.dimension, before)
        key = features.tobytes(), label
        if key not in self._vectors:
            self._vectors[key] = self._exact_contribution(features.tolist(), label)
        return self._vectors[key]

    def _exact_contribution(self, features: list[float], label: int) -> Integers:
        schema, classes, d = self._schema, len(self._schema.labels), self._schema.dimension
        q = self._clip_to_grid(features)
        counts = np.zeros(classes + 1, dtype=np.int64)
        counts[label] = schema.count_weight  # -1 is the last, for records without a label
        sums = np.zeros((classes, d), dtype=np.int64)
        if label >= 0:
            distance = _clip_to_radius(
                [a - b for a, b in zip(q, self.centre, strict=True)], self.radius
            )
            sums[label] = [self._weight * value for value in distance]
        return np.concatenate([counts, sums.ravel(), schema.moment_weight * np.array(q)])

    def _clip_to_grid(self, features: list[float]) -> list[int]:
        """Clip features to radius R, and round S |x| / max(|x|_2, R) toward zero to grid units."""
        steps = [round(x / made_up.FEATURE_STEP) if math.isfinite(x) else 0 for x in features]
        longest = max(_sum_of_squares(steps), round(1 / made_up.FEATURE_STEP) ** 2)
        return [_copy_sign(math.isqrt((self._grid * x) ** 2 // longest), x) for x in steps]

    def _records_by_unit(self) -> Iterable[list[ImageRecord]]:
        """Yield the records that count in the statistics, one list for each privacy unit."""
        contents: dict[str, dict[bytes, list[ImageRecord]]] = {}
        for record in self._records:
            if record.label < len(self._setup.labels):
                content = record.pixels.tobytes()
                unit = content.hex() if self._setup.unit_rule == "record" else record.unit
                contents.setdefault(unit, {}).setdefault(content, []).append(record)
        for unit_contents in contents.values():
            choices = (_representative_record(copies) for copies in unit_contents.values())
            yield [record for record in choices if record is not None]

    def _centre_and_radius(
        self, counts: list[int], total: list[int], variance: Fraction
    ) -> tuple[list[int], int]:
        energy = _sum_of_squares(total)
        signal = math.floor(energy - len(total) * variance)
        if signal <= 0:
            return [0] * len(total), self._grid
        length = math.isqrt(signal)
        sphere = Fraction(length, self._schema.moment_weight * self._grid)
        typical = sphere / _TYPICAL_MEAN_LENGTH
        spread = typical**2 / 25
        noise = len(counts) * variance / self._schema.count_weight**2
        weighted_count = Fraction(sum(counts), self._schema.count_weight)
        size = max(
            (weighted_count * spread + typical * noise) / (spread + noise),
            sphere / _LARGEST_MEAN_LENGTH,
        )
        mean = math.floor(self._grid * sphere / size)
        point = [_copy_sign(abs(value) * mean * length // energy, value) for value in total]
        return point, math.isqrt(self._grid**2 - mean**2)


def _representative_record(copies: list[ImageRecord]) -> ImageRecord | None:
    """Return the record that counts among copies of one image; None if their labels conflict."""
    labelled = [record for record in copies if record.label >= 0]
    label_count = len({record.label for record in labelled})
    return (labelled or copies)[0] if label_count < 2 else None


def _clip_to_radius(values: list[int], radius: int) -> list[int]:
    """Scale a vector longer than ``radius`` to that length, entries rounded toward zero."""
    squares = _sum_of_squares(values)
    if squares <= radius**2:
        return values
    length = math.isqrt(squares - 1) + 1
    return [_copy_sign(abs(value) * radius // length, value) for value in values]


def _sum_of_squares(values: Iterable[int]) -> int:
    return sum(value * value for value in values)


def _copy_sign(magnitude: int, sign_source: int) -> int:
    return -magnitude if sign_source < 0 else magnitude
