"""``wg-server zoo``: build the public tasks that the generator is trained on."""

from __future__ import annotations

from pathlib import Path

import click

from wg_common import cli
from wg_common.language import text
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.cli.options import current_user, home_option, plan_option, workers_option
from wg_server.generator.weights.reading_map_training import train_reading_maps
from wg_server.site.home import ServerHome
from wg_server.store.operators import logged_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore
from wg_server.zoo import trunks
from wg_server.zoo.build import build_zoo, count_plan_entries, replace_encoder
from wg_server.zoo.plan import ZooPlan, read_plan


@click.group()
def zoo() -> None:
    """Public tasks that the generator learns from."""


@zoo.command("build")
@home_option
@plan_option("default, demo, windows, text")
@workers_option
@click.option(
    "--new-encoder",
    is_flag=True,
    help="Put the plan's encoder in the place of the home's; then each site joins again.",
)
@cli.json_option
def build_command(
    home: ServerHome, plan: Path | None, workers: int, new_encoder: bool, as_json: bool
) -> None:
    """Build the zoo; a second run continues where the first one stopped.

    A home serves pictures (plans default and demo), sensor windows and machines (windows), or texts
    (text).
    """
    zoo_plan = read_plan(plan)
    if new_encoder:
        _replace_encoder(home, zoo_plan, workers)
    with cli.show_progress("zoo", count_plan_entries(zoo_plan)) as bar:
        result = build_zoo(
            home,
            zoo_plan,
            workers=workers,
            progress=bar.update,
            train_reading_maps=train_reading_maps,
        )
    counts = {"made": result.new_entries, "before": result.earlier_entries}
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(result),
        text("zoo: {made} entries made, {before} there before", **counts),
        text("encoder {encoder}", encoder=result.encoder),
        *trunks.trunk_advice_lines(zoo_plan),
        cli.next_step("wg-server train --home {home}", home=home.root),
    )


def _replace_encoder(home: ServerHome, plan: ZooPlan, workers: int) -> None:
    """Fit the encoder that a plan describes, and replace the home's encoder by it.

    Raises:
        ConfigError: A campaign is open.
    """
    with ServerStore.open(home) as store:
        if CampaignQueue(store.engine).generator_ids_in_use():
            raise ConfigError("campaigns are open: end or cancel them before another encoder")
        with logged_action(store, current_user(), "encoder", plan.architecture):
            identity = replace_encoder(
                home, plan, workers=workers, train_reading_maps=train_reading_maps
            )
    cli.print_progress(
        text(
            "encoder {encoder}; after 'train', 'enroll --replace' each site: its owner is asked for"
            " this hash, and freezes anew",
            encoder=identity,
        )
    )
