"""The report's charts: what was spent over the log, and when witnesses saw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wg_common.charts import Axes, Dot, Drawing, Tick, round_values
from wg_core.language import text

FRAME = Axes(width=720, height=220, left=48, right=706, top=16, bottom=186)
DOTS_LIMIT = 400  # Most dots of a chart


@dataclass(frozen=True, slots=True)
class Mark:
    """Spend after one charge: index of its entry, epsilon, whether it was burned."""

    seq: int
    epsilon: float
    burned: bool


def steps(start: float, marks: Sequence[Mark], size: int, cap: float) -> Drawing:
    """Spend over the entries of the log, as a staircase under its cap.

    Args:
        start: Spend before the first mark.
        marks: After each charge, in order.
    """
    top = 1.12 * max(cap, start, *(mark.epsilon for mark in marks), 1e-9)
    last = max(size - 1, 1)
    axes = replace(FRAME, x_range=(0, last), y_range=(0, top))
    dots = tuple(
        Dot(
            axes.x(mark.seq),
            axes.y(mark.epsilon),
            text(
                "entry {number}: ε {epsilon:.4g}{burned}",
                number=mark.seq,
                epsilon=mark.epsilon,
                burned=text(", burned") if mark.burned else "",
            ),
            hollow=mark.burned,
        )
        for mark in (marks if len(marks) <= DOTS_LIMIT else ())
    )
    return Drawing(
        axes,
        (replace(axes.steps(start, [(mark.seq, mark.epsilon) for mark in marks]), dots=dots),),
        tuple(Tick(axes.x(v), f"{v:.0f}") for v in round_values(last, integers=True)),
        tuple(Tick(axes.y(v), f"{v:g}") for v in round_values(top)),
        axes.y(cap),
    )


def timeline(points: Sequence[tuple[int, int]]) -> Drawing | None:
    """Size of the log at the time of each cosignature (Unix seconds, size)."""
    if not points:
        return None
    ordered = sorted(points)
    start, end = ordered[0][0], ordered[-1][0]
    margin = max(1.0, 0.02 * (end - start))  # Dots keep clear of the edges; one alone is central
    top = 1.12 * max(size for _, size in ordered)
    axes = replace(FRAME, x_range=(start - margin, end + margin), y_range=(0, top))
    line = axes.line([(at, size, text("{count} entries", count=size)) for at, size in ordered])
    ticks = (Tick(axes.y(v), f"{v:.0f}") for v in round_values(top, integers=True))
    return Drawing(axes, (replace(line, dots=line.dots[-DOTS_LIMIT:]),), (), tuple(ticks))
