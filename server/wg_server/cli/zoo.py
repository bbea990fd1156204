"""``wg-server zoo``: build and show."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from wg_core import cli
from wg_core.wire import canonical
from wg_server.cli.options import home_option, plan_option
from wg_server.site.home import ServerHome
from wg_server.site.progress import Noted
from wg_server.zoo import devices
from wg_server.zoo.build import build, steps
from wg_server.zoo.plan import read_plan
from wg_server.zoo.store import Entry, Zoo


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


@zoo.command("show")
@home_option
@cli.json_option
def show_command(home: ServerHome, as_json: bool) -> None:
    """What the zoo holds, and where it came from."""
    encoder = home.encoder_id() if home.encoder.is_file() else ""
    document = _summary(list(Zoo(home.zoo).entries()), encoder)
    cli.answer(
        as_json,
        document,
        f"encoder  {encoder or 'none yet: run zoo build'}",
        f"entries  {document['entries']} of {document['families']} families",
        *(
            f"  {name}: {row['entries']} entries, {row['records']} records,"
            f" licence {row['licence']}, accuracy {row['accuracy']:.2f}"
            for name, row in document["sources"].items()
        ),
    )


def _summary(entries: list[Entry], encoder: str) -> dict[str, Any]:
    by_source: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_source[entry.task.name].append(entry)
    labels = Counter(label for entry in entries for label in entry.labels)
    return {
        "encoder": encoder,
        "entries": len(entries),
        "other_encoder": sum(entry.encoder != encoder for entry in entries),
        "families": len({entry.family for entry in entries}),
        "records": sum(entry.records for entry in entries),
        "sources": {
            name: {
                "entries": len(rows),
                "families": len({row.family for row in rows}),
                "records": sum(row.records for row in rows),
                "licence": ", ".join(sorted({row.licence for row in rows})),
                "accuracy": float(np.mean([float(row.accuracy) for row in rows])),
            }
            for name, rows in sorted(by_source.items())
        },
        "labels": dict(labels.most_common(40)),
    }
