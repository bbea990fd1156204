"""How long an answer may take at most, by arithmetic; its time slot must be longer."""

from wg_core.errors import ConfigError
from wg_core.site.config import ClientConfig

_SECONDS_A_RECORD = {False: 6e-5, True: 2e-4}
"""To sum one record about a centre, and with units of several records: four times what one core of
a server took (16 and 51 microseconds)."""
_SLOTS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Slots that are suggested: few, since a slot can be seen."""


def check_slot(config: ClientConfig, records: int, dimension: int) -> None:
    """Refuse a time slot in which an answer might not be made: how many it takes would tell.

    An answer sums all records about a centre that is not known before, and checks the files of the
    snapshot, so it takes longer for more records. The bound is arithmetic on a slow machine's
    speed, never a measurement.

    Raises:
        ConfigError: The slot is too short; the message names one that is not.
    """
    # To check a file: a fifth of what SHA-256 takes with a processor's own instructions.
    bytes_a_second = 2e8
    seconds_a_record = (
        _SECONDS_A_RECORD[config.data.unit_column is not None] + dimension * 4 / bytes_a_second
    )
    seconds_needed = records * seconds_a_record
    slot = config.privacy.answer_slot_seconds
    if seconds_needed > slot:
        fitting = next(
            (slot_seconds for slot_seconds in _SLOTS if slot_seconds >= seconds_needed), _SLOTS[-1]
        )
        raise ConfigError(
            f"privacy.answer_slot_seconds: {slot:g} is too short for this data set: an answer might"
            f" take longer, and that would show how many records there are; set {fitting}, and"
            " freeze again"
        )
