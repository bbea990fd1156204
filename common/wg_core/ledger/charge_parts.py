"""Parts of a charge entry: guarantee, mechanism, implementation, use, and state of the budget.

The fields follow the OpenDP Deployments Registry schema and the layers of NIST SP 800-226. None
depends on private data. The meaning of a field never changes (``entries``).
"""

from dataclasses import dataclass

from wg_core import number_parsers, text_grammars
from wg_core.errors import DecodeError
from wg_core.privacy.schema import CLASS_STATISTICS, GRADIENTS, MACHINE_STATISTICS, ReleaseKind
from wg_core.wire.canonical import Count

MECHANISM_NAMES: dict[ReleaseKind, str] = {
    CLASS_STATISTICS: "two discrete Gaussians over exact integers, sums about a centre from the"
    " first",
    MACHINE_STATISTICS: "one discrete Gaussian over exact integers, machine statistics without"
    " labels",
    GRADIENTS: "discrete Gaussians over exact integers, a sum of clipped gradients each step",
}
"""Name of the mechanism that a charge states, for each kind of release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee(text_grammars.TextRecord):
    """Privacy guarantee of a release, with its neighbouring relation.

    Attributes:
        unit: Privacy unit that may be added or removed.
        adjacency: Neighbouring relation: ``add-remove`` or ``replace-one``.
        variant: Variant of differential privacy, in words.
        records_per_unit: Rule for units with several records, in words.
        unprotected: Quantities that are treated as public, in words.
        labels: Public label domain.
    """

    unit: text_grammars.Name
    adjacency: text_grammars.Phrase
    variant: text_grammars.Phrase
    records_per_unit: text_grammars.Phrase
    unprotected: tuple[text_grammars.Phrase, ...]
    labels: tuple[text_grammars.Name, ...]


@dataclass(frozen=True, slots=True)
class BlockShare(text_grammars.TextRecord):
    """Block of a released vector, such as its counts: name, number of integers, integer weight."""

    name: text_grammars.Identifier
    length: Count
    weight: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """Noise mechanism of a release, with every number that determines its privacy cost.

    Attributes:
        name: Name of the mechanism, one of ``MECHANISM_NAMES``.
        encoder: SHA-256 of the public feature encoder, hex; empty: no encoder.
        blocks: Blocks of the released vector, with their weights.
        bits: Resolution of the grid: ``2^bits`` steps per clip radius.
        clip_radius: Clip radius R, decimal string.
        dimension: Number of features.
        sensitivity_squared: Squared L2 sensitivity in squared grid units, integer or fraction.
        sigma: Standard deviation of the noise in grid units, ``float.hex`` or decimal string.
        rho: Zero-concentrated DP parameter ``mu^2 / 2``, decimal string.
        accountant: Accountant and version used for the conversion to (epsilon, delta).
        subsampling: Subsampling of records: ``none``, or the sampler.
    """

    name: text_grammars.Phrase
    encoder: text_grammars.OptionalDigest
    blocks: tuple[BlockShare, ...]
    bits: Count
    clip_radius: text_grammars.Number
    dimension: Count
    sensitivity_squared: text_grammars.Number
    sigma: text_grammars.Number
    rho: text_grammars.Number
    accountant: text_grammars.Phrase
    subsampling: text_grammars.Phrase

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        number_parsers.parse_decimal(self.clip_radius, input_name="mechanism: clip radius")
        subject = "mechanism: squared sensitivity"
        number_parsers.parse_fraction(self.sensitivity_squared, input_name=subject)
        number_parsers.parse_decimal_or_hex_float(self.sigma, input_name="mechanism: sigma")
        number_parsers.parse_decimal(self.rho, input_name="mechanism: rho")

    @property
    def release_kind(self) -> ReleaseKind:
        """Kind of release, from the mechanism's name; class statistics if the name is unknown."""
        return next(
            (kind for kind, name in MECHANISM_NAMES.items() if name == self.name), CLASS_STATISTICS
        )


@dataclass(frozen=True, slots=True)
class Library(text_grammars.TextRecord):
    """Library that a release's guarantee depends on, and its version."""

    name: text_grammars.Identifier
    version: text_grammars.LibraryVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation(text_grammars.TextRecord):
    """Program that makes a release, as its charge states it.

    Attributes:
        software: Program and version.
        code_sha256: SHA-256 over the installed code, hex, as printed by ``wg-audit digest``.
        libraries: Libraries that the guarantee depends on.
        randomness: Source of randomness of the noise.
        floating_point: Safeguard against floating-point attacks.
        timing: Safeguard against timing attacks.
    """

    software: text_grammars.Software
    code_sha256: text_grammars.OptionalDigest
    libraries: tuple[Library, ...]
    randomness: text_grammars.Phrase
    floating_point: text_grammars.Phrase
    timing: text_grammars.Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(text_grammars.TextRecord):
    """Use of a release: purpose, recipient and post-processing."""

    purpose: text_grammars.Sentence
    recipient: text_grammars.Name
    post_processing: text_grammars.Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """State of a lineage's budget before and after a charge.

    Attributes:
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Delta of the cap and of the composed epsilons below, decimal string.
        refresh_rule: Rule by which the budget is renewed: always ``never``.
        charges_before: Number of earlier charges.
        mu_squared_before: Sum of mu^2 of earlier charges, units of 2^-40, integer string.
        mu_squared_after: Sum of mu^2 with this charge, units of 2^-40, integer string.
        epsilon_before: Composed epsilon of earlier charges, decimal string, rounded up.
        epsilon_after: Composed epsilon with this charge, decimal string, rounded up.
        anchored_size: Log size of the newest cosigned checkpoint; 0 if there is none.
        anchored_root: Root of that checkpoint, hex; empty if there is none.
    """

    cap_epsilon: text_grammars.Number
    cap_delta: text_grammars.Number
    refresh_rule: text_grammars.Identifier
    charges_before: Count
    mu_squared_before: text_grammars.Number
    mu_squared_after: text_grammars.Number
    epsilon_before: text_grammars.Number
    epsilon_after: text_grammars.Number
    anchored_size: Count
    anchored_root: text_grammars.OptionalDigest

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        parse_epsilon_and_delta(self.cap_epsilon, self.cap_delta)
        for name in ("mu_squared_before", "mu_squared_after"):
            number_parsers.parse_integer(getattr(self, name), input_name=f"budget state: {name}")
        for name in ("epsilon_before", "epsilon_after"):
            number_parsers.parse_decimal(getattr(self, name), input_name=f"budget state: {name}")


def parse_epsilon_and_delta(epsilon: str, delta: str) -> tuple[float, float]:
    """Return the epsilon and delta of a cap or a release as numbers, after checking their ranges.

    Raises:
        DecodeError: The texts are not decimals, or violate ``0 < epsilon``, ``0 < delta < 1``.
    """
    cap_epsilon = number_parsers.parse_decimal(epsilon, input_name="budget cap: epsilon")
    cap_delta = number_parsers.parse_decimal(delta, input_name="budget cap: delta")
    if not (cap_epsilon > 0 and 0 < cap_delta < 1):
        raise DecodeError(f"budget cap: epsilon {epsilon}, delta {delta} out of range")
    return cap_epsilon, cap_delta
