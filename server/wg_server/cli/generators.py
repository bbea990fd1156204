"""``wg-server generator``: list the generators, and install one for new campaigns."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from wg_common import cli
from wg_common.language import list_names, text
from wg_core.errors import DecodeError, WgError
from wg_server.cli.options import format_time, home_option, this_user
from wg_server.generator import versions
from wg_server.generator.versions import SHORT_ID, Pointer, Version
from wg_server.site.home import ServerHome
from wg_server.store.operators import record_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

_STANDINGS = {
    "installed": text("installed"),
    "before": text("installed before"),
    "running": text("of a running campaign"),
}


@click.command()
@home_option
@click.option("--use", metavar="ID", help="Install this one, also where its model card fails.")
@cli.json_option
def generator(home: ServerHome, use: str | None, as_json: bool) -> None:
    """List generators, newest first, and what their model cards say; or install one of them.

    ID is the first sixteen digits, as 'wg-server train' and the list print them. Campaigns that
    have begun go on with the generator that they began with. The list says which was installed
    before: to go back, install that one.
    """
    if use is not None:
        _install(home, versions.find(home, use), as_json)
        return
    with Store.open(home) as store:
        in_use = CampaignQueue(store.engine).generators()
    try:
        installation = versions.pointer(home)
    except DecodeError:
        installation = Pointer()
    try:
        versions.ready(home)
        wrong = ""
    except WgError as error:
        wrong = str(error)
    rows = [_row(version, installation, in_use) for version in versions.present(home)]
    document = {
        "installed": installation.version,
        "before": installation.before,
        "wrong": wrong,
        "versions": rows,
    }
    cli.show(document, _lines(rows, wrong), as_json)


def _install(home: ServerHome, version: Version, as_json: bool) -> None:
    failures = [str(check) for check in version.failed_checks()]
    with Store.open(home) as store, record_action(store, this_user(), "generator use", version.id):
        versions.use(home, version)
    short = version.id[:SHORT_ID]
    lines = [
        text("generator {version}: installed; campaigns begin with it from now on", version=short)
    ]
    lines += [text("its model card fails: {check}", check=check) for check in failures]
    document = {
        "installed": version.id,
        "before": versions.pointer(home).before,
        "failed": failures,
    }
    cli.answer(
        as_json,
        document,
        *lines,
        cli.next_step("wg-server campaign start --home {home}", home=home.root),
    )


def _row(version: Version, installation: Pointer, in_use: set[str]) -> Mapping[str, Any]:
    try:
        failures = [str(check) for check in version.failed_checks()]
    except DecodeError as error:
        failures = [str(error)]
    return {
        "id": version.id,
        "installed": version.id == installation.version,
        "before": version.id == installation.before,
        "running": version.id in in_use,
        "created": version.summary.created,
        "architectures": list(version.architectures),
        "encoder": version.summary.encoder,
        "heads": version.summary.generator,
        "failed": failures,
    }


def _lines(rows: list[Mapping[str, Any]], wrong: str) -> Iterator[str]:
    for row in rows:
        verdict = text("FAILS") if row["failed"] else text("passes")
        marks = [name for key, name in _STANDINGS.items() if row[key]]
        words = f"{row['id'][:SHORT_ID]}  {format_time(row['created'])}", verdict, *marks
        yield list_names(words, "  ")
        yield from (f"    {check}" for check in row["failed"])
    if wrong:
        yield f"! {wrong}"
