"""Kinds of machines and process units, by the field of the data sheet that declares them."""

from collections.abc import Mapping

from wg_common.machines import bearing, exchanger, gearbox, motor, vessel
from wg_common.machines.base import MachineKind
from wg_common.machines.process import ProcessUnit
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

MACHINE_KINDS: Mapping[str, MachineKind] = {
    kind.name: kind for kind in (bearing.MACHINE_KIND, gearbox.MACHINE_KIND, motor.MACHINE_KIND)
}
"""Kinds of rotating machine by data sheet field; networks classify their conditions."""
PROCESS_UNITS: Mapping[str, ProcessUnit] = {
    unit.name: unit for unit in (vessel.PROCESS_UNIT, exchanger.PROCESS_UNIT)
}
"""Kinds of process unit by data sheet field; networks estimate their quantities."""
READABLE_KINDS: Mapping[str, MachineKind | ProcessUnit] = {**MACHINE_KINDS, **PROCESS_UNITS}
"""Kinds of rotating machine and of process unit; records of all have machine statistics."""


def declared_machine_kind(sheet: DataSheet) -> MachineKind:
    """Return the kind of the machine that a data sheet declares.

    Raises:
        ConfigError: The data sheet declares no machine of a kind in ``MACHINE_KINDS``.
    """
    if sheet.kind in MACHINE_KINDS:
        return MACHINE_KINDS[sheet.kind]
    if sheet.kind in PROCESS_UNITS:
        raise ConfigError(
            f"data sheet: a {sheet.kind} has soft sensors, which state numbers: no network of it"
            " tells classes; see 'wg-client soft-sensor --help'"
        )
    raise ConfigError(
        f"data sheet: no machine of a kind that is known here ({', '.join(MACHINE_KINDS)}); update"
        " this program"
    )


def declared_process_unit(sheet: DataSheet | None) -> ProcessUnit | None:
    """Return the kind of process unit that a data sheet declares; None if it declares none."""
    return None if sheet is None else PROCESS_UNITS.get(sheet.kind)
