"""``wg-server releases``: list quarantined releases with the reasons; accept or reject one."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from wg_common import cli
from wg_common.language import text
from wg_core import logs
from wg_core.errors import UsageError
from wg_server.cli.options import current_user, format_time, home_option
from wg_server.site.home import ServerHome
from wg_server.store import quarantine
from wg_server.store.operators import logged_action
from wg_server.store.releases import ReleaseStatus
from wg_server.store.server_store import ServerStore

_LOG_ACTION_BY_STATUS = {"accepted": "release accept", "rejected": "release reject"}


@click.command()
@home_option
@click.option("--all", "everything", is_flag=True, help="List those that are used, too.")
@click.option("--accept", metavar="ID", help="Let a release be used, whatever was found in it.")
@click.option(
    "--reject",
    metavar="ID",
    help="Let a release be used for nobody. Packages that are made already are not taken back.",
)
@cli.json_option
def releases(
    home: ServerHome, everything: bool, accept: str | None, reject: str | None, as_json: bool
) -> None:
    """List releases that are not used, newest first, and why; accept or reject one."""
    if accept is not None and reject is not None:
        raise UsageError("--accept and --reject: one of the two, found both")
    if accept is not None:
        _accept_or_reject_release(home, accept, "accepted", as_json)
    elif reject is not None:
        _accept_or_reject_release(home, reject, "rejected", as_json)
    else:
        _list_releases(home, () if everything else ("quarantined", "rejected"), as_json)


def _list_releases(home: ServerHome, statuses: Sequence[ReleaseStatus], as_json: bool) -> None:
    with ServerStore.open(home) as store:
        notes = quarantine.list_release_summaries(store.engine, *statuses)
    if as_json:
        rows = [asdict(note) | {"reasons": note.reasons.splitlines()} for note in notes]
        cli.print_json({"releases": rows})
        return
    for note in notes:
        cli.print_line(
            f"{note.release_id}  {note.site:24} {note.standing:11} {format_time(note.received)}"
        )
        for reason in note.reasons.splitlines():
            cli.print_line(f"  {logs.escape_unprintable(reason)}")


def _accept_or_reject_release(
    home: ServerHome, release_id: str, status: ReleaseStatus, as_json: bool
) -> None:
    with ServerStore.open(home) as store:
        with logged_action(store, current_user(), _LOG_ACTION_BY_STATUS[status], release_id):
            quarantine.set_release_status(store.engine, release_id, status)
        site = store.require_release(release_id).site
    document = {"release_id": release_id, "site": site, "standing": status}
    line = text("release {id} of {site}: {standing}", id=release_id, site=site, standing=status)
    cli.print_result_lines(as_json, document, line)
