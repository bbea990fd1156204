"""Formatting of durations, times and lists of names in a verdict."""

import time
from collections.abc import Sequence

from wg_common.language import Text, list_names, text

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
NAMES_SHOWN = 5  # Largest number of names in one line


def format_duration(seconds: int) -> Text:
    """Format a duration in seconds as days, hours, minutes or seconds."""
    if seconds < 0:
        return text("-{span}", span=format_duration(-seconds))
    if seconds >= _DAY:
        days = seconds / _DAY
        return text("{days:g} d", days=round(days, 1 if days < 10 else None))
    if seconds >= _HOUR:
        return text("{hours:.3g} h", hours=seconds / _HOUR)
    if seconds >= _MINUTE:
        return text("{minutes:.3g} min", minutes=seconds / _MINUTE)
    return text("{seconds} s", seconds=seconds)


def list_first_names(names: Sequence[str]) -> Text:
    """Join the first ``NAMES_SHOWN`` names of a list, and the number of further names."""
    shown_names, hidden_count = list_names(names[:NAMES_SHOWN]), len(names) - NAMES_SHOWN
    return (
        text("{names} and {count} more", names=shown_names, count=hidden_count)
        if hidden_count > 0
        else shown_names
    )


def format_utc(seconds: int) -> str:
    """Format a Unix time as UTC date and minute; an unrepresentable time stays in seconds."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
