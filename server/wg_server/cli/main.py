"""``wg-server``: the operator's command line. A command's module is imported when it is called."""

import importlib
from collections.abc import Mapping, Sequence

import click

from wg_common import cli, help_page, language
from wg_common.help_page import SectionedGroup
from wg_common.language import template, text
from wg_core import __version__
from wg_server.cli.languages import load_operator_language

_COMMAND_MODULES_AND_SUMMARIES: dict[str, tuple[str, str]] = {
    "backup": ("backups", template("Write the home into one encrypted file, while it serves.")),
    "campaign": (
        "campaign",
        template("Ask sites for statistics, and deliver weights made from them."),
    ),
    "enroll": ("sites", template("Print a one-time join token for SITE.")),
    "export": ("auditors", template("Write all that an auditor needs.")),
    "offer": (
        "airgap",
        template("Write what plants may try before they join, as one signed file."),
    ),
    "generate": (
        "airgap",
        template("Make a weights package from a statistics file, without a network."),
    ),
    "generator": ("generators", template("List generators, or install one of them.")),
    "init": (
        "operation",
        template("Make a home: certificate authority, keys, database, server.yaml."),
    ),
    "keys": ("keys", template("Keys and certificates: shown, and made anew.")),
    "operators": (
        "operators",
        template("Change who may use the console, or list what operators did."),
    ),
    "releases": ("releases", template("List releases in quarantine; accept or reject one.")),
    "restore": ("backups", template("Make a new home from a backup.")),
    "revoke": ("sites", template("Shut SITE out, from its next request on.")),
    "serve": ("operation", template("Serve the fleet: listeners and campaign worker.")),
    "sites": ("sites", template("List the sites.")),
    "train": ("train", template("Train the generator on the zoo.")),
    "zoo": ("zoo", template("Public tasks that the generator learns from.")),
}
"""Module and summary line of each command."""

_COMMANDS_BY_SECTION: Mapping[str, Sequence[str]] = {
    text("Every day"): ("serve", "enroll", "sites", "campaign", "releases"),
    text("A new server"): ("init", "zoo", "train", "generator"),
    text("Files instead of a network"): ("generate", "offer"),
    text("Auditors, keys, people"): ("export", "keys", "operators", "revoke"),
    text("For years"): ("backup", "restore"),
}
"""Commands by section, in the order of ``--help``."""


class _LazyCommandGroup(SectionedGroup):
    """Command group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMAND_MODULES_AND_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMAND_MODULES_AND_SUMMARIES:
            return None
        module = importlib.import_module(
            f"wg_server.cli.{_COMMAND_MODULES_AND_SUMMARIES[cmd_name][0]}"
        )
        command = getattr(module, cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}: {cmd_name} is no command")
        help_page.translate_help(command, load_operator_language)
        return command

    def summary(self, name: str) -> str:
        """Return a command's summary line for ``--help``, without importing its module."""
        return _COMMAND_MODULES_AND_SUMMARIES[name][1]


@click.group(cls=_LazyCommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wg-server")
def main_group() -> None:
    """The central server: zoo, generator, fleet and campaigns."""


main_group.sections = _COMMANDS_BY_SECTION
language.add_language_option(main_group, load_operator_language)
help_page.translate_help(main_group, load_operator_language)


def main() -> None:
    """Entry point of ``wg-server``."""
    cli.run_program(main_group, package_extra="server", load_language=load_operator_language)
