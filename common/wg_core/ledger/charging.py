"""Construction of charge requests, which state what a release costs and what it protects."""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

from wg_core import __version__, installed_code, text_grammars
from wg_core.errors import ConfigError
from wg_core.ledger import charge_parts
from wg_core.privacy import events
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import CLASS_STATISTICS, GRADIENTS, MACHINE_STATISTICS, ReleaseKind
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_core.privacy.gradients import GradientSchema
    from wg_core.privacy.schema import StatisticsSchema

    Schema = StatisticsSchema | GradientSchema

SOFTWARE_VERSION = f"weightgate {__version__}"
_LIBRARY_NAMES = ("opendp", "dp-accounting", "numpy")
RECORD_UNIT = "record"  # Privacy unit of a release in which each record is its own unit
_PUBLIC_INPUT_BY_KIND: dict[ReleaseKind, str] = {  # Declared by the plant, so not protected
    CLASS_STATISTICS: "label domain",
    MACHINE_STATISTICS: "data sheet",
    GRADIENTS: "label domain",
}
_UNPROTECTED_FACTS = (
    "clip radius",
    "encoder",
    "feature projection",
    "that, when and how often the site releases",
)
_NOISE_SOURCE = (
    "OpenDP's cryptographic generator, in user space (AES CTR-DRBG), seeded by the operating system"
)
_UNIT_RULE_TEXTS = {
    "record": "each record is a unit",
    "weight": "the m records of a unit weigh 1/m each",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """Request to charge one release to a budget.

    Attributes:
        dataset: Registered name of the data set.
        event: Privacy cost that is added to the budget.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
        mechanism: Noise mechanism, with every number that determines the cost.
        implementation: Program that makes the release.
        use: Purpose and recipient of the release.
    """

    request_id: text_grammars.Identifier
    dataset: text_grammars.Name
    event: PrivacyEvent
    epsilon: text_grammars.Number
    delta: text_grammars.Number
    guarantee: charge_parts.Guarantee
    mechanism: charge_parts.Mechanism
    implementation: charge_parts.Implementation
    use: charge_parts.Use

    def __post_init__(self) -> None:
        charge_parts.parse_epsilon_and_delta(self.epsilon, self.delta)
        text_grammars.check_text_fields(self)

    def fingerprint(self, commitment: str) -> str:
        """Return a hash of commitment, cost, mechanism and guarantee, hex; equal releases share it.

        ``commitment`` is the keyed commitment to the data (``commitment.commit_to_data``), hex.
        """
        fields = {
            "commitment": commitment,
            "delta": self.delta,
            "epsilon": self.epsilon,
            "event": canonical.to_builtins(self.event),
            "guarantee": canonical.to_builtins(self.guarantee),
            "mechanism": canonical.to_builtins(self.mechanism),
        }
        return canonical.sha256_hex(canonical.encode(fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms:
    """Terms on which one release is charged: data set, privacy cost, purpose and recipient.

    Attributes:
        dataset: Registered name of the data set.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
        privacy_unit: Privacy unit in the site's words (such as part, batch or shift); ``record`` if
            and only if each record is its own unit.
    """

    request_id: str
    dataset: str
    epsilon: str
    delta: str
    purpose: str
    recipient: str
    privacy_unit: str = RECORD_UNIT


def make_charge_request(schema: Schema, sigma: float, terms: ReleaseTerms) -> ChargeRequest:
    """Return the charge request for a release of statistics, or of gradients that train a head.

    Args:
        sigma: Standard deviation of the noise in grid units, from ``mechanism.noise_scale``.

    Raises:
        ConfigError: The schema's unit rule does not protect the privacy unit in ``terms``.
    """
    guarantee = charge_parts.Guarantee(
        unit=checked_privacy_unit(schema.unit_rule, terms.privacy_unit),
        adjacency="add-remove",
        variant="(epsilon, delta)-DP by Gaussian DP",
        records_per_unit=describe_records_per_unit(schema),
        unprotected=(_PUBLIC_INPUT_BY_KIND[schema.release_kind], *_UNPROTECTED_FACTS),
        labels=schema.labels,
    )
    return ChargeRequest(
        request_id=terms.request_id,
        dataset=terms.dataset,
        event=events.gaussian_event(schema.sensitivity_squared(), sigma),
        epsilon=terms.epsilon,
        delta=terms.delta,
        guarantee=guarantee,
        mechanism=_mechanism_statement(schema, sigma),
        implementation=installed_implementation(),
        use=charge_parts.Use(
            purpose=terms.purpose,
            recipient=terms.recipient,
            post_processing="any; costs nothing (post-processing)",
        ),
    )


def _mechanism_statement(schema: Schema, sigma: float) -> charge_parts.Mechanism:
    """Return the description of a release's noise mechanism that its charge states."""
    sensitivity = schema.sensitivity_squared()
    return charge_parts.Mechanism(
        name=charge_parts.MECHANISM_NAMES[schema.release_kind],
        encoder=schema.encoder,
        blocks=block_shares(schema),
        bits=schema.bits,
        clip_radius=schema.clip_radius,
        dimension=schema.dimension,
        sensitivity_squared=str(sensitivity),
        sigma=sigma.hex(),
        rho=zcdp_rho(Fraction(sensitivity), sigma),
        accountant=f"dp-accounting {_library_version('dp-accounting')} PLD, add or remove one",
        subsampling="none",
    )


def block_shares(schema: Schema) -> tuple[charge_parts.BlockShare, ...]:
    """Return name, size and weight of each block of a release, as its charge states them."""
    return tuple(charge_parts.BlockShare(x.name, x.size, x.weight) for x in schema.blocks)


def describe_records_per_unit(schema: Schema) -> str:
    """Return the words in which a charge states how several records of one unit count."""
    return _UNIT_RULE_TEXTS[schema.unit_rule]


def checked_privacy_unit(unit_rule: str, privacy_unit: str) -> str:
    """Return the privacy unit for a charge, after checking that the unit rule protects it.

    Args:
        unit_rule: Unit rule: ``record`` (each record counts alone) or ``weight`` (1/m each).
        privacy_unit: Site's word for the unit; ``record`` if each record is its own unit.

    Raises:
        ConfigError: The rule protects another unit. A charge that states "part" while each record
            counts alone would understate the privacy loss of a part with several records.
    """
    if unit_rule == RECORD_UNIT and privacy_unit != RECORD_UNIT:
        raise ConfigError(
            f"charge: the unit is {privacy_unit!r}, but the rule protects single records"
        )
    if unit_rule != RECORD_UNIT and privacy_unit in ("", RECORD_UNIT):
        raise ConfigError(
            f"charge: rule {unit_rule!r} protects units of several records; name the unit"
        )
    return privacy_unit


@functools.cache
def installed_implementation() -> charge_parts.Implementation:
    """Return the installed program's version, code hash and safeguards, as a charge states them."""
    return charge_parts.Implementation(
        software=SOFTWARE_VERSION,
        code_sha256=installed_code.installed_code_digest().sha256,
        libraries=tuple(
            charge_parts.Library(name, _library_version(name)) for name in _LIBRARY_NAMES
        ),
        randomness=_NOISE_SOURCE,
        floating_point="exact integer statistics and an exact discrete sampler",
        timing="answers in fixed time slots",
    )


def zcdp_rho(sensitivity_squared: Fraction, sigma: float) -> str:
    """Return rho of zero-concentrated DP, ``sensitivity^2 / (2 sigma^2)``, as a decimal string."""
    exact = sensitivity_squared / (2 * Fraction(sigma) ** 2)
    with localcontext() as context:
        context.prec = 20
        return format(Decimal(exact.numerator) / Decimal(exact.denominator), "f")


def _library_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
