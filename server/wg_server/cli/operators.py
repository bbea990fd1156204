"""``wg-server operators``: list the users of the console, and the log of their actions."""

import time
from dataclasses import asdict

import click

from wg_common import cli
from wg_common.language import list_names, text
from wg_core import logs
from wg_core.errors import UsageError, VerificationError
from wg_server.cli.options import current_user, format_time, home_option
from wg_server.site.home import ServerHome
from wg_server.store import operators as table
from wg_server.store.operators import logged_action
from wg_server.store.server_store import ServerStore


@click.command()
@home_option
@click.option("--add", metavar="NAME", help="Print a token that lets NAME in; an earlier one ends.")
@click.option("--remove", metavar="NAME", help="Shut NAME out, from the next request on.")
@click.option(
    "--log",
    "log_length",
    type=click.IntRange(1, 100_000),
    is_flag=False,
    flag_value=100,
    metavar="[N]",
    help="Show the last N things (100) that operators did; code 5 if the log was changed.",
)
@cli.json_option
def operators(
    home: ServerHome, add: str | None, remove: str | None, log_length: int | None, as_json: bool
) -> None:
    """List who has or had access to the console; grant or remove access by name; read the log."""
    if sum(choice is not None for choice in (add, remove, log_length)) > 1:
        raise UsageError("--add, --remove and --log: one of them, found more")
    if add is not None:
        _add_operator(home, add, as_json)
    elif remove is not None:
        _remove_operator(home, remove, as_json)
    elif log_length is not None:
        _show_log(home, log_length, as_json)
    else:
        _list_operators(home, as_json)


def _add_operator(home: ServerHome, name: str, as_json: bool) -> None:
    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "operator add", name),
    ):
        token = table.grant_access(store, name, time.time())
    config = home.read_config()
    url = config.console_url or f"http://127.0.0.1:{config.admin_port}"
    if as_json:
        cli.print_json({"operator": name, "token": token, "console": f"{url}/console"})
        return
    cli.print_line(token)
    cli.print_progress(
        text(
            "log in with it at {url}/console; it is shown once, and good until it is removed",
            url=url,
        )
    )


def _remove_operator(home: ServerHome, name: str, as_json: bool) -> None:
    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "operator remove", name),
    ):
        table.remove_access(store, name, time.time())
    cli.print_result_lines(
        as_json, {"operator": name}, text("{name}: removed", name=logs.escape_unprintable(name))
    )


def _list_operators(home: ServerHome, as_json: bool) -> None:
    with ServerStore.open(home) as store:
        people = table.list_operators(store)
    if as_json:
        cli.print_json({"operators": [asdict(person) for person in people]})
        return
    for person in people:
        words: list[str] = [f"{logs.escape_unprintable(person.name):24}"]
        words.append(text("since {time}", time=format_time(person.created)))
        if person.removed:
            words.append(text("removed {time}", time=format_time(person.removed)))
        cli.print_line(list_names(words, "  "))
    if not people:
        cli.print_line(text("nobody yet"))
        cli.print_progress(
            cli.next_step("wg-server operators --home {home} --add NAME", home=home.root)
        )


def _show_log(home: ServerHome, count: int, as_json: bool) -> None:
    with ServerStore.open(home) as store:
        entries = table.read_log(store, limit=count)[::-1]
        broken = table.first_broken_entry_number(store)
    if as_json:
        cli.print_json({"entries": [asdict(entry) for entry in entries], "broken_at": broken})
    else:
        for entry in entries:
            words = f"{entry.operator} ({entry.through}): {entry.action} {entry.subject}"
            detail = f": {entry.detail}" if entry.detail else ""
            cli.print_line(
                f"{entry.id:6} {format_time(entry.at)}  {logs.escape_unprintable(words + detail)}"
            )
    if broken is not None:
        raise VerificationError(f"operators' log: entry {broken} was changed, or one is missing")
