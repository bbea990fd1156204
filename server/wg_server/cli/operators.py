"""``wg-server operators``: who may use the console, and the log of what operators did."""

import time
from dataclasses import asdict

import click

from wg_core import cli
from wg_core.errors import VerificationError
from wg_server.cli.options import home_option, this_user, when
from wg_server.site.home import ServerHome
from wg_server.store import operators as table
from wg_server.store.operators import recorded
from wg_server.store.sites import Store


@click.group()
def operators() -> None:
    """Let people into the console, by name; read what operators did."""


@operators.command("add")
@home_option
@click.argument("name")
@cli.json_option
def add(home: ServerHome, name: str, as_json: bool) -> None:
    """Print a token that lets NAME into the console; an earlier one of the same name ends."""
    with Store.open(home) as store, recorded(store, this_user(), "operator add", name):
        token = table.add(store, name, time.time())
    config = home.config()
    url = config.console_url or f"http://127.0.0.1:{config.admin_port}"
    if as_json:
        cli.emit({"operator": name, "token": token, "console": f"{url}/console"})
        return
    cli.say(token)
    cli.note(f"log in with it at {url}/console; it is shown once, and good until it is removed")


@operators.command("remove")
@home_option
@click.argument("name")
@cli.json_option
def remove(home: ServerHome, name: str, as_json: bool) -> None:
    """Shut NAME out of the console, from the next request on."""
    with (
        Store.open(home) as store,
        recorded(store, this_user(), "operator remove", name),
    ):
        table.remove(store, name, time.time())
    cli.answer(as_json, {"operator": name}, f"{cli.printable(name)}: removed")


@operators.command("list")
@home_option
@cli.json_option
def list_operators(home: ServerHome, as_json: bool) -> None:
    """List who may use the console, and who might once."""
    with Store.open(home) as store:
        found = table.operators(store)
    if as_json:
        cli.emit({"operators": [asdict(each) for each in found]})
        return
    for each in found:
        end = f"  removed {when(each.removed)}" if each.removed else ""
        cli.say(f"{cli.printable(each.name):24} since {when(each.created)}{end}")
    if not found:
        cli.say(f"nobody yet; next: wg-server operators add --home {home.root} NAME")


@operators.command("log")
@home_option
@click.option(
    "--last", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many."
)
@cli.json_option
def log(home: ServerHome, last: int, as_json: bool) -> None:
    """Show what operators did, oldest first; ends with code 5 if the log was changed."""
    with Store.open(home) as store:
        found = table.entries(store, limit=last)[::-1]
        broken = table.broken_at(store)
    if as_json:
        cli.emit({"entries": [asdict(each) for each in found], "broken_at": broken})
    else:
        for each in found:
            words = f"{each.operator} ({each.through}): {each.action} {each.subject}"
            detail = f": {each.detail}" if each.detail else ""
            cli.say(f"{each.id:6} {when(each.at)}  {cli.printable(words + detail)}")
    if broken is not None:
        raise VerificationError(f"operators' log: entry {broken} was changed, or one is missing")
