"""``wg-server train``: train a generator on the zoo, and install it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wg_common import cli
from wg_common.language import text
from wg_common.weights_package import NO_PRIVACY
from wg_core.errors import ExitCode
from wg_server.cli.options import current_user, home_option, plan_option, workers_option
from wg_server.generator import pipeline, versions
from wg_server.generator.plan import read_plan
from wg_server.generator.weights import data_sheet_card, sensor_training
from wg_server.site.home import ServerHome
from wg_server.store.operators import logged_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


@click.command()
@home_option
@plan_option("default, demo, quick")
@workers_option
@cli.json_option
def train(home: ServerHome, plan: Path | None, workers: int, as_json: bool) -> int:
    """Train a generator on the zoo, and install it.

    In a home for sensor windows, it also makes networks for each kind of machine that the encoder
    reads, in two minutes per kind; several workers train several kinds at the same time.

    If only the heads or only the networks for machines pass their checks, packages contain only
    these. If both fail, the command ends with code 6 and the earlier generator stays installed:
    'wg-server generator --use' installs the new one all the same.
    """
    training_plan = read_plan(plan)
    home.read_config()  # an uninitialised home fails now, not at the end
    with cli.show_progress("train", pipeline.count_training_steps(home, training_plan)) as bar:
        card = pipeline.train_generator(home, training_plan, progress=bar.update, workers=workers)
    passes, pruned_versions = _install_and_prune_versions(home, card["version"])
    version = versions.read_version(home, card["version"])
    partial = [
        text("its {part} fail their checks and are left out of packages", part=part)
        for part, is_used in (
            (text("heads"), version.uses_heads),
            (text("networks for machines"), version.uses_networks or "sheets" not in card),
        )
        if not is_used
    ]
    short = card["version"][: versions.SHORT_ID_LENGTH]
    lines = [text("generator {version}", version=card["version"]), *_scenario_lines(card)]
    if "sheets" in card:
        lines += _network_card_lines(card["sheets"])
    lines += [
        text("deleted: generator {version}", version=name[: versions.SHORT_ID_LENGTH])
        for name in pruned_versions
    ]
    if passes:
        lines += [
            text(
                "generator {version}: installed; campaigns begin with it from now on", version=short
            ),
            *partial,
            cli.next_step("wg-server serve --home {home}", home=home.root),
        ]
    else:
        lines += [
            text(
                "generator {version}: not installed, since its model card fails; what was installed"
                " stays in use",
                version=short,
            ),
            text(
                "next: train on a larger zoo, or: wg-server generator --home {home} --use"
                " {version}",
                home=home.root,
                version=short,
            ),
        ]
    cli.print_result_lines(
        as_json, {**card, "installed": passes, "deleted": pruned_versions}, *lines
    )
    return ExitCode.OK if passes else ExitCode.NOT_ACCEPTED


def _install_and_prune_versions(home: ServerHome, version_id: str) -> tuple[bool, list[str]]:
    """Install a new generator if its model card passes, and delete unused old generators.

    Returns:
        True if it was installed, and the ids of the deleted generators.
    """
    version = versions.read_version(home, version_id)
    passes = version.is_usable
    with ServerStore.open(home) as store:
        if passes:
            with logged_action(store, current_user(), "generator use", version.id):
                versions.install_version(home, version)
        running = CampaignQueue(store.engine).generator_ids_in_use()
        return passes, versions.prune_versions(home, {version.id, *running})


def _scenario_lines(card: dict[str, Any]) -> list[str]:
    lines: list[str] = [text("share right on families never seen (the card has every method):")]
    for name, rows in card["scenarios"].items():
        shares = ", ".join(f"{method} {row['accuracy']:.3f}" for method, row in rows.items())
        lines.append(f"  {name}: {shares}")
    own_families = card.get("own_families", {})
    if own_families:
        lines.append(
            text(
                "own families at simulated sites: share of records right, sites of its own and of"
                " others refused; found: how well an attack by loss recognises training records"
                " (.5: not at all):"
            )
        )
    for family, figures in own_families.items():
        shares = ", ".join(
            f"{model} {share if model in asdict(NO_PRIVACY) else format(float(share), '.3f')}"
            + (f" ± {float(figures[f'{model}_error']):.3f}" if f"{model}_error" in figures else "")
            for model, share in figures.items()
            if not model.endswith("_error")
        )
        lines.append(f"  {family}: {shares}")
    return lines + _check_lines(card)


def _network_card_lines(card: dict[str, Any]) -> list[str]:
    """Return the lines on the model cards of machine networks and soft sensors."""
    lines = []
    for machines in card["kinds"].values():
        lines += data_sheet_card.card_text_lines(machines)
    for units in card.get("sensors", {}).values():
        lines += sensor_training.card_text_lines(units)
        lines += [f"  {words}" for words in _check_lines(units)]
    return lines + _check_lines(card)


def _check_lines(card: dict[str, Any]) -> list[str]:
    return [
        text(
            "{verdict}: {name}: {value:.4g}, required >= {bound:g}",
            verdict=text("passes") if check["passed"] else text("FAILS"),
            name=check["name"],
            value=check["value"],
            bound=check["bound"],
        )
        for check in card["checks"]
    ]
