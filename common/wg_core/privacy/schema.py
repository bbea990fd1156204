"""Statistics schema: layout of released statistics, and their sensitivity to one privacy unit.

A record with features ``phi`` (quantised to integers ``q``, see ``exact_statistics``) and class
``y`` is mapped to one integer vector, and a data set to the sum over its privacy units::

    v(y, q) = [ a * e_y  |  b * e_y (x) q  |  c * q ]
                counts        sums            moments

One clip radius R is ``S = 2^bits`` grid units, so ``|q|^2 <= S^2`` holds in exact integers. The
counts block has one entry for each label, and a last entry for unlabelled records. Each record
counts in exactly one of them, so the extra entry does not raise the sensitivity. An unlabelled
record has no sums.

Two kinds of statistics have this layout. *Class statistics* are of the encoder's features, by
label. *Machine statistics* are of the ``MACHINE_DIMENSION`` numbers that the encoder's reading map
computes from a record and the stated data sheet; they have no labels, so every record is in the one
entry of the counts, and there are no sums. They are used for the mean M / N of moments over count.
With sigma the noise per unit of sensitivity, w the count's share of the squared sensitivity, and d
numbers, the squared error of the mean is::

    sigma^2 (d / (1 - w) + |mean|^2 / w) / N^2,   least at w = |mean| / (|mean| + sqrt(d))

for every N. With d = 32 a share of 5 % is optimal for a mean of length .30. The root of the error
is 1 % above its minimum at length .5 (38.7 against 37.9, times sigma^2 / N^2) and 10 % at length 1
(53.7 against 44.3). At epsilon 1 and delta 1e-5 sigma is 3.7: the error of each number of the mean
is .038 at 100 records and .004 at 1,000, and the error of the count is 17.

A release has two parts. Counts and moments are released first. They determine a point C and a
radius r (see ``class_centres``), and then the sums of deviations are released::

    b' * e_y (x) clip(q - C, r)        with the integer b' = floor(b * S / r)

For every C the squared norm of a record's part of the sums is at most ``b'^2 r^2 <= b^2 S^2``, as
without centring, so the charge does not depend on C. Both parts get noise of the same sigma, so
that their squared mu add up to that of the whole vector (docs/centred-release.md).

*Guarantee.* ``sensitivity_squared`` bounds ``|v(D) - v(D')|^2`` over all neighbouring data sets, as
an exact integer. This module makes no statement about noise; see ``mechanism``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from wg_core import number_parsers, text_grammars
from wg_core.errors import DecodeError

VERSION = 1

CLIP_RADIUS = 1.0  # L2 norm to which public encoders clip features, and training gradients
GRID_BITS = 14  # Default log2 of the number of grid units in a clip radius
DEFAULT_DELTA = "1e-5"  # Delta of a plant's default policy, decimal string

RELEASED_DIMENSION = 64  # Usual number of released features of an encoder

StatisticsKind = Literal["classes", "machine"]
"""Kind of statistics in a release."""
CLASS_STATISTICS: Final = "classes"
MACHINE_STATISTICS: Final = "machine"
STATISTICS_KINDS: tuple[StatisticsKind, ...] = (CLASS_STATISTICS, MACHINE_STATISTICS)

ReleaseKind = Literal["classes", "machine", "gradients"]
"""Kind of release that a charge pays for: one of the two kinds of statistics, which a server
requests, or the gradients of a private head, which the plant trains by a command of its own."""
GRADIENTS: Final = "gradients"

StatisticsField = Literal["machine"] | UnsetType
"""Field that states a kind of statistics in messages and files: ``machine``, or absent for class
statistics, so that data written before the field existed keep their bytes."""

ReleaseField = Literal["machine", "gradients"] | UnsetType
"""Field of a decision for the kind of release: like ``StatisticsField``, or ``gradients``."""

NO_LABEL = -1  # Label index of a record that has no label

MACHINE_DIMENSION = 32  # Number of values that a reading map computes from a record

MACHINE_RECORDS_MINIMUM = 100
"""Number of records from which on the mean of machine statistics is larger than its noise; with
fewer, networks are generated without machine statistics."""

EXACT_STATISTIC_LIMIT = 1 << 62
"""Bound on every exact statistic; the other half of the int64 range is left for noise."""

RECORD_CAPACITY_MINIMUM = 1 << 20  # Number of records that every schema must be able to hold

BlockName = Literal["counts", "sums", "moments", "gradients"]

_GRID_BITS_RANGE = range(4, 21)
_GRID_BITS_TEXT = f"{_GRID_BITS_RANGE.start} to {_GRID_BITS_RANGE.stop - 1}"
_DIMENSION_LIMIT = 1 << 16
_LABELS_LIMIT = 1 << 14
_VECTOR_LENGTH_LIMIT = 1 << 22
_BLOCK_WEIGHT_LIMIT = 1 << 53

_SENSITIVITY_SHARES = (Fraction(5, 100), Fraction(75, 100), Fraction(20, 100))
"""Shares of the squared sensitivity for counts, sums and moments."""
_MOMENT_WEIGHT = 1 << 8  # Large, so that rounding the sums' weight, 495.7, down costs only .3 %


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous part of a released vector, such as its counts.

    Attributes:
        name: ``counts``, ``sums`` or ``moments``; ``gradients`` for a private head.
        offset: Index of its first entry.
        shape: Shape of the array, in C order.
        weight: Integer by which its exact entries are multiplied before noise is added.
    """

    name: BlockName
    offset: int
    shape: tuple[int, ...]
    weight: int

    @property
    def size(self) -> int:
        """Number of entries in the block."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSchema:
    """Layout, grid and privacy unit of released statistics. All fields are public.

    Attributes:
        encoder: SHA-256 of the public encoder package, hex.
        dimension: Number d of features.
        labels: Public label domain, in order; may be empty.
        clip_radius: L2 radius R to which features are clipped, decimal string, feature units.
        bits: log2 of the number S of grid units in one clip radius.
        count_weight: Weight of the counts, which are numbers of records per label.
        sum_weight: Smallest weight of the sums, which are each label's summed features;
            ``class_centres`` may increase it. 0 if and only if there are no labels.
        moment_weight: Weight of the moments, which are the features summed over all records.
        unit_rule: Rule for a privacy unit with several records: ``record`` (each record is a
            unit), or ``weight`` (each of the unit's m records has weight 1/m).
        features: ``machine``: features are those that the encoder computes from a record and the
            machine's data sheet; absent: features are the encoder's released features.
    """

    version: int = VERSION
    encoder: text_grammars.Digest
    dimension: int
    labels: tuple[text_grammars.Name, ...]
    clip_radius: text_grammars.Number
    bits: int
    count_weight: int
    sum_weight: int
    moment_weight: int
    unit_rule: Literal["record", "weight"]
    features: StatisticsField = UNSET

    def __post_init__(self) -> None:
        _check_field(self.version == VERSION, "version", self.version, f"{VERSION}")
        _check_field(
            0 < self.dimension <= _DIMENSION_LIMIT, "dimension", self.dimension, "1 to 2^16"
        )
        _check_field(len(self.labels) <= _LABELS_LIMIT, "labels", len(self.labels), "at most 2^14")
        _check_field(
            len(set(self.labels)) == len(self.labels), "labels", self.labels, "unique names"
        )
        text_grammars.check_text_fields(self)
        if self.release_kind == MACHINE_STATISTICS:
            _check_field(not self.labels, "labels", self.labels, "none in machine statistics")
            expected = f"{MACHINE_DIMENSION} in machine statistics"
            _check_field(self.dimension == MACHINE_DIMENSION, "dimension", self.dimension, expected)
        try:
            positive = number_parsers.parse_decimal(self.clip_radius) > 0
        except DecodeError:
            positive = False
        _check_field(positive, "clip_radius", self.clip_radius, "a positive decimal number")
        _check_field(self.bits in _GRID_BITS_RANGE, "bits", self.bits, _GRID_BITS_TEXT)
        for name, weight, is_needed in (
            ("count_weight", self.count_weight, True),
            ("sum_weight", self.sum_weight, bool(self.labels)),
            ("moment_weight", self.moment_weight, True),
        ):
            good = 0 < weight < _BLOCK_WEIGHT_LIMIT if is_needed else weight == 0
            _check_field(good, name, weight, "1 to 2^53 - 1" if is_needed else "0")
        length, capacity = self.vector_length, self.record_capacity
        _check_field(length <= _VECTOR_LENGTH_LIMIT, "length", length, "at most 2^22 entries")
        expected = "weights and bits that leave room for 2^20 records in 64 bits"
        _check_field(capacity >= RECORD_CAPACITY_MINIMUM, "capacity", capacity, expected)

    @property
    def release_kind(self) -> StatisticsKind:
        """Kind of the statistics with this schema: ``classes`` or ``machine``."""
        return statistics_kind(self.features)

    @property
    def radius_grid_units(self) -> int:
        """Number S of grid units in one clip radius."""
        return 1 << self.bits

    @property
    def radius(self) -> float:
        """Clip radius R in feature units."""
        return number_parsers.parse_decimal(self.clip_radius)

    @property
    def blocks(self) -> tuple[Block, Block, Block]:
        """Blocks of the released vector: counts, sums, moments."""
        classes, d = len(self.labels), self.dimension
        counts = Block("counts", 0, (classes + 1,), self.count_weight)
        sums = Block("sums", counts.size, (classes, d), self.sum_weight)
        moments = Block("moments", counts.size + sums.size, (d,), self.moment_weight)
        return counts, sums, moments

    @property
    def vector_length(self) -> int:
        """Number of entries of the released vector."""
        return sum(block.size for block in self.blocks)

    @property
    def record_capacity(self) -> int:
        """Largest number of records for which every exact statistic fits in 64 bits with noise."""
        linear = max(self.sum_weight, self.moment_weight) * self.radius_grid_units
        return EXACT_STATISTIC_LIMIT // max(self.count_weight, linear)

    def sensitivity_squared(self) -> int:
        """Return the squared L2 sensitivity to one privacy unit more or less, squared grid units.

        The bound is attained by a unit of one record. For the cost of replacing a unit by another
        see docs/privacy-argument.md.
        """
        linear = (self.sum_weight**2 + self.moment_weight**2) * self.radius_grid_units**2
        return self.count_weight**2 + linear


def default_schema(
    *,
    encoder: str,
    dimension: int,
    labels: Sequence[str],
    clip_radius: float,
    bits: int = GRID_BITS,
    unit_rule: Literal["record", "weight"] = "record",
) -> StatisticsSchema:
    """Return the schema whose counts, sums and moments have 5, 75 and 20 % of the sensitivity.

    The shares are those of the squared sensitivity. The weight of the moments is fixed; the other
    weights follow from it in exact arithmetic, so that all computers get the same schema.

    Args:
        encoder: SHA-256 of the public encoder package, hex.
        dimension: Number of features.
        labels: Public label domain; if empty, the share of the sums goes to the moments.
        clip_radius: L2 clip radius, in feature units.
        bits: log2 of the number of grid units in one clip radius.
        unit_rule: Rule for a privacy unit with m records: each counts alone, or 1/m each.

    Raises:
        DecodeError: An argument is out of its range.
    """
    _check_field(bits in _GRID_BITS_RANGE, "bits", bits, _GRID_BITS_TEXT)
    _check_field(0 < clip_radius < math.inf, "clip_radius", clip_radius, "a positive number")
    count_share, sum_share, moment_share = _SENSITIVITY_SHARES
    s2 = 1 << (2 * bits)
    total = _MOMENT_WEIGHT**2 * s2 / (moment_share if labels else 1 - count_share)
    return StatisticsSchema(
        encoder=encoder,
        dimension=dimension,
        labels=tuple(labels),
        clip_radius=repr(float(clip_radius)),
        bits=bits,
        count_weight=max(1, math.isqrt(math.floor(count_share * total))),
        sum_weight=max(1, math.isqrt(math.floor(sum_share * total / s2))) if labels else 0,
        moment_weight=_MOMENT_WEIGHT,
        unit_rule=unit_rule,
    )


def machine_schema(encoder_sha256: str, unit_rule: Literal["record", "weight"]) -> StatisticsSchema:
    """Return the schema of machine statistics for an encoder with a given SHA-256, hex."""
    schema = default_schema(
        encoder=encoder_sha256,
        dimension=MACHINE_DIMENSION,
        labels=(),
        clip_radius=CLIP_RADIUS,
        unit_rule=unit_rule,
    )
    return replace(schema, features=MACHINE_STATISTICS)


def statistics_field(statistics: StatisticsKind) -> StatisticsField:
    """Return a kind of statistics as the field of a message: ``UNSET`` for class statistics."""
    return UNSET if statistics == CLASS_STATISTICS else MACHINE_STATISTICS


def statistics_kind(field: StatisticsField) -> StatisticsKind:
    """Return the kind of statistics that the field of a message states."""
    return CLASS_STATISTICS if field is UNSET else MACHINE_STATISTICS


def release_kind(field: ReleaseField) -> ReleaseKind:
    """Return the kind of release that the field of a decision states."""
    return CLASS_STATISTICS if field is UNSET else field


def _check_field(is_valid: bool, field: str, value: object, expected: str) -> None:
    if not is_valid:
        raise DecodeError(f"statistics schema: {field} is {value!r}, expected {expected}")
