"""``wg-client freeze``, and text about a data set and its problems, which ``init`` uses, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from wg_client.cli.acceptance_threshold import near_duplicate_lines
from wg_client.cli.options import allow_empty_option, home_option, set_aside_option
from wg_common import cli
from wg_common.cli import (
    json_option,
    next_step,
    print_json,
    print_line,
    print_progress,
    print_result,
)
from wg_common.language import Text, current_language, english_text, list_names, template, text
from wg_core import errors
from wg_core.logs import escape_unprintable
from wg_core.site.home import ClientHome
from wg_core.snapshot import DuplicateRecord, UnusableItem
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.data.acceptance_set import AcceptanceSet
    from wg_client.data.record_inspection import Inspection
    from wg_core.release.freeze import FreezeResult

UNUSABLE_RECORD_TEMPLATE = template("  cannot be used: {name}: {why}")
_LEFT_OUT_TEMPLATE = template("  left out: {name}: {why}")
_DUPLICATE_TEMPLATE = template("  counts once: {name}: the same content as {why}")
_ZERO_FEATURES_TEMPLATE = template("  zeros for features: {name}")
FREEZING_TITLE = text("freezing, %")
_MOST_LISTED_ITEMS = 50  # Most listed names of one kind
_MOST_UNGROUPED_ITEMS = (
    10  # Most listed names of one kind before those with one reason share a line
)
_MOST_LISTED_CLASSES = 20
_STAGE_TEMPLATES = {
    "read": template("{done} of {total} records read"),
    "encoded": template("{done} of {total} records encoded"),
    "judged": template("training on {total} labels alone, in cross-validation"),
}


@click.command()
@home_option
@set_aside_option
@allow_empty_option
@json_option
def freeze(home: ClientHome, set_aside: bool, allow_empty: bool, as_json: bool) -> int:
    """Check, encode and fix the data set; releases are made from this snapshot alone.

    Ends with code 3 and changes nothing if a record cannot be used, unless --set-aside. Each freeze
    is a new version of the data set, whose releases are charged anew.
    """
    from wg_core.site import config as configuration

    config = configuration.load(home)
    source = Path(config.data.path)
    with freezing_progress() as stage:
        from wg_client.data import plant_data as plants
        from wg_client.release.home_freeze import freeze_data, inspect_home_data

        load = plants.caching_encoder_loader()
        inspection = inspect_home_data(home, load_encoder=load, on_progress=stage)
    if exit_code := print_freeze_refusal(inspection, set_aside, allow_empty, source, as_json):
        return exit_code
    with freezing_progress() as stage:
        frozen = freeze_data(
            home,
            inspection,
            load_encoder=load,
            set_aside=set_aside,
            allow_empty=allow_empty,
            on_progress=stage,
        )
    command = "wg-client {name} --home {home}"
    name = "models fit" if config.pin is None else "check"
    next_line = next_step(command, name=name, home=home.root)
    document = {"frozen": True, **freeze_document(frozen), "read": inspection_document(inspection)}
    print_result(
        document | {"hints": list(inspection.hints)},
        [inspection_line(inspection), *freeze_result_lines(frozen), next_line],
        as_json,
    )
    return errors.ExitCode.OK


@contextmanager
def freezing_progress(
    title: str = FREEZING_TITLE,
    stages: tuple[str, ...] = ("read", "encoded"),
    *,
    immediate: bool = True,
) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar whose stages have equal shares, and yield the function that advances it.

    The function takes the name of a stage, the number of records done, and their total.

    Args:
        immediate: Draw the bar now; False: when the first stage begins, after a question.
    """
    share = 100 // len(stages)
    with ExitStack() as stack:
        bar = stack.enter_context(cli.show_progress(title, 100)) if immediate else None

        def show(stage: str, count: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(cli.show_progress(title, 100))
            finished_share = share * stages.index(stage)
            last = count == total and stage == stages[-1]
            message = text(_STAGE_TEMPLATES[stage], done=count, total=total)
            bar.update(100 if last else finished_share + share * count // max(total, 1), message)

        yield show


def print_freeze_refusal(
    inspection: Inspection, set_aside: bool, allow_empty: bool, data_path: Path, as_json: bool
) -> int:
    """Print all reasons why a data set cannot be frozen; return the exit code, 0 if it can be."""
    from wg_client.release.home_freeze import freeze_refusal

    refusal = freeze_refusal(
        inspection, set_aside=set_aside, allow_empty=allow_empty, source=data_path
    )
    for hint in inspection.hints:
        print_progress(text("hint: {hint}", hint=hint))
    if refusal is None:
        return errors.ExitCode.OK
    if as_json:
        print_json(
            {
                "frozen": False,
                "error": {
                    "code": refusal.code,
                    "message": str(refusal),
                    "exit_code": refusal.exit_code,
                },
                "read": inspection_document(inspection),
                "problems": canonical.to_builtins(inspection.problems),
                "duplicates": canonical.to_builtins(inspection.duplicates),
                "hints": list(inspection.hints),
            }
        )
    else:
        print_line(inspection_line(inspection))
        for line in abridged_item_lines(UNUSABLE_RECORD_TEMPLATE, inspection.problems):
            print_line(line)
    print_progress(
        text(
            "error: {message}",
            message=escape_unprintable(current_language().translate_error(str(refusal))),
        )
    )
    return refusal.exit_code


def inspection_document(inspection: Inspection) -> dict[str, Any]:
    """Build the JSON document on a data set's layout and its usable records."""
    data = inspection.data
    counts = {name: int((data.labels == at).sum()) for at, name in enumerate(data.label_names)}
    return {
        "layout": english_text(inspection.layout),
        "kind": data.modality,
        "records": len(data),
        "classes": counts,
        "unlabelled": len(data) - sum(counts.values()),
    }


def inspection_line(inspection: Inspection) -> Text:
    """Return a line on how a data set was read, and its numbers of usable records by class."""
    document = inspection_document(inspection)
    counts: list[str] = [
        f"{escape_unprintable(name)} {count}" for name, count in document["classes"].items()
    ]
    if (omitted := len(counts) - _MOST_LISTED_CLASSES) > 0:
        counts = counts[:_MOST_LISTED_CLASSES]
        counts.append(text("{count} more classes", count=omitted))
    if document["unlabelled"]:
        counts.append(text("without a label {count}", count=document["unlabelled"]))
    return text(
        "read as {layout}: {count} {kind}: {counts}",
        layout=inspection.layout,
        count=document["records"],
        kind=text(document["kind"]),
        counts=list_names(counts),
    )


def freeze_document(result: FreezeResult) -> dict[str, Any]:
    """Build the document that ``freeze --json`` prints about a snapshot."""
    manifest = result.snapshot.manifest
    return {
        "version": manifest.number,
        "dataset": manifest.dataset,
        "records": result.records,
        "set_aside": canonical.to_builtins(result.listing.set_aside),
        "duplicates": canonical.to_builtins(result.listing.duplicates),
        "acceptance": acceptance_counts_by_label(result),
        "near_duplicates": canonical.to_builtins(_near_duplicates(result)),
        "encoder_failures": list(_encoder_failure_names(result)),
        "machine": manifest.machine is not UNSET,
        "unread_machine": result.unread_machine_reason,
    }


def _encoder_failure_names(result: FreezeResult) -> tuple[str, ...]:
    from wg_client.release.home_freeze import encoder_failure_names

    return encoder_failure_names(result.snapshot)


def encoder_failure_line(record_count: int) -> str:
    """Return a sentence on how many records the encoder failed on; only the plant reads it."""
    return text(
        "the encoder failed on {count} records, whose features are set to zero; nobody "
        "outside learns this. If there are many, ask the operator for another encoder",
        count=record_count,
    )


def acceptance_counts_by_label(result: FreezeResult) -> dict[str, int]:
    """Return the records of the acceptance set by label; empty if there is no set."""
    acceptance, labels = _acceptance_set(result), result.snapshot.manifest.schema.labels
    if acceptance is None:
        return {}
    counted_labels = acceptance.records.labels
    return {name: int((counted_labels == at).sum()) for at, name in enumerate(labels)}


def _near_duplicates(result: FreezeResult) -> tuple[DuplicateRecord, ...]:
    acceptance = _acceptance_set(result)
    return () if acceptance is None else acceptance.listing.duplicates


def _acceptance_set(result: FreezeResult) -> AcceptanceSet | None:
    from wg_client.data.acceptance_set import decode_acceptance_set

    data, folder = result.snapshot.read_acceptance_set(), result.snapshot.folder
    return decode_acceptance_set(data, str(folder)) if data else None


def freeze_result_lines(result: FreezeResult) -> list[str]:
    """Describe a snapshot, and the records that are not in it, as lines of text."""
    listing, manifest = result.listing, result.snapshot.manifest
    failures = _encoder_failure_names(result)
    return [
        *abridged_item_lines(_LEFT_OUT_TEMPLATE, listing.set_aside),
        *abridged_item_lines(_DUPLICATE_TEMPLATE, listing.duplicates),
        *(
            [*_encoder_failure_lines(failures), encoder_failure_line(len(failures))]
            if failures
            else []
        ),
        text(
            "{path}: version {number} of data set {dataset}, {records} records, {left_out} left"
            " out, {duplicates} duplicates",
            path=escape_unprintable(listing.path),
            number=manifest.number,
            dataset=manifest.dataset,
            records=result.records,
            left_out=len(listing.set_aside),
            duplicates=len(listing.duplicates),
        ),
        *(
            [
                text(
                    "acceptance set, never released and never trained on: {counts}",
                    counts=list_names(
                        [f"{escape_unprintable(name)} {count}" for name, count in counts.items()]
                    ),
                )
            ]
            if (counts := acceptance_counts_by_label(result))
            else []
        ),
        *near_duplicate_lines(_near_duplicates(result)),
        *_machine_statistics_lines(result),
    ]


def _machine_statistics_lines(result: FreezeResult) -> Iterator[str]:
    """Yield a line on whether machine statistics can be released; none without a data sheet."""
    if result.snapshot.manifest.machine is not UNSET:
        yield text("machine statistics: of the machine that the data sheet states")
    elif result.unread_machine_reason:
        reason = current_language().translate_error(result.unread_machine_reason)
        yield text("no machine statistics: {reason}", reason=escape_unprintable(reason))


def abridged_item_lines(line_template: str, items: tuple[Any, ...]) -> list[str]:
    """Return a line of text for each of the first items, with the item's name and a reason.

    If there are many items, those with the same reason share a line.

    Args:
        line_template: Text with the placeholders ``name`` and ``why``, the item's reason.
        items: Records or files, each with the attributes ``name`` and ``reason``.
    """
    if line_template != _DUPLICATE_TEMPLATE and len(items) > _MOST_UNGROUPED_ITEMS:
        by_reason: dict[str, list[Any]] = {}
        for item in items:
            by_reason.setdefault(item.reason, []).append(item)
        items = tuple(
            UnusableItem(
                name=f"{group[0].name} (+{len(group) - 1})" if group[1:] else group[0].name,
                reason=reason,
            )
            for reason, group in by_reason.items()
        )
    return _add_omission_line(
        [
            text(
                line_template,
                name=escape_unprintable(entry.name),
                why=escape_unprintable(
                    entry.same_as
                    if line_template == _DUPLICATE_TEMPLATE
                    else current_language().translate_error(entry.reason)
                ),
            )
            for entry in items[:_MOST_LISTED_ITEMS]
        ],
        len(items),
    )


def _encoder_failure_lines(record_names: tuple[str, ...]) -> list[str]:
    lines = [
        text(_ZERO_FEATURES_TEMPLATE, name=escape_unprintable(name))
        for name in record_names[:_MOST_LISTED_ITEMS]
    ]
    return _add_omission_line(lines, len(record_names))


def _add_omission_line(lines: Sequence[str], total: int) -> list[str]:
    """Return the lines, and a last one on how many of ``total`` lines are omitted, if any are."""
    omission = text("  {count} more; --json names all", count=total - len(lines))
    return [*lines, omission] if total > len(lines) else [*lines]


COMMANDS = (freeze,)
