"""``wg-server accept``: a generator is used although its model card fails; written down once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from wg_common import atomic, cli
from wg_common.errors import ConfigError
from wg_common.wire import canonical
from wg_server.cli.options import home_option
from wg_server.generator.evaluation import gate
from wg_server.site.home import ServerHome


@click.command()
@home_option
@click.argument("generator_id", metavar="ID")
@cli.json_option
def accept(root: Path, generator_id: str, as_json: bool) -> None:
    """Use the generator of this ID although its model card fails.

    ID is at least sixteen digits; 'wg-server train' prints it. It is kept in server.yaml, for
    serve, campaign and generate. Another training makes another generator, which is not accepted.
    """
    home = ServerHome(root)
    config = home.config()
    gate.check_acceptance(generator_id)
    there = {
        canonical.sha256_hex(atomic.read_bytes(path, limit=gate.PACKAGE_LIMIT)): path
        for path in (home.generator, home.networks)
        if path.is_file()
    }
    found = [identity for identity in there if identity.startswith(generator_id)]
    if len(found) != 1:
        has = ", ".join(identity[:16] for identity in there) or "none"
        raise ConfigError(
            f"generator {generator_id}: not this home's; {home.generator.parent} has {has}"
        )
    kept = [one for one in gate.accepted_ids(config.accept_generator) if one != found[0]]
    still = [one for one in kept if any(identity.startswith(one) for identity in there)]
    home.write_config(replace(config, accept_generator=" ".join([*still, found[0]])))
    cli.answer(
        as_json,
        {"generator": found[0], "file": str(there[found[0]]), "config": str(home.config_file)},
        f"generator {found[0][:16]}: accepted, whatever its model card says; {home.config_file}",
        f"next: wg-server serve --home {root}",
    )
