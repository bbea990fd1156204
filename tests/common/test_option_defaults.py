"""Every command starts with what it takes when nothing is said."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from wg_audit.cli import group as audit
from wg_client.cli.main import group as client
from wg_server.cli.main import main_group as server


def commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, context)
    else:
        yield command


@pytest.mark.parametrize("program", [client, server, audit], ids=["client", "server", "audit"])
def test_a_default_is_a_value_that_the_option_takes(program: click.Command) -> None:
    """``serve`` ended with a wrong call: its default port was out of range."""
    for command in commands(program, click.Context(program)):
        context = click.Context(command)
        for parameter in command.params:
            default = parameter.get_default(context)
            if isinstance(default, str | int | float | tuple):
                parameter.type_cast_value(context, default)
