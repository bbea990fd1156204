"""Location of a home's ledger: the home itself, or another home of the same plant.

A plant that joins two servers, for example one for images and one for sensor windows, has two
homes. If both data sets are about the same parts, they share one budget: instead of a ledger the
second home holds ``budget-of.json``, which names the home whose ledger, ledger key and site secret
it uses, and records the ledger's origin and key as the second home's server knows them.
"""

from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical

LEDGER_FILE = "ledger.sqlite"
SHARED_BUDGET_FILE = "budget-of.json"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBudget:
    """Reference from a home to another home's ledger, whose budget pays for both homes' releases.

    Attributes:
        home: Absolute path of the home that holds the ledger.
        origin: Origin of the ledger, as this home's server knows it.
        ledger_key: Public key of the ledger, hex, as this home's server knows it.
    """

    version: int = VERSION
    home: str
    origin: str
    ledger_key: str

    def __post_init__(self) -> None:
        if not Path(self.home).is_absolute():
            raise DecodeError(
                f"{SHARED_BUDGET_FILE}: home {self.home!r}, expected an absolute path"
            )


def read_shared_budget(home: Path) -> SharedBudget | None:
    """Return a home's reference to another home's ledger; None if it has its own ledger.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The file is damaged.
    """
    path = home / SHARED_BUDGET_FILE
    return canonical.read_record(SharedBudget, path) if path.exists() else None


def write_shared_budget(home: Path, budget: SharedBudget) -> None:
    """Write a home's reference to another home's ledger, whose budget it then uses."""
    atomic.write_private_bytes(home / SHARED_BUDGET_FILE, canonical.encode(budget))


def ledger_home(home: Path) -> Path:
    """Return the home that holds a home's ledger: itself, or the one that it refers to.

    Raises:
        ConfigError: ``budget-of.json`` names a home that does not exist or has no ledger itself.
        DecodeError: ``budget-of.json`` is damaged.
    """
    budget = read_shared_budget(home)
    if budget is None:
        return home
    owner = Path(budget.home)
    if not owner.is_dir():
        raise ConfigError(
            f"{home / SHARED_BUDGET_FILE}: the ledger is in {owner}, which is not there; put that"
            " home back, or write its new place into this file"
        )
    if (owner / SHARED_BUDGET_FILE).exists():
        raise ConfigError(f"{home / SHARED_BUDGET_FILE}: {owner} has no ledger of its own either")
    return owner


def ledger_file(home: Path) -> Path:
    """Return the path of a home's ledger, in this home or in the one that it refers to."""
    return ledger_home(home) / LEDGER_FILE
