"""The five stories: what a plant has, what it gets, and where it gets nothing.

Words for people who know none of the field's. Figures are those of the run, whatever they say: the
words follow them. ``demo/locale`` has each sentence in Japanese.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from wg_client.methods.names import LOCAL
from wg_core.language import ENGLISH, Language, Text, text

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
    title: Text
    lesson: Text


STORIES = (
    Story(
        key="unseen-classes",
        title=text("Two classes never seen"),
        lesson=text(
            "Nobody learns what they have never seen. What other plants sent says what these"
            " classes look like, without one of their pictures."
        ),
    ),
    Story(
        key="no-labels",
        title=text("No labels at all"),
        lesson=text(
            "Without labels the plant can neither train a model nor test one. It gets a model from"
            " what other plants sent. Before it relies on that, somebody should label a few"
            " pictures."
        ),
    ),
    Story(
        key="new-camera",
        title=text("A known kind, a new camera"),
        lesson=text(
            "The operator has pictures of this kind, taken elsewhere by another camera. The plant"
            " gets a model made from them for the names of its classes alone, and may train it on"
            " with its own few."
        ),
    ),
    Story(
        key="no-connection",
        title=text("A known kind, no connection"),
        lesson=text(
            "The plant has no connection to anybody. A file with the names of its classes is"
            " carried to the operator, and a file with a model is carried back."
        ),
    ),
    Story(
        key="few-labels",
        title=text("Few labels, of all classes"),
        lesson=text(
            "Its own pictures show every class. Others can add little, so this is not what the"
            " product is for. The plant tests both models on its own pictures, and keeps its own"
            " unless the other is better."
        ),
    ),
)
PICTURE, PICTURES = text("picture"), text("pictures")


def has(plant: Result) -> Text:
    """What a plant has, in a few words."""
    classes, missing = len(plant["classes"]), len(plant["missing_classes"])
    if not plant["labels_per_class"]:
        return text("{records} pictures without labels", records=plant["records"])
    each = plant["labels_per_class"]
    if missing:
        return text(
            "{each} pictures of {seen} of {classes} classes",
            each=each,
            seen=classes - missing,
            classes=classes,
        )
    return text("{each} pictures of each of {classes}", each=each, classes=classes)


def percent(share: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def points(share: float) -> Text:
    """A difference of shares for people."""
    found = f"{abs(100 * share):.0f}"
    if found == "1":
        return text("{count} point", count=found)
    return text("{count} points", count=found)


def better(plant: Result) -> bool | None:
    """Whether the plant has a clearly better model, or a clearly worse one; None: neither."""
    gain = plant["gain"]
    if plant["kept_source"] in (None, LOCAL) or gain is None:
        return None
    clear = abs(gain["mean"]) > _CLEAR * gain["se"]
    return gain["mean"] > 0 if clear else None


def outcome(plant: Result) -> Text:
    """What came of it, in one short line."""
    if plant["kept_source"] is None:
        return text("keeps nothing: nothing is known")
    if plant["alone"] is None:
        return text("has a model where there was none")
    if plant["kept_source"] == LOCAL:
        offered = plant["best_other"]
        if offered is None:
            return text("keeps its own")
        return text("keeps its own (offered: {share})", share=percent(offered))
    found, size = better(plant), points(plant["gain"]["mean"])
    if found is None:
        return text("no clear difference")
    return text("better by {size}", size=size) if found else text("WORSE by {size}", size=size)


def details(plant: Result) -> Iterator[Text]:
    """What else a visitor should know of this run's figures, in sentences."""
    if plant["kept_source"] != LOCAL and plant["gain"] is not None:
        gain = plant["gain"]
        yield text(
            "Difference {mean:+.1f} points, give or take {error:.1f}.",
            mean=100 * gain["mean"],
            error=100 * gain["se"],
        )
    if plant["unseen"] is not None:
        yield text(
            "Of the {records} test pictures of {names}, which it had never seen: {alone} right"
            " alone, {kept} with weightgate.",
            records=plant["unseen"]["records"],
            names=_named(plant["missing_classes"]),
            alone=percent(plant["unseen"]["alone"]),
            kept=percent(plant["unseen"]["kept"]),
        )
    if plant["alone"] is None:
        yield text("Guessing is right in {share}.", share=percent(1 / len(plant["classes"])))


def _named(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ", ".join(names)
    return text("{others} and {last}", others=", ".join(names[:-1]), last=names[-1])


def spent(plant: Result) -> Text:
    """The price in privacy, of the plant's budget."""
    return text("{spent} of {cap:g}", spent=_rounded(plant["epsilon"]), cap=plant["epsilon_cap"])


def _rounded(value: float) -> str:
    """Upwards: a price is never shown smaller than it is."""
    return f"{math.ceil(round(10 * value, 6)) / 10:g}"


def notes(
    summary: Mapping[str, Any], one: Text = PICTURE, several: Text = PICTURES
) -> tuple[Text, ...]:
    """How to read the figures of a run, in sentences.

    Args:
        summary: What ``summary.json`` says.
        one: What a record is.
        several: Several of them.
    """
    most = max(plant["epsilon"] for plant in summary["plants"])
    return (
        text(
            "Alone, and with weightgate: right answers on {several} that no training, no choice and"
            " nothing that was sent has seen. What loses is shown.",
            several=several,
        ),
        text(
            "Privacy spent: of a budget that each plant sets once. What left is sums with noise,"
            " never a {one}. Whatever anybody concludes from them, one {one} more or less makes it"
            " at most {times:.0f} times likelier (e to the power of {spent}). 1 is strong, 4 is"
            " usual here, above 20 is no promise.",
            one=one,
            times=math.exp(most),
            spent=_rounded(most),
        ),
    )


def not_shown(summary: Mapping[str, Any]) -> Iterator[Text]:
    """What a run left out, in sentences; that nothing is missing, where it is so."""
    without = list(without_model(summary["plants"]))
    yield from without
    if not without:
        yield text("All five stories are told.")


def without_model(plants: Sequence[Result]) -> Iterator[Text]:
    """Of each plant that got no model, that it did not."""
    for plant in plants:
        if plant["kept_source"] is None:
            name = plant["name"]
            yield text("Not shown: what a model does for plant {name}. It got none.", name=name)


def key(name: str) -> str:
    """A model's name in ``summary.json``."""
    return name.replace("-", "_")


def capital(words: str) -> str:
    """A sentence's first letter as a capital."""
    return words[:1].upper() + words[1:]


def title(plant: Result) -> Text:
    """The title of a plant's story."""
    return story(plant).title


def story(plant: Result) -> Story:
    """The story that a plant tells."""
    return next(story for story in STORIES if story.key == plant["story"])


RESULT = text("What came of it")
PLANT, ABOUT = text("Plant"), text("What it has, and what came of it")
FIGURES = (text("Alone"), text("With\nweightgate"), text("Privacy\nspent"))


def about(title: str, has: str, outcome: str) -> str:
    """The cell of a table that tells a story, in rich's markup."""
    return f"[bold]{title}[/bold]\n{has}\n→ {outcome}"


def table(plants: Sequence[Result], speak: Language = ENGLISH) -> Table:
    """The five stories for a terminal of 80 columns."""
    found = Table(box=SIMPLE, width=WIDTH, title=speak(RESULT), title_justify="left")
    found.add_column(speak(PLANT), no_wrap=True)
    found.add_column(speak(ABOUT), ratio=1, overflow="fold")
    for heading in FIGURES:
        found.add_column(speak(heading), justify="right", no_wrap=True)
    for plant in plants:
        said = about(speak(title(plant)), speak(has(plant)), speak(outcome(plant)))
        shares = (percent(plant[key]) for key in ("alone", "kept"))
        found.add_row(plant["name"], said, *shares, speak(spent(plant)))
    return found
