"""The kinds of machines, by the field of the data sheet that states one."""

from collections.abc import Mapping

from wg_common.machines import bearing, gearbox, motor
from wg_common.machines.base import MachineKind
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

KINDS: Mapping[str, MachineKind] = {
    kind.name: kind for kind in (bearing.KIND, gearbox.KIND, motor.KIND)
}


def stated_kind(sheet: DataSheet) -> MachineKind:
    """Find the kind of the machine that a sheet states.

    Raises:
        ConfigError: It states no machine of a kind in ``KINDS``.
    """
    if sheet.kind in KINDS:
        return KINDS[sheet.kind]
    raise ConfigError(
        f"data sheet: no machine of a kind that is known here ({', '.join(KINDS)}); update this"
        " program"
    )
