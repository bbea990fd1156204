"""Sharing of one budget by several homes of a plant: one ledger, ledger key and site secret.

A plant that joins two servers has two homes, with the same parts in both data sets. The second home
is created with ``wg-client init --budget-of HOME``: it writes to the first home's ledger, under the
first home's lock, and its data set draws on the same budget. Two servers then see one log, each up
to the size that it was asked to cosign; an auditor can compare what they saw.

*Order of changes.* The ledger's key, and the ledger itself after a compromise, are changed at the
home that holds it. A home that shares it must tell its own server before it releases again; until
then this module refuses every use of the ledger from that home, before anything is charged.
"""

from decimal import Decimal
from pathlib import Path

from wg_core.errors import ConfigError
from wg_core.ledger import shared_budget
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.shared_budget import SharedBudget
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import signing


def join_shared_budget(home: ClientHome, ledger_home_root: Path) -> ClientConfig:
    """Make a new home draw on another home's budget; return the other home's configuration.

    A repeated call changes nothing.

    Raises:
        ConfigError: The other home is not initialised or shares a budget itself, or the new home
            has a budget.
    """
    holder = ClientHome(ledger_home_root.resolve())
    if holder.root == home.root.resolve():
        raise ConfigError(f"{home.root}: a home cannot share its own budget")
    shared_root = shared_budget.read_shared_budget(holder.root)
    if shared_root is not None:
        raise ConfigError(
            f"{holder.root}: draws on the budget of {shared_root.home}; name that home"
        )
    config = configuration.load(holder)
    budget = shared_budget.read_shared_budget(home.root)
    if budget is None and (
        (home.root / shared_budget.LEDGER_FILE).exists() or home.config.exists()
    ):
        raise ConfigError(f"{home.root}: has a ledger of its own; a budget cannot be moved")
    if budget is not None and budget.home != str(holder.root):
        raise ConfigError(f"{home.root}: draws on the budget of {budget.home} already")
    with Ledger.open(holder.ledger, signing.load(holder.ledger_key)) as ledger:
        shared_budget.write_shared_budget(home.root, _shared_budget_record(holder.root, ledger))
    return config


def check_new_dataset(
    ledger_home_config: ClientConfig, *, site: str, dataset_name: str, cap: tuple[str, str]
) -> None:
    """Check, before a join token is spent, that a new data set may use the shared ledger.

    The token is for ``site``; ``dataset_name`` and ``cap`` (epsilon and delta) are the data set's.

    Raises:
        ConfigError: The site is another plant, the name is taken, or the cap differs.
    """
    if site != ledger_home_config.site:
        raise ConfigError(
            f"join token: for site {site!r}, the ledger is that of {ledger_home_config.site!r}: a"
            " plant has one name at all servers; ask the operator for a token of that name"
        )
    if dataset_name == ledger_home_config.data.name:
        raise ConfigError(
            f"data set {dataset_name!r}: is the one of the home with the ledger; choose another"
            " name (--name)"
        )
    cap_there = ledger_home_config.privacy.cap_epsilon, ledger_home_config.privacy.cap_delta
    if tuple(map(Decimal, cap)) != tuple(map(Decimal, cap_there)):
        raise ConfigError(
            f"cap: epsilon {cap[0]} at delta {cap[1]}, the budget that is shared has {cap_there[0]}"
            f" at {cap_there[1]}, and a cap does not change"
        )


def check_second_witness(home: ClientHome, witness_name: str, witness_key: str) -> None:
    """Check that a plant's two servers do not have the same witness name with different keys.

    Raises:
        ConfigError: The server of the home that holds the ledger has this name and another key.
    """
    budget = shared_budget.read_shared_budget(home.root)
    if budget is None:
        return
    owner = configuration.load(ClientHome(Path(budget.home))).server
    if witness_name == owner.witness_name and witness_key != owner.witness_key:
        raise ConfigError(
            f"witness {witness_name!r}: two servers have this name; ask the operator of one to give"
            " it another (server.yaml)"
        )


def check_known_ledger(home: ClientHome, ledger: Ledger) -> None:
    """Check that a shared ledger has the key and origin that this home's server knows.

    Raises:
        ConfigError: The ledger was replaced, or has a new key; the message says what to do.
    """
    budget = shared_budget.read_shared_budget(home.root)
    if budget is None:
        return
    if ledger.origin != budget.origin:
        raise ConfigError(
            f"{ledger.path}: was replaced by {ledger.origin}, which this home's server does not"
            f" know; run 'wg-client init --replace --home {home.root}' with a new join token"
        )
    if ledger.public_key.hex() != budget.ledger_key:
        raise ConfigError(
            f"{ledger.path}: is signed by a new key, which this home's server does not know; run"
            f" 'wg-client keys --home {home.root} --renew ledger' to tell it"
        )


def record_known_ledger(home: ClientHome, ledger: Ledger) -> None:
    """Record the shared ledger's current key and origin as known to this home's server."""
    budget = shared_budget.read_shared_budget(home.root)
    if budget is not None:
        shared_budget.write_shared_budget(
            home.root, _shared_budget_record(Path(budget.home), ledger)
        )


def check_holds_ledger(home: ClientHome, action: str, *, next_command: str) -> None:
    """Check that a home holds its own ledger, before an action that only such a home may do.

    ``action`` and ``next_command`` are words for the error message.

    Raises:
        ConfigError: The home shares another home's ledger.
    """
    budget = shared_budget.read_shared_budget(home.root)
    if budget is not None:
        raise ConfigError(
            f"{home.root}: {action} is done where the ledger is, at {budget.home}; then run"
            f" 'wg-client {next_command} --home {home.root}' here"
        )


def share_budget_with_successor(home: ClientHome, successor: ClientHome) -> bool:
    """Make ``successor``, the home that replaces ``home``, draw on the same shared ledger.

    Returns:
        True if ``home`` shares a ledger; False if it has its own, and nothing was written.
    """
    budget = shared_budget.read_shared_budget(home.root)
    if budget is None:
        return False
    with Ledger.open(home.ledger) as ledger:
        shared_budget.write_shared_budget(
            successor.root, _shared_budget_record(Path(budget.home), ledger)
        )
    return True


def _shared_budget_record(ledger_home: Path, ledger: Ledger) -> SharedBudget:
    return SharedBudget(
        home=str(ledger_home), origin=ledger.origin, ledger_key=ledger.public_key.hex()
    )
