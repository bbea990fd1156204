"""``wg-client backup`` and ``restore``: a plant that is kept for years."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.options import home_option, out_option
from wg_client.site.home import ClientHome
from wg_common.backup.options import key_options, seal_options
from wg_common.cli import json_option, show
from wg_common.wire import canonical

if TYPE_CHECKING:
    from wg_common.backup.archive import Key, Seal


@click.command()
@home_option
@out_option("File to write.")
@seal_options
@json_option
def backup(root: Path, out: Path, seal: Seal, as_json: bool) -> None:
    """Write the home into one encrypted file: keys, ledger, snapshots, models.

    The node may run meanwhile. The data set itself is not in it.
    """
    from wg_client.operation import backup as backups

    home = ClientHome(root)
    done = backups.write(home, out, seal)
    size = sum(each.size for each in done.files)
    lines = [f"{out}: {len(done.files)} files of {done.name}, {size} bytes before encryption"]
    if home.budget != root:
        lines.append(f"its ledger is in {home.budget}: back that home up as well")
    show(canonical.to_builtins(done), lines, as_json)


@click.command()
@home_option
@click.option(
    "--backup",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file of 'wg-client backup'.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The note of 'wg-server checkpoint', of today, where the server cannot be reached.",
)
@click.option(
    "--give-up-ledger",
    is_flag=True,
    help="There is no newer backup: restore for 'wg-client compromise', and for nothing else.",
)
@key_options
@json_option
def restore(
    root: Path,
    path: Path,
    checkpoint: Path | None,
    give_up_ledger: bool,
    key: Key,
    as_json: bool,
) -> None:
    """Make a new home from a backup, if the server has seen nothing newer of its ledger."""
    from wg_client.operation import backup as backups

    done, size = backups.restore(
        path,
        ClientHome(root),
        key,
        checkpoint=checkpoint,
        give_up_ledger=give_up_ledger,
    )
    document = {**canonical.to_builtins(done), "ledger_entries": size}
    if give_up_ledger:
        state = "its ledger is given up; next: wg-client compromise"
    elif size:
        state = f"the server has seen nothing newer than its {size} ledger entries"
    else:
        state = "its ledger is another home's"
    lines = [f"{root}: {done.name}, {len(done.files)} files", state]
    show(document, lines, as_json)


COMMANDS = (backup, restore)
