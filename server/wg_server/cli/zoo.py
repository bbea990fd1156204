"""``wg-server zoo``: build and show."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from wg_core import atomic, cli
from wg_core.options import OUT_FILE
from wg_core.wire import canonical
from wg_server.cli.options import home_option, plan_option
from wg_server.site.home import ServerHome
from wg_server.site.progress import Noted
from wg_server.zoo import contributions, devices
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
@click.option("--ray", metavar="ADDRESS", help="Run the tasks on the Ray cluster there.")
@click.option(
    "--device",
    type=click.Choice(devices.NAMES),
    default="auto",
    help="What encodes; auto is CUDA where there is a card.",
)
@cli.json_option
def build_command(
    home: ServerHome, plan: Path | None, workers: int, ray: str | None, device: str, as_json: bool
) -> None:
    """Build the zoo; run again, it goes on where it stopped."""
    wanted = read_plan(plan)
    count = steps(wanted)
    with (
        cli.progress("zoo", count) as bar,
        Noted(home.zoo_progress, "zoo build", count) as noted,
    ):
        done = build(
            home,
            wanted,
            workers=workers,
            progress=noted.wrap(bar.update),
            ray=ray,
            device=device,
        )
    lines = [f"zoo: {done.made} entries made, {done.kept} there before"]
    if done.contributions:
        lines.append(f"{done.contributions} contributions taken in")
    lines += [f"encoder {done.encoder}", f"next: wg-server train --home {home.root}"]
    cli.answer(as_json, canonical.to_builtins(done), *lines)


@zoo.command("show")
@home_option
@cli.json_option
def show_command(home: ServerHome, as_json: bool) -> None:
    """What the zoo holds, and where it came from."""
    encoder = home.encoder_id() if home.encoder.is_file() else ""
    document = _summary(list(Zoo(home.zoo).entries()), encoder)
    given = contributions.stored(home.zoo)
    document["contributions"] = canonical.to_builtins(given)
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
        *(
            f"  {one.name}: from {one.site}, {len(one.labels)} classes, licence {one.licence},"
            f" epsilon {one.epsilon} at delta {one.delta}; kept, not trained on"
            for one in given
        ),
    )


@zoo.command("report")
@home_option
@click.option("--out", type=OUT_FILE, required=True, help="The page to write, HTML.")
@click.option(
    "--statistics",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A statistics file of an enrolled site to place in the zoo; may be repeated.",
)
@cli.json_option
def report_command(
    home: ServerHome, out: Path, statistics: tuple[Path, ...], as_json: bool
) -> None:
    """How diverse the zoo is, what it has too much of, and how far plants lie from it."""
    from wg_server.zoo_report.page import report

    summary, page = report(home, statistics)
    atomic.write_bytes(out, page.encode())
    cli.answer(
        as_json,
        summary.to_json(),
        f"{summary.entries} entries of {summary.families} families,"
        f" effectively {summary.effective_families:.1f}",
        *(f"- {remark}" for remark in summary.remarks),
        f"report {out}",
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
