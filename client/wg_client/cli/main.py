"""``wg-client``: what a plant engineer touches. ``wg_core.errors`` has the exit codes.

Heavy imports (torch, flwr) happen inside the commands that need them, so that
``--help`` and ``budget`` answer at once.
"""

import click

from wg_client.cli import (
    check,
    freeze,
    init,
    keeping,
    models,
    novelty,
    release,
    requests,
    run,
    simulate,
    upkeep,
    watch,
)
from wg_client.languages import speaks
from wg_core import __version__, cli, help_page, language


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wg-client")
def group() -> None:
    """The plant's side of weightgate: private statistics out, made-to-measure weights in."""


for _module in (
    simulate,
    init,
    freeze,
    check,
    run,
    requests,
    release,
    models,
    novelty,
    watch,
    upkeep,
    keeping,
):
    for _command in _module.COMMANDS:
        group.add_command(_command)
language.add_option(group, speaks)
help_page.speak(group, speaks)


def main() -> None:
    """Entry point."""
    cli.run(group, extra="client", speaks=speaks)


if __name__ == "__main__":
    main()
