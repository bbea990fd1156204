"""The five stories: what a plant has, what it gets, and where it gets nothing.

Words for people who know none of the field's. Figures are those of the run, whatever they say: the
words follow them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from wg_client.methods.names import LOCAL

WIDTH = 80
_CLEAR = 2.0
"""A difference of so many of its standard errors is called one."""
Result = Mapping[str, Any]
"""One plant of the summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One story.

    Attributes:
        key: In the summary.
        title: For people.
        lesson: What decides here, whatever comes out.
    """

    key: str
    title: str
    lesson: str


STORIES = (
    Story(
        key="few-labels",
        title="Few labels, of all classes",
        lesson=(
            "Its own pictures show every class. Others can add little, so this is not what the"
            " product is for. The plant tests both models on its own pictures, and keeps its own"
            " unless the other is better."
        ),
    ),
    Story(
        key="unseen-classes",
        title="Two classes never seen",
        lesson=(
            "Nobody learns what they have never seen. What other plants sent says what these"
            " classes look like, without one of their pictures."
        ),
    ),
    Story(
        key="no-labels",
        title="No labels at all",
        lesson=(
            "Without labels the plant can neither train a model nor test one. It gets a model from"
            " what other plants sent. Before it relies on that, somebody should label a few"
            " pictures."
        ),
    ),
    Story(
        key="new-camera",
        title="A known kind, a new camera",
        lesson=(
            "The operator has pictures of this kind, taken elsewhere by another camera. The plant"
            " gets a model made from them, and may train it on with its own few."
        ),
    ),
    Story(
        key="edge-device",
        title="A small device",
        lesson=(
            "The device is too small for the network that the other plants use. It gets a whole"
            " network that fits, through files, without a connection."
        ),
    ),
)
_TESTED = (
    "Alone, and with weightgate: right answers on {what} that no training, no choice and nothing"
    " that was sent has seen. What loses is shown."
)
_PRIVACY = (
    "Privacy spent: of a budget that each plant sets once. What left is sums with noise, never a"
    " {one}. Whatever anybody concludes from them, one {one} more or less makes it at most"
    " {times:.0f} times likelier (e to the power of {spent}). 1 is strong, 4 is usual here, above"
    " 20 is no promise."
)


def has(plant: Result) -> str:
    """What a plant has, in a few words."""
    classes, missing = len(plant["classes"]), len(plant["missing_classes"])
    if not plant["labels_per_class"]:
        return f"{plant['records']} pictures without labels"
    of = f"of {classes - missing} of {classes} classes" if missing else f"of each of {classes}"
    return f"{plant['labels_per_class']} pictures {of}"


def percent(share: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def points(share: float) -> str:
    """A difference of shares for people."""
    found = f"{abs(100 * share):.0f}"
    return f"{found} point" if found == "1" else f"{found} points"


def better(plant: Result) -> bool | None:
    """Whether the plant has a clearly better model, or a clearly worse one; None: neither."""
    gain = plant["gain"]
    if plant["kept_source"] in (None, LOCAL) or gain is None:
        return None
    clear = abs(gain["mean"]) > _CLEAR * gain["se"]
    return gain["mean"] > 0 if clear else None


def outcome(plant: Result) -> str:
    """What came of it, in one short line."""
    if plant["kept_source"] is None:
        return "keeps nothing: nothing is known"
    if plant["alone"] is None:
        return "has a model where there was none"
    if plant["kept_source"] == LOCAL:
        offered = plant["best_other"]
        more = "" if offered is None else f" (offered: {percent(offered)})"
        return f"keeps its own{more}"
    mean = plant["gain"]["mean"]
    size = f"by {points(mean)}"
    return {True: f"better {size}", False: f"WORSE {size}"}.get(
        better(plant),  # type: ignore[arg-type]
        "no clear difference",
    )


def details(plant: Result) -> list[str]:
    """What else a visitor should know of this run's figures, in sentences."""
    said = []
    if plant["kept_source"] != LOCAL and plant["gain"] is not None:
        gain = plant["gain"]
        said.append(
            f"Difference {100 * gain['mean']:+.1f} points, give or take {100 * gain['se']:.1f}."
        )
    if plant["unseen"] is not None:
        names = " and ".join(plant["missing_classes"])
        said.append(
            f"Of the {plant['unseen']['records']} test pictures of {names}, which it had never"
            f" seen: {percent(plant['unseen']['alone'])} right alone,"
            f" {percent(plant['unseen']['kept'])} with weightgate."
        )
    if plant["alone"] is None:
        said.append(f"Guessing is right in {percent(1 / len(plant['classes']))}.")
    if plant["network"] is not None:
        said.append(
            f"{plant['network']['parameters'] / 1000:.0f} thousand numbers,"
            f" {plant['network']['bytes'] / 1000:.0f} kB on the device."
        )
    return said


def spent(plant: Result) -> str:
    """The price in privacy, of the plant's budget."""
    return f"{_rounded(plant['epsilon'])} of {plant['epsilon_cap']:g}"


def _rounded(value: float) -> str:
    """Upwards: a price is never shown smaller than it is."""
    return f"{math.ceil(round(10 * value, 6)) / 10:g}"


def notes(summary: Mapping[str, Any], one: str = "picture") -> tuple[str, ...]:
    """How to read the figures of a run, in sentences; ``one`` is what a record is."""
    most = max(plant["epsilon"] for plant in summary["plants"])
    price = _PRIVACY.format(one=one, times=math.exp(most), spent=_rounded(most))
    return _TESTED.format(what=f"{one}s"), price


def key(name: str) -> str:
    """A model's name in ``summary.json``."""
    return name.replace("-", "_")


def capital(words: str) -> str:
    """A sentence's first letter as a capital."""
    return words[:1].upper() + words[1:]


def title(plant: Result) -> str:
    """The title of a plant's story."""
    return story(plant).title


def story(plant: Result) -> Story:
    """The story that a plant tells."""
    return next(story for story in STORIES if story.key == plant["story"])


def table(plants: Sequence[Result]) -> Table:
    """The five stories for a terminal of 80 columns."""
    found = Table(box=SIMPLE, width=WIDTH, title="What came of it", title_justify="left")
    found.add_column("Plant", no_wrap=True)
    found.add_column("What it has, and what came of it", ratio=1)
    for heading in ("Alone", "With\nweightgate", "Privacy\nspent"):
        found.add_column(heading, justify="right", no_wrap=True)
    for plant in plants:
        about = f"[bold]{title(plant)}[/bold]\n{has(plant)}\n→ {outcome(plant)}"
        found.add_row(
            plant["name"], about, percent(plant["alone"]), percent(plant["kept"]), spent(plant)
        )
    return found
