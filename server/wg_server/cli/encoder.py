"""``wg-server encoder``: candidates compared, and one of them taken."""

from __future__ import annotations

from pathlib import Path

import click

from wg_core import cli
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.cli.options import home_option, this_user
from wg_server.generator.evaluation import encoders
from wg_server.generator.evaluation.encoders import EncoderFigures
from wg_server.site.home import ServerHome
from wg_server.store.operators import recorded
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store
from wg_server.zoo.build import use
from wg_server.zoo.plan import read_plan

_workers = click.option("--workers", type=click.IntRange(1, 1024), default=1, help="Processes.")


@click.group()
def encoder() -> None:
    """Which networks the fleet's encoder stands on."""


@encoder.command("compare")
@click.argument(
    "plans", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PLAN..."
)
@_workers
@cli.json_option
def compare_command(plans: tuple[Path, ...], workers: int, as_json: bool) -> None:
    """Fit the encoder of each PLAN, and judge them on tasks of the first. Changes nothing."""
    rows = encoders.compare([(path, read_plan(path)) for path in plans], workers=workers)
    document = {"candidates": canonical.to_builtins(rows)}
    chosen = next(row for row in rows if row.recommended)
    cli.answer(
        as_json,
        document,
        f"{'plan':24} {'local, 5':>9} {'20':>6} {'eps 1':>6} {'4':>6} {'ms':>7} {'MB':>7}  trunks",
        *(_line(row) for row in rows),
        f"recommended: {chosen.plan}",
        f"next: wg-server encoder use --home DIR --plan {chosen.plan}",
    )


def _line(row: EncoderFigures) -> str:
    figures = " ".join(f"{figure:6.3f}" for figure in (*row.local, *row.released))
    licences = f" ({', '.join(row.licences)})" if row.licences else ""
    return (
        f"{row.plan[:24]:24}    {figures} {row.milliseconds:7.1f} {row.megabytes:7.1f}"
        f"  {', '.join(row.trunks)}{licences}; same bits each time"
    )


@encoder.command("use")
@home_option
@click.option("--plan", type=click.Path(path_type=Path), required=True, help="Plan of the zoo.")
@_workers
@cli.json_option
def use_command(home: ServerHome, plan: Path, workers: int, as_json: bool) -> None:
    """Put the encoder of a plan in the place of the home's.

    Zoo and generator are then made anew, and each site joins again with a new token.
    """
    zoo_plan = read_plan(plan)
    with Store.open(home) as store:
        if CampaignQueue(store.engine).generators():
            raise ConfigError("campaigns are open: end or cancel them before another encoder")
        with recorded(store, this_user(), "encoder use", plan.name):
            identity = use(home, zoo_plan, workers=workers)
    cli.answer(
        as_json,
        {"encoder": identity},
        f"encoder {identity}",
        f"next: wg-server zoo build --home {home.root} --plan {plan}; then 'train', and for each"
        " site 'enroll --replace': its owner is asked for this hash, and freezes anew",
    )
