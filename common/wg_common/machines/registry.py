"""The kinds of machines and process units, by the field of the data sheet that states one."""

from collections.abc import Mapping

from wg_common.machines import bearing, exchanger, gearbox, motor, vessel
from wg_common.machines.base import MachineKind
from wg_common.machines.process import ProcessUnit
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

KINDS: Mapping[str, MachineKind] = {
    kind.name: kind for kind in (bearing.KIND, gearbox.KIND, motor.KIND)
}
"""Machines, whose networks tell conditions."""
PROCESS_UNITS: Mapping[str, ProcessUnit] = {
    unit.name: unit for unit in (vessel.UNIT, exchanger.UNIT)
}
"""Process units, whose networks state quantities."""
READ: Mapping[str, MachineKind | ProcessUnit] = {**KINDS, **PROCESS_UNITS}
"""All whose records have machine statistics."""


def stated_kind(sheet: DataSheet) -> MachineKind:
    """Find the kind of the machine that a sheet states.

    Raises:
        ConfigError: It states no machine of a kind in ``KINDS``.
    """
    if sheet.kind in KINDS:
        return KINDS[sheet.kind]
    if sheet.kind in PROCESS_UNITS:
        raise ConfigError(
            f"data sheet: a {sheet.kind} has soft sensors, which state numbers: no network of it"
            " tells classes; see 'wg-client soft-sensor --help'"
        )
    raise ConfigError(
        f"data sheet: no machine of a kind that is known here ({', '.join(KINDS)}); update this"
        " program"
    )


def stated_unit(sheet: DataSheet | None) -> ProcessUnit | None:
    """Find the process unit that a sheet states; None: it states none."""
    return None if sheet is None else PROCESS_UNITS.get(sheet.kind)
