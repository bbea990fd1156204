"""``wg-client``: the plant engineer's commands. ``wg_core.errors`` has the exit codes.

Heavy imports (torch, flwr) happen inside the commands that need them, so that
``--help`` and ``keys`` answer at once.
"""

from collections.abc import Mapping, Sequence

import click

from wg_client.cli import (
    check,
    freeze,
    init,
    keys,
    models,
    release,
    requests,
    run_node,
    serving,
    simulate,
    soft_sensor,
    status_and_backup,
    watch,
)
from wg_client.plant_language import load_plant_language
from wg_common import cli, help_page, language
from wg_common.help_page import SectionedGroup
from wg_common.language import text
from wg_core import __version__

_HELP_SECTIONS: Mapping[str, Sequence[str]] = {
    text("Every day"): ("status", "check", "run", "requests", "predict", "serve"),
    text("Joining"): ("simulate", "init", "join", "freeze"),
    text("Models"): ("models", "watch"),
    text("Files instead of a network"): ("statistics", "apply"),
    text("Without a server"): ("soft-sensor",),
    text("For years"): ("keys", "backup", "restore"),
}


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="wg-client")
def group() -> None:
    """The plant's side of weightgate: private statistics out, made-to-measure weights in."""


for _module in (
    simulate,
    init,
    freeze,
    check,
    run_node,
    requests,
    release,
    models,
    soft_sensor,
    serving,
    watch,
    keys,
    status_and_backup,
):
    for _command in _module.COMMANDS:
        group.add_command(_command)
group.sections = _HELP_SECTIONS
language.add_language_option(group, load_plant_language)
help_page.translate_help(group, load_plant_language)


def main() -> None:
    """Run the command line of ``wg-client``."""
    cli.run_program(group, package_extra="client", load_language=load_plant_language)
