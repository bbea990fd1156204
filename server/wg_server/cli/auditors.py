"""``wg-server export``: for auditors. A server may run meanwhile."""

from pathlib import Path

import click

from wg_common import cli
from wg_core.ledger.auditor_record import BUDGET_UNKNOWN
from wg_core.wire import canonical
from wg_server.campaigns import auditors
from wg_server.cli.options import home_option
from wg_server.site.home import ServerHome


@click.command()
@home_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write; empty or new.",
)
@click.option(
    "--site",
    "sites",
    metavar="NAME",
    multiple=True,
    required=True,
    help="The site; repeat it for others. The folder holds nothing of any other site.",
)
@cli.json_option
def export(home: ServerHome, out: Path, sites: tuple[str, ...], as_json: bool) -> None:
    """Write what an auditor needs of a site: keys, checkpoints, received files, earlier ledgers.

    An auditor gives the folder to 'wg-audit verify --server'.
    """
    exports = auditors.export(home, out, sites)
    if as_json:
        cli.emit({"folder": str(out), "sites": canonical.to_builtins(exports)})
        return
    for site_export in exports:
        troubles = "  BUDGET UNKNOWN" if site_export.succession == BUDGET_UNKNOWN else ""
        troubles += "  LEDGER FORK" if site_export.forks else ""
        troubles += (
            f"  REFUSED FILES: {site_export.refused_files}" if site_export.refused_files else ""
        )
        cli.say(
            f"{site_export.site:24} {site_export.checkpoint_size} ledger entries cosigned,"
            f" {site_export.files} files, {site_export.logs} ledgers{troubles}"
        )
    cli.say(f"{out}: {len(exports)} sites")
    cli.say(f"next, with a plant's ledger: wg-audit verify LEDGER --server {out}")
