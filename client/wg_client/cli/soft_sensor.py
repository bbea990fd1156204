"""``wg-client soft-sensor``: a number that no instrument measures. No server, no home."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.prediction import spreadsheet_cell
from wg_common.cli import json_option, show, waiting
from wg_common.language import Text, text
from wg_common.options import OUT_FILE
from wg_core import atomic

if TYPE_CHECKING:
    from wg_client.data.laboratory import Hours
    from wg_client.fitting.numbers import Floats
    from wg_client.models.soft_sensor import SoftSensor

_LEARNING = text("learning a soft sensor, %")
_TABLE_OR_LOG = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="soft-sensor")
@click.argument("log", type=_TABLE_OR_LOG)
@click.argument("laboratory", type=_TABLE_OR_LOG)
@click.option("--target", required=True, help="Column of the laboratory's values.")
@click.option("--time", required=True, help="Column of times, which both files have.")
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    required=True,
    help="Rows of the log that a value is told from, up to its time.",
)
@click.option("--out", type=OUT_FILE, help="Write values and intervals of all hours, as CSV.")
@json_option
def soft_sensor(
    log: Path,
    laboratory: Path,
    target: str,
    time: str,
    samples: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """State a number that no instrument measures, from LOG and a LABORATORY's values.

    Nothing leaves, and nothing is charged. Error, bias and R² are those of days that had no part in
    what told them.
    """
    from wg_client.data.laboratory import read_hours
    from wg_client.fitting.numbers import lag_signals
    from wg_client.models.soft_sensor import learn

    hours = read_hours(log, laboratory, target=target, time=time, samples=samples)
    with waiting(_LEARNING):
        features = lag_signals(hours.windows)
        sensor = learn(features, hours.values, hours.recordings)
    judgement, unlike = sensor.judgement, int(sensor.outside(features).sum())
    known_hours = sum(map(math.isfinite, hours.values.tolist()))
    if out is not None:
        atomic.write_bytes(out, _table(sensor, features, hours, target))
    document: dict[str, Any] = {
        "windows": len(hours.values),
        "values": known_hours,
        "unmatched": hours.unmatched,
        "channels": list(hours.channels),
        "error": judgement.error,
        "bias": judgement.bias,
        "r2": judgement.r2,
        "half_width": sensor.model.half_width,
        "unlike": unlike,
    }
    show(document, _lines(document, target), as_json)


def _lines(document: dict[str, Any], target: str) -> list[Text]:
    """Say what a soft sensor is worth."""
    lines = [
        text(
            "{windows} windows of {channels} channels, {known} with a value; {unmatched} values"
            " have no whole window",
            windows=document["windows"],
            channels=len(document["channels"]),
            known=document["values"],
            unmatched=document["unmatched"],
        ),
        text(
            "{target} on days that had no part in it: error {error:.4g}, bias {bias:+.2g},"
            " R² {r2:.2f}",
            target=target,
            error=document["error"],
            bias=document["bias"],
            r2=document["r2"],
        ),
        text(
            "nine values in ten lie within ± {width:.4g}; {unlike} windows are unlike all that has"
            " a value: believe none there",
            width=document["half_width"],
            unlike=document["unlike"],
        ),
    ]
    if document["r2"] <= 0:
        lines.append(text("It is no better than the mean of the values: do not use it."))
    return lines


def _table(sensor: SoftSensor, features: Floats, hours: Hours, target: str) -> bytes:
    """Values of all windows as CSV, a row each."""
    values, ends = sensor.model.predict(features), sensor.interval(features)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["time", spreadsheet_cell(target), "lower", "upper", "unlike", "laboratory"])
    rows = zip(hours.times, values, ends, sensor.outside(features), hours.values, strict=True)
    for moment, value, (lower, upper), unlike, is_known in rows:
        numbers = [f"{number:.6g}" for number in (value, lower, upper)]
        laboratory = "" if is_known != is_known else f"{is_known:.6g}"  # NaN: no value
        writer.writerow([spreadsheet_cell(moment), *numbers, int(unlike), laboratory])
    return stream.getvalue().encode()


COMMANDS = (soft_sensor,)
