"""``wg-server zoo``: what the generator is trained on."""

from __future__ import annotations

from pathlib import Path

import click

from wg_core import cli
from wg_core.wire import canonical
from wg_server.cli.options import home_option, plan_option
from wg_server.site.home import ServerHome
from wg_server.site.progress import Noted
from wg_server.zoo import devices
from wg_server.zoo.build import build, steps
from wg_server.zoo.plan import read_plan


@click.group()
def zoo() -> None:
    """Public tasks and their trained weights."""


@zoo.command("build")
@home_option
@plan_option
@click.option("--workers", type=click.IntRange(1, 1024), default=1, help="Processes.")
@click.option(
    "--device",
    type=click.Choice(devices.NAMES),
    default="auto",
    help="What encodes; auto is CUDA where there is a card.",
)
@cli.json_option
def build_command(
    home: ServerHome, plan: Path | None, workers: int, device: str, as_json: bool
) -> None:
    """Build the zoo; run again, it goes on where it stopped."""
    zoo_plan = read_plan(plan)
    count = steps(zoo_plan)
    with (
        cli.progress("zoo", count) as bar,
        Noted(home.zoo_progress, "zoo build", count) as noted,
    ):
        done = build(
            home,
            zoo_plan,
            workers=workers,
            progress=noted.wrap(bar.update),
            device=device,
        )
    lines = [f"zoo: {done.made} entries made, {done.kept} there before"]
    lines += [f"encoder {done.encoder}", f"next: wg-server train --home {home.root}"]
    cli.answer(as_json, canonical.to_builtins(done), *lines)
