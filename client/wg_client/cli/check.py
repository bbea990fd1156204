"""``wg-client check``: preview of a release and its cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from wg_client.cli.acceptance_threshold import near_duplicate_lines
from wg_client.cli.freeze import encoder_failure_line
from wg_client.cli.options import delta_option, epsilon_option, home_option, statistics_option
from wg_common.cli import json_option, next_step, print_result
from wg_common.language import current_language, list_names, pad_columns, text, wrap_columns
from wg_core import errors
from wg_core.privacy.schema import StatisticsKind
from wg_core.site.config import HUMAN_APPROVAL, RECORD_UNIT
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.release.preview import (
        ReleaseContents,
        ReleaseCost,
        ReleasePreview,
        SnapshotSummary,
    )


_TITLES_BY_REFUSAL_SOURCE = {"policy": text("policy"), "budget": text("budget")}


@click.command()
@home_option
@epsilon_option
@delta_option
@statistics_option
@json_option
def check(
    home: ClientHome,
    epsilon: str | None,
    delta: str | None,
    statistics: StatisticsKind,
    as_json: bool,
) -> None:
    """Show what the client sees, what would leave and what it would cost. Sends nothing.

    Exit code 4: policy or budget would refuse such a release.
    """
    from wg_client.release import preview

    overview = preview.preview_release(home, epsilon=epsilon, delta=delta, statistics=statistics)
    print_result(
        canonical.to_builtins(overview), wrap_to_columns(_preview_lines(overview, home)), as_json
    )
    if overview.cost.refused_by:
        click.get_current_context().exit(errors.ExitCode.REFUSED)


def _preview_lines(preview: ReleasePreview, home: ClientHome) -> Iterator[str]:
    data, leaves, cost = preview.data, preview.would_leave, preview.cost
    yield text(
        "{site}: data set {dataset}, {path}",
        site=preview.site,
        dataset=preview.dataset,
        path=data.path,
    )
    yield from _snapshot_lines(preview.snapshot)
    units = (
        "" if data.units == data.records else text(" in {units} privacy units", units=data.units)
    )
    yield text(
        "  {records} {kind}{units}, {unlabelled} without a label",
        records=data.records,
        kind=text(data.modality),
        units=units,
        unlabelled=data.unlabelled,
    )
    for label, count in data.per_label.items():
        none = text("none: a model for it can be delivered, but not trained here")
        yield text("    {label} {count}", label=pad_columns(label, 24), count=count or none)
    yield from release_contents_lines(leaves)
    if preview.mean is not None:
        yield text(
            "    of the declared machine, without labels: the mean of {numbers} numbers "
            "over {units} units has length {length:.2g}, the noise on it {noise:.2g}",
            numbers=preview.mean.numbers,
            units=preview.mean.units,
            length=preview.mean.length,
            noise=preview.mean.noise_length,
        )
    yield from (*_public_data_lines(preview), *_cost_lines(leaves.unit, cost))
    yield from _decider_lines(home)
    yield text("nothing was sent, nothing was charged")
    for hint in preview.hints:
        yield text("hint: {hint}", hint=hint)
    if not cost.refused_by:
        yield next_step("wg-client run --home {home}", home=home.root)


def release_contents_lines(contents: ReleaseContents) -> Iterator[str]:
    """Yield lines on the contents of one release: shapes, noise and size, and what never leaves."""
    yield text("what would leave, once:")
    for block in contents.blocks:
        yield text(
            "    {name:8} {shape:>9} = {integers:6} integers, noise {noise}",
            name=block.name,
            shape=" x ".join(map(str, block.shape)),
            integers=block.integers,
            noise=block.noise_std,
        )
    yield text(
        "    {integers} integers; with signatures and proofs a file of about {size:.0f} kB",
        integers=contents.integers,
        size=contents.file_bytes / 1000,
    )
    yield text("    never: {what}", what=list_names([text(kind) for kind in contents.never_leaves]))


def _public_data_lines(preview: ReleasePreview) -> Iterator[str]:
    yield text(
        "public, free of charge, and enough for first weights (wg-client statistics --epsilon 0):"
    )
    yield text("    class names {names}", names=", ".join(preview.data.per_label))
    if preview.data_sheet is None:
        yield text("    data sheet: none is stated")
        return
    for name, value in preview.data_sheet.stated_fields():
        yield text("    {name} {value}", name=pad_columns(name, 28), value=value)
    if preview.no_machine:
        reason = current_language().translate_error(preview.no_machine)
        yield text("    no machine statistics: {reason}", reason=reason)
    else:
        yield text(
            "    machine statistics of it, at their own cost, where the operator says that weights"
            " are made from them: wg-client check --of machine"
        )


def wrap_to_columns(lines: Iterator[str], *, columns: int = 80) -> Iterator[str]:
    """Translate lines of text and wrap them, except those that begin with ``next:``."""
    for sentence in lines:
        line = current_language()(sentence)
        if sentence.startswith("next:"):
            yield line
        else:
            yield from wrap_columns(line, columns)


def _snapshot_lines(snapshot: SnapshotSummary) -> Iterator[str]:
    change, number = snapshot.change, snapshot.number
    freeze_time = time.strftime("%Y-%m-%d %H:%M", time.gmtime(snapshot.created))
    yield text(
        "  snapshot {number}, frozen {when} UTC; a release is made from it and nothing else",
        number=number,
        when=freeze_time,
    )
    if snapshot.set_aside or snapshot.duplicates:
        yield text(
            "  {left_out} left out, {duplicates} counted with an equal one",
            left_out=snapshot.set_aside,
            duplicates=snapshot.duplicates,
        )
    if snapshot.encoder_failures:
        yield encoder_failure_line(snapshot.encoder_failures)
    yield from near_duplicate_lines(snapshot.near_duplicates)
    if not change.has_changes:
        return
    difference = change.unreadable or text(
        "the data have {more} new files or rows, {fewer} fewer, {touched} with another size, date"
        " or content, and {labels} with another label or privacy unit",
        more=change.more,
        fewer=change.gone,
        touched=change.touched,
        labels=change.label_changes,
    )
    yield text(
        "  {found}: wg-client freeze makes version {number}, whose releases are charged anew",
        found=difference,
        number=number + 1,
    )


def _decider_lines(home: ClientHome) -> Iterator[str]:
    from wg_core.site import config

    yield text("who decides:")
    if config.load(home).privacy.approve == HUMAN_APPROVAL:
        yield text("    a person, each request: wg-client requests --home {home}", home=home.root)
    else:
        yield text(
            "    the policy alone; with 'approve: human' in {path} a person, each request",
            path=home.config,
        )


def _cost_lines(privacy_unit: str, cost: ReleaseCost) -> Iterator[str]:
    unit_name = text("record") if privacy_unit == RECORD_UNIT else privacy_unit
    yield text("what it would cost, for one {unit} added or removed:", unit=unit_name)
    yield text(
        "    alone    epsilon {epsilon:.4g} at delta {delta}",
        epsilon=cost.alone,
        delta=cost.cap_delta,
    )
    yield text(
        "    composed epsilon {epsilon:.4g}, with {spent:.4g} spent; the cap is {cap}",
        epsilon=cost.after,
        spent=cost.spent,
        cap=cost.cap_epsilon,
    )
    yield text(
        "    {verdict}; {count} such releases still fit under the cap",
        verdict=text("refused by {by}", by=_TITLES_BY_REFUSAL_SOURCE[cost.refused_by])
        if cost.refused_by
        else text("allowed"),
        count=cost.releases_left,
    )


COMMANDS = (check,)
