"""``wg-client freeze``, and what it and ``init`` say of a data set: all that is wrong, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.upkeep import home_option
from wg_client.site.home import ClientHome
from wg_common import cli, errors
from wg_common.cli import emit, json_option, note, printable, say
from wg_common.wire import canonical

if TYPE_CHECKING:
    from wg_client.data.inspection import Inspection
    from wg_client.release.freeze import Frozen

_SHOWN = 50
"""Lines for a person; ``--json`` has all."""

set_aside_option = click.option(
    "--set-aside",
    is_flag=True,
    help="Leave out what cannot be used, and freeze the rest.",
)
allow_empty_option = click.option(
    "--allow-empty", is_flag=True, help="Go on without a single record; needs declared labels."
)


@click.command("freeze")
@home_option
@set_aside_option
@allow_empty_option
@json_option
def freeze_command(root: Path, set_aside: bool, allow_empty: bool, as_json: bool) -> int:
    """Check, encode and fix the data set; releases are made from this snapshot alone.

    Ends with code 3 and changes nothing if a record cannot be used, unless --set-aside. Each freeze
    is a new version of the data set, whose releases are charged anew.
    """
    from wg_client.release import freeze as freezing
    from wg_client.site import config as configuration
    from wg_client.site import encoder_pin

    home = ClientHome(root)
    config = configuration.load(home)
    source = Path(config.data.path)
    if reminder := encoder_pin.reminder(home, config):
        note(reminder)
    with freezing_bar() as stage:
        found = freezing.look(home, stage=stage)
    if refused := say_refusal(found, set_aside, allow_empty, source, as_json):
        return refused
    with freezing_bar() as stage:
        frozen = freezing.freeze(
            home, found, set_aside=set_aside, allow_empty=allow_empty, stage=stage
        )
    if as_json:
        emit({"frozen": True, **freeze_document(frozen)})
    else:
        say_frozen(frozen)
        say(f"next: wg-client check --home {root}")
    return errors.EXIT_OK


@contextmanager
def freezing_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for the two stages of a freeze; drawn when the first of them begins."""
    with ExitStack() as stack:
        bar: cli.Bar | None = None

        def show(stage: str, done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(cli.progress("freezing, %", 200))
            passed = 100 if stage == "encoded" else 0
            bar.update(passed + 100 * done // max(total, 1), f"{done} of {total} records {stage}")

        yield show


def say_refusal(
    found: Inspection, set_aside: bool, allow_empty: bool, source: Path, as_json: bool
) -> int:
    """Name everything that keeps a data set from being frozen; returns the exit code, or 0."""
    from wg_client.release.freeze import why_not

    refused = why_not(found, set_aside=set_aside, allow_empty=allow_empty, source=source)
    if refused is None:
        return errors.EXIT_OK
    if as_json:
        emit(
            {
                "frozen": False,
                "error": {
                    "code": refused.code,
                    "message": str(refused),
                    "exit_code": refused.exit_code,
                },
                "problems": canonical.to_builtins((*found.shared, *found.problems)),
                "duplicates": canonical.to_builtins(found.duplicates),
            }
        )
    else:
        _name("cannot be used", (*found.shared, *found.problems), lambda one: one.reason)
    note(f"error: {printable(str(refused))}")
    return refused.exit_code


def freeze_document(frozen: Frozen) -> dict[str, Any]:
    """What ``--json`` says of a snapshot."""
    manifest = frozen.snapshot.manifest
    return {
        "version": manifest.number,
        "dataset": manifest.dataset,
        "records": frozen.records,
        "set_aside": canonical.to_builtins(frozen.listing.set_aside),
        "duplicates": canonical.to_builtins(frozen.listing.duplicates),
    }


def say_frozen(frozen: Frozen) -> None:
    """Say what was frozen, and what was not."""
    listing, manifest = frozen.listing, frozen.snapshot.manifest
    _name("left out", listing.set_aside, lambda one: one.reason)
    _name("counts once", listing.duplicates, lambda one: f"the same content as {one.same_as}")
    say(
        f"{printable(listing.path)}: version {manifest.number} of data set {manifest.dataset},"
        f" {frozen.records} records, {len(listing.set_aside)} left out,"
        f" {len(listing.duplicates)} duplicates"
    )


def _name(title: str, items: tuple[Any, ...], words: Callable[[Any], str]) -> None:
    for one in items[:_SHOWN]:
        say(f"  {title}: {printable(one.name)}: {printable(words(one))}")
    if len(items) > _SHOWN:
        say(f"  {title}: {len(items) - _SHOWN} more; --json names all")
