"""The sheet for whoever pays: one verdict, eight lines, each with where its number comes from.

A number is measured in this run, published with the command that prints it, entered by the
engineer, or computed from those. What was not entered is not guessed: its line says what to enter.
There is no total: a sum of wide intervals says less than its parts.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from wg_client.pilot import sentences
from wg_client.pilot.published import Published
from wg_client.pilot.simulation import Simulation
from wg_client.selection.gain import Accuracy
from wg_common.charts import environment
from wg_common.language import Language, Text, text
from wg_core import __version__, atomic, settings
from wg_core.errors import ConfigError

_FIGURES_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures that only the plant knows; null: not entered.

    Attributes:
        currency: Short name of the currency.
        label_seconds: A person's time to label one record.
        hour_cost: What an hour of that person costs.
        records_a_year: Records that the model would judge in a year.
        error_cost: What a wrong call costs, on average.
    """

    currency: str = ""
    label_seconds: float | None = None
    hour_cost: float | None = None
    records_a_year: float | None = None
    error_cost: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not (math.isfinite(value) and 0 <= value <= 1e12):
                raise ConfigError(f"{field.name}: {value}, expected 0 to 1e12, or null")
        if len(self.currency) > 8 or not (self.currency == "" or self.currency.isprintable()):
            raise ConfigError(f"currency: {self.currency[:20]!r}, expected at most 8 characters")


def read_figures(path: Path) -> Figures:
    """The figures of a YAML file.

    Raises:
        ConfigError: It cannot be read, or a field is unknown or out of range; named.
    """
    data = atomic.read_bytes(path, limit=_FIGURES_LIMIT)
    return settings.parse(data, Figures, str(path))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the sheet: what it is, its value in words, and where that comes from."""

    name: Text
    value: Text
    source: Text


Range = tuple[float, float, float]  # Expected, lower and upper end of an interval


def render(
    simulation: Simulation, published_cases: Published, figures: Figures, *, language: Language
) -> str:
    """The page, as HTML."""
    return (
        environment("wg_client.pilot")
        .get_template("sheet.html.j2")
        .render(
            t=language.say,
            language=language,
            data=simulation.data,
            verdict=sentences.verdict(simulation),
            figure=sentences.figure(simulation),
            lines=_lines(simulation, figures),
            command=published_cases.command,
            version=__version__,
        )
    )


_MEASURED = text("measured in this run")


def _lines(simulation: Simulation, figures: Figures) -> list[Line]:
    data, expectation = simulation.data, simulation.expected
    savings: Range | None = None
    gain: Range | None = None
    if expectation is not None:
        savings = expectation.saved, expectation.saved_low, expectation.saved_high
        if simulation.facts.question != "S3":
            gain = expectation.gain, expectation.low, expectation.high
    hours = _times(savings, figures.label_seconds, 1 / 3600)
    errors = _times(gain, figures.records_a_year)
    guess = next(price.guess for price in simulation.prices if price.epsilon == simulation.epsilon)
    return [
        Line(
            text("Records, with a label, classes"),
            text(
                "{records}, {labelled}, {classes}",
                records=f"{data.records:,}",
                labelled=f"{data.labelled:,}",
                classes=f"{len(data.per_label):,}",
            ),
            _MEASURED,
        ),
        Line(text("Right answers alone"), _local_figure(simulation.local), _MEASURED),
        Line(
            text("Labels saved, once"),
            _range_words(savings, text("labels")),
            text("published plants like yours; the command stands below"),
        ),
        _entry_line(text("Hours saved by that"), hours, text("hours"), "label_seconds"),
        _entry_line(
            text("Labels, in money"),
            _times(hours, figures.hour_cost),
            figures.currency,
            "hour_cost",
        ),
        _entry_line(text("Wrong calls avoided in a year"), errors, text("calls"), "records_a_year"),
        _entry_line(
            text("Wrong calls, in money a year"),
            _times(errors, figures.error_cost),
            figures.currency,
            "error_cost",
        ),
        Line(
            text("Cost in privacy and processor time"),
            text(
                "who guesses whether a record is in your data is right in at most {guess} of 100"
                " cases, instead of 50; {seconds} s, once",
                guess=math.ceil(100 * guess),
                seconds=f"{simulation.encode_seconds:,.0f}",
            ),
            _MEASURED,
        ),
    ]


def _local_figure(accuracy: Accuracy | None) -> Text:
    """Right answers of local-only, with their interval."""
    if accuracy is None:
        return text("not judged: too few labels")
    return text(
        "{middle} % (95 %: {low} to {high})",
        middle=f"{100 * accuracy.mean:.0f}",
        low=f"{100 * accuracy.low:.0f}",
        high=f"{100 * accuracy.high:.0f}",
    )


def _entry_line(name: Text, value: Range | None, unit: str | Text, field: str) -> Line:
    """A line that an entry of the engineer's is needed for."""
    if value is None:
        source = text("write {field} into a file, and name it: --figures FILE", field=field)
    else:
        source = text("computed with {field} of your figures", field=field)
    return Line(name, _range_words(value, unit), source)


def _range_words(value: Range | None, unit: str | Text) -> Text:
    if value is None:
        return text("not known")
    digits = 1 if abs(value[0]) < 10 else 0
    middle, low, high = (f"{round(number, digits) + 0.0:,.{digits}f}" for number in value)
    return text(
        "{middle} {unit} (80 %: {low} to {high})", middle=middle, unit=unit, low=low, high=high
    )


def _times(value: Range | None, factor: float | None, unit: float = 1.0) -> Range | None:
    """A range times a figure; None where either is not known."""
    if value is None or factor is None:
        return None
    middle, low, high = (figure * factor * unit for figure in value)
    return middle, low, high
