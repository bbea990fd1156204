"""Options that several ``wg-server`` commands share, their types, and formatting of times."""

import getpass
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from wg_common.language import text
from wg_core.text_grammars import NAME_CHARACTERS_LIMIT
from wg_server.site.home import ServerHome
from wg_server.store.operators import Actor

CommandFunction = Callable[..., Any]
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    callback=lambda _context, _option, root: ServerHome(root),
    required=True,
    help="The server's home folder.",
)


workers_option = click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, help="Processes."
)


def plan_option(plan_names: str) -> Callable[[CommandFunction], CommandFunction]:
    """Return the option ``--plan``, with the names of packaged plans in its help."""
    return click.option(
        "--plan",
        type=click.Path(path_type=Path),
        help=f"Plan file, or the name of a packaged plan: {plan_names}.",
    )


class DurationOption(click.ParamType[float]):
    """Option type of a duration such as 90s, 30m, 12h or 7d; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a duration, or fail with a usage error."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r}: expected a number and a unit, as in 90s, 30m, 12h or 7d")
        return float(int(match[1]) * _UNIT_SECONDS[match[2]])


def format_time(seconds: float) -> str:
    """Format a Unix time for people."""
    if not seconds:
        return text("never")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def current_user() -> Actor:
    """Return the user who runs this command, for the operators' log; under ``sudo``, its caller."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as in a container
        name = f"uid {os.getuid()}"
    return Actor(name[:NAME_CHARACTERS_LIMIT], "command")
