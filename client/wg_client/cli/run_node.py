"""``wg-client run``: replace this process by the node's, ``wg_core.fleet``."""

import os
import sys

import click

from wg_client.cli.options import home_option
from wg_common import cli, language
from wg_core.errors import UsageError
from wg_core.site.home import ClientHome

NODE_MODULE = "wg_core.fleet"


@click.command()
@home_option
@click.option(
    "--once", "one_package", is_flag=True, help="End after one weights package was applied."
)
@click.option(
    "--json", "as_json", is_flag=True, help="With --once: print what was applied as one document."
)
@cli.log_option
def run(home: ClientHome, one_package: bool, as_json: bool, log_format: str) -> None:
    """Connect to the server and answer it, within the policy, until stopped.

    Logs go to standard error; --log-format json makes each line one object.
    """
    if as_json and not one_package:
        raise UsageError("--json: with --once alone; a node that goes on has --log-format json")
    import wg_core.fleet.node  # noqa: F401 - what is not installed is said here, in words
    from wg_core.release import readiness
    from wg_core.site import config

    _ = config.load(home).server  # raises with a remedy if there is no server
    readiness.ready_snapshot(home)
    words = ["--home", str(home.root), "--log-format", log_format]
    words += ["--once"] * one_package + ["--json"] * as_json
    os.environ[language.LANGUAGE_VARIABLES[0]] = language.current_language().code
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", NODE_MODULE, *words])  # noqa: S606 - this interpreter


COMMANDS = (run,)
