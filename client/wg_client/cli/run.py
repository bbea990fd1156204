"""``wg-client run``: the node."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.models import kept_lines
from wg_client.cli.options import home_option
from wg_core import cli, logs
from wg_core.errors import UsageError
from wg_core.language import text
from wg_core.site.home import ClientHome

if TYPE_CHECKING:
    from wg_client.selection.apply import AppliedModel

log = logging.getLogger(__name__)


@click.command()
@home_option
@click.option("--once", is_flag=True, help="End after one weights package was applied.")
@click.option(
    "--json", "as_json", is_flag=True, help="With --once: print what was applied as one document."
)
@cli.log_option
def run(home: ClientHome, once: bool, as_json: bool, log_format: str) -> None:
    """Connect to the server and answer it, within the policy, until stopped.

    Logs go to standard error; --log-format json makes each line one object.
    """
    if as_json and not once:
        raise UsageError("--json: with --once alone; a node that goes on has --log-format json")
    from wg_client.release.quality import answer_quality
    from wg_client.selection.apply import apply_package
    from wg_core import snapshot as snapshots
    from wg_core.fleet.interface import Handlers
    from wg_core.fleet.node import run_node
    from wg_core.ledger import charging
    from wg_core.release import answer_time
    from wg_core.release.query import answer_query
    from wg_core.site import config as configuration

    charging.code_digest()  # of the code as it is now, not of an upgrade while this runs
    config = configuration.load(home)
    answer_time.check_answers(config, snapshots.ready_snapshot(home))
    logs.use(log_format, hidden=(config.data.path,))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    came: list[AppliedModel] = []

    def apply(home: ClientHome, path: Path) -> None:
        log.info("a package came: models are compared; minutes, if there are many records")
        came.append(apply_package(home, path))
        log.info("report: %s; next: wg-client models list --home %s", home.report, home.root)

    handlers = Handlers(
        answer_query=answer_query, answer_quality=answer_quality, apply_package=apply
    )
    run_node(home, handlers, once=once, stop=stop)
    if once and came:
        _say(home, came[-1], as_json)


def _say(home: ClientHome, applied: AppliedModel, as_json: bool) -> None:
    """What came of the one package. It stays at the plant: standard output, never the log."""
    manifest = applied.manifest
    document = {
        "package": manifest.package_id,
        "accepted": applied.accepted,
        "kept": manifest.kept,
        "reason": manifest.reason,
        "gain": manifest.gain,
        "report": str(home.report),
    }
    cli.show(
        document,
        [text("kept {model}", model=manifest.kept), *kept_lines(home, applied)],
        as_json,
    )


COMMANDS = (run,)
