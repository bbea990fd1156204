"""The quality gate: a generator is used only if its own model card passes its checks.

The operator may overrule that for one generator, by its id: ``wg-server accept ID``, which writes
``accept_generator`` in ``server.yaml``, or ``--accept-generator ID`` for one command. A card names
the hash of the package that it is about, so that the card of a better generator does not admit a
worse one. It does not protect from an operator who edits both: the card is theirs.
Needs neither torch nor the package's content.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from wg_common import atomic, catalogue
from wg_common.errors import ConfigError, DecodeError, PolicyRefused, VerificationError
from wg_common.wire import canonical
from wg_server.generator.evaluation.checks import read_checks
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)

CARD_LIMIT = 4 << 20
PACKAGE_LIMIT = 2 << 30
ID_LENGTH = 16  # Shortest prefix of a generator's id that names it


def check_acceptance(name: str) -> None:
    """Check what the operator wrote as a generator's id.

    Raises:
        ConfigError: One of the ids is not 16 to 64 hexadecimal digits.
    """
    for one in accepted_ids(name):
        if not (ID_LENGTH <= len(one) <= 64 and set(one) <= set("0123456789abcdef")):
            raise ConfigError(
                f"accept_generator: {one!r}, expected {ID_LENGTH} to 64 hexadecimal digits of a"
                " generator's id"
            )


def accepted_ids(name: str) -> list[str]:
    """The ids in ``accept_generator``: one, or several with spaces or commas between them."""
    return name.replace(",", " ").split()


def accept(home: ServerHome, generator_id: str) -> tuple[str, Path]:
    """Write down in ``server.yaml`` that a generator is used whatever its card says.

    Returns:
        The whole id, and the file of the generator.

    Raises:
        ConfigError: It is not this home's.
    """
    config = home.config()
    check_acceptance(generator_id)
    there = present(home)
    found = [identity for identity in there if identity.startswith(generator_id)]
    if len(found) != 1:
        has = ", ".join(identity[:ID_LENGTH] for identity in there) or "none"
        raise ConfigError(
            f"generator {generator_id}: not this home's; {home.generator.parent} has {has}"
        )
    kept = [one for one in accepted_ids(config.accept_generator) if one != found[0]]
    still = [one for one in kept if any(identity.startswith(one) for identity in there)]
    home.write_config(replace(config, accept_generator=" ".join([*still, found[0]])))
    return found[0], there[found[0]]


def present(home: ServerHome) -> dict[str, Path]:
    """Files of the home's generators, by id."""
    return {
        canonical.sha256_hex(atomic.read_bytes(path, limit=PACKAGE_LIMIT)): path
        for path in (home.generator, home.networks)
        if path.is_file()
    }


def check(home: ServerHome, *, accept: str = "", architecture: str = "") -> str:
    """Check the home's generator against its model card.

    Args:
        accept: Id of a generator that the operator accepts whatever its card says; wins over
            ``accept_generator`` in ``server.yaml``.
        architecture: That it is to make; empty for what ``server.yaml`` says, or else a head.

    Returns:
        The generator's id.

    Raises:
        ConfigError: There is no generator, or no such architecture.
        PolicyRefused: It has no card, or its card does not pass, and it is not accepted by name.
        VerificationError: The card is another generator's.
    """
    name = accept or home.config().accept_generator
    check_acceptance(name)
    wanted = architecture or home.config().architecture
    whole = bool(wanted) and catalogue.known(wanted).whole
    path = home.networks if whole else home.generator
    card_path = home.networks_card if whole else home.model_card
    if not path.is_file():
        raise ConfigError(_missing(home, path, wanted, whole))
    identity = canonical.sha256_hex(atomic.read_bytes(path, limit=PACKAGE_LIMIT))
    if any(identity.startswith(one) for one in accepted_ids(name)):
        log.warning("generator %s: accepted by the operator, whatever its model card says", name)
        return identity
    card = _card(home, card_path, identity)
    if card.get("generator") != identity:
        raise VerificationError(
            f"{card_path}: of generator {str(card.get('generator'))[:16]}, the package is"
            f" {identity[:16]}"
        )
    failed = [str(check) for check in read_checks(card) if not check.passed]
    if failed:
        raise PolicyRefused(_refusal(home, identity, f"its model card fails: {'; '.join(failed)}"))
    return identity


def _missing(home: ServerHome, path: Path, architecture: str, whole: bool) -> str:
    """Why there is no generator, and what makes one."""
    if whole and home.generator.is_file():
        return (
            f"{path}: this home's generator makes heads alone, and {architecture} is a whole"
            " network: its zoo has none to learn from; build the zoo with the plan 'default', and"
            " train again"
        )
    return f"{path}: no trained generator yet; run 'wg-server train --home {home.root}'"


def _card(home: ServerHome, path: Path, identity: str) -> dict[str, Any]:
    if not path.is_file():
        raise PolicyRefused(_refusal(home, identity, f"there is no {path}"))
    data = atomic.read_bytes(path, limit=CARD_LIMIT)
    try:
        card = json.loads(data)
    except ValueError as error:
        raise DecodeError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict):
        raise DecodeError(f"{path}: {type(card).__name__}, expected an object")
    return card


def _refusal(home: ServerHome, identity: str, why: str) -> str:
    return (
        f"generator {identity[:16]}: {why}. Train on a larger zoo, or accept it by name:"
        f" wg-server accept --home {home.root} {identity[:16]}, or --accept-generator"
        f" {identity[:16]} for one command"
    )
