"""Independent derivation of the figures of a charge, from its blocks or from its release file.

The formulas come from the tables in the docstring of ``privacy.schema`` and from docs/privacy
pages. No code of ``privacy.schema``, ``mechanism``, ``calibration`` or ``ledger.charging`` is used,
so that an error there is not repeated here. For a joint release with ``S = 2^bits`` grid units to a
clip radius and weights a, b, c::

    sensitivity^2 = a^2 + (b^2 + c^2) S^2              mu^2 = sensitivity^2 / sigma^2
    rho = mu^2 / 2           delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - ...)

A privately trained head has one block, ``gradients``, of K (d + 1) integers per step and weight w.
One privacy unit changes each step's sum by at most w S, so T steps have
``sensitivity^2 = T w^2 S^2``.

*Not guaranteed:* that the program did what its charge and file say.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from wg_core.errors import VerificationError
from wg_core.ledger.charge_parts import BlockShare
from wg_core.ledger.entries import Charge

UNIT_RULE_TEXTS: dict[str, str] = {
    "record": "each record is a unit",
    "weight": "the m records of a unit weigh 1/m each",
}
"""Text by which a charge states each unit rule of the schema."""

_SIGMA_MINIMUM = 64.0  # Grid units; see docs/privacy-argument.md

CLASS_MECHANISM = "two discrete Gaussians over exact integers, sums about a centre from the first"
MACHINE_MECHANISM = "one discrete Gaussian over exact integers, machine statistics without labels"
GRADIENT_MECHANISM = "discrete Gaussians over exact integers, a sum of clipped gradients each step"
"""Names of mechanisms in charges; charges of ``MACHINE_MECHANISM`` have no labels."""

RECORD_UNIT = "record"  # Unit that a charge must name under the unit rule ``record``

_GRID_BITS = range(4, 33)
_DECIMAL_PATTERN = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_HEX_FLOAT_PATTERN = re.compile(r"0x1(\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLayout:
    """Numbers of a release that determine its sensitivity, from a charge or a file's schema.

    Attributes:
        blocks: Name, number of entries and weight of each block: either counts, sums and moments,
            or gradients alone.
        label_count: Number of labels.
        grid_bits: log2 of S, the number of grid units in the clip radius.
        dimension: Number of features.
    """

    blocks: tuple[BlockShare, ...]
    label_count: int
    grid_bits: int
    dimension: int


def sensitivity_squared(layout: ReleaseLayout) -> int:
    """Return the squared add-or-remove sensitivity of a release, in squared grid units.

    The release has class statistics, machine statistics, or a privately trained head.

    Raises:
        VerificationError: The lengths or weights of the blocks do not fit the layout's dimension
            and number of labels.
    """
    names = tuple(block.name for block in layout.blocks)
    if names == ("gradients",):
        return _gradient_sensitivity(layout)
    if names != ("counts", "sums", "moments"):
        raise VerificationError(f"blocks {names}, expected counts, sums and moments")
    _check_grid(layout.grid_bits, layout.dimension)
    counts, sums, moments = layout.blocks
    for block, length in (
        (counts, layout.label_count + 1),
        (sums, layout.label_count * layout.dimension),
        (moments, layout.dimension),
    ):
        if block.length != length:
            raise VerificationError(
                f"block {block.name} has {block.length} entries, expected {length} for "
                f"{layout.label_count} labels and dimension {layout.dimension}"
            )
    if not (counts.weight and moments.weight) or bool(sums.weight) != bool(sums.length):
        raise VerificationError(
            f"blocks {', '.join(f'{b.name} {b.length} x {b.weight}' for b in layout.blocks)} are "
            f"no release of {layout.label_count} labels and dimension {layout.dimension}"
        )
    linear = (sums.weight**2 + moments.weight**2) << 2 * layout.grid_bits
    return counts.weight**2 + linear


def training_steps(layout: ReleaseLayout) -> int:
    """Return the number of steps, each with one noisy gradient sum, of a private training.

    Raises:
        VerificationError: The length of block ``gradients`` is not a multiple of one step's length.
    """
    block, per_step = layout.blocks[0], layout.label_count * (layout.dimension + 1)
    if not (per_step and block.length and block.weight) or block.length % per_step:
        raise VerificationError(
            f"block gradients {block.length} x {block.weight} is no number of steps of"
            f" {layout.label_count} labels and dimension {layout.dimension}"
        )
    return block.length // per_step


def _gradient_sensitivity(layout: ReleaseLayout) -> int:
    _check_grid(layout.grid_bits, layout.dimension)
    return training_steps(layout) * layout.blocks[0].weight ** 2 << 2 * layout.grid_bits


def check_charge(charge: Charge) -> None:
    """Check that the sensitivity, mu^2 and rho in a charge follow from its blocks and sigma.

    Neighbouring relation, privacy unit and mechanism must also be known to the auditor.

    Raises:
        VerificationError: One of these values is unknown or wrong; the message names the entry.
    """
    try:
        if charge.guarantee.adjacency != "add-remove":
            raise VerificationError(
                f"neighbouring relation {charge.guarantee.adjacency!r}, expected add-remove"
            )
        if charge.guarantee.records_per_unit == UNIT_RULE_TEXTS["record"] and (
            charge.guarantee.unit != RECORD_UNIT
        ):
            raise VerificationError(
                f"promises something to each {charge.guarantee.unit[:80]!r}, but each record "
                "counts by itself"
            )
        _check_mechanism_cost(charge)
    except VerificationError as error:
        raise VerificationError(f"entry {charge.head.seq}: {error}") from error


def stated_layout(charge: Charge) -> ReleaseLayout:
    """Return blocks, labels, grid bits and dimension as stated in a charge.

    Raises:
        VerificationError: The unit rule is unknown.
    """
    mechanism, guarantee = charge.mechanism, charge.guarantee
    if guarantee.records_per_unit not in UNIT_RULE_TEXTS.values():
        raise VerificationError(
            f"records of a unit count as {guarantee.records_per_unit[:80]!r}, which is unknown to"
            " this auditor"
        )
    return ReleaseLayout(
        blocks=mechanism.blocks,
        label_count=len(guarantee.labels),
        grid_bits=mechanism.bits,
        dimension=mechanism.dimension,
    )


def parse_number(text: str, quantity_name: str) -> float:
    """Parse a nonnegative decimal number; an error on other text names ``quantity_name``."""
    if not _DECIMAL_PATTERN.fullmatch(text):
        raise VerificationError(f"{quantity_name} is {text[:80]!r}, expected a decimal number")
    return float(text)


def parse_sigma(text: str) -> float:
    """Parse a noise standard deviation, a hexadecimal (``float.hex``) or decimal number.

    Raises:
        VerificationError: The text is not a positive number.
    """
    value = (
        float.fromhex(text) if _HEX_FLOAT_PATTERN.fullmatch(text) else parse_number(text, "sigma")
    )
    if not 0 < value < float("inf"):
        raise VerificationError(f"sigma is {text!r}, expected a positive number")
    return value


def rounded_mu_squared(sensitivity_squared: int, sigma: float, *, fraction_bits: int = 40) -> int:
    """Return mu^2 as the exact integer ``ceil(2^fraction_bits sensitivity^2 / sigma^2)``."""
    top, bottom = sigma.as_integer_ratio()
    return -(-(sensitivity_squared * bottom**2 << fraction_bits) // top**2)


def _check_mechanism_cost(charge: Charge) -> None:
    mechanism = charge.mechanism
    if (
        mechanism.name not in (CLASS_MECHANISM, MACHINE_MECHANISM, GRADIENT_MECHANISM)
        or mechanism.subsampling != "none"
    ):
        raise VerificationError(
            f"mechanism {mechanism.name[:80]!r} with subsampling {mechanism.subsampling[:80]!r} is "
            "unknown to this auditor"
        )
    if mechanism.name == MACHINE_MECHANISM and charge.guarantee.labels:
        raise VerificationError("is for machine statistics, which have no labels, and names some")
    has_gradients = [block.name for block in mechanism.blocks] == ["gradients"]
    if has_gradients != (mechanism.name == GRADIENT_MECHANISM):
        raise VerificationError("its mechanism and its blocks are not of one kind")
    if (sigma := parse_sigma(mechanism.sigma)) < _SIGMA_MINIMUM:
        raise VerificationError(
            f"has noise of {sigma:g} grid units; the discrete Gaussian has the Gaussian's epsilon"
            f" from {_SIGMA_MINIMUM:g} on"
        )
    implied_square, statement = (
        sensitivity_squared(stated_layout(charge)),
        mechanism.sensitivity_squared,
    )
    if statement != str(implied_square):
        raise VerificationError(
            f"states a squared sensitivity of {statement[:80]}, its blocks imply {implied_square}"
        )
    units = rounded_mu_squared(int(statement), sigma)
    if charge.event.mu_squared != str(units):
        raise VerificationError(
            f"charges mu^2 = {charge.event.mu_squared} units of 2^-40, sigma {mechanism.sigma} "
            f"costs {units}"
        )
    # The rounded units would be too coarse for a small release.
    exact = float(Fraction(int(statement)) / Fraction(parse_sigma(mechanism.sigma)) ** 2) / 2
    if not abs(parse_number(mechanism.rho, "rho") - exact) <= exact * 1e-9:
        raise VerificationError(f"rho is {mechanism.rho}, expected {exact:.9g}")


def _check_grid(bits: int, dimension: int) -> None:
    if bits not in _GRID_BITS:
        raise VerificationError(
            f"bits is {bits}, expected {_GRID_BITS.start} to {_GRID_BITS.stop - 1}"
        )
    if dimension < 1:
        raise VerificationError(f"dimension is {dimension}, expected at least 1")
