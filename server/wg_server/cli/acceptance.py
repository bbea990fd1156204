"""``wg-server accept``: a generator is used although its model card fails; written down once."""

import click

from wg_common import cli
from wg_server.cli.options import home_option, this_user
from wg_server.generator.evaluation import gate
from wg_server.site.home import ServerHome
from wg_server.store.operators import recorded
from wg_server.store.sites import Store


@click.command()
@home_option
@click.argument("generator_id", metavar="ID")
@cli.json_option
def accept(home: ServerHome, generator_id: str, as_json: bool) -> None:
    """Use the generator of this ID although its model card fails.

    ID is at least sixteen digits; 'wg-server train' prints it. It is kept in server.yaml, for
    serve, campaign and generate. Another training makes another generator, which is not accepted.
    """
    gate.check_acceptance(generator_id)
    with Store.open(home) as store, recorded(store, this_user(), "accept", generator_id):
        found, path = gate.accept(home, generator_id)
    cli.answer(
        as_json,
        {"generator": found, "file": str(path), "config": str(home.config_file)},
        f"generator {found[:16]}: accepted, whatever its model card says; {home.config_file}",
        f"next: wg-server serve --home {home.root}",
    )
