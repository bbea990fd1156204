"""Geometry of the report's charts: numbers in, SVG coordinates out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.language import text

WIDTH, HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 16, 34


@dataclass(frozen=True, slots=True)
class Mark:
    """Spend after one charge: index of its entry, epsilon, whether it was burned."""

    seq: int
    epsilon: float
    burned: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis, at a coordinate."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a chart."""

    x: float
    y: float
    hollow: bool
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A chart: path of the line, area under it, dots, ticks, and the height of the cap."""

    path: str
    area: str
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    cap: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def steps(start: float, marks: Sequence[Mark], size: int, cap: float) -> Line:
    """Spend over the entries of the log, as a staircase under its cap.

    Args:
        start: Spend before the first mark.
        marks: After each charge, in order.
    """
    top = 1.12 * max(cap, start, *(mark.epsilon for mark in marks), 1e-9)
    last = max(size - 1, 1)

    def x(seq: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * seq / last, 1)

    def y(epsilon: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * epsilon / top, 1)

    path = f"M{x(0)} {y(start)}"
    for mark in marks:
        path += f"H{x(mark.seq)}V{y(mark.epsilon)}"
    path += f"H{x(last)}"
    dots = tuple(
        Dot(
            x(mark.seq),
            y(mark.epsilon),
            mark.burned,
            text(
                "entry {number}: ε {epsilon:.4g}{burned}",
                number=mark.seq,
                epsilon=mark.epsilon,
                burned=text(", burned") if mark.burned else "",
            ),
        )
        for mark in (marks if len(marks) <= 400 else ())
    )
    return Line(
        path,
        f"{path}V{y(0)}H{x(0)}Z",
        dots,
        tuple(Tick(x(v), f"{v:.0f}") for v in _round_values(last, integers=True)),
        tuple(Tick(y(v), f"{v:g}") for v in _round_values(top)),
        y(cap),
    )


def timeline(points: Sequence[tuple[int, int]]) -> Line | None:
    """Size of the log at the time of each cosignature (Unix seconds, size)."""
    if not points:
        return None
    ordered = sorted(points)
    start, end = ordered[0][0], max(ordered[-1][0], ordered[0][0] + 1)
    top = 1.12 * max(size for _, size in ordered)

    def x(moment: float) -> float:
        if len(ordered) == 1:
            return (_LEFT + WIDTH - _RIGHT) / 2
        inner = WIDTH - _LEFT - _RIGHT - 24
        return round(_LEFT + 12 + inner * (moment - start) / (end - start), 1)

    def y(size: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * size / top, 1)

    path = "M" + "L".join(f"{x(moment)} {y(size)}" for moment, size in ordered)
    dots = tuple(
        Dot(x(m), y(s), False, text("{count} entries", count=s)) for m, s in ordered[-400:]
    )
    return Line(
        path,
        "",
        dots,
        (),
        tuple(Tick(y(v), f"{v:.0f}") for v in _round_values(top, integers=True)),
        None,
    )


def _round_values(top: float, *, integers: bool = False) -> list[float]:
    """About five round values from zero up to ``top``."""
    raw = top / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    if integers:
        step = max(step, 1.0)
    return [step * count for count in range(int(top / step) + 1)]
