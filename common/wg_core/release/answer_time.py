"""Computed upper bound on the time that an answer takes, which its time slot must exceed."""

from wg_core.errors import ConfigError
from wg_core.site.config import ClientConfig

_SECONDS_PER_RECORD = {False: 6e-5, True: 2e-4}
"""Seconds to sum one record about a centre, without and with units of several records: four times
the measured time of one server core (16 and 51 microseconds)."""
_SUGGESTED_SLOT_SECONDS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Suggested slots, in seconds; only a few, since an observer can see the slot."""


def check_answer_slot(config: ClientConfig, record_count: int, dimension: int) -> None:
    """Check that the time slot is long enough for an answer.

    The work grows with the number of records: an answer hashes the snapshot's files, and sums all
    records about a centre that is known only after the first noise is drawn. An answer that takes
    several slots would thus reveal this number. The time is bounded for a slow machine by a
    formula, never measured.

    Args:
        record_count: Number of records in the snapshot.
        dimension: Number of local features per record.

    Raises:
        ConfigError: The slot is too short; the message suggests a longer one.
    """
    # Speed of checking a file: a fifth of SHA-256 with a processor's own instructions.
    bytes_a_second = 2e8
    seconds_a_record = (
        _SECONDS_PER_RECORD[config.data.unit_column is not None] + dimension * 4 / bytes_a_second
    )
    seconds_needed = record_count * seconds_a_record
    slot = config.privacy.answer_slot_seconds
    if seconds_needed > slot:
        long_slots = (x for x in _SUGGESTED_SLOT_SECONDS if x >= seconds_needed)
        fitting = next(long_slots, _SUGGESTED_SLOT_SECONDS[-1])
        raise ConfigError(
            f"privacy.answer_slot_seconds: {slot:g} is too short for this data set: an answer might"
            " take longer, and that would show how many records there are; 'wg-client init"
            f" --answer-slot {fitting}', or set {fitting} in client.yaml and freeze again"
        )
