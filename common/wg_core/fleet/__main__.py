"""The node's process, which ``wg-client run`` turns into: it loads the core alone of ours."""

import logging
import signal
import threading
from pathlib import Path

import click

from wg_core import cli, language, logs, translations
from wg_core.fleet import applying
from wg_core.fleet.interface import Handlers
from wg_core.fleet.node import run_node
from wg_core.ledger import charging
from wg_core.release import readiness
from wg_core.release.query import answer_query
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

log = logging.getLogger("wg_core.fleet")


@click.command()
@click.option("--home", required=True, type=click.Path(path_type=Path))
@click.option("--once", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@cli.log_option
def node(home: Path, once: bool, as_json: bool, log_format: str) -> None:
    """Serve the home's server until stopped. ``wg-client run --help`` says more."""
    place = ClientHome(home)
    charging.code_digest()  # of the code as it is now, not of an upgrade while this runs
    config = configuration.load(place)
    readiness.ready_snapshot(place)
    logs.use(log_format, hidden=(config.data.path,))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    latest = applying.Applied()

    def apply(home: ClientHome, path: Path) -> None:
        nonlocal latest
        log.info("a package came: models are compared; minutes, if there are many records")
        latest = applying.apply_package(home, path)
        log.info("report: %s; next: wg-client models show --home %s", home.report, home.root)

    handlers = Handlers(answer_query=answer_query, apply_package=apply)
    run_node(place, handlers, once=once, stop=stop)
    if once and latest.document:
        click.echo(latest.document if as_json else "\n".join(latest.lines))


language.add_option(node, translations.shared_language)


if __name__ == "__main__":
    cli.run(node, extra="client", speaks=translations.shared_language)
