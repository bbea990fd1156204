"""``wg-server zoo``: build and show."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from wg_common import atomic, cli
from wg_common.nets.encoder import package
from wg_common.wire import canonical
from wg_server.site.home import ServerHome
from wg_server.zoo import contributions, devices, sheets, sources
from wg_server.zoo.build import build
from wg_server.zoo.plan import read_plan, tasks
from wg_server.zoo.store import Entry, Zoo

_home = click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="The server's home folder."
)


@click.group()
def zoo() -> None:
    """Public tasks and their trained weights."""


@zoo.command("build")
@_home
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Plan file, or the name of a packaged plan: default, demo.",
)
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
    home: Path, plan: Path | None, workers: int, ray: str | None, device: str, as_json: bool
) -> None:
    """Build the zoo; run again, it goes on where it stopped."""
    wanted = sources.available(read_plan(plan))
    with cli.progress("zoo", len(tasks(wanted))) as bar:
        done = build(
            ServerHome(home),
            wanted,
            workers=workers,
            progress=bar.update,
            ray=ray,
            device=device,
        )
    document = canonical.to_builtins(done)
    if as_json:
        cli.emit(document)
    else:
        cli.say(f"zoo: {done.made} entries made, {done.kept} there before")
        if done.contributions:
            cli.say(f"{done.contributions} contributions taken in")
        cli.say(f"encoder {done.encoder}")


@zoo.command("show")
@_home
@cli.json_option
def show_command(home: Path, as_json: bool) -> None:
    """What the zoo holds, and where it came from."""
    place = ServerHome(home)
    encoder = ""
    if place.encoder.is_file():
        encoder = canonical.sha256_hex(
            atomic.read_bytes(place.encoder, limit=package.PACKAGE_LIMIT)
        )
    document = _summary(list(Zoo(place.zoo).entries()), encoder)
    given = contributions.stored(place.zoo)
    document["contributions"] = canonical.to_builtins(given)
    if as_json:
        cli.emit(document)
        return
    cli.say(f"encoder  {encoder or 'none yet: run zoo build'}")
    cli.say(f"entries  {document['entries']} of {document['families']} families")
    for name, row in document["sources"].items():
        cli.say(
            f"  {name}: {row['entries']} entries, {row['records']} records,"
            f" licence {row['licence']}, accuracy {row['accuracy']:.2f}"
        )
    for one in given:
        cli.say(
            f"  {one.name}: from {one.site}, {len(one.labels)} classes, licence {one.licence},"
            f" epsilon {one.epsilon} at delta {one.delta}; kept, not trained on"
        )


@zoo.command("report")
@_home
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The page to write, HTML."
)
@click.option(
    "--statistics",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A statistics file of an enrolled site to place in the zoo; may be repeated.",
)
@cli.json_option
def report_command(home: Path, out: Path, statistics: tuple[Path, ...], as_json: bool) -> None:
    """How diverse the zoo is, what it has too much of, and how far plants lie from it."""
    from wg_server.zoo_report.page import report

    summary, page = report(ServerHome(home), statistics)
    atomic.write_bytes(out, page.encode())
    if as_json:
        cli.emit(summary.to_json())
        return
    cli.say(
        f"{summary.entries} entries of {summary.families} families,"
        f" effectively {summary.effective_families:.1f}"
    )
    for remark in summary.remarks:
        cli.say(f"- {remark}")
    cli.say(f"report {out}")


@zoo.command("sheet")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures."
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Plan file, or the name of a packaged plan: default, demo.",
)
@click.option("--families", type=click.IntRange(1, 100), default=sheets.ROWS, help="Rows.")
@click.option("--classes", type=click.IntRange(1, 100), default=sheets.COLUMNS, help="Columns.")
@cli.json_option
def sheet_command(out: Path, plan: Path | None, families: int, classes: int, as_json: bool) -> None:
    """Contact sheets of what a plan's procedural sources render, one for each kind."""
    written = sheets.write(read_plan(plan), out, rows=families, columns=classes)
    if as_json:
        cli.emit([str(path) for path in written])
        return
    for path in written:
        cli.say(str(path))


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
