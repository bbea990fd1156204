"""``wg-client watch``: are new records like the frozen ones, and which are worth a label?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.check import fitted
from wg_client.cli.options import home_option
from wg_core import cli, errors
from wg_core.cli import json_option, next_step, note, printable, show
from wg_core.language import padded, text
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.operation.watch import Watch


@click.command()
@home_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--suggest",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    help="How many records worth labelling to name.",
)
@json_option
def watch(home: ClientHome, paths: tuple[Path, ...], suggest: int, as_json: bool) -> int:
    """Hold new records against the frozen ones: drift, new kinds, unsure calls. Sends nothing.

    Ends with code 6 if there is an alarm. Of a hundred batches of records like the frozen ones, one
    raises an alarm; records of one part are not independent, so take one of each.
    """
    from wg_client.cli.prediction import records_at
    from wg_client.operation import watch as watching

    labels = configuration.load(home).data.labels
    surveys = [records_at(home, labels, path) for path in paths]
    left_out = [problem for _, problems in surveys for problem in problems]
    with cli.progress(text("looking at records"), sum(len(data) for data, _ in surveys)) as bar:
        observation = watching.watch(
            home,
            [data for data, _ in surveys],
            count=suggest,
            left_out=left_out,
            progress=lambda done: bar.update(done),
        )
    for problem in observation.left_out:
        note(text("  left out: {name}: {why}", name=problem.name, why=problem.reason))
    document = {"false_alarms": watching.FALSE_ALARMS, **canonical.to_builtins(observation)}
    show(document, fitted(_lines(observation, home.root, watching.FALSE_ALARMS)), as_json)
    if observation.batch.alarm:
        return errors.ExitCode.NOT_ACCEPTED
    return errors.ExitCode.CONFIG if observation.left_out else errors.ExitCode.OK


def _lines(observation: Watch, root: Path, rate: float) -> Iterator[str]:
    batch, shift = observation.batch, observation.shift
    yield text(
        "{count} records, against version {number} of the data set",
        count=batch.records,
        number=batch.snapshot,
    )
    if shift is None:
        yield text("  features     not tested: five records are the least")
    else:
        yield text(
            "  features     p = {p:.4f}; moved: {means} means, {spreads} spreads; the largest by"
            " {largest:.2f} of its spread",
            p=batch.p_features,
            means=shift.means,
            spreads=shift.spreads,
            largest=shift.largest,
        )
    yield text(
        "  new          p = {p:.4f}; {count} records, {share:.1f} %",
        p=batch.p_new,
        count=batch.new,
        share=100 * batch.new / batch.records,
    )
    if batch.unsure < 0:
        yield text("  not sure     not known: no model, or too few labels to call any record sure")
    else:
        yield text(
            "  not sure     p = {p:.4f}; {count} records, {share:.1f} %",
            p=batch.p_unsure,
            count=batch.unsure,
            share=100 * batch.unsure / batch.records,
        )
    for label, count in observation.called.items():
        yield text(
            "    called {label} {count:6}, frozen with this label {own:6}",
            label=padded(printable(label), 20),
            count=count,
            own=observation.frozen.get(label, 0),
        )
    verdict = text("no alarm")
    if batch.alarm:
        verdict = text("ALARM: these records are not like the frozen ones")
    yield text(
        "{verdict} (of such batches without any drift, {rate:g} in 100 raise one)",
        verdict=verdict,
        rate=100 * rate,
    )
    yield from _suggestions(observation)
    cost = observation.release
    yield text(
        "a new release would cost epsilon {epsilon}: {after:.4g} of {cap} would be spent, and"
        " {left} more would fit",
        epsilon=cost.epsilon,
        after=cost.after,
        cap=cost.cap_epsilon,
        left=max(cost.releases_left - 1, 0),
    )
    if batch.alarm:
        yield next_step("label some of these; wg-client freeze --home {home}", home=root)


def _suggestions(observation: Watch) -> Iterator[str]:
    if observation.label_next:
        yield text("worth labelling, the most first:")
    for suggestion in observation.label_next:
        call = (
            f"{printable(suggestion.label)} ({suggestion.probability:.2f})"
            if suggestion.label
            else ""
        )
        like = "" if suggestion.likeness is None else f"{suggestion.likeness:.3f}"
        yield f"    {printable(suggestion.name)}  {like}  {call}".rstrip()


COMMANDS = (watch,)
