"""What ``wg-client predict`` says before there is a model: is a record unlike the plant's own?"""

from pathlib import Path
from typing import Any

from wg_core import cli, errors
from wg_core.cli import note, show
from wg_core.language import text
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

_PATCH_RECORDS = 40


def no_model_yet(home: ClientHome) -> bool:
    """Whether there is no model, and none is being made."""
    from wg_client.models import store
    from wg_core.fleet.inbox import Inbox

    home.require()
    return not store.all_manifests(home) and not Inbox(home).waiting()


def novelty(
    home: ClientHome,
    paths: tuple[Path, ...],
    heat_maps: Path | None,
    as_json: bool,
) -> int:
    """Say of each record how like the plant's own it is. Needs no labels, server or weights.

    A line has the file, the share of the plant's own records that are at least as odd, and "new"
    where that share is at most 5 %.
    """
    from wg_client.cli.prediction import records_at, write_heat_maps
    from wg_client.data.inspection import decoded_parts
    from wg_client.models.calls import Judge

    labels = configuration.load(home).data.labels
    judge = Judge.of_records(home, _PATCH_RECORDS)
    rows: list[dict[str, Any]] = []
    problems = []
    for path in paths:
        data, left_out = records_at(home, labels, path)
        problems += left_out
        for part, bad in decoded_parts(data):
            problems += bad
            if not len(part):
                continue
            for name, share in zip(part.names, judge.likeness_of(part.records), strict=True):
                likeness = None if share != share else float(share)
                rows.append({"name": name, "likeness": likeness, "new": judge.is_new(likeness)})
            if heat_maps is not None:
                write_heat_maps(heat_maps, judge, part)
    for problem in problems:
        note(f"left out: {problem.name}: {problem.reason}")
    lines = []
    for row in rows:
        share = "unknown" if row["likeness"] is None else f"{row['likeness']:.3f}"
        lines.append(
            f"{cli.printable(row['name'])}\t{share}\t{'new' if row['new'] else ''}".rstrip()
        )
    note(text("no model yet: likeness to your own records alone"))
    show({"records": rows, "left_out": [problem.name for problem in problems]}, lines, as_json)
    return errors.ExitCode.CONFIG if problems else errors.ExitCode.OK
