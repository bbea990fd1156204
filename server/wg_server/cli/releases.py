"""``wg-server releases``: what is in quarantine, why, and the operator's word on it."""

from dataclasses import asdict

import click

from wg_core import cli
from wg_server.cli.options import home_option, this_user, when
from wg_server.site.home import ServerHome
from wg_server.store import quarantine
from wg_server.store.operators import recorded
from wg_server.store.releases import Standing
from wg_server.store.sites import Store

_ACTIONS = {"accepted": "release accept", "rejected": "release reject"}


@click.group()
def releases() -> None:
    """List releases; accept or reject those in quarantine."""


@releases.command("list")
@home_option
@click.option("--all", "everything", is_flag=True, help="Those that are used, too.")
@cli.json_option
def list_releases(home: ServerHome, everything: bool, as_json: bool) -> None:
    """List releases that are not used, newest first, and why."""
    standings: tuple[Standing, ...] = () if everything else ("quarantined", "rejected")
    with Store.open(home) as store:
        found = quarantine.notes(store.engine, *standings)
    if as_json:
        rows = [asdict(note) | {"reasons": note.reasons.splitlines()} for note in found]
        cli.emit({"releases": rows})
        return
    for note in found:
        cli.say(f"{note.release_id}  {note.site:24} {note.standing:11} {when(note.received)}")
        for reason in note.reasons.splitlines():
            cli.say(f"  {cli.printable(reason)}")


@releases.command()
@home_option
@click.argument("release_id", metavar="ID")
@cli.json_option
def accept(home: ServerHome, release_id: str, as_json: bool) -> None:
    """Let a release be used, whatever was found in it."""
    _judge(home, release_id, "accepted", as_json)


@releases.command()
@home_option
@click.argument("release_id", metavar="ID")
@cli.json_option
def reject(home: ServerHome, release_id: str, as_json: bool) -> None:
    """Let a release be used for nobody. Packages that are made already are not taken back."""
    _judge(home, release_id, "rejected", as_json)


def _judge(home: ServerHome, release_id: str, standing: Standing, as_json: bool) -> None:
    with Store.open(home) as store:
        with recorded(store, this_user(), _ACTIONS[standing], release_id):
            quarantine.judge(store.engine, release_id, standing)
        site = store.release(release_id).site
    document = {"release_id": release_id, "site": site, "standing": standing}
    cli.answer(as_json, document, f"release {release_id} of {site}: {standing}")
