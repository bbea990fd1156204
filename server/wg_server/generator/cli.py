"""``wg-server train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wg_common import cli
from wg_server.generator.plan import read_plan
from wg_server.generator.train import train as run_training
from wg_server.home import ServerHome


@click.command()
@click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="The server's home folder."
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Plan file, or the name of a packaged plan: default, demo.",
)
@cli.json_option
def train(home: Path, plan: Path | None, as_json: bool) -> None:
    """Train the generator on the zoo; interrupted, it goes on where it stopped."""
    wanted = read_plan(plan)
    place = ServerHome(home)
    with cli.progress("train", wanted.steps) as bar:
        card = run_training(place, wanted, progress=bar.update)
    if as_json:
        cli.emit(card)
        return
    cli.say(f"generator {card['generator']}")
    for line in _table(card):
        cli.say(line)
    cli.say(f"model card {place.model_card}")
    if card["networks"] is not None:
        cli.say(f"whole networks {card['networks']['generator']}")
        for line in _table(card["networks"]):
            cli.say(line)
        cli.say(f"model card {place.networks_card}")


def _table(card: dict[str, Any]) -> list[str]:
    lines = []
    for name, rows in card["scenarios"].items():
        lines.append(f"{name} (families never seen):")
        for method, row in sorted(rows.items(), key=lambda item: -item[1]["accuracy"]):
            lines.append(f"  {method:20} {row['accuracy']:.3f} +- {row['error']:.3f}")
    lines += [f"loses: {line}" for line in card["loses"]] or ["loses nowhere by over a point"]
    lines += [f"alarm: {line}" for line in card["alarms"]]
    for check in card["checks"]:
        lines.append(
            f"{'passes' if check['passed'] else 'FAILS'}: {check['name']}: {check['value']:.4g},"
            f" required {check['relation']} {check['bound']:g}"
        )
    if not card["passes"]:
        lines.append(
            "the card fails: serve, campaign and generate refuse this generator, unless it is"
            f" accepted by name: --accept-generator {card['generator'][:16]}"
        )
    return lines
