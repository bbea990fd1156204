"""``wg-server checkpoint``, ``keys`` and ``export``: for auditors. A server may run meanwhile."""

from pathlib import Path

import click

from wg_core import atomic, cli
from wg_core.ledger.auditor_record import BUDGET_UNKNOWN
from wg_core.options import OUT_FILE
from wg_core.wire import canonical
from wg_server.campaigns import auditors
from wg_server.cli.options import home_option
from wg_server.site.home import ServerHome
from wg_server.store import succession


@click.command()
@home_option
@click.argument("site")
@click.option("--out", type=OUT_FILE, help="The file to write.")
@cli.json_option
def checkpoint(home: ServerHome, site: str, out: Path | None, as_json: bool) -> None:
    """Print the newest checkpoint of SITE's ledger, cosigned as of now.

    An auditor gives it to 'wg-audit verify --checkpoint': a ledger that is older is found out.
    """
    found = auditors.newest_checkpoint(home, site)
    if out is not None:
        atomic.write_bytes(out, found)
    size, text = succession.size_of(found), found.decode()
    cli.answer(
        as_json,
        {"site": site, "size": size, "checkpoint": text},
        text.rstrip("\n") if out is None else f"{out}: ledger of {site} up to entry {size - 1}",
    )


@click.command()
@home_option
@cli.json_option
def keys(home: ServerHome, as_json: bool) -> None:
    """Print the keys that plants, witnesses and auditors verify with. None is secret."""
    found = auditors.server_keys(home)
    cli.answer(
        as_json,
        canonical.to_builtins(found),
        f"server       {found.server}",
        f"CA           {found.ca_sha256}",
        f"packages     {found.signing_key}",
        f"encoder      {found.encoder or 'none yet'}",
        f"witness      --witness-key {found.witness_name}={found.witness_key}",
        *(f"{x.site:12} --ledger-key {x.ledger_key}  ({x.ledger_origin})" for x in found.sites),
    )


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
    done = auditors.export(home, out, sites)
    if as_json:
        cli.emit({"folder": str(out), "sites": canonical.to_builtins(done)})
        return
    for each in done:
        unknown = "  BUDGET UNKNOWN" if each.succession == BUDGET_UNKNOWN else ""
        cli.say(
            f"{each.site:24} {each.checkpoint_size} ledger entries cosigned, {each.files} files,"
            f" {each.logs} ledgers{unknown}"
        )
    cli.say(f"{out}: {len(done)} sites")
    cli.say(f"next, with a plant's ledger: wg-audit verify LEDGER --server {out}")
