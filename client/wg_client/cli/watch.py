"""``wg-client watch``: drift tests of new records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.check import wrap_to_columns
from wg_client.cli.options import home_option
from wg_client.cli.reading_options import text_column_option
from wg_common import cli
from wg_common.cli import json_option, next_step, print_progress, print_result
from wg_common.language import current_language, text
from wg_core import errors
from wg_core import snapshot as snapshots
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.operation.watch import DriftReport


@click.command()
@home_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@text_column_option
@json_option
def watch(home: ClientHome, paths: tuple[Path, ...], text_column: str | None, as_json: bool) -> int:
    """Compare new records with the frozen ones: drift, and new kinds. Sends nothing.

    Ends with code 6 if there is an alarm. One of a hundred batches of records like the frozen ones
    raises a false alarm; records of one part are not independent, so take one of each part.
    """
    from wg_client.cli.prediction_run import read_new_records
    from wg_client.operation import watch as watching

    labels = configuration.load(home).data.labels
    modality = snapshots.load_current(home).manifest.modality
    surveys = [read_new_records(home, labels, path, modality, text_column) for path in paths]
    left_out = [problem for survey in surveys for problem in survey.problems]
    with cli.show_progress(
        text("looking at records"), sum(len(survey.data) for survey in surveys)
    ) as bar:
        observation = watching.test_batch_for_drift(
            home,
            [survey.data for survey in surveys],
            unreadable_records=left_out,
            progress=lambda count: bar.update(count),
        )
    for problem in observation.left_out:
        why = current_language().translate_error(problem.reason)
        print_progress(text("  left out: {name}: {why}", name=problem.name, why=why))
    document = {"false_alarms": watching.FALSE_ALARM_RATE, **canonical.to_builtins(observation)}
    print_result(
        document,
        wrap_to_columns(_drift_lines(observation, home.root, watching.FALSE_ALARM_RATE)),
        as_json,
    )
    if observation.alarm:
        return errors.ExitCode.NOT_ACCEPTED
    return errors.ExitCode.CONFIG if observation.left_out else errors.ExitCode.OK


def _drift_lines(report: DriftReport, home_root: Path, false_alarm_rate: float) -> Iterator[str]:
    shift = report.shift
    yield text(
        "{count} records, against version {number} of the data set",
        count=report.records,
        number=report.snapshot,
    )
    if shift is None:
        yield text("  features     not tested: five records are the least")
    else:
        yield text(
            "  features     p = {p:.4f}; moved: {means} means, {spreads} spreads; the largest by"
            " {largest:.2f} of its spread",
            p=report.p_features,
            means=shift.means,
            spreads=shift.spreads,
            largest=shift.largest,
        )
    yield text(
        "  new          p = {p:.4f}; {count} records, {share:.1f} %",
        p=report.p_new,
        count=report.new,
        share=100 * report.new / report.records,
    )
    verdict = text("no alarm")
    if report.alarm:
        verdict = text("ALARM: these records are not like the frozen ones")
    yield text(
        "{verdict} (of such batches without any drift, {rate:g} in 100 raise one)",
        verdict=verdict,
        rate=100 * false_alarm_rate,
    )
    if report.alarm:
        yield next_step("wg-client predict --home {home} NEW_RECORDS", home=home_root)


COMMANDS = (watch,)
