"""Options of ``wg-client init`` for reading files; they become ``data.reading``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import click

from wg_client.cli.options import split_at_commas
from wg_core.errors import UsageError
from wg_core.site.reading_config import (
    AUTO_TEXT_ENCODING,
    DEFAULT_TABLE_COLUMNS,
    GREY_BIT_DEPTHS,
    TEXT_ENCODINGS,
    ReadingConfig,
)

text_column_option = click.option(
    "--text-column", help="Column of a table with the texts; default: text, or as 'init' named it."
)
_CLICK_OPTIONS = (
    click.option(
        "--bits",
        type=click.Choice([str(bits) for bits in GREY_BIT_DEPTHS]),
        default="16",
        show_default=True,
        help="Number of a grey pixel's 16 bits that the camera fills.",
    ),
    click.option(
        "--encoding",
        type=click.Choice(TEXT_ENCODINGS),
        default=AUTO_TEXT_ENCODING,
        show_default=True,
        help="Encoding of tables; auto knows UTF-8, UTF-16 and CP932 (Shift-JIS).",
    ),
    click.option(
        "--window",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Cut long sensor logs (CSV, WAV) into windows of this length.",
    ),
    click.option(
        "--hop",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Time from window to window; default: the length of a window.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0, min_open=True),
        metavar="HZ",
        help="Samples a second; default: what the first log's times say.",
    ),
    click.option("--time-column", help="Column of time stamps; gaps are found by them."),
    click.option(
        "--channels", help="Columns that are channels, a,b,c; default: those of the first file."
    ),
    text_column_option,
    click.option("--label-column", help="Column with the label of each row; default: label."),
    click.option(
        "--intervals", metavar="FILE", help="Table in the folder of logs with start, end and label."
    ),
)


class ReadingOptions(TypedDict):
    """Values of the options for reading files, by parameter name; None: not given.

    Attributes:
        bits: Number of a grey pixel's 16 bits that are used, a decimal string.
        encoding: Text encoding of tables and logs.
        window: Length of a window of a sensor log, seconds; None: records are single files.
        hop: Time from window to window, seconds.
        rate: Samples per second.
        time_column: Column of time stamps.
        channels: Names of the channels, separated by commas.
        text_column: Column of texts.
        label_column: Column of labels.
        intervals: Table of labelled intervals, within the folder of logs.
    """

    bits: str
    encoding: str
    window: float | None
    hop: float | None
    rate: float | None
    time_column: str | None
    channels: str | None
    text_column: str | None
    label_column: str | None
    intervals: str | None


_LOG_OPTIONS: tuple[Literal["hop", "rate", "time_column", "intervals"], ...] = (
    "hop",
    "rate",
    "time_column",
    "intervals",
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for reading files to a command."""
    for option in reversed(_CLICK_OPTIONS):
        command = option(command)
    return command


def build_reading_config(
    data: Path, unit_column: str | None, options: ReadingOptions
) -> ReadingConfig:
    """Build the reading configuration from options.

    Raises:
        UsageError: An option for logs is given without a window.
        DataError: A missing value cannot be determined from the first log.
        ConfigError: A value is out of range.
    """
    names = None if options["channels"] is None else split_at_commas(options["channels"])
    bits, encoding = int(options["bits"]), options["encoding"]
    if options["window"] is None:
        log_options = [name for name in _LOG_OPTIONS if options[name] is not None]
        if log_options:
            option = log_options[0].replace("_", "-")
            raise UsageError(f"--{option}: of sensor logs; say how long a window is: --window")
        from wg_client.data.class_folders import window_column_names

        channels = names or window_column_names(data)
        return ReadingConfig(
            bits=bits,
            encoding=encoding,
            channels=channels,
            columns=(
                options["text_column"] or DEFAULT_TABLE_COLUMNS[0],
                options["label_column"] or DEFAULT_TABLE_COLUMNS[1],
            ),
        )
    from wg_client.data import sensor_windows

    log_reading = sensor_windows.propose_log_config(
        data,
        sensor_windows.CuttingOptions(
            window_seconds=options["window"],
            hop_seconds=options["hop"],
            rate_hz=options["rate"],
            channels=names,
            time_column=options["time_column"],
            label_column=options["label_column"],
            interval_table=options["intervals"],
        ),
        unit_column=unit_column,
        encoding=encoding,
    )
    return ReadingConfig(bits=bits, encoding=encoding, log=log_reading)
