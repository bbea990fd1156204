"""``wg-server backup`` and ``restore``: copy a home into one encrypted file, and restore it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_common import cli
from wg_common.backup.options import decryption_options, encryption_options
from wg_common.language import text
from wg_core.wire import canonical
from wg_server.cli.options import current_user, format_time, home_option
from wg_server.site.home import ServerHome

if TYPE_CHECKING:
    from wg_common.backup.archive import DecryptionKey, EncryptionTarget


@click.command()
@home_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write."
)
@encryption_options
@cli.json_option
def backup(home: ServerHome, out: Path, seal: EncryptionTarget, as_json: bool) -> None:
    """Write the home into one encrypted file: store, keys, authority, packages, generator.

    A server may run meanwhile. Of the zoo, only the public encoder is included.
    """
    from wg_server.operation import backup as backups

    manifest = backups.back_up_home(home, out, seal)
    size = sum(file.size for file in manifest.files)
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(manifest),
        text(
            "{file}: {count} files of {name}, {size} bytes before encryption",
            file=out,
            count=len(manifest.files),
            name=manifest.name,
            size=size,
        ),
    )


@click.command()
@home_option
@click.option(
    "--backup",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file of 'wg-server backup'.",
)
@click.option(
    "--database",
    default="",
    help="SQLAlchemy URL of an empty database, if not the backup's; sqlite: a file in the home.",
)
@decryption_options
@cli.json_option
def restore(home: ServerHome, path: Path, database: str, key: DecryptionKey, as_json: bool) -> None:
    """Make a new home from a backup. Stop the old server first, for good."""
    from wg_server.operation import backup as backups

    with cli.show_spinner(text("restoring")):
        manifest = backups.restore_home(path, home, key, current_user(), database=database)
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(manifest),
        text(
            "{home}: {name} as of {time}, {count} files",
            home=home.root,
            name=manifest.name,
            time=format_time(manifest.created),
            count=len(manifest.files),
        ),
        text(
            "what was done since then is to be done again: sites that were revoked (first), sites"
            " that enrolled, campaigns that were started"
        ),
        cli.next_step("wg-server serve --home {home}", home=home.root),
    )
