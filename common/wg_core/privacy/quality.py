"""Counts of right answers: what a quality report releases, and how far one privacy unit moves it.

A package's K heads are fixed and public. A labelled record with features ``phi`` and class ``y`` is
mapped to ``K + 1`` numbers, and a data set to the sum over its privacy units::

    v(y, phi) = w * [ 1 | head_1 calls phi y | ... | head_K calls phi y ]
                    labelled        right

A record without a label adds nothing. The weight w puts the noise on a grid that is fine enough.

*Guarantee.* Every number of a unit lies from 0 to ``w * unit_cap``, so one unit more or less moves
the whole by at most ``sqrt(K + 1) * w * unit_cap`` in L2, exactly. It holds
only if what a head calls a record depends on that record alone, to the last bit, and libraries add
in another order for another number of rows. So features and heads are rounded to integers whose
products and sums stay below 2^53: a double holds each of them, and every order gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wg_core.errors import DataError, DecodeError, InternalError
from wg_core.privacy.exact import UNLABELLED, quantise
from wg_core.privacy.schema import Block

WEIGHT = 1 << 10
"""Grid units of a count of one: noise is then many grid units, whatever epsilon is allowed."""
CANDIDATES_LIMIT = 64
"""Most candidates of one quality report; the work of an answer grows with them."""
BITS = 20  # log2 of the grid units of the clip radius on which heads are asked

_EXACT_BITS = 51
_CHUNK = 1 << 13
_CAP_LIMIT = 1 << 20

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Head = tuple[ArrayLike, ArrayLike]  # Weight [C, d] and bias [C]: logits of features, feature units


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLayout:
    """What is counted, and for whom. Everything in it is public.

    Attributes:
        candidates: Number K of heads.
        weight: w.
        unit_rule: How a privacy unit with several records counts; as of ``StatisticsSchema``.
        unit_cap: For ``cap``: the largest number of records that count. Otherwise 1.
    """

    candidates: int
    weight: int = WEIGHT
    unit_rule: Literal["record", "weight", "cap"]
    unit_cap: int

    def __post_init__(self) -> None:
        for name, good, found in (
            ("candidates", 1 <= self.candidates <= CANDIDATES_LIMIT, self.candidates),
            ("weight", self.weight == WEIGHT, self.weight),
            (
                "unit_cap",
                self.unit_cap == 1 or (self.unit_rule == "cap" and 1 < self.unit_cap < _CAP_LIMIT),
                self.unit_cap,
            ),
        ):
            if not good:
                raise DecodeError(f"quality report: {name} is {found}, which is out of its range")

    @property
    def blocks(self) -> tuple[Block, Block]:
        """The blocks of the released vector: labelled records, right answers."""
        return (
            Block("labelled", 0, (1,), self.weight),
            Block("right", 1, (self.candidates,), self.weight),
        )

    @property
    def length(self) -> int:
        """Number of integers."""
        return self.candidates + 1

    def sensitivity_squared(self) -> int:
        """Largest squared L2 change, in squared grid units, by one privacy unit more or less."""
        return self.length * self.weight**2 * self.unit_cap**2


def right_answers(
    heads: Sequence[Head], features: ArrayLike, labels: ArrayLike, radius: float
) -> NDArray[np.bool_]:
    """Which labelled records each head calls by their label.

    Args:
        heads: Of finite numbers, all on the same features.
        features: ``[n, d]``, feature units; clipped to ``radius``, as where they are released.
        labels: Integers ``[n]``, -1 = unlabelled.
        radius: Clip radius, feature units.

    Returns:
        ``[K, n]``. Private.
    """
    values, y = np.asarray(features), np.asarray(labels)
    found = np.zeros((len(heads), len(y)), dtype=np.bool_)
    exact = [_integer_head(np.asarray(w), np.asarray(b), radius) for w, b in heads]
    for start in range(0, len(y), _CHUNK):
        part = slice(start, start + _CHUNK)
        grid = quantise(values[part], radius, BITS).astype(np.float64)
        for row, (weight, bias) in enumerate(exact):
            calls = (grid @ weight.T + bias).argmax(axis=1)
            found[row, part] = calls == y[part]
    return np.asarray(found & (y != UNLABELLED))


def exact_counts(
    layout: QualityLayout,
    right: NDArray[np.bool_],
    labels: ArrayLike,
    units: Sequence[str] | None = None,
) -> Integers:
    """Sum what records say into the report's integer vector.

    Args:
        right: ``[K, n]``, from ``right_answers``.
        labels: Integers ``[n]``, -1 = unlabelled.
        units: For the rules ``weight`` and ``cap``: the privacy unit of each record.

    Returns:
        int64 ``[K + 1]``. Private.

    Raises:
        DataError: Shapes or units do not fit the layout.
    """
    y = np.asarray(labels)
    if right.shape != (layout.candidates, len(y)):
        raise DataError(f"quality report: answers of shape {right.shape}")
    if (units is None) != (layout.unit_rule == "record") or (units and len(units) != len(y)):
        raise DataError(f"quality report: units do not fit the rule {layout.unit_rule!r}")
    each = np.vstack([y != UNLABELLED, right]).astype(np.int64) * layout.weight
    if units is None:
        return np.asarray(each.sum(axis=1))
    rows: dict[str, list[int]] = {}
    for row, unit in enumerate(units):
        rows.setdefault(unit, []).append(row)
    total = np.zeros(layout.length, dtype=np.int64)
    for mine in rows.values():
        if layout.unit_rule == "cap":
            total += each[:, mine[: layout.unit_cap]].sum(axis=1)
        else:
            total += each[:, mine].sum(axis=1) // len(mine)
    return total


def _integer_head(
    weight: NDArray[np.floating], bias: NDArray[np.floating], radius: float
) -> tuple[Floats, Floats]:
    """A head as integers, times a power of two: the largest with which every sum stays exact."""
    w = weight.astype(np.float64)
    b = bias.astype(np.float64) * ((1 << BITS) / radius)
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise InternalError("quality report: a head is not finite")
    bits = _EXACT_BITS - BITS - int(w.shape[1]).bit_length()
    room = min(
        bits - _bits(float(np.abs(w).max(initial=0.0))),
        _EXACT_BITS - _bits(float(np.abs(b).max(initial=0.0))),
    )
    return np.rint(np.ldexp(w, room)), np.rint(np.ldexp(b, room))


def _bits(largest: float) -> int:
    """The least e with ``largest < 2^e``; 0 for zero."""
    return int(np.frexp(largest)[1])
