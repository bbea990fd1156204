"""The one figure and the one verdict of a simulation, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wg_client.pilot.published import Decision, read_published
from wg_core.language import Text, text

if TYPE_CHECKING:
    from wg_client.pilot.simulation import Simulation


def figure(simulation: Simulation) -> Text:
    """State what may be gained, and what is assumed of others."""
    expectation = simulation.expected
    if not simulation.sites:
        return text("more right answers: none to expect, since no other plant has your classes")
    if expectation is None:
        return text(
            "more right answers: not known; no published plant is like yours at epsilon {epsilon:g}"
            " with {sites} others",
            epsilon=simulation.epsilon,
            sites=simulation.sites,
        )
    values = {
        "gain": round(100 * expectation.gain, 1) + 0.0,  # no "-0.0"
        "low": round(100 * expectation.low, 1) + 0.0,
        "high": round(100 * expectation.high, 1) + 0.0,
        "sites": simulation.sites,
        "epsilon": simulation.epsilon,
        "count": expectation.cases,
        "held": 100 * read_published().held,
    }
    if simulation.facts.question == "S3":
        return text(
            "right answers without any label: {gain:.0f} % (80 %: {low:.0f} to {high:.0f}), by"
            " {count} published plants like yours, at epsilon {epsilon:g}, if {sites} other plants"
            " that have all classes take part; the interval held for {held:.0f} % of plants",
            **values,
        )
    return text(
        "more right answers, in points on all classes: {gain:+.1f} (80 %: {low:+.1f} to"
        " {high:+.1f}), by {count} published plants like yours, at epsilon {epsilon:g}, if {sites}"
        " other plants that have them take part; the interval held for {held:.0f} % of plants",
        **values,
    )


def verdict(simulation: Simulation) -> Text:
    """Join, wait or don't, and why."""
    match simulation.decision:
        case Decision.JOIN:
            return text("join: a gain is likely")
        case Decision.STAY:
            return text("don't: your own labels do as well")
    if not simulation.sites:
        return text("wait: for a plant that has your classes")
    if simulation.expected is None:
        return text("wait: ask the operator for a trial")
    return text("wait: a gain is possible, and not shown")
