"""``wg-server export``: files for auditors. A server may run meanwhile."""

from pathlib import Path

import click

from wg_common import cli
from wg_common.auditor_record import BUDGET_UNKNOWN
from wg_common.language import list_names, text
from wg_core.wire import canonical
from wg_server.campaigns import auditor_export
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
    exports = auditor_export.export_for_auditors(home, out, sites)
    if as_json:
        cli.print_json({"folder": str(out), "sites": canonical.to_builtins(exports)})
        return
    for site_export in exports:
        troubles = [text("BUDGET UNKNOWN")] if site_export.succession == BUDGET_UNKNOWN else []
        troubles += [text("LEDGER FORK")] if site_export.forks else []
        if site_export.refused_files:
            troubles.append(text("REFUSED FILES: {count}", count=site_export.refused_files))
        summary = text(
            "{site:24} {entries} ledger entries cosigned, {files} files, {ledgers} ledgers",
            site=site_export.site,
            entries=site_export.checkpoint_size,
            files=site_export.files,
            ledgers=site_export.logs,
        )
        cli.print_line(list_names([summary, *troubles], "  "))
    cli.print_line(text("{folder}: {count} sites", folder=out, count=len(exports)))
    cli.print_line(
        text("next, with a plant's ledger: wg-audit verify LEDGER --server {folder}", folder=out)
    )
