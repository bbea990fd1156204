"""Times and lists of names, as lines of a verdict say them."""

import time
from collections.abc import Sequence

from wg_common.language import Text, list_names, text

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
NAMES_SHOWN = 5  # Most names that one line shows


def duration(seconds: int) -> Text:
    """Return a time span for people."""
    if seconds < 0:
        return text("-{span}", span=duration(-seconds))
    if seconds >= _DAY:
        days = seconds / _DAY
        return text("{days:g} d", days=round(days, 1 if days < 10 else None))
    if seconds >= _HOUR:
        return text("{hours:.3g} h", hours=seconds / _HOUR)
    if seconds >= _MINUTE:
        return text("{minutes:.3g} min", minutes=seconds / _MINUTE)
    return text("{seconds} s", seconds=seconds)


def first_names(names: Sequence[str]) -> Text:
    """Return the first few names, and how many more there are."""
    shown_names, hidden_count = list_names(names[:NAMES_SHOWN]), len(names) - NAMES_SHOWN
    return (
        text("{names} and {count} more", names=shown_names, count=hidden_count)
        if hidden_count > 0
        else shown_names
    )


def utc(seconds: int) -> str:
    """Return a Unix time in UTC, or the number itself where no calendar reaches."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
