"""Process of the node, started by ``wg-client run``; of our packages it loads only the core."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

from wg_core import errors, installed_code, logs
from wg_core.fleet import apply_process
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers
from wg_core.release import readiness
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

log = logging.getLogger("wg_core.fleet")


@click.command()
@click.option("--home", required=True, type=click.Path(path_type=Path))
@click.option("--once", "one_package", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--log-format", type=click.Choice(logs.LOG_FORMATS), default=logs.TEXT_FORMAT)
def node(home: Path, one_package: bool, as_json: bool, log_format: str) -> None:
    """Serve the home's server until stopped. ``wg-client run --help`` says more."""
    place = ClientHome(home)
    installed_code.installed_code_digest()  # of the running code, even if an upgrade follows
    config = configuration.load(place)
    readiness.ready_snapshot(place)
    logs.set_log_format(log_format, hidden_paths=(config.data.path,))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    latest = apply_process.ApplyResult()

    def apply(home: ClientHome, path: Path) -> None:
        nonlocal latest
        log.info("a package came; if models are compared, many records take minutes")
        latest = apply_process.apply_package(home, path)
        log.info("%s", latest.log_line)

    handlers = NodeHandlers(answer_query=answer_query, apply_package=apply)
    run_node(place, handlers, stops_after_package=one_package, stop=stop)
    if one_package and latest.document:
        click.echo(latest.document if as_json else "\n".join(latest.lines))


def main() -> int:
    """Run the plant's node until stopped; return the exit code. Errors are logged in English."""
    os.umask(logs.PRIVATE_UMASK)
    logs.configure_logging("wg_core")
    try:
        node.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a bug has an exit code too
        return _report_failure(errors.error_report(error))
    return errors.ExitCode.OK


def _report_failure(failure: errors.ErrorReport) -> int:
    """Log the error that ended the node's process, with the traceback if it is a bug."""
    if failure.exit_code == errors.ExitCode.INTERNAL:
        log.exception("internal error")
    if "--json" in sys.argv:
        document = {"error": {name: getattr(failure, name) for name in failure.__slots__}}
        click.echo(json.dumps(document, indent=2, sort_keys=True))
    if logs.is_logging_json():
        log.error("%s: %s", failure.code, failure.message)
    elif "--json" not in sys.argv:
        click.echo(f"error: {logs.escape_unprintable(failure.message)}", err=True)
    return failure.exit_code


if __name__ == "__main__":
    sys.exit(main())
