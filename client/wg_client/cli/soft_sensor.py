"""``wg-client soft-sensor``: estimates of a quantity that no instrument measures."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wg_client.cli.prediction_run import spreadsheet_cell
from wg_common.cli import json_option, print_result, show_spinner
from wg_common.language import Text, text
from wg_common.options import OUT_FILE_TYPE
from wg_core import atomic
from wg_core.errors import DataError, UsageError
from wg_core.site.home import ClientHome

if TYPE_CHECKING:
    from wg_client.data.laboratory import LaboratoryWindows
    from wg_client.fitting.sensor_models import RegressionQuality
    from wg_client.models.drift import ShiftTestResult
    from wg_client.models.soft_sensor import Estimates, SensorInputs, SoftSensor
    from wg_client.selection.sensor_package import SensorPackage

_PROGRESS_TITLE = text("learning a soft sensor, %")
_LARGEST_DRIFT_P_VALUE = 0.01
"""Largest p-value at which drift of the signals is reported."""
LogAndLaboratoryFiles = tuple[Path, Path | None]
"""A log, and a file of laboratory values."""
_INPUT_FILE_TYPE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="soft-sensor")
@click.argument("log", type=_INPUT_FILE_TYPE)
@click.argument("laboratory", type=_INPUT_FILE_TYPE, required=False)
@click.option("--target", required=True, help="Column of the laboratory's values.")
@click.option("--time", required=True, help="Column of times, which both files have.")
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    help=("Number of rows of the log, up to a value's time, from which it is estimated."),
)
@click.option("--out", type=OUT_FILE_TYPE, help="Write values and intervals of all hours, as CSV.")
@click.option(
    "--package",
    type=_INPUT_FILE_TYPE,
    help="A package with a soft sensor.  [default: the newest that used a statistic, else the"
    " newest]",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The plant's home, for a soft sensor that the server made for its process unit.",
)
@click.option("--quantity", help="Quantity of this soft sensor that the column has.")
@click.option("--report", type=OUT_FILE_TYPE, help="Write a page on it, in the language in use.")
@click.option("--onnx", type=OUT_FILE_TYPE, help="Write the soft sensor for other programs.")
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
        sensor = _train_local_sensor((log, laboratory), target, time, samples)
    else:
        if samples is not None:
            raise UsageError("--samples: a delivered soft sensor says how many; leave it out")
        sensor = _use_delivered_sensor((log, laboratory), target, time, (home, package), quantity)
    hours, judgements = sensor.windows, sensor.sensor.quality_by_model
    counts = {
        "windows": len(hours.values),
        "values": sum(map(math.isfinite, hours.values.tolist())),
        "unmatched": hours.unmatched_count,
        "unlike": int(sensor.estimates.unlike_mask.sum()),
    }
    drift, drift_lines = _drift_document_and_lines(sensor.drift_test)
    lines = [*_estimate_lines(counts, judgements), *sensor.extra_lines, *drift_lines]
    if out is not None:
        atomic.write_bytes(out, _estimate_csv(sensor, target), mode=atomic.PRIVATE_FILE_MODE)
    if report is not None:
        from wg_client.selection import sensor_report

        column = target, str(sensor.extra_document.get("unit", ""))
        page = sensor_report.render_sensor_report(column, lines, hours, sensor.estimates)
        atomic.write_bytes(report, page.encode(), mode=atomic.PRIVATE_FILE_MODE)
    if onnx is not None:
        from wg_client.models.soft_sensor import encode_sensor_onnx

        shape = hours.channels, hours.windows.shape[2]
        data = encode_sensor_onnx(sensor.sensor, sensor.compute_inputs, target, *shape)
        atomic.write_bytes(onnx, data, mode=atomic.PRIVATE_FILE_MODE)
    figures = {name: judgement._asdict() for name, judgement in judgements.items()}
    document = {**counts, "channels": list(hours.channels), **figures, **sensor.extra_document}
    print_result(document | drift, lines, as_json)


class SensorLogEstimates(NamedTuple):
    """Soft sensor with its estimates for the windows of a sensor log.

    Attributes:
        windows: Windows of the log, with laboratory values.
        sensor: The soft sensor.
        compute_inputs: Function that computes the soft sensor's inputs from windows.
        estimates: Estimates for the windows.
        drift_test: Result of the drift test of the signals; None: too few windows.
        extra_document: Further fields of the JSON output.
        extra_lines: Further lines of the text output.
    """

    windows: LaboratoryWindows
    sensor: SoftSensor
    compute_inputs: SensorInputs
    estimates: Estimates
    drift_test: ShiftTestResult | None
    extra_document: dict[str, Any]
    extra_lines: list[Text]


def _train_local_sensor(
    files: LogAndLaboratoryFiles, target_column: str, time_column: str, window_rows: int
) -> SensorLogEstimates:
    """Train a soft sensor on laboratory values alone."""
    import numpy as np

    from wg_client.data.laboratory import read_laboratory_windows
    from wg_client.fitting.sensor_models import lagged_signals
    from wg_client.models import soft_sensor as sensors

    hours = read_laboratory_windows(
        *files, target=target_column, time=time_column, samples=window_rows
    )
    with show_spinner(_PROGRESS_TITLE):
        features = lagged_signals(hours.windows)
        sensor = sensors.train_soft_sensor(features, hours.values, hours.recording_ids)
        has_value = np.isfinite(hours.values)
        shift = sensors.test_for_drift(features[has_value], features[~has_value])
    line = text("nine values in ten lie within ± {width:.4g}", width=sensor.interval_half_width)
    estimates, document = sensor.estimate(features), {"half_width": sensor.interval_half_width}
    return SensorLogEstimates(
        hours, sensor, sensors.lagged_signal_inputs, estimates, shift, document, [line]
    )


def _use_delivered_sensor(
    files: LogAndLaboratoryFiles,
    target_column: str,
    time_column: str,
    home_and_package: tuple[Path, Path | None],
    quantity: str | None,
) -> SensorLogEstimates:
    """Use a delivered soft sensor, evaluated on laboratory values if there are any.

    ``home_and_package`` is the plant's home folder, and a package file; None: a package in the
    home.
    """
    import torch

    from wg_client.data.laboratory import read_laboratory_windows
    from wg_client.models import soft_sensor as sensors
    from wg_client.models import store
    from wg_client.selection.sensor_package import select_sensor, store_sensor_package
    from wg_common.machines.process import WINDOW_SAMPLES

    with show_spinner(_PROGRESS_TITLE):
        home, path = ClientHome(home_and_package[0]), home_and_package[1]
        package = store_sensor_package(home, path) if path else select_sensor(home)
        place = package.quantity_index(target_column, quantity)
        hours = read_laboratory_windows(
            *files, target=target_column, time=time_column, samples=WINDOW_SAMPLES
        ).select_channels(package.channels)
        if (hours.values <= 0).any():
            words = {"path": files[1], "target": repr(target_column)}
            raise DataError(text("{path}: values of {target} are to be above 0", **words))
        inputs = functools.partial(package.compute_inputs, quantity_index=place)
        features, scores = (part.numpy() for part in inputs(torch.from_numpy(hours.windows)))
        network, scale = package.sensor, package.quantity_scale(place)
        records = network.standardise(network.plant_readings).double().numpy()
        width = float(network.half_widths[place])
        sensor = sensors.adapt_delivered_sensor(scale, hours, (features, scores), records, width)
        shift = sensors.test_for_drift(records, features)
    estimates, count = sensor.estimate(features, scores), len(store.sensor_package_paths(home))
    document, lines = _delivered_sensor_document_and_lines(package, place, sensor, count)
    return SensorLogEstimates(hours, sensor, inputs, estimates, shift, document, lines)


def _delivered_sensor_document_and_lines(
    package: SensorPackage, quantity_index: int, sensor: SoftSensor, package_count: int
) -> tuple[dict[str, Any], list[Text]]:
    """Describe a delivered soft sensor as a JSON document and as sentences.

    Args:
        quantity_index: Index of the estimated quantity in the package.
        package_count: Number of packages with a soft sensor that the home keeps.
    """
    quantity, about = package.sensor.unit.quantities[quantity_index], package.manifest
    document = {
        "package": about.package_id,
        "quantity": quantity.name,
        "unit": quantity.measurement_unit,
        "shares": sensor.share_by_model,
        "statistic": about.condition.statistic,
        "epsilon": about.condition.epsilon,
    }
    origin = text(
        "{quantity} in {unit} of a {kind}, made at epsilon {epsilon}; package {package}, of"
        " {count} that the home keeps",
        quantity=quantity.name,
        unit=quantity.measurement_unit,
        kind=about.condition.data_sheet,
        epsilon=about.condition.epsilon or 0,
        package=about.package_id[:16],
        count=package_count,
    )
    selection = text(
        "selected: {shares}; nine values in ten lie between {low:.0%} and {high:.0%} of the"
        " estimate",
        shares=", ".join(f"{name} {share:.0%}" for name, share in sensor.share_by_model.items()),
        low=math.exp(-sensor.interval_half_width / quantity.log_ratio_factor),
        high=math.exp(sensor.interval_half_width / quantity.log_ratio_factor),
    )
    return document, [origin, selection]


def _drift_document_and_lines(
    drift_test: ShiftTestResult | None,
) -> tuple[dict[str, Any], list[Text]]:
    """Describe the drift of the signals as a JSON document and as sentences."""
    if drift_test is None:
        return {}, []
    figures = {"p": drift_test.p, "largest": drift_test.largest}
    line = text("no drift is seen in the signals (p {p:.2g})", p=drift_test.p)
    if drift_test.p <= _LARGEST_DRIFT_P_VALUE:
        line = text(
            "drift: the signals have moved (by {largest:.1f} of their spread, p {p:.2g}): take"
            " laboratory values there",
            **figures,
        )
    return {"drift": figures}, [line]


def _estimate_lines(
    counts: Mapping[str, int], quality_by_model: Mapping[str, RegressionQuality]
) -> Iterator[Text]:
    """Yield lines on the estimates: numbers of windows, and errors against laboratory values."""
    yield text(
        "{windows} windows, {values} with a value, {unlike} unlike all known ones: do not trust the"
        " estimates there; {unmatched} values have no complete window",
        **counts,
    )
    for name, judgement in quality_by_model.items():
        yield text(
            "{target} on days not used for training: error {error:.4g}, bias {bias:+.2g}, R²"
            " {r2:.2f}",
            target=name,
            **judgement._asdict(),
        )
    if quality_by_model and judgement.r2 <= 0:
        yield text("It is no better than the mean of the values: do not use it.")


def _estimate_csv(estimated_log: SensorLogEstimates, target_column: str) -> bytes:
    """Return the estimates of all windows as CSV text, one row per window."""
    hours, estimates = estimated_log.windows, estimated_log.estimates
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(
        ["time", spreadsheet_cell(target_column), "lower", "upper", "unlike", "laboratory"]
    )
    for moment, *numbers, unlike, known_value in zip(
        hours.times, *estimates, hours.values, strict=True
    ):
        cells = [f"{number:.6g}" for number in numbers]
        laboratory = "" if known_value != known_value else f"{known_value:.6g}"  # NaN: no value
        writer.writerow([spreadsheet_cell(moment), *cells, int(unlike), laboratory])
    return stream.getvalue().encode()


COMMANDS = (soft_sensor,)
