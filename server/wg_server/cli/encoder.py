"""``wg-server encoder``: candidates compared, or one of them put in the place of the home's."""

from __future__ import annotations

from pathlib import Path

import click

from wg_common import cli
from wg_common.language import text
from wg_core.errors import ConfigError, UsageError
from wg_core.wire import canonical
from wg_server.cli.options import this_user
from wg_server.generator.evaluation import encoders
from wg_server.generator.evaluation.encoders import EncoderFigures
from wg_server.generator.weights.reading_map_training import train_maps
from wg_server.site.home import ServerHome
from wg_server.store.operators import record_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store
from wg_server.zoo.build import use
from wg_server.zoo.plan import read_plan


@click.command()
@click.argument(
    "plans", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PLAN..."
)
@click.option(
    "--use",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="HOME",
    help="Put the encoder of the one PLAN in the place of this home's.",
)
@click.option("--workers", type=click.IntRange(1, 1024), default=1, help="Processes.")
@cli.json_option
def encoder(plans: tuple[Path, ...], root: Path | None, workers: int, as_json: bool) -> None:
    """Fit the encoder of each PLAN of a zoo, and judge all on tasks of the first; or use one.

    A comparison changes nothing. After --use, zoo and generator are made anew, and each site joins
    again with a new token.
    """
    if root is not None:
        if len(plans) != 1:
            raise UsageError("--use: takes one plan")
        _use(ServerHome(root), plans[0], workers, as_json)
        return
    rows = encoders.compare([(path, read_plan(path)) for path in plans], workers=workers)
    recommended_row = next(row for row in rows if row.recommended)
    cli.answer(
        as_json,
        {"candidates": canonical.to_builtins(rows)},
        f"{'plan':20} {'local, 5':>9} {'20':>6} {'eps 1':>6} {'4':>6} {'ms':>7} {'MB':>7}  trunks",
        *(_line(row) for row in rows),
        text(
            "recommended: {plan}; rows of all have the same bits each time",
            plan=recommended_row.plan,
        ),
    )


def _line(row: EncoderFigures) -> str:
    figures = " ".join(f"{figure:6.3f}" for figure in (*row.local, *row.released))
    size = f"{row.milliseconds:7.1f} {row.megabytes:7.1f}"
    return f"{row.plan[:20]:20}    {figures} {size}  {', '.join(row.trunks)}"


def _use(home: ServerHome, path: Path, workers: int, as_json: bool) -> None:
    plan = read_plan(path)
    with Store.open(home) as store:
        if CampaignQueue(store.engine).generators():
            raise ConfigError("campaigns are open: end or cancel them before another encoder")
        with record_action(store, this_user(), "encoder", path.name):
            identity = use(home, plan, workers=workers, train_maps=train_maps)
    cli.answer(
        as_json,
        {"encoder": identity},
        text("encoder {encoder}", encoder=identity),
        text(
            "next: wg-server zoo build --home {home} --plan {plan}; then 'train', and for each site"
            " 'enroll --replace': its owner is asked for this hash, and freezes anew",
            home=home.root,
            plan=path,
        ),
    )
