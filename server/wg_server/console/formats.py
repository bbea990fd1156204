"""Formatting of figures and times on pages, in the reader's language."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from wg_server.console.messages import PageTexts
from wg_server.store.campaigns import OPEN_CAMPAIGN_STATES, TaskState

PROGRESS_BAR_STATES: tuple[TaskState, ...] = (
    "delivered",
    "packaged",
    "released",
    "waiting",
    "refused",
    "failed",
    "expired",
    "cancelled",
)
"""Task states in the order in which a progress bar shows them."""


def template_helpers(texts: PageTexts) -> Mapping[str, object]:
    """Return the functions and values by which page templates format numbers and times."""
    current_time = time.time()

    def ago(seconds: float | None) -> str:
        if not seconds:
            return texts("never")
        return texts("ago", span=texts.span(max(current_time - seconds, 1.0)))

    def ahead(seconds: float | None) -> str:
        if not seconds:
            return texts("none")
        return (
            texts("in time", span=texts.span(seconds - current_time))
            if seconds > current_time
            else texts("over")
        )

    functions: dict[str, Callable[..., object]] = {
        "when": format_time,
        "iso": format_iso_time,
        "ago": ago,
        "ahead": ahead,
        "bar": progress_bar_segments,
        "size": format_size,
    }
    return {
        **functions,
        "now": current_time,
        "states": PROGRESS_BAR_STATES,
        "open_campaigns": OPEN_CAMPAIGN_STATES,
    }


def format_time(seconds: float) -> str:
    """Format a time to the minute, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_iso_time(seconds: float) -> str:
    """Format a time as ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def progress_bar_segments(
    task_counts_by_state: Mapping[str, int],
) -> list[tuple[str, float, float]]:
    """Return the segments of a progress bar as (state, left end, width), in % of the bar."""
    total = sum(task_counts_by_state.values()) or 1
    pieces: list[tuple[str, float, float]] = []
    start = 0.0
    for state in PROGRESS_BAR_STATES:
        width = 100.0 * task_counts_by_state.get(state, 0) / total
        if width:
            pieces.append((state, round(start, 3), round(width, 3)))
        start += width
    return pieces


def format_size(size_bytes: int) -> str:
    """Format a size in bytes, such as ``1.5 GB``."""
    for unit, name in ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"
