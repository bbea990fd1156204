"""``wg-client soft-sensor``: estimates of a quantity that no instrument measures."""

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
from wg_core.errors import DataError, UsageError
from wg_core.site.home import ClientHome

if TYPE_CHECKING:
    from wg_client.data.laboratory import Hours
    from wg_client.fitting.numbers import Judgement
    from wg_client.models.soft_sensor import Estimates
    from wg_common.machines.process import Quantity
    from wg_common.weights_package import Condition

_LEARNING = text("learning a soft sensor, %")
_TABLE_OR_LOG = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="soft-sensor")
@click.argument("log", type=_TABLE_OR_LOG)
@click.argument("laboratory", type=_TABLE_OR_LOG, required=False)
@click.option("--target", required=True, help="Column of the laboratory's values.")
@click.option("--time", required=True, help="Column of times, which both files have.")
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    help="Rows of the log that a value is told from, up to its time.",
)
@click.option("--out", type=OUT_FILE, help="Write values and intervals of all hours, as CSV.")
@click.option(
    "--package",
    type=_TABLE_OR_LOG,
    help="A package with a soft sensor for the process unit that the home states.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The plant's home folder, with --package.",
)
@click.option("--quantity", help="Quantity of the package that the column has.")
@json_option
def soft_sensor(
    log: Path,
    laboratory: Path | None,
    target: str,
    time: str,
    samples: int | None,
    out: Path | None,
    package: Path | None,
    home: Path | None,
    quantity: str | None,
    as_json: bool,
) -> None:
    """State a number that no instrument measures, from LOG and a LABORATORY's values.

    Nothing leaves, and nothing is charged. Error, bias and R² are those of days that had no part in
    what told them.

    With a package no value is needed. Where there are some, they judge what was delivered, and
    correct or replace it only where that is better.
    """
    if (package is None) != (home is None) or (quantity is not None and package is None):
        raise UsageError("--package and --home come together, and --quantity with them")
    if package is None or home is None:
        if laboratory is None or samples is None:
            raise UsageError("LABORATORY and --samples: needed, unless --package has a soft sensor")
        hours, estimates, document, lines = _own_sensor(log, laboratory, target, time, samples)
    else:
        if samples is not None:
            raise UsageError("--samples: a package says how many; leave it out")
        hours, estimates, document, lines = _delivered_sensor(
            (log, laboratory), target, time, (home, package), quantity
        )
    if out is not None:
        atomic.write_bytes(out, _table(estimates, hours, target))
    value_count = sum(map(math.isfinite, hours.values.tolist()))
    about = {
        "windows": len(hours.values),
        "values": value_count,
        "unmatched": hours.unmatched,
        "channels": list(hours.channels),
        "unlike": int(estimates.unlike.sum()),
    }
    counts_line = text(
        "{windows} windows of {channels} channels, {known} with a value; {unmatched} values"
        " have no whole window",
        windows=len(hours.values),
        channels=len(hours.channels),
        known=value_count,
        unmatched=hours.unmatched,
    )
    show(about | document, [counts_line, *lines], as_json)


Result = tuple["Hours", "Estimates", dict[str, Any], list[Text]]
"""Hours, their estimates, and the output as a document and as lines."""


def _own_sensor(log: Path, laboratory: Path, target: str, time: str, samples: int) -> Result:
    """Train a soft sensor on laboratory values alone."""
    from wg_client.data.laboratory import read_hours
    from wg_client.fitting.numbers import lag_signals
    from wg_client.models.soft_sensor import learn

    hours = read_hours(log, laboratory, target=target, time=time, samples=samples)
    with waiting(_LEARNING):
        features = lag_signals(hours.windows)
        sensor = learn(features, hours.values, hours.recordings)
    estimates = sensor.estimates(features)
    document = {**sensor.judgement._asdict(), "half_width": sensor.model.half_width}
    lines = [
        _judgement_line(target, sensor.judgement),
        text(
            "nine values in ten lie within ± {width:.4g}; {unlike} windows are unlike all that has"
            " a value: believe none there",
            width=sensor.model.half_width,
            unlike=int(estimates.unlike.sum()),
        ),
    ]
    if sensor.judgement.r2 <= 0:
        lines.append(text("It is no better than the mean of the values: do not use it."))
    return hours, estimates, document, lines


def _delivered_sensor(
    files: tuple[Path, Path | None],
    target: str,
    time: str,
    delivery: tuple[Path, Path],
    quantity: str | None,
) -> Result:
    """Use a delivered soft sensor, evaluated on laboratory values if there are any."""
    import numpy as np

    from wg_client.data.laboratory import read_hours
    from wg_client.models.soft_sensor import KnownHours, judge
    from wg_client.selection import sensor_package
    from wg_common.machines.process import SAMPLES, standardise

    with waiting(_LEARNING):
        package = sensor_package.take(ClientHome(delivery[0]), delivery[1])
        place = package.place(target, quantity)
        hours = read_hours(*files, target=target, time=time, samples=SAMPLES).of(package.channels)
        sensor, known_rows = package.sensor, np.isfinite(hours.values)
        if (hours.values[known_rows] <= 0).any():
            raise DataError(
                text(
                    "{path}: values of {target} are to be above 0",
                    path=files[1],
                    target=repr(target),
                )
            )
        features = sensor.features(hours.windows)
        scores = sensor.scores(features)[:, place]
        laboratory = hours.values[known_rows], hours.recordings[known_rows]
        known_hours = KnownHours(features[known_rows], scores[known_rows], *laboratory)
        records = standardise(sensor.records[None], sensor.records[None])[0].double().numpy()
        delivered_sensor = judge(
            package.scale(place), known_hours, records, float(sensor.half_width[place])
        )
        estimates = delivered_sensor.estimates(features, scores)
    stated_quantity = sensor.unit.quantities[place]
    document = {
        "quantity": stated_quantity.name,
        "unit": stated_quantity.unit,
        "kept": delivered_sensor.choice_name,
        "statistic": package.condition.statistic,
        "epsilon": package.condition.epsilon,
        **{name: part._asdict() for name, part in delivered_sensor.judgements.items()},
    }
    lines = [
        _origin_line(stated_quantity, package.condition),
        *(_judgement_line(name, part) for name, part in delivered_sensor.judgements.items()),
        text(
            "kept: {name}; {unlike} windows are unlike all records that are frozen: believe none"
            " there",
            name=delivered_sensor.choice_name,
            unlike=int(estimates.unlike.sum()),
        ),
    ]
    return hours, estimates, document, lines


def _origin_line(quantity: Quantity, condition: Condition) -> Text:
    """Describe a delivered soft sensor's quantity, and the condition it was made for."""
    about = {"quantity": quantity.name, "unit": quantity.unit, "kind": condition.data_sheet}
    if not condition.statistic:
        return text("{quantity} in {unit}, made for a {kind}'s data sheet alone", **about)
    return text(
        "{quantity} in {unit}, made for a {kind}'s data sheet and a release at epsilon {epsilon}",
        epsilon=condition.epsilon,
        **about,
    )


def _judgement_line(name: str, judgement: Judgement) -> Text:
    return text(
        "{target} on days that had no part in it: error {error:.4g}, bias {bias:+.2g}, R² {r2:.2f}",
        target=name,
        **judgement._asdict(),
    )


def _table(estimates: Estimates, hours: Hours, target: str) -> bytes:
    """Return the estimates of all windows as CSV, one row each."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["time", spreadsheet_cell(target), "lower", "upper", "unlike", "laboratory"])
    for moment, *numbers, unlike, known_value in zip(
        hours.times, *estimates, hours.values, strict=True
    ):
        cells = [f"{number:.6g}" for number in numbers]
        laboratory = "" if known_value != known_value else f"{known_value:.6g}"  # NaN: no value
        writer.writerow([spreadsheet_cell(moment), *cells, int(unlike), laboratory])
    return stream.getvalue().encode()


COMMANDS = (soft_sensor,)
