"""The demo's six stories, each of one plant: its situation, and its gain, if any.

The texts use no technical terms. All figures are measured in the run, and the texts depend on
them. ``demo/locale`` has each sentence in Japanese.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from wg_client.methods.method_names import LOCAL_ONLY
from wg_common.language import ENGLISH, Language, Text, text

WIDTH = 80  # Columns of the terminal
_CLEAR = 2.0
"""Number of standard errors above which a difference counts as clear."""
Result = Mapping[str, Any]
"""Results of one plant: an entry of ``plants`` in ``summary.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Story of one plant of the demo.

    Attributes:
        key: Value of ``story`` in ``summary.json``.
        title: Title for people.
        lesson: Conclusion of the story, which does not depend on its figures.
    """

    key: str
    title: Text
    lesson: Text


STORIES = (
    Story(
        key="machine",
        title=text("A data sheet, and not one label"),
        lesson=text(
            "The plant declares the speed and geometry of its bearing, from the catalogue, and"
            " sends nothing computed from its records. The server generates a network for this"
            " machine. It is compared with one network for all bearings, which was trained on the"
            " same simulated machines without data sheets."
        ),
    ),
    Story(
        key="soft-sensor",
        title=text("A number that no instrument shows"),
        lesson=text(
            "The instruments of a heat exchanger have unknown errors. Its heat duty can be "
            "calculated from them in two ways, which disagree. The size of this "
            "disagreement over many hours shows which instrument is wrong: the statistic "
            "carries it, the data sheet gives the rest. No true value was available for "
            "training."
        ),
    ),
    Story(
        key="known-kind",
        title=text("A known kind, a new camera"),
        lesson=text(
            "The operator has pictures of this kind, taken elsewhere with another camera. "
            "For its class names alone, the plant gets a model trained on these pictures, "
            "and it can train it further on its own few."
        ),
    ),
    Story(
        key="unseen-classes",
        title=text("Two classes never seen"),
        lesson=text(
            "A plant cannot learn classes that it has never seen. The other plants' "
            "statistics describe these classes, without any of their pictures."
        ),
    ),
    Story(
        key="no-labels",
        title=text("No labels at all"),
        lesson=text(
            "Without labels the plant can neither train a model nor test one. It gets a "
            "model from other plants' statistics. Before it relies on this model, somebody "
            "should label a few pictures."
        ),
    ),
    Story(
        key="keep-budget",
        title=text("Keep your budget"),
        lesson=text(
            "It has twenty pictures of every class. Other plants can add little, so this is"
            " no case for the product, and the plant learns this before anything leaves. It"
            " still tests the model that other plants' releases give it for free."
        ),
    ),
)


def describe_records(plant: Result) -> Text:
    """Describe in a few words what records and labels a plant has."""
    if plant["story"] == "soft-sensor":
        return text(
            "a data sheet, and {records} records, none with a true value", records=plant["records"]
        )
    if plant["story"] == "machine":
        return text(
            "a data sheet, and {records} records without a label, nine in ten of them healthy",
            records=plant["records"],
        )
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


def format_percent(share: float | None) -> str:
    """Format a share, 0 to 1, as a percentage; a dash for None."""
    return "–" if share is None else f"{100 * share:.0f} %"


def format_points(share: float) -> Text:
    """Format the size of a difference of shares, without sign, in percentage points."""
    found = f"{abs(100 * share):.0f}"
    if found == "1":
        return text("{count} point", count=found)
    return text("{count} points", count=found)


def is_better(plant: Result) -> bool | None:
    """Return whether weightgate made a plant clearly better (True) or worse (False), or None."""
    gain = plant["gain"]
    if plant.get("kept_source") == LOCAL_ONLY or gain is None:
        return None
    clear = abs(gain["mean"]) > _CLEAR * gain["se"]
    return gain["mean"] > 0 if clear else None


def describe_outcome(plant: Result) -> Text:
    """Describe a plant's result in one short line."""
    if plant["kept_source"] is None:
        return text("keeps nothing: nothing is known")
    if plant["story"] == "no-labels":
        return text("has a model where there was none")
    if plant["kept_source"] == LOCAL_ONLY:
        offered = plant["best_other"]
        if offered is None:
            return text("keeps its own")
        return text("keeps its own (offered: {share})", share=format_percent(offered))
    found, size = is_better(plant), format_points(plant["gain"]["mean"])
    if found is None:
        return text("no clear difference")
    return text("better by {size}", size=size) if found else text("WORSE by {size}", size=size)


def describe_figures(plant: Result) -> Iterator[Text]:
    """Yield sentences on a plant's figures: its gain, missing classes, and model in use."""
    if plant["kept_source"] != LOCAL_ONLY and plant["gain"] is not None:
        yield text(
            "Difference {mean:+.1f} points, give or take {error:.1f}.",
            mean=100 * plant["gain"]["mean"],
            error=100 * plant["gain"]["se"],
        )
    if plant["unseen"] is not None:
        yield text(
            "Of the {records} test pictures of {names}, which it had never seen: {alone} right"
            " alone, {kept} with weightgate.",
            records=plant["unseen"]["records"],
            names=_join_names(plant["missing_classes"]),
            alone=format_percent(plant["unseen"]["alone"]),
            kept=format_percent(plant["unseen"]["kept"]),
        )
    if plant["story"] == "soft-sensor":
        yield from _describe_soft_sensor(plant)
    elif plant["alone"] is None:
        yield text("Guessing is right in {share}.", share=format_percent(1 / len(plant["classes"])))
    yield from describe_model(plant)


def describe_model(plant: Result) -> Iterator[Text]:
    """Yield sentences on where a plant's model comes from, and what it was generated from."""
    source, pooled = plant["kept_source"] or "", plant["pool"]
    if source.startswith("handed-on"):
        yield text("Handed on: the operator trained it on pictures of its own.")
    elif source.startswith("pooled"):
        yield text("Pooled: from the releases of {count} other plants.", count=pooled)
    elif source.startswith("generated") and plant["condition"]["statistic"]:
        yield text(
            "Generated: from its data sheet and the statistic of its records, at a privacy "
            "price of {epsilon}.",
            epsilon=plant["condition"]["epsilon"],
        )
    elif source.startswith("generated"):
        yield text("Generated: from its data sheet alone.")
        if plant["takes_statistic"]:
            yield text(
                "A noisy statistic of its records, at a privacy price of 1, would be used, too."
            )
        else:
            yield text(
                "A statistic of its records would change nothing, because the server found a"
                " simpler network without one as good. So it asks for none."
            )
    if plant["told"]:
        yield text("Before anything left, 'wg-client check' said: keep your budget.")


def _describe_soft_sensor(plant: Result) -> Iterator[Text]:
    """Yield sentences on a soft sensor's error, and on its gain from the plant's statistic."""
    errors, others = plant["error"], plant["others"]
    yield text(
        "A value within 5 % of the true one counts as right. The error is {own:.1f} %, "
        "with the data sheet alone {none:.1f} %, calculated by hand {by_hand:.1f} %.",
        **{key: 100 * value for key, value in errors.items()},
    )
    pairs = (
        (text("With its own statistic instead of none"), plant["over_none"]),
        (
            text("The same at {count} other exchangers", count=others["count"]),
            others["over"]["none"],
        ),
        (
            text("At the other exchangers, with their own statistic instead of another unit's"),
            others["over"]["another"],
        ),
        (
            text("At the other exchangers, compared with the calculation by hand"),
            others["over"]["by_hand"],
        ),
    )
    for what, gain in pairs:
        yield text(
            "{what}: {mean:+.1f} points, give or take {error:.1f}.",
            what=what,
            mean=round(100 * gain["mean"], 1) + 0.0,  # Never a negative zero
            error=100 * gain["se"],
        )


def _join_names(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ", ".join(names)
    return text("{others} and {last}", others=", ".join(names[:-1]), last=names[-1])


def accuracy_without_weightgate(plant: Result) -> float | None:
    """Return a plant's accuracy without weightgate, 0 to 1: its own model's or alternative's."""
    share: float | None = plant["alone"] if plant["alone"] is not None else plant["instead"]
    return share


def spent_budget(plant: Result) -> Text:
    """Format the epsilon that a plant has spent, and its cap, as ``4 of 8``."""
    return text("{spent} of {cap:g}", spent=_round_up(plant["epsilon"]), cap=plant["epsilon_cap"])


def _round_up(value: float) -> str:
    """Format an epsilon rounded up to one decimal, so that it is never understated."""
    return f"{math.ceil(round(10 * value, 6)) / 10:g}"


def notes(summary: Mapping[str, Any]) -> tuple[Text, ...]:
    """Return sentences that explain the columns of right answers and of privacy spent."""
    most = max(plant["epsilon"] for plant in summary["plants"])
    return (
        text(
            "Right answers without and with weightgate, on records that were used for no "
            "training, no choice and no release. Without it a plant has its own model. If "
            "it has no label, it can guess, use one network for all machines, or calculate "
            "by hand. Losses are shown."
        ),
        text(
            "Privacy spent: from a budget that each plant sets once. Only sums with noise "
            "left, never a record. One record more or less makes any conclusion from them "
            "at most {times:.0f} times more likely (e to the power of {spent}). 1 is strong"
            " protection, 4 is usual here, above 20 is none.",
            times=math.exp(most),
            spent=_round_up(most),
        ),
    )


def describe_omissions(summary: Mapping[str, Any]) -> Iterator[Text]:
    """Yield a sentence per plant without a model; if all have one, the number of clear gains."""
    missing = list(describe_missing_models(summary["plants"]))
    yield from missing
    if not missing:
        gained = [plant for plant in summary["plants"] if is_better(plant)]
        yield text(
            "All six stories are complete; {count} of them show a gain of more than twice "
            "its error.",
            count=len(gained),
        )


def describe_missing_models(plants: Sequence[Result]) -> Iterator[Text]:
    """Yield a sentence for each plant without a model."""
    for plant in plants:
        if plant["kept_source"] is None:
            name = plant["name"]
            yield text("Not shown: what a model does for plant {name}. It got none.", name=name)


def model_key(name: str) -> str:
    """Return the key of a model in ``summary.json``."""
    return name.replace("-", "_")


def capitalise(sentence: str) -> str:
    """Capitalise the first letter of a sentence."""
    return sentence[:1].upper() + sentence[1:]


def story_title(plant: Result) -> Text:
    """Return the title of a plant's story."""
    return find_story(plant).title


def find_story(plant: Result) -> Story:
    """Return the story of a plant."""
    return next(story for story in STORIES if story.key == plant["story"])


RESULT = text("What came of it")
PLANT, ABOUT = text("Plant"), text("What the plant has, and the result")
FIGURES = (text("Without"), text("With\nweightgate"), text("Privacy\nspent"))


def story_cell(title: str, has: str, outcome: str) -> str:
    """Return a story's cell in the table: title, records and outcome, in rich's markup."""
    return f"[bold]{title}[/bold]\n{has}\n→ {outcome}"


def stories_table(plants: Sequence[Result], language: Language = ENGLISH) -> Table:
    """Return the stories as a table for a terminal of 80 columns."""
    found = Table(box=SIMPLE, width=WIDTH, title=language(RESULT), title_justify="left")
    found.add_column(language(PLANT), no_wrap=True)
    found.add_column(language(ABOUT), ratio=1, overflow="fold")
    for heading in FIGURES:
        found.add_column(language(heading), justify="right", no_wrap=True)
    for plant in plants:
        said = story_cell(
            language(story_title(plant)),
            language(describe_records(plant)),
            language(describe_outcome(plant)),
        )
        shares = map(format_percent, (accuracy_without_weightgate(plant), plant["kept"]))
        found.add_row(language(text(plant["name"])), said, *shares, language(spent_budget(plant)))
    return found
