"""``wg-client soft-sensor``: estimates of a quantity that no instrument measures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from wg_client.models.drift import Shift
    from wg_client.models.soft_sensor import Estimates
    from wg_common.machines.process import Quantity
    from wg_common.weights_package import Condition

_LEARNING = text("learning a soft sensor, %")
_MOVED = 0.01
"""Largest p-value at which drift of the signals is reported."""
Files = tuple[Path, Path | None]
"""A log, and a file of laboratory values."""
_TABLE_OR_LOG = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="soft-sensor")
@click.argument("log", type=_TABLE_OR_LOG)
@click.argument("laboratory", type=_TABLE_OR_LOG, required=False)
@click.option("--target", required=True, help="Column of the laboratory's values.")
@click.option("--time", required=True, help="Column of times, which both files have.")
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    help=("Number of rows of the log, up to a value's time, from which it is estimated."),
)
@click.option("--out", type=OUT_FILE, help="Write values and intervals of all hours, as CSV.")
@click.option(
    "--package",
    type=_TABLE_OR_LOG,
    help="A package with a soft sensor.  [default: the newest that the home keeps]",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The plant's home, for a soft sensor that the server made for its process unit.",
)
@click.option("--quantity", help="Quantity of this soft sensor that the column has.")
@click.option("--report", type=OUT_FILE, help="Write a page on it, in the language in use.")
@click.option("--onnx", type=OUT_FILE, help="Write the soft sensor for other programs.")
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
    report: Path | None,
    onnx: Path | None,
    as_json: bool,
) -> None:
    """Estimate a quantity that no instrument measures, from LOG and a LABORATORY's values.

    Nothing leaves, and nothing is charged. Error, bias and R² are measured on days that
    were not used for training.

    With --home no value is needed: the server made the soft sensor. If there are values, they
    evaluate it, and it is averaged with sensors fitted to them.
    """
    if home is None:
        if package is not None or quantity is not None:
            raise UsageError("--package, --quantity: need --home as well")
        if laboratory is None or samples is None:
            raise UsageError(
                "LABORATORY and --samples: needed, unless --home has a soft sensor from its server"
            )
        sensor = _own_sensor((log, laboratory), target, time, samples)
    else:
        if samples is not None:
            raise UsageError("--samples: a delivered soft sensor says how many; leave it out")
        sensor = _delivered_sensor((log, laboratory), target, time, (home, package), quantity)
    lines = _lines(sensor)
    if out is not None:
        atomic.write_bytes(out, _table(sensor, target))
    if report is not None:
        from wg_client.selection import sensor_report

        pairs = sensor.hours.values, sensor.estimates
        page = sensor_report.page(target, lines, sensor.judgements, pairs)
        atomic.write_bytes(report, page.encode(), mode=atomic.PRIVATE)
    if onnx is not None:
        from wg_client.models.sensor_export import SensorModule, sensor_file

        shape = sensor.hours.channels, sensor.hours.windows.shape[2]
        data = sensor_file(SensorModule(*sensor.parts), target, *shape)
        atomic.write_bytes(onnx, data, mode=atomic.PRIVATE)
    show(_counts(sensor) | sensor.document, lines, as_json)


class Sensor(NamedTuple):
    """A soft sensor with its estimates for the windows of a log, and its output.

    Attributes:
        hours: Windows of the log, with laboratory values.
        estimates: Estimates for the windows.
        judgements: Quality on windows with a value, by name.
        document: Output as a document.
        lines: Output as sentences.
        parts: Arguments of ``SensorModule``.
    """

    hours: Hours
    estimates: Estimates
    judgements: Mapping[str, Judgement]
    document: dict[str, Any]
    lines: list[Text]
    parts: tuple[Any, ...]


def _counts(sensor: Sensor) -> dict[str, Any]:
    hours = sensor.hours
    return {
        "windows": len(hours.values),
        "values": sum(map(math.isfinite, hours.values.tolist())),
        "unmatched": hours.unmatched,
        "channels": list(hours.channels),
        "unlike": int(sensor.estimates.unlike.sum()),
    }


def _lines(sensor: Sensor) -> list[Text]:
    """Return the output as sentences."""
    counts = _counts(sensor)
    return [
        text(
            "{windows} windows of {channels} channels, {known} with a value; {unmatched} values"
            " have no whole window",
            windows=counts["windows"],
            channels=len(counts["channels"]),
            known=counts["values"],
            unmatched=counts["unmatched"],
        ),
        *(_judgement_line(name, part) for name, part in sensor.judgements.items()),
        *sensor.lines,
    ]


def _own_sensor(files: Files, target: str, time: str, samples: int) -> Sensor:
    """Train a soft sensor on laboratory values alone."""
    import numpy as np

    from wg_client.data.laboratory import read_hours
    from wg_client.fitting.numbers import LOCAL, lag_signals
    from wg_client.models import soft_sensor as sensors

    hours = read_hours(*files, target=target, time=time, samples=samples)
    with waiting(_LEARNING):
        features = lag_signals(hours.windows)
        sensor = sensors.learn(features, hours.values, hours.recordings)
        has_value = np.isfinite(hours.values)
        shift = sensors.movement(features[has_value], features[~has_value])
    estimates, judgement = sensor.estimates(features), sensor.judgement
    lines = [
        text(
            "nine values in ten lie within ± {width:.4g}; {unlike} windows are unlike all "
            "windows with a value: do not trust the estimates there",
            width=sensor.half_width,
            unlike=int(estimates.unlike.sum()),
        ),
        *_moved(shift, text("hours without a value")),
    ]
    if judgement.r2 <= 0:
        lines.append(text("It is no better than the mean of the values: do not use it."))
    document = {**judgement._asdict(), "half_width": sensor.half_width, **_drift(shift)}
    return Sensor(hours, estimates, {LOCAL: judgement}, document, lines, (sensor,))


def _delivered_sensor(
    files: Files, target: str, time: str, source: tuple[Path, Path | None], quantity: str | None
) -> Sensor:
    """Use a delivered soft sensor, evaluated on laboratory values if there are any."""
    import numpy as np

    from wg_client.data.laboratory import read_hours
    from wg_client.models import soft_sensor as sensors
    from wg_client.models import store
    from wg_client.selection import sensor_package
    from wg_common.machines.process import SAMPLES, standardise

    with waiting(_LEARNING):
        home, path = ClientHome(source[0]), source[1]
        package = sensor_package.take(home, path) if path else sensor_package.newest(home)
        place = package.place(target, quantity)
        hours = read_hours(*files, target=target, time=time, samples=SAMPLES).of(package.channels)
        network, has_value = package.sensor, np.isfinite(hours.values)
        if (hours.values[has_value] <= 0).any():
            words = {"path": files[1], "target": repr(target)}
            raise DataError(text("{path}: values of {target} are to be above 0", **words))
        features = network.features(hours.windows)
        scores = network.scores(features)[:, place]
        laboratory = hours.values[has_value], hours.recordings[has_value]
        known_hours = sensors.KnownHours(features[has_value], scores[has_value], *laboratory)
        records = standardise(network.records[None], network.records[None])[0].double().numpy()
        width = float(network.half_width[place])
        sensor = sensors.judge(package.scale(place), known_hours, records, width)
        estimates = sensor.estimates(features, scores)
        shift = sensors.movement(records, features)
    told_quantity, condition = network.unit.quantities[place], package.manifest.condition
    document = {
        "package": package.manifest.package_id,
        "quantity": told_quantity.name,
        "unit": told_quantity.unit,
        "shares": sensor.shares,
        "statistic": condition.statistic,
        "epsilon": condition.epsilon,
        **{name: part._asdict() for name, part in sensor.judgements.items()},
        **_drift(shift),
    }
    lines = [
        text(
            "package {package}; the home keeps {count}, and uses the newest without --package",
            package=package.manifest.package_id[:16],
            count=len(store.kept_sensors(home)),
        ),
        _origin_line(told_quantity, condition),
        text(
            "selected: {shares}; nine values in ten lie between {low:.0%} and {high:.0%} of the"
            " estimate; {unlike} windows are unlike all frozen records: do not trust these",
            shares=", ".join(f"{name} {share:.0%}" for name, share in sensor.shares.items()),
            low=sensor.scale.share(-sensor.half_width),
            high=sensor.scale.share(sensor.half_width),
            unlike=int(estimates.unlike.sum()),
        ),
        *_moved(shift, text("these hours, against the records that are frozen")),
    ]
    parts = sensor, network, place
    return Sensor(hours, estimates, sensor.judgements, document, lines, parts)


def _drift(shift: Shift | None) -> dict[str, Any]:
    return {} if shift is None else {"drift": {"p": shift.p, "largest": shift.largest}}


def _moved(shift: Shift | None, hours: Text) -> Iterator[Text]:
    """Describe the drift of the signals, where it is known."""
    if shift is None:
        return
    words = {"hours": hours, "p": shift.p, "largest": shift.largest}
    if shift.p <= _MOVED:
        yield text(
            "drift: signals of {hours} have moved (by {largest:.1f} of their spread, p "
            "{p:.2g}): take laboratory values there",
            **words,
        )
    else:
        yield text("no drift is seen in signals of {hours} (p {p:.2g})", **words)


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
        "{target} on days not used for training: error {error:.4g}, bias {bias:+.2g}, R² {r2:.2f}",
        target=name,
        **judgement._asdict(),
    )


def _table(sensor: Sensor, target: str) -> bytes:
    """Return the estimates of all windows as CSV, one row each."""
    hours, estimates = sensor.hours, sensor.estimates
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
