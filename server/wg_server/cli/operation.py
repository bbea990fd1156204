"""``wg-server init`` and ``serve``: create a home, and run the server."""

import logging
import threading

import click

from wg_common import cli
from wg_common.language import text
from wg_core import logs
from wg_server.cli.options import home_option
from wg_server.operation.initialise import create_home, free_ports
from wg_server.site.home import ServerConfig, ServerHome


@click.command()
@home_option
@click.option("--name", default="weightgate", show_default=True, help="Name in signatures.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--advertise", default="", help="Host that plants are told, if not --host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65533),
    default=8443,
    show_default=True,
    help="Fleet port; enrolment and admin take free ones above it. 0: any free ports.",
)
@click.option("--database", default="", help="SQLAlchemy URL; SQLite in the home if not given.")
@cli.json_option
def init(
    home: ServerHome, name: str, host: str, advertise: str, port: int, database: str, as_json: bool
) -> None:
    """Make a home: certificate authority, keys, database, server.yaml."""
    ports = range(port, port + 3) if port else free_ports(host, 3)
    config = ServerConfig(
        name=name,
        host=host,
        advertise=advertise,
        fleet_port=ports[0],
        enrol_port=ports[1],
        admin_port=ports[2],
        database=database,
    )
    create_home(home, config)
    document = {"home": str(home.root), "fleet": config.fleet_url, "enrolment": config.enrol_url}
    cli.print_result_lines(
        as_json,
        document,
        text("{home}: made for {url}", home=home.root, url=config.fleet_url),
        cli.next_step("wg-server zoo build --home {home}", home=home.root),
    )


@click.command()
@home_option
@click.option(
    "--beside",
    type=click.IntRange(1, 65533),
    metavar="PORT",
    help="Carry messages beside the process that serves this home, on PORT and the two after it.",
)
@cli.log_option
def serve(home: ServerHome, beside: int | None, log_format: str) -> None:
    """Serve the fleet: listeners and campaign worker. SIGTERM ends it cleanly."""
    from wg_server.operation import serve as serving  # Flower and FastAPI are slow to import

    logs.set_log_format(log_format)
    for name in ("alembic", "flwr", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = threading.Event()
    with serving.stop_on_signals(stop):
        serving.serve_home(home, stop_event=stop, additional_port=beside or 0)
