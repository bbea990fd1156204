"""The return-on-investment sheet: one page, each line with its number and where that comes from.

A number is one of four things, and the page says which: looked up or measured in this run,
published with the command that prints it, entered by the engineer, or computed from other lines.
What was not entered is not guessed: the line says so, and every line that needs it says so too.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

import jinja2

from wg_client.pilot.published import Published, Steps
from wg_client.pilot.simulation import Price, Simulation
from wg_core import __version__, atomic, settings
from wg_core.errors import ConfigError
from wg_core.language import Language, text

_FIGURES_LIMIT = 64 << 10
_HOUR = 3600.0
_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What only the plant knows; null: not entered.

    Attributes:
        currency: Its short name.
        label_seconds: A person's time to label one record.
        hour_cost: What an hour of that person costs.
        records_a_year: Records that the model would judge in a year.
        error_cost: What a wrong call costs, on average.
        watts: Power of the computer while it computes.
        kwh_cost: What a kilowatt-hour costs.
    """

    currency: str = ""
    label_seconds: float | None = None
    hour_cost: float | None = None
    records_a_year: float | None = None
    error_cost: float | None = None
    watts: float | None = None
    kwh_cost: float | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the sheet.

    Attributes:
        number: By which other lines name it.
        name: What it is.
        value: In words; of what is not known: "not entered".
        source: Where it comes from.
    """

    number: int
    name: str
    value: str
    source: str


Range = tuple[float, float, float]  # Expected, lower and upper end of an interval


def render(
    simulation: Simulation,
    published_cases: Published,
    figures: Figures,
    *,
    epsilon: float,
    language: Language,
) -> str:
    """The page, as HTML."""
    price = next(price for price in simulation.prices if price.epsilon == epsilon)
    sheet = _Sheet(simulation, published_cases, figures, price)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wg_client.pilot", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("sheet.html.j2").render(
        t=language.say,
        language=language,
        data=simulation.data,
        groups=sheet.groups(),
        epsilon=f"{epsilon:g}",
        sites=simulation.sites,
        version=__version__,
    )


class _Sheet:
    """The lines, in order; a line may name those before it."""

    def __init__(
        self, simulation: Simulation, published_cases: Published, figures: Figures, price: Price
    ) -> None:
        self._found = simulation
        self._told = published_cases
        self._figures = figures
        self._price = price
        self._lines: list[Line] = []

    def groups(self) -> list[tuple[str, list[Line]]]:
        """Titles, and their lines."""
        groups: list[tuple[str, list[Line]]] = []
        for title, add in (
            (text("What the model is worth"), self._worth),
            (text("Labels"), self._labels),
            (text("Errors"), self._errors),
            (text("Computing"), self._computing),
            (text("Sum"), self._sum),
        ):
            before = len(self._lines)
            add()
            groups.append((title, self._lines[before:]))
        return groups

    def _add(self, name: str, value: str, source: str) -> int:
        number = len(self._lines) + 1
        self._lines.append(Line(number=number, name=name, value=value, source=source))
        return number

    def _entered(self, name: str, value: float | None, unit: str) -> int:
        if value is None:
            return self._add(name, text("not entered"), text("the engineer's figures"))
        return self._add(name, f"{value:,g} {unit}".strip(), text("the engineer's figures"))

    def _computed(
        self, name: str, value: Range | None, unit: str, lines: str, digits: int = 0
    ) -> int:
        shown: str = text("not known: a line that it needs is not entered")
        if value is not None:
            shown = self._ranged(value, unit, digits)
        return self._add(name, shown, text("computed: {lines}", lines=lines))

    def _ranged(self, value: Range, unit: str, digits: int = 0) -> str:
        middle, low, high = (f"{round(number, digits) + 0.0:,.{digits}f}" for number in value)
        ends = text("80 %: {low} to {high}", low=low, high=high)
        if not unit:
            return text("{middle} ({ends})", middle=middle, ends=ends)
        return text("{middle} {unit} ({ends})", middle=middle, unit=unit, ends=ends)

    def _worth(self) -> None:
        simulation = self._found
        data, local = simulation.data, simulation.local
        self._add(
            text("Records, with a label, classes"),
            f"{data.records:,}, {data.labelled:,}, {len(data.per_label):,}",
            text("your data"),
        )
        alone = text("not judged: too few labels")
        if local is not None:
            alone = text(
                "{middle} % (95 %: {low} to {high})",
                middle=f"{100 * local.mean:.0f}",
                low=f"{100 * local.low:.0f}",
                high=f"{100 * local.high:.0f}",
            )
        self._add(
            text("Right answers alone"), alone, text("measured in this run, in your own folds")
        )
        expected = self._price.expected
        gain: str = text("not known: no published plant is like yours")
        if expected is not None:
            values = tuple(100 * share for share in (expected.gain, expected.low, expected.high))
            gain = self._ranged((values[0], values[1], values[2]), text("points"), 1)
        name = text("More right answers with weights")
        if simulation.facts.question == "S3":
            name = text("Right answers with weights, without any label")
        self._add(name, gain, self._published())

    def _published(self) -> str:
        return text("published plants; printed by {command}", command=self._told.command)

    def _labels(self) -> None:
        figures, expected = self._figures, self._price.expected
        self._saved: Range | None = None
        shown: str = text("not known: no published plant is like yours")
        if expected is not None:
            self._saved = (expected.saved, expected.saved_low, expected.saved_high)
            shown = self._ranged(self._saved, text("labels"))
        first = self._add(
            text("Labels saved: what you alone would need more to be as accurate"),
            shown,
            self._published(),
        )
        second = self._entered(text("Time to label one record"), figures.label_seconds, "s")
        hours = _times(self._saved, figures.label_seconds, 1 / _HOUR)
        third = self._computed(
            text("Working time saved, once"), hours, text("hours"), f"{first} × {second}", 1
        )
        fourth = self._entered(text("Cost of an hour"), figures.hour_cost, figures.currency)
        self._labels_money = _times(hours, figures.hour_cost)
        self._labels_line = self._computed(
            text("Labels, in money"), self._labels_money, figures.currency, f"{third} × {fourth}"
        )

    def _errors(self) -> None:
        figures, expected = self._figures, self._price.expected
        gain: Range | None = None
        if expected is not None and self._found.facts.question != "S3":
            gain = (expected.gain, expected.low, expected.high)
        first = self._entered(
            text("Records that the model judges in a year"), figures.records_a_year, ""
        )
        errors = _times(gain, figures.records_a_year)
        second = self._computed(text("Wrong calls avoided in a year"), errors, "", f"3 × {first}")
        third = self._entered(text("Cost of a wrong call"), figures.error_cost, figures.currency)
        self._errors_money = _times(errors, figures.error_cost)
        self._errors_line = self._computed(
            text("Wrong calls, in money a year"),
            self._errors_money,
            figures.currency,
            f"{second} × {third}",
        )

    def _computing(self) -> None:
        simulation, figures = self._found, self._figures
        about = {
            "known to the zoo": text("known to the zoo"),
            "not known to the zoo": text("not known to the zoo"),
        }
        bench = "bench.networks" if simulation.facts.kind == "images" else "bench.window_networks"
        for steps in self._told.steps:
            if steps.kind == simulation.facts.kind:
                self._add(
                    text(
                        "Local training steps saved, whole networks, {about}",
                        about=about[steps.about],
                    ),
                    self._steps(steps),
                    text("published; rows of {command}", command=f"python -m {bench}"),
                )
        alone = self._told.local_seconds
        self._add(
            text("Processor time to learn alone, a plant of the bench"),
            f"{alone:.2g} s",
            self._published(),
        )
        seconds = simulation.encode_seconds + simulation.learn_seconds
        first = self._add(
            text("Processor time that weightgate takes more: freeze once, compare once"),
            f"{seconds:,.0f} s",
            text("measured in this run"),
        )
        second = self._entered(text("Power of the computer"), figures.watts, "W")
        energy = None
        if figures.watts is not None:
            energy = seconds * figures.watts / _KWH
        third = self._add(
            text("Energy"),
            text("not known: a line that it needs is not entered")
            if energy is None
            else f"{_small(energy)} kWh",
            text("computed: {lines}", lines=f"{first} × {second}"),
        )
        fourth = self._entered(text("Cost of a kilowatt-hour"), figures.kwh_cost, figures.currency)
        self._energy_money = None
        if energy is not None and figures.kwh_cost is not None:
            self._energy_money = energy * figures.kwh_cost
        self._energy_line = self._add(
            text("Energy, in money"),
            text("not known: a line that it needs is not entered")
            if self._energy_money is None
            else f"{_small(self._energy_money)} {figures.currency}".strip(),
            text("computed: {lines}", lines=f"{third} × {fourth}"),
        )

    def _steps(self, steps: Steps) -> str:
        if steps.steps < 0:
            return text(
                "more than {tried} ({plants} plants)", tried=steps.tried, plants=steps.plants
            )
        return text("{steps} ({plants} plants)", steps=steps.steps, plants=steps.plants)

    def _sum(self) -> None:
        total: Range | None = None
        parts = (self._labels_money, self._errors_money)
        if parts[0] is not None and parts[1] is not None and self._energy_money is not None:
            total = (
                parts[0][0] + parts[1][0] - self._energy_money,
                parts[0][1] + parts[1][1] - self._energy_money,
                parts[0][2] + parts[1][2] - self._energy_money,
            )
        self._computed(
            text("First year, in money"),
            total,
            self._figures.currency,
            f"{self._labels_line} + {self._errors_line} − {self._energy_line}",
        )
        guess = math.ceil(100 * self._price.guess)
        self._add(
            text("Cost in privacy"),
            text(
                "whoever guesses whether a certain record is in your data is right in at most"
                " {guess} of 100 cases, instead of 50",
                guess=guess,
            ),
            text("computed: epsilon {epsilon}", epsilon=f"{self._price.epsilon:g}"),
        )


def _small(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.01 else "< 0.01"


def _times(value: Range | None, factor: float | None, unit: float = 1.0) -> Range | None:
    """A range times a figure; None where either is not known."""
    if value is None or factor is None:
        return None
    middle, low, high = (figure * factor * unit for figure in value)
    return middle, low, high
