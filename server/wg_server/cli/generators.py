"""``wg-server generator``: list the generators, and install one for new campaigns."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from wg_common import cli
from wg_common.language import list_names, text
from wg_core.errors import DecodeError, WgError
from wg_server.cli.options import current_user, format_time, home_option
from wg_server.generator import versions
from wg_server.generator.versions import SHORT_ID_LENGTH, GeneratorVersion, InstalledVersions
from wg_server.site.home import ServerHome
from wg_server.store.operators import logged_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

_INSTALLATION_MARKS = {
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
        _install_version(home, versions.find_version(home, use), as_json)
        return
    with ServerStore.open(home) as store:
        in_use = CampaignQueue(store.engine).generator_ids_in_use()
    try:
        installation = versions.read_installed_versions(home)
    except DecodeError:
        installation = InstalledVersions()
    try:
        versions.usable_version(home)
        wrong = ""
    except WgError as error:
        wrong = str(error)
    rows = [
        _version_document(version, installation, in_use) for version in versions.list_versions(home)
    ]
    document = {
        "installed": installation.version,
        "before": installation.before,
        "wrong": wrong,
        "versions": rows,
    }
    cli.print_result(document, _version_lines(rows, wrong), as_json)


def _install_version(home: ServerHome, version: GeneratorVersion, as_json: bool) -> None:
    failures = [str(check) for check in version.failed_checks()]
    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "generator use", version.id),
    ):
        versions.install_version(home, version)
    short = version.id[:SHORT_ID_LENGTH]
    lines = [
        text("generator {version}: installed; campaigns begin with it from now on", version=short)
    ]
    lines += [text("its model card fails: {check}", check=check) for check in failures]
    document = {
        "installed": version.id,
        "before": versions.read_installed_versions(home).before,
        "failed": failures,
    }
    cli.print_result_lines(
        as_json,
        document,
        *lines,
        cli.next_step("wg-server campaign start --home {home}", home=home.root),
    )


def _version_document(
    version: GeneratorVersion, installation: InstalledVersions, version_ids_in_use: set[str]
) -> Mapping[str, Any]:
    try:
        failures = [str(check) for check in version.failed_checks()]
    except DecodeError as error:
        failures = [str(error)]
    return {
        "id": version.id,
        "installed": version.id == installation.version,
        "before": version.id == installation.before,
        "running": version.id in version_ids_in_use,
        "created": version.summary.created,
        "architectures": list(version.architectures),
        "encoder": version.summary.encoder,
        "heads": version.summary.generator,
        "failed": failures,
    }


def _version_lines(rows: list[Mapping[str, Any]], installation_error: str) -> Iterator[str]:
    for row in rows:
        verdict = text("FAILS") if row["failed"] else text("passes")
        marks = [name for key, name in _INSTALLATION_MARKS.items() if row[key]]
        words = f"{row['id'][:SHORT_ID_LENGTH]}  {format_time(row['created'])}", verdict, *marks
        yield list_names(words, "  ")
        yield from (f"    {check}" for check in row["failed"])
    if installation_error:
        yield f"! {installation_error}"
