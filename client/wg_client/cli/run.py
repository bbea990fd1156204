"""``wg-client run``: the node."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click

from wg_client.cli.options import home_option
from wg_client.site.home import ClientHome
from wg_common import cli, logs


@click.command()
@home_option
@click.option("--once", is_flag=True, help="End after one weights package was applied.")
@cli.log_option
def run(root: Path, once: bool, log_format: str) -> None:
    """Connect to the server and answer it, within the policy, until stopped."""
    from wg_client.data import plant as plants
    from wg_client.fleet.interface import Handlers
    from wg_client.fleet.node import run_node
    from wg_client.release.query import answer_query
    from wg_client.selection.apply import apply_package
    from wg_client.site import config as configuration
    from wg_client.site import encoder_pin
    from wg_common.ledger import charging

    charging.code_digest()  # of the code as it is now, not of an upgrade while this runs
    home = ClientHome(root)
    config = configuration.load(home)
    plants.ready_snapshot(home)
    logs.use(log_format, hidden=(config.data.path,))
    if reminder := encoder_pin.reminder(home, config):
        logging.getLogger(__name__).warning("%s", reminder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    handlers = Handlers(answer_query=answer_query, apply_package=apply_package)
    run_node(home, handlers, once=once, stop=stop)


COMMANDS = (run,)
