"""``wg-client models threshold``, and text about a model's errors on the acceptance set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from wg_client.cli.model_in_use import chosen_model
from wg_client.cli.options import home_option
from wg_common.cli import json_option, print_result
from wg_common.language import Text, list_names, text
from wg_core.errors import UsageError
from wg_core.logs import escape_unprintable
from wg_core.site.home import ClientHome
from wg_core.snapshot import DuplicateRecord
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.models.acceptance import AcceptanceResults, ErrorCount, ThresholdCounts


@click.command("threshold")
@home_option
@click.argument("value", type=click.FloatRange(0, 1), required=False)
@click.option(
    "--missed",
    "missed_share",
    type=click.FloatRange(0, 0.5, min_open=True),
    metavar="SHARE",
    help="Largest share of defective records that may pass; 0.1 until you say otherwise.",
)
@click.option("--by", metavar="NAME", help="Person who decides; it stays in the log.")
@json_option
def threshold(
    home: ClientHome, value: float | None, missed_share: float | None, by: str | None, as_json: bool
) -> None:
    """Change the threshold of the model in use, or the share that may pass; or show their cost.

    A record is rejected if its probability of a defect is at least VALUE. The resulting errors are
    counted on the acceptance set (data.acceptance in client.yaml).
    """
    from wg_client.data import plant_data as plants
    from wg_client.models import adoption
    from wg_client.models.acceptance import evaluate_on_acceptance_set
    from wg_client.models.calls import VerdictRule

    manifest, name = chosen_model(home, None, None)
    if value is not None or missed_share is not None:
        if by is None:
            raise UsageError("--by: say who decides; a role will do")
        adoption.set_threshold(home, value, missed_share=missed_share, author=by)
    figures = evaluate_on_acceptance_set(home, plants.open_plant_data(home), manifest)
    in_force = adoption.read_adoption_history(home).latest_change.threshold
    passing = VerdictRule.load(home, manifest, name).pass_rule
    curve = figures.scores[name].threshold_curve(point_count=11) if figures.scores else []
    lines: list[str] = [text("threshold: {value:g}", value=in_force)]
    lines += [passing.guarantee_sentence] if passing.missed_share else []
    for judgement in curve:
        lines.append(
            text(
                "  {value:4.2f}  false accepts {accepts}; false rejects {rejects}",
                value=judgement.threshold,
                accepts=error_count_text(judgement.false_accepts),
                rejects=error_count_text(judgement.false_rejects),
            )
        )
    judgement_now = figures.counts_for_model(name)
    lines += (
        [NO_ACCEPTANCE_SET_MESSAGE] if judgement_now is None else needed_record_lines(judgement_now)
    )
    document = {
        "package": manifest.package_id,
        "model": name,
        "threshold": in_force,
        "passing": canonical.to_builtins(passing),
        "curve": [canonical.to_builtins(judgement) for judgement in curve],
    }
    print_result(document, lines, as_json)


NO_ACCEPTANCE_SET_MESSAGE = text(
    "false accepts and false rejects are not known: there is no acceptance set. 299 good and 299"
    " defective records, none called wrong, would show at most 1 % of each; name their folder in"
    " client.yaml (data.acceptance), and freeze"
)


def error_count_text(errors: ErrorCount | None) -> Text:
    """Format a count of errors and the upper bound on the error rate; None is "not known"."""
    if errors is None:
        return text("not known")
    return text(
        "{wrong} of {records}, at most {most:.1f} %",
        wrong=errors.wrong,
        records=errors.records,
        most=100 * errors.upper_bound(),
    )


def acceptance_lines(results: AcceptanceResults) -> Iterator[str]:
    """Yield a line of text per model: its errors on the acceptance set at its threshold."""
    kept_scores = results.counts_for_model(results.kept_model)
    if kept_scores is None:
        yield NO_ACCEPTANCE_SET_MESSAGE
        return
    yield text("on the acceptance set, with 95 % bounds:")
    for name, judgement in results.counts_by_model.items():
        yield text(
            "  {model:24} threshold {value:g}: false accepts {accepts}; false rejects {rejects};"
            " other label {wrong}",
            model=name,
            value=judgement.threshold,
            accepts=error_count_text(judgement.false_accepts),
            rejects=error_count_text(judgement.false_rejects),
            wrong=error_count_text(judgement.wrong_labels),
        )
    yield from near_duplicate_lines(results.near_duplicates)
    yield from needed_record_lines(kept_scores)


def near_duplicate_lines(duplicates: Sequence[DuplicateRecord]) -> Iterator[str]:
    """Yield a warning of acceptance records that are nearly the same as training records."""
    if duplicates:
        yield text(
            "warning: acceptance records that are nearly the same as a training record: {count}"
            " (first {names}). They make acceptance figures too good: replace them",
            count=len(duplicates),
            names=list_names(
                [
                    f"{escape_unprintable(d.name)} = {escape_unprintable(d.same_as)}"
                    for d in duplicates[:3]
                ]
            ),
        )


def needed_record_lines(counts: ThresholdCounts) -> Iterator[str]:
    """Yield a line on how many more records without an error would show at most 1 % errors."""
    if counts.false_accepts is None or counts.false_rejects is None:
        yield text('it is not known which labels are good: name them in client.yaml ("data.good")')
        return
    yield text(
        "to show at most 1 %, it takes {good} more good and {defective} more defective records"
        " without another wrong call",
        good=counts.false_rejects.records_needed(),
        defective=counts.false_accepts.records_needed(),
    )


COMMANDS = (threshold,)  # Commands of the group `models`
