"""``wg-server``: the operator's command line. A command's module is imported when it is called."""

import importlib

import click

from wg_common import cli

_COMMANDS: dict[str, tuple[str, str]] = {
    "backup": ("keeping", "Write the home into one encrypted file, while it serves."),
    "campaign": ("campaign", "Ask sites for statistics, and deliver weights made from them."),
    "encoder": ("encoder", "Which networks the fleet's encoder stands on."),
    "enroll": ("sites", "Print a one-time join token for SITE."),
    "export": ("auditors", "Write all that an auditor needs."),
    "offer": ("airgap", "Write what plants may try before they join, as one signed file."),
    "generate": ("airgap", "Make a weights package from a statistics file, without a network."),
    "generator": ("generators", "List generators, or install one of them."),
    "init": ("operation", "Make a home: certificate authority, keys, database, server.yaml."),
    "keys": ("keys", "Keys and certificates: shown, and made anew."),
    "operators": ("operators", "Who may use the console, and what operators did."),
    "releases": ("releases", "List releases in quarantine; accept or reject one."),
    "restore": ("keeping", "Make a new home from a backup."),
    "revoke": ("sites", "Shut SITE out, from its next request on."),
    "serve": ("operation", "Serve the fleet: listeners and campaign worker."),
    "sites": ("sites", "List the sites."),
    "train": ("train", "Train the generator on the zoo."),
    "zoo": ("zoo", "Public tasks that the generator learns from."),
}
"""By command: the module that it is in, and its line in the list."""

_SECTIONS = {
    "Every day": ("serve", "enroll", "sites", "campaign", "releases"),
    "A new server": ("init", "encoder", "zoo", "train", "generator"),
    "Files instead of a network": ("generate",),
    "Auditors, keys, people": ("export", "keys", "operators", "revoke"),
    "For years": ("backup", "restore"),
}
"""The commands as ``--help`` lists them."""


class _Commands(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"wg_server.cli.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}: {cmd_name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, _COMMANDS[name][1]) for name in names])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weightgate")
def main_group() -> None:
    """The central server: zoo, generator, fleet and campaigns."""


def main() -> None:
    """Entry point of ``wg-server``."""
    cli.run(main_group, extra="server")
