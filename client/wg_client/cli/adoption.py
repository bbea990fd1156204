"""``wg-client models use`` and ``shadow``: a model never changes silently."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.options import home_option
from wg_core import cli, errors
from wg_core.cli import json_option, next_step, show
from wg_core.language import text
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.models.adoption import Change, Chosen
    from wg_client.models.manifest import ModelsManifest
    from wg_client.models.shadow import Comparison


_by_option = click.option(
    "--by", required=True, metavar="NAME", help="Who decides; a role will do. It stays in the log."
)
_model_option = click.option(
    "--model", "name", default="kept", show_default=True, help="Which of the package's models."
)


@click.command("use")
@home_option
@click.argument("package", metavar="[PACKAGE]", required=False)
@_model_option
@click.option("--shadow", "promote", is_flag=True, help="The model in shadow.")
@click.option("--before", is_flag=True, help="The model that was in use before this one.")
@_by_option
@json_option
def use(
    home: ClientHome,
    package: str | None,
    name: str,
    promote: bool,
    before: bool,
    by: str,
    as_json: bool,
) -> None:
    """Put a model in use: predict and export take it from now on.

    Of a PACKAGE, or the one in shadow, or the one before.
    """
    from wg_client.models import adoption

    if (package is not None) + promote + before != 1:
        raise errors.UsageError("expected one of PACKAGE, --shadow and --before")
    home.require()
    if promote:
        change = adoption.promote(home, by)
    elif before:
        change = adoption.rollback(home, by)
    else:
        manifest, name = chosen(home, package, name)
        change = adoption.use(home, manifest, name, by)
    _say(home.root, change, as_json)


@click.command("shadow")
@home_option
@click.argument("package", metavar="[PACKAGE]", required=False)
@_model_option
@click.option("--stop", is_flag=True, help="End the shadow.")
@click.option("--by", metavar="NAME", help="Who decides, with PACKAGE or --stop.")
@json_option
def shadow(
    home: ClientHome, package: str | None, name: str, stop: bool, by: str | None, as_json: bool
) -> None:
    """Let a model predict beside the one in use; without PACKAGE: show what came of it.

    While there is a shadow, 'predict' asks both models. The one in use decides, as before.
    """
    from wg_client.models import adoption
    from wg_client.models import shadow as shadows

    home.require()
    if package is None and not stop:
        comparison = shadows.read(home)
        document = {"shadow": None if comparison is None else canonical.to_builtins(comparison)}
        show(document, _lines(home.root, comparison), as_json)
        return
    if by is None:
        raise errors.UsageError("--by: say who decides; a role will do")
    if stop:
        if package is not None:
            raise errors.UsageError("--stop: ends the shadow that there is; give no PACKAGE")
        change = adoption.stop_shadow(home, by)
    else:
        manifest, name = chosen(home, package, name)
        change = adoption.set_shadow(home, manifest, name, by)
    _say(home.root, change, as_json)


def change_lines(changes: Iterable[Change]) -> Iterator[str]:
    """Every change of the model in use: when, what, who, why."""
    for change in changes:
        yield f"{_when(change.when)}  {change.what:11} {change.subject or '-'}"
        yield text("    by {name}: {why}", name=cli.printable(change.by), why=text(change.why))


def chosen(home: ClientHome, package: str | None, name: str | None) -> tuple[ModelsManifest, str]:
    """The model that a command is about: the one in use, or one of a package by its id.

    Args:
        package: Id of a package, or the beginning of it; None: of the one in use.
        name: Of a model; None: the one in use, or the one that was kept of the package named.

    Raises:
        ConfigError: There is none, or several packages begin with this.
    """
    from wg_client.models import adoption, store
    from wg_client.models.manifest import KEPT
    from wg_core.fleet.inbox import Inbox

    home.require()
    if not store.all_manifests(home) and Inbox(home).waiting():
        raise errors.ConfigError(
            f"{home.models}: no models yet, but a package came and is being applied; try again when"
            " 'wg-client run' says that it is done"
        )
    if package is None:
        manifest, used = adoption.in_use(home)
        return manifest, name or used
    matches = [m for m in store.all_manifests(home) if m.package_id.startswith(package)]
    if len(matches) != 1:
        raise errors.ConfigError(f"package {package!r}: {len(matches)} packages begin with it")
    return matches[0], name or KEPT


def _say(root: Path, change: Change, as_json: bool) -> None:
    lines = list(_state(change.in_use, change.shadow))
    if change.shadow is not None:
        lines.append(next_step("wg-client predict --home {home} NEW_RECORDS", home=root))
    show(canonical.to_builtins(change), lines, as_json)


def _state(in_use: Chosen | None, shadow: Chosen | None) -> Iterator[str]:
    none = text("none")
    yield text("in use: {model}", model=none if in_use is None else str(in_use))
    yield text("shadow: {model}", model=none if shadow is None else str(shadow))


def _lines(root: Path, comparison: Comparison | None, *, shown: int = 20) -> Iterator[str]:
    if comparison is None:
        yield text("no model is in shadow; 'wg-client models shadow PACKAGE --by NAME' sets one")
        return
    yield from _state(comparison.in_use, comparison.shadow)
    yield text(
        "{compared} predictions of both, {differ} of them differ",
        compared=comparison.compared,
        differ=comparison.differ,
    )
    for difference in comparison.differences[-shown:]:
        yield text(
            "  {name}: {label} ({chance:.2f}), shadow {other} ({other_chance:.2f})",
            name=cli.printable(difference.name),
            label=cli.printable(difference.in_use),
            chance=difference.probability,
            other=cli.printable(difference.shadow),
            other_chance=difference.shadow_probability,
        )
    if comparison.differ > shown:
        yield text(
            "  the newest {shown} of {count}; --json has more",
            shown=shown,
            count=comparison.differ,
        )
    if comparison.compared:
        yield next_step("wg-client models use --home {home} --shadow --by NAME", home=root)
    else:
        yield next_step("wg-client predict --home {home} NEW_RECORDS", home=root)


def _when(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(seconds)) if seconds else "before         "


COMMANDS = (use, shadow)  # Of the group `models`
