"""What a charge must say, derived again from its own blocks, and from the file that it paid for.

Plain formulas, from the tables in the docstring of ``privacy.schema`` and from docs/privacy pages,
in code of its own: nothing of ``privacy.schema``, ``mechanism``, ``calibration`` or
``ledger.charging`` is used, so one mistake or lie is not believed twice. For a joint release with
``S = 2^bits`` grid units to a clip radius and weights a, b, c::

    sensitivity^2 = a^2 + (b^2 + c^2) S^2              mu^2 = sensitivity^2 / sigma^2
    rho = mu^2 / 2           delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - ...)

A head that was trained privately has one block, ``gradients``, of K (d + 1) integers a step and
weight w; each step's sum moves by at most w S with one privacy unit, so that T steps have
``sensitivity^2 = T w^2 S^2``.

Not shown by this: that the program which ran did what its charge and file say.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from wg_core.errors import VerificationError
from wg_core.ledger.entries import Charge
from wg_core.ledger.statement import BlockShare

RULES: dict[str, str] = {
    "record": "each record is a unit",
    "weight": "the m records of a unit weigh 1/m each",
}
"""How charges of a joint release say how a unit's records count, by rule of the schema."""

CLASSES = "two discrete Gaussians over exact integers, sums about a centre from the first"
MACHINE = "one discrete Gaussian over exact integers, machine statistics without labels"
GRADIENTS = "discrete Gaussians over exact integers, a sum of clipped gradients each step"
"""How charges name the mechanism: these words and no others. The second's have no labels."""

RECORD = "record"  # The unit that a charge must name where each record counts by itself

_BITS = range(4, 33)
_NUMBER = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_HEX_FLOAT = re.compile(r"0x1(\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Arguments of a joint release's arithmetic, from a charge or from a file's schema.

    Attributes:
        blocks: Counts, sums and moments: name, number of entries, weight.
        labels: Number of labels.
        bits: log2 of S.
        dimension: Number of features.
    """

    blocks: tuple[BlockShare, ...]
    labels: int
    bits: int
    dimension: int


def sensitivity_squared(layout: Layout) -> int:
    """Squared add-or-remove sensitivity of a joint release or a training, squared grid units.

    Raises:
        VerificationError: The blocks are neither, of this dimension and these labels.
    """
    names = tuple(block.name for block in layout.blocks)
    if names == ("gradients",):
        return _gradient_sensitivity(layout)
    if names != ("counts", "sums", "moments"):
        raise VerificationError(f"blocks {names}, expected counts, sums and moments")
    _check_grid(layout.bits, layout.dimension)
    counts, sums, moments = layout.blocks
    for block, length in (
        (counts, layout.labels + 1),
        (sums, layout.labels * layout.dimension),
        (moments, layout.dimension),
    ):
        if block.length != length:
            raise VerificationError(
                f"block {block.name} has {block.length} entries, expected {length} for "
                f"{layout.labels} labels and dimension {layout.dimension}"
            )
    if not (counts.weight and moments.weight) or bool(sums.weight) != bool(sums.length):
        raise VerificationError(
            f"blocks {', '.join(f'{b.name} {b.length} x {b.weight}' for b in layout.blocks)} are "
            f"no release of {layout.labels} labels and dimension {layout.dimension}"
        )
    linear = (sums.weight**2 + moments.weight**2) << 2 * layout.bits
    return counts.weight**2 + linear


def steps(layout: Layout) -> int:
    """Number of noisy sums of a training.

    Raises:
        VerificationError: The block is not of whole steps of this dimension and these labels.
    """
    block, per_step = layout.blocks[0], layout.labels * (layout.dimension + 1)
    if not (per_step and block.length and block.weight) or block.length % per_step:
        raise VerificationError(
            f"block gradients {block.length} x {block.weight} is no number of steps of"
            f" {layout.labels} labels and dimension {layout.dimension}"
        )
    return block.length // per_step


def _gradient_sensitivity(layout: Layout) -> int:
    _check_grid(layout.bits, layout.dimension)
    return steps(layout) * layout.blocks[0].weight ** 2 << 2 * layout.bits


def check_charge(charge: Charge) -> None:
    """Hold a charge against its own blocks: sensitivity, sigma, mu^2 and rho, exactly.

    Raises:
        VerificationError: It states less, or other, than its blocks imply; names the entry.
    """
    try:
        if charge.guarantee.adjacency != "add-remove":
            raise VerificationError(
                f"neighbouring relation {charge.guarantee.adjacency!r}, expected add-remove"
            )
        if charge.guarantee.records_per_unit == RULES["record"] and (
            charge.guarantee.unit != RECORD
        ):
            raise VerificationError(
                f"promises something to each {charge.guarantee.unit[:80]!r}, but each record "
                "counts by itself"
            )
        _check_price(charge)
    except VerificationError as error:
        raise VerificationError(f"entry {charge.head.seq}: {error}") from error


def layout_of(charge: Charge) -> Layout:
    """The layout that a charge states for a joint release.

    Raises:
        VerificationError: How it says a unit's records count is unknown.
    """
    mechanism, guarantee = charge.mechanism, charge.guarantee
    if guarantee.records_per_unit not in RULES.values():
        raise VerificationError(
            f"records of a unit count as {guarantee.records_per_unit[:80]!r}, which is unknown to"
            " this auditor"
        )
    return Layout(
        blocks=mechanism.blocks,
        labels=len(guarantee.labels),
        bits=mechanism.bits,
        dimension=mechanism.dimension,
    )


def number(text: str, subject: str) -> float:
    """A decimal number, not negative, or ``VerificationError``."""
    if not _NUMBER.fullmatch(text):
        raise VerificationError(f"{subject} is {text[:80]!r}, expected a decimal number")
    return float(text)


def sigma(text: str) -> float:
    """A standard deviation, as ``float.hex`` or decimal.

    Raises:
        VerificationError: It is none, or zero.
    """
    value = float.fromhex(text) if _HEX_FLOAT.fullmatch(text) else number(text, "sigma")
    if not 0 < value < float("inf"):
        raise VerificationError(f"sigma is {text!r}, expected a positive number")
    return value


def mu_squared_units(sensitivity_squared: int, noise: float, *, fraction_bits: int = 40) -> int:
    """``ceil(2^40 sensitivity^2 / sigma^2)``, exact."""
    top, bottom = noise.as_integer_ratio()
    return -(-(sensitivity_squared * bottom**2 << fraction_bits) // top**2)


def _check_price(charge: Charge) -> None:
    mechanism = charge.mechanism
    if mechanism.name not in (CLASSES, MACHINE, GRADIENTS) or mechanism.subsampling != "none":
        raise VerificationError(
            f"mechanism {mechanism.name[:80]!r} with subsampling {mechanism.subsampling[:80]!r} is "
            "unknown to this auditor"
        )
    if mechanism.name == MACHINE and charge.guarantee.labels:
        raise VerificationError("is for machine statistics, which have no labels, and names some")
    has_gradients = [block.name for block in mechanism.blocks] == ["gradients"]
    if has_gradients != (mechanism.name == GRADIENTS):
        raise VerificationError("its mechanism and its blocks are not of one kind")
    implied_square, statement = (
        sensitivity_squared(layout_of(charge)),
        mechanism.sensitivity_squared,
    )
    if statement != str(implied_square):
        raise VerificationError(
            f"states a squared sensitivity of {statement[:80]}, its blocks imply {implied_square}"
        )
    units = mu_squared_units(int(statement), sigma(mechanism.sigma))
    if charge.event.mu_squared != str(units):
        raise VerificationError(
            f"charges mu^2 = {charge.event.mu_squared} units of 2^-40, sigma {mechanism.sigma} "
            f"costs {units}"
        )
    # Not from the rounded units, of which a small release has few.
    exact = float(Fraction(int(statement)) / Fraction(sigma(mechanism.sigma)) ** 2) / 2
    if not abs(number(mechanism.rho, "rho") - exact) <= exact * 1e-9:
        raise VerificationError(f"rho is {mechanism.rho}, expected {exact:.9g}")


def _check_grid(bits: int, dimension: int) -> None:
    if bits not in _BITS:
        raise VerificationError(f"bits is {bits}, expected {_BITS.start} to {_BITS.stop - 1}")
    if dimension < 1:
        raise VerificationError(f"dimension is {dimension}, expected at least 1")
