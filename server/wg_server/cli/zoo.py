"""``wg-server zoo``: what the generator is trained on."""

from __future__ import annotations

from pathlib import Path

import click

from wg_common import cli
from wg_common.language import text
from wg_core.wire import canonical
from wg_server.cli.options import home_option, plan_option
from wg_server.generator.weights.reading_map_training import train_maps
from wg_server.site.home import ServerHome
from wg_server.zoo import trunks
from wg_server.zoo.build import build, steps
from wg_server.zoo.plan import read_plan


@click.group()
def zoo() -> None:
    """Public tasks that the generator learns from."""


@zoo.command("build")
@home_option
@plan_option("default, demo, windows, text")
@click.option("--workers", type=click.IntRange(1, 1024), default=1, help="Processes.")
@cli.json_option
def build_command(home: ServerHome, plan: Path | None, workers: int, as_json: bool) -> None:
    """Build the zoo; run again, it goes on where it stopped.

    A home serves pictures (plans default and demo), sensor windows and machines (windows), or texts
    (text).
    """
    zoo_plan = read_plan(plan)
    with cli.progress("zoo", steps(zoo_plan)) as bar:
        result = build(home, zoo_plan, workers=workers, progress=bar.update, train_maps=train_maps)
    counts = {"made": result.made, "before": result.kept}
    cli.answer(
        as_json,
        canonical.to_builtins(result),
        text("zoo: {made} entries made, {before} there before", **counts),
        text("encoder {encoder}", encoder=result.encoder),
        *trunks.advice(zoo_plan),
        cli.next_step("wg-server train --home {home}", home=home.root),
    )
