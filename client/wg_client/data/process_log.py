"""Logs of a declared process unit: its instruments in order, and the length of windows."""

import re
from collections.abc import Sequence

from wg_common.language import text
from wg_core.errors import ConfigError
from wg_core.site.reading import ReadingConfig
from wg_core.wire.data_sheet import DataSheet, HeatExchanger, StirredVessel


def is_process_unit(sheet: DataSheet) -> bool:
    """Return whether a data sheet declares a process unit."""
    return isinstance(sheet.machine, StirredVessel | HeatExchanger)


def check(sheet: DataSheet | None, reading: ReadingConfig) -> None:
    """Refuse logs that do not match the declared process unit, if there is one.

    Raises:
        ConfigError: Columns or their order differ, or windows have another length.
    """
    if sheet is None or not is_process_unit(sheet):
        return
    from wg_common.machines.process import SAMPLES  # torch is slow to import
    from wg_common.machines.registry import PROCESS_UNITS

    unit, seconds = PROCESS_UNITS[sheet.kind], float(sheet.machine.sample_seconds)
    log = reading.log
    if log is None or log.window != SAMPLES or abs(log.rate * seconds - 1) > _TOLERANCE:
        raise ConfigError(
            text(
                "data sheet: a {kind} with a sample every {seconds:g} s is read in windows of"
                " {samples} samples: --window {window:g} --rate {rate:.6g}",
                kind=sheet.kind,
                seconds=seconds,
                samples=SAMPLES,
                window=SAMPLES * seconds,
                rate=1 / seconds,
            )
        )
    names = [channel.name for channel in unit.channels]
    if [_plain(name) for name in log.channels] != [_plain(name) for name in names]:
        raise ConfigError(
            text(
                "channels {channels}: the instruments of a {kind} are {instruments}. Name the"
                " columns so, and give their order: --channels '{names}'",
                channels=", ".join(log.channels),
                kind=sheet.kind,
                instruments=", ".join(f"{name} ({symbol})" for name, symbol in unit.channels),
                names=",".join(_spellings(log.channels, names)),
            )
        )


_TOLERANCE = 0.05  # Largest relative error of the rate


def _spellings(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the log's spelling of each instrument's name; the name itself if it is missing."""
    spellings = {_plain(column): column for column in columns}
    return [spellings.get(_plain(name), name) for name in names]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
