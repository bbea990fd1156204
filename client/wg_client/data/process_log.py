"""Check that sensor logs match the process unit on a data sheet: channels, rate and windows."""

import re

from wg_common.language import text
from wg_core.errors import ConfigError
from wg_core.site.reading_config import ReadingConfig
from wg_core.wire.data_sheet import DataSheet, HeatExchanger, StirredVessel


def declared_process_unit(sheet: DataSheet | None) -> StirredVessel | HeatExchanger | None:
    """Return the process unit that a data sheet declares, or None."""
    machine = None if sheet is None else sheet.machine
    return machine if isinstance(machine, StirredVessel | HeatExchanger) else None


def check_process_log(sheet: DataSheet | None, reading: ReadingConfig) -> None:
    """Refuse sensor logs that do not match the declared process unit, if the sheet declares one.

    Raises:
        ConfigError: Columns or their order differ, or windows have another length.
    """
    declaration = declared_process_unit(sheet)
    if sheet is None or declaration is None:
        return
    from wg_common.machines.process import WINDOW_SAMPLES  # torch is slow to import
    from wg_common.machines.registry import PROCESS_UNITS

    unit, seconds = PROCESS_UNITS[sheet.kind], float(declaration.sample_seconds)
    log, names = reading.log, [channel.name for channel in unit.channels]
    words = {"kind": sheet.kind, "seconds": seconds, "samples": WINDOW_SAMPLES, "rate": 1 / seconds}
    if (
        log is None
        or log.window_samples != WINDOW_SAMPLES
        or abs(log.rate * seconds - 1) > _RELATIVE_RATE_TOLERANCE
    ):
        raise ConfigError(
            text(
                "data sheet: a {kind} with a sample every {seconds:g} s is read in windows of"
                " {samples} samples: --window {window:g} --rate {rate:.6g}",
                window=WINDOW_SAMPLES * seconds,
                **words,
            )
        )
    if [_normalise_channel_name(name) for name in log.channels] != [
        _normalise_channel_name(name) for name in names
    ]:
        spellings = {_normalise_channel_name(column): column for column in log.channels}
        raise ConfigError(
            text(
                "channels {channels}: the instruments of a {kind} are {instruments}. Name the"
                " columns so, and give their order: --channels '{names}'",
                channels=", ".join(log.channels),
                instruments=", ".join(f"{name} ({symbol})" for name, symbol in unit.channels),
                names=",".join(
                    spellings.get(_normalise_channel_name(name), name) for name in names
                ),
                **words,
            )
        )


_RELATIVE_RATE_TOLERANCE = 0.05  # Largest relative error of the rate


def _normalise_channel_name(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
