"""Requests to charge a budget, and how one is made from a statistics schema."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from importlib import resources
from typing import TYPE_CHECKING

from wg_common import __version__, canonical
from wg_common.errors import ConfigError
from wg_common.ledger.entries import (
    Assurance,
    BlockShare,
    Guarantee,
    Implementation,
    Library,
    Mechanism,
    Use,
    check_cap,
)
from wg_common.privacy import events
from wg_common.privacy.events import PrivacyEvent

if TYPE_CHECKING:
    from wg_common.privacy.schema import StatisticsSchema

SOFTWARE = f"weightgate {__version__}"
_LIBRARIES = ("opendp", "dp-accounting", "numpy")
_TEXT_LIMIT = 4096
_RULES = {
    "record": "each record is a unit",
    "weight": "the m records of a unit weigh 1/m each",
    "cap": "at most {cap} records of a unit count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """What is to be charged, for one release. Fields as in ``entries.Charge``."""

    request_id: str
    dataset: str
    event: PrivacyEvent
    epsilon: str
    delta: str
    guarantee: Guarantee
    mechanism: Mechanism
    implementation: Implementation
    use: Use
    assurance: Assurance = field(default_factory=Assurance)

    def __post_init__(self) -> None:
        check_cap(self.epsilon, self.delta)
        for name, text in (("request id", self.request_id), ("data set", self.dataset)):
            if not 0 < len(text) <= _TEXT_LIMIT:
                raise ConfigError(f"charge: {name} is empty or longer than {_TEXT_LIMIT}")

    def fingerprint(self, commitment: str) -> str:
        """SHA-256 of what is released under which guarantee: data, mechanism, event."""
        return canonical.sha256_hex(
            canonical.encode(
                {
                    "commitment": commitment,
                    "delta": self.delta,
                    "epsilon": self.epsilon,
                    "event": canonical.to_builtins(self.event),
                    "guarantee": canonical.to_builtins(self.guarantee),
                    "mechanism": canonical.to_builtins(self.mechanism),
                }
            )
        )


def statistics_request(
    schema: StatisticsSchema,
    sigma: float,
    *,
    request_id: str,
    dataset: str,
    epsilon: str,
    delta: str,
    purpose: str,
    recipient: str,
    unit: str = "record",
    assurance: Assurance | None = None,
) -> ChargeRequest:
    """The request for one joint release of statistics.

    Args:
        schema: What is released.
        sigma: Standard deviation of its noise in grid units, from ``mechanism.sigma_for``.
        request_id: Logical request.
        dataset: Registered name of the data set.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Its delta, decimal string.
        purpose: What the release is for.
        recipient: Who gets it.
        unit: What a privacy unit is, in the site's words: record, part, batch, shift.
        assurance: The last audit run, if any.
    """
    sensitivity = math.ceil(schema.sensitivity_squared("add-remove"))
    event = events.gaussian_event(sensitivity, sigma)
    mechanism = Mechanism(
        name="joint discrete Gaussian over exact integers",
        encoder=schema.encoder,
        blocks=tuple(BlockShare(block.name, block.size, block.weight) for block in schema.blocks),
        bits=schema.bits,
        clip_radius=schema.clip_radius,
        dimension=schema.dimension,
        sensitivity_squared=str(sensitivity),
        sigma=sigma.hex(),
        rho=rho(Fraction(sensitivity), sigma),
        accountant=f"dp-accounting {_version('dp-accounting')} PLD, add or remove one",
        subsampling="none",
    )
    guarantee = Guarantee(
        unit=unit,
        adjacency="add-remove",
        variant="(epsilon, delta)-DP by Gaussian DP",
        records_per_unit=_RULES[schema.unit_rule].format(cap=schema.unit_cap),
        unprotected=("label domain", "clip radius", "encoder", "feature projection"),
        labels=schema.labels,
    )
    return ChargeRequest(
        request_id=request_id,
        dataset=dataset,
        event=event,
        epsilon=epsilon,
        delta=delta,
        guarantee=guarantee,
        mechanism=mechanism,
        implementation=installed(),
        use=Use(
            purpose=purpose,
            recipient=recipient,
            post_processing="any; costs nothing (post-processing)",
        ),
        assurance=assurance or Assurance(),
    )


def rho(sensitivity_squared: Fraction, sigma: float) -> str:
    """Zero-concentrated DP parameter ``sensitivity^2 / (2 sigma^2)``, 20 digits."""
    exact = sensitivity_squared / (2 * Fraction(sigma) ** 2)
    with localcontext() as context:
        context.prec = 20
        return format(Decimal(exact.numerator) / Decimal(exact.denominator), "f")


@functools.cache
def installed() -> Implementation:
    """The program that is installed here, and what it rests on."""
    return Implementation(
        software=SOFTWARE,
        code_sha256=code_digest(),
        libraries=tuple(Library(name, _version(name)) for name in _LIBRARIES),
        randomness="operating system, through OpenDP",
        floating_point="exact integer statistics and an exact discrete sampler",
        timing="answers in fixed time slots",
    )


@functools.cache
def code_digest() -> str:
    """SHA-256 over the installed code of the privacy core: each file's name, length and bytes."""
    digest = hashlib.sha256()
    folder = resources.files("wg_common.privacy")
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name.endswith(".py"):
            data = item.read_bytes()
            digest.update(f"{item.name}\n{len(data)}\n".encode())
            digest.update(data)
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
