"""Hints on the networks that a server can make for a declared machine and its class names.

They are computed from the public data sheet and class names with the functions that the server
uses, so that a plant can read them before it joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wg_common.language import Text, text
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

if TYPE_CHECKING:  # torch is slow to import
    from wg_common.machines.process import ProcessUnit


def machine_hints(data_sheet: DataSheet | None, labels: Sequence[str]) -> tuple[Text, ...]:
    """Return hints on networks for a plant's machine and classes; none without a sheet."""
    if data_sheet is None:
        return ()
    from wg_common.machines import condition_words, registry  # torch is slow to import

    if (unit := registry.declared_process_unit(data_sheet)) is not None:
        return _process_unit_hints(unit, data_sheet)
    try:
        kind = registry.declared_machine_kind(data_sheet)
        kind.read_figures(data_sheet)
        conditions = condition_words.require_two_conditions(kind, labels)
    except ConfigError as error:
        return (text("no network can be made for this machine. {why}", why=error.args[0]),)
    pairs = list(zip(labels, conditions, strict=True))
    meanings = [
        f"{label} = {condition_words.describe_condition(kind, condition)}"
        for label, condition in pairs
        if condition is not None
    ]
    hints = [text("networks for this machine distinguish {classes}", classes=", ".join(meanings))]
    if unknown := [label for label, condition in pairs if condition is None]:
        hints.append(
            text(
                "class names that describe no condition of the machine: {classes}; the networks"
                " never predict these by themselves. Names that contain one of {words} are "
                "understood",
                classes=", ".join(unknown),
                words=condition_words.list_recognised_words(kind),
            )
        )
    return tuple(hints)


def _process_unit_hints(unit: ProcessUnit, data_sheet: DataSheet) -> tuple[Text, ...]:
    try:
        unit.read_figures(data_sheet)
    except ConfigError as error:
        return (text("no soft sensor can be made for this unit. {why}", why=error.args[0]),)
    quantities = ", ".join(
        f"{quantity.name} ({quantity.measurement_unit})" for quantity in unit.quantities
    )
    return (
        text(
            "a server makes a soft sensor for {quantities}; 'wg-client soft-sensor' uses it, or"
            " trains your own",
            quantities=quantities,
        ),
    )
