"""Options that several commands share, and reading of join tokens."""

import codecs
import contextlib
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wg_client.plant_language import load_plant_language
from wg_common import language
from wg_common.cli import print_progress
from wg_common.language import text
from wg_common.options import DELTA_TYPE, EPSILON_TYPE
from wg_core import atomic
from wg_core.errors import DecodeError, UsageError, WgError
from wg_core.privacy.schema import CLASS_STATISTICS, GRADIENTS, MACHINE_STATISTICS, STATISTICS_KINDS
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.site.reading_config import CHANNELS_LIMIT, WINDOW_SAMPLES_LIMIT, WINDOW_SAMPLES_MINIMUM
from wg_core.wire import protocol

STANDARD_INPUT_MARK = "-"
JOIN_REQUIRED_MESSAGE = "a join token: give --join - (standard input) or --join-file FILE"
JOIN_ON_COMMAND_LINE_WARNING = (
    "warning: the join token is on the command line, where everybody on this machine can read it"
    " (ps) and the shell keeps it; use --join - or --join-file"
)


def _open_home(_: click.Context, __: click.Parameter, root: Path) -> ClientHome:
    """Return the home, and switch to the language of its settings; errors are reported later."""
    home = ClientHome(root)
    with contextlib.suppress(WgError):
        language.use_configured_language(configuration.load(home).language, load_plant_language)
    return home


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    required=True,
    callback=_open_home,
    help="The plant's home folder.",
)
epsilon_option = click.option(
    "--epsilon",
    type=EPSILON_TYPE,
    help="Epsilon of the release; default: the most that the policy allows.",
)
delta_option = click.option(
    "--delta",
    type=DELTA_TYPE,
    help="Delta of the release; default: the most that the policy allows.",
)
approver_option = click.option(
    "--by",
    metavar="NAME",
    help="Person who approves, where privacy.approve is 'human'; a role will do. It goes on the"
    " ledger.",
)
window_shape_option = click.option(
    "--window-shape",
    "window",
    metavar="CHANNELS SAMPLES",
    type=(
        click.IntRange(1, CHANNELS_LIMIT),
        click.IntRange(WINDOW_SAMPLES_MINIMUM, WINDOW_SAMPLES_LIMIT),
    ),
    help="With --private: size of the windows that an .onnx file takes, which it makes public;"
    " default: that of data.reading.log.",
)
package_option = click.option("--package", help="Package id; default: the one in use.")
model_option = click.option(
    "--model", "name", help="Model; default: the one in use, or the package's kept one."
)
STATISTICS_KIND_TITLES = {
    CLASS_STATISTICS: text("classes"),
    MACHINE_STATISTICS: text("machine"),
    GRADIENTS: text("private head"),
}
"""Printed names of the kinds of statistics that a release may contain."""
statistics_option = click.option(
    "--of",
    "statistics",
    type=click.Choice(STATISTICS_KINDS),
    default=CLASS_STATISTICS,
    show_default=True,
    help="Kind of statistics: of the classes, or of the machine that the data sheet states.",
)
set_aside_option = click.option(
    "--set-aside", is_flag=True, help="Leave out records that cannot be used, and freeze the rest."
)
allow_empty_option = click.option(
    "--allow-empty", is_flag=True, help="Go on without a single record; needs declared labels."
)


def join_token_options(
    command: Callable[..., Any], *, is_required: bool = True
) -> Callable[..., Any]:
    """Add ``--join`` and ``--join-file`` to a command, which gets the token's text as ``token``.

    Args:
        is_required: Refuse a call without either option; if False, ``token`` is then None.
    """

    @click.option(
        "--join",
        metavar="TOKEN",
        help="Join token from 'wg-server enroll'; '-' reads it from standard input.",
    )
    @click.option(
        "--join-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with the join token and nothing else.",
    )
    @functools.wraps(command)
    def with_token(*words: Any, join: str | None, join_file: Path | None, **options: Any) -> Any:
        has_token = join is not None or join_file is not None
        token = read_join_token(join, join_file) if has_token or is_required else None
        return command(*words, token=token, **options)

    return with_token


optional_join_token_options = functools.partial(join_token_options, is_required=False)
"""Decorator that adds ``--join`` and ``--join-file`` to a command that works without a token."""


def read_join_token(join: str | None, join_file: Path | None) -> str:
    """Read a join token's text from standard input, a file or, with a warning, the command line.

    Every user of a machine can read every command line (``ps``), and shells keep a history. A join
    token is a one-time right to enrol as this site, so it should be in neither.

    Raises:
        UsageError: Neither option or both are given.
        ConfigError: The file cannot be read.
        DecodeError: The input is too long for a token.
    """
    if (join is None) == (join_file is None):
        raise UsageError(JOIN_REQUIRED_MESSAGE)
    if join_file is not None:
        data = atomic.read_bytes(join_file, limit=protocol.TOKEN_CHARACTERS_LIMIT)
    elif join == STANDARD_INPUT_MARK:
        data = sys.stdin.buffer.read(protocol.TOKEN_CHARACTERS_LIMIT + 1)
        if len(data) > protocol.TOKEN_CHARACTERS_LIMIT:
            raise DecodeError(
                f"join token: more than {protocol.TOKEN_CHARACTERS_LIMIT} bytes were given"
            )
    else:
        print_progress(JOIN_ON_COMMAND_LINE_WARNING)
        return join or ""
    return _decode_token_text(data).strip()


def _decode_token_text(token_bytes: bytes) -> str:
    """Decode a token's bytes: ASCII, or UTF-16 or UTF-8 with the byte order mark of Windows."""
    if token_bytes.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return token_bytes.decode("utf-16", "replace")
    return token_bytes.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace")


data_sheet_option = click.option(
    "--data-sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Data sheet of the bearing, gearbox or motor, as YAML (docs/plant-guide.md). It is public,"
    " and costs no privacy.",
)


def split_at_commas(text: str) -> tuple[str, ...]:
    """Split a list at commas, including Japanese and Chinese ones."""
    return tuple(word.strip() for word in re.split("[,、，]", text) if word.strip())
