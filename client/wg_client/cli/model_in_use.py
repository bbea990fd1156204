"""``wg-client models use`` and ``shadow``: change the model in use, by a named person."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.options import home_option
from wg_common.cli import json_option, next_step, print_result
from wg_common.language import template, text
from wg_core import errors, logs
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.models.adoption import AdoptionChange
    from wg_client.models.manifest import ModelsManifest

APPLYING_MESSAGE = template("no models yet: a package came and is being applied; try again soon")
"""Message for a home whose first package is being applied."""

_by_option = click.option(
    "--by",
    required=True,
    metavar="NAME",
    help="Person who decides; a role will do. It stays in the log.",
)
_model_option = click.option(
    "--model", "name", default="kept", show_default=True, help="Model of the package."
)


@click.command("use")
@home_option
@click.argument("package", metavar="[PACKAGE]", required=False)
@_model_option
@click.option("--shadow", "promote", is_flag=True, help="The model in shadow.")
@click.option(
    "--few-sites",
    "accept_few",
    is_flag=True,
    help="Accept classes without a record here on which fewer than three sites agree.",
)
@_by_option
@json_option
def use(
    home: ClientHome,
    package: str | None,
    name: str,
    promote: bool,
    accept_few: bool,
    by: str,
    as_json: bool,
) -> None:
    """Put a model in use: predict and export take it from now on.

    It is a model of PACKAGE, or the one in shadow. 'models show' lists earlier models in use.
    """
    from wg_client.models import adoption

    if (package is not None) == promote:
        raise errors.UsageError("expected one of PACKAGE and --shadow")
    model = adoption.shadow_model(home) if promote else chosen_model(home, package, name)
    if model is None:
        raise errors.ConfigError(
            f"{home.models}: no model is in shadow; see 'wg-client models show'"
        )
    _print_adoption_change(
        home.root, adoption.put_model_in_use(home, *model, by, accept_few_sites=accept_few), as_json
    )


@click.command("shadow")
@home_option
@click.argument("package")
@_model_option
@_by_option
@json_option
def shadow(home: ClientHome, package: str, name: str, by: str, as_json: bool) -> None:
    """Let a model of PACKAGE predict beside the one in use, which decides as before.

    While there is a shadow, 'predict' asks both models, and lists where they differ.
    """
    from wg_client.models import adoption

    manifest, name = chosen_model(home, package, name)
    _print_adoption_change(home.root, adoption.set_shadow_model(home, manifest, name, by), as_json)


def adoption_change_lines(changes: Iterable[AdoptionChange]) -> Iterator[str]:
    """Yield lines for every change of the model in use: time, kind, model, person, reason."""
    for change in changes:
        yield f"{_format_time(change.when)}  {change.what:11} {change.subject or '-'}"
        yield text(
            "    by {name}: {why}", name=logs.escape_unprintable(change.by), why=text(change.why)
        )


def next_adoption_step(home: ClientHome, manifest: ModelsManifest) -> str:
    """Return a line that names the command to run after a package was applied."""
    from wg_client.models import adoption

    shadow = adoption.read_adoption_history(home).latest_change.shadow
    if shadow is None or shadow.package_id != manifest.package_id or manifest.keeps_delivered_model:
        return next_step("wg-client predict --home {home} NEW_RECORDS", home=home.root)
    return next_step("wg-client models use --home {home} --shadow --by NAME", home=home.root)


def chosen_model(
    home: ClientHome, package: str | None, name: str | None
) -> tuple[ModelsManifest, str]:
    """Return the manifest and the name of the model that a command's arguments select.

    Args:
        package: Id of a package, or its beginning; None: the package of the model in use.
        name: Name of a model; None: the kept model of ``package``, otherwise the model in use.

    Raises:
        ConfigError: There is no such model, or the first package is still being applied.
    """
    from wg_client.models import adoption, store
    from wg_core.fleet.inbox import Inbox

    home.check_initialised()
    if not store.all_manifests(home) and Inbox(home).waiting_packages():
        raise errors.ConfigError(f"{home.models}: {APPLYING_MESSAGE}")
    return adoption.find_model(home, package, name)


def _print_adoption_change(root: Path, change: AdoptionChange, as_json: bool) -> None:
    none = text("none")
    lines: list[str] = [
        text("in use: {model}", model=none if change.in_use is None else str(change.in_use)),
        text("shadow: {model}", model=none if change.shadow is None else str(change.shadow)),
    ]
    if change.shadow is not None:
        lines.append(next_step("wg-client predict --home {home} NEW_RECORDS", home=root))
    print_result(canonical.to_builtins(change), lines, as_json)


def _format_time(unix_time: int) -> str:
    return (
        time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(unix_time)) if unix_time else "before         "
    )


COMMANDS = (use, shadow)  # Commands of the group `models`
