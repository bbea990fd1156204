"""``wg-client simulate``: expected gain, contents and cost of joining, without a server."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click
from click.core import ParameterSource

from wg_client.cli.check import release_contents_lines, wrap_to_columns
from wg_client.cli.encoder_confirmation import confirm_encoder, is_interactive
from wg_client.cli.freeze import UNUSABLE_RECORD_TEMPLATE, abridged_item_lines, freezing_progress
from wg_client.cli.options import data_sheet_option, split_at_commas
from wg_client.cli.reading_options import ReadingOptions, build_reading_config, reading_options
from wg_client.data import process_log
from wg_client.simulate import published_cases
from wg_client.simulate.result_sentences import gain_sentence, offer_sentences, verdict_sentence
from wg_common.cli import json_option, next_step, print_line, print_result, show_spinner
from wg_common.language import pad_columns, text
from wg_core.errors import UsageError
from wg_core.logs import escape_unprintable
from wg_core.site.config import RECORD_UNIT, read_data_sheet
from wg_core.site.encoder_pin import check_owner_hash
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.simulate.simulation import Simulation
    from wg_common.offer import OpenedOffer

_INIT_PARAMETER_NAMES = {
    "data",
    "labels",
    "unit_column",
    "data_sheet",
    *ReadingOptions.__annotations__,
}
_MOST_LISTED_LABELS = 20
_PROGRESS_TITLE = text("simulating, %")
_ENCODER_REFUSED_MESSAGE = text(
    "the encoder was not confirmed, and was not run. When you have checked its hash, run this"
    " command again"
)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of class folders, folder with records.csv, .npz file, or sensor logs (--window).",
)
@click.option(
    "--labels", help="Label domain, a,b,c, with classes that you have never seen. Default: folders."
)
@click.option("--unit-column", help="Column or array that names the privacy unit of a record.")
@click.option(
    "--sites",
    type=click.IntRange(0, 1000),
    default=3,
    show_default=True,
    help="Other plants with your classes that take part. Ask the operator.",
)
@click.option(
    "--encoder",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The operator's encoder package; default: what is installed. With --offer: the SHA-256 of"
    " its encoder, or 16 or more of its first hex digits.",
)
@click.option(
    "--offer",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The operator's offer ('wg-server offer'): it is tried on your own records.",
)
@reading_options
@data_sheet_option
@click.option(
    "--price",
    type=click.Choice([f"{epsilon:g}" for epsilon in published_cases.PUBLISHED_EPSILONS]),
    default="4",
    show_default=True,
    help="Epsilon of the release that is expected to bring it.",
)
@json_option
def simulate(
    data: Path,
    labels: str | None,
    unit_column: str | None,
    sites: int,
    encoder: Path | None,
    offer: Path | None,
    data_sheet: Path | None,
    price: str,
    as_json: bool,
    **reading: Unpack[ReadingOptions],
) -> None:
    """Simulate, on your records alone: what may be gained, what would leave, what it would cost.

    Needs no server and no token. Sends nothing, charges nothing, writes nothing. Before an offer's
    encoder sees a record, you are asked whether it is the one that the operator told you.
    """
    with show_spinner(_PROGRESS_TITLE):
        from wg_client.fleet.home_initialisation import DataSetChoice, inspect_data
        from wg_client.simulate import simulation

    offer_file = None if offer is None else _open_offer(offer, encoder, as_json)
    choice = DataSetChoice(
        path=data,
        labels=None if labels is None else split_at_commas(labels),
        unit_column=unit_column,
        reading=build_reading_config(data, unit_column, reading),
        data_sheet=None if data_sheet is None else read_data_sheet(data_sheet),
    )
    if choice.data_sheet is not None and process_log.declared_process_unit(choice.data_sheet):
        raise UsageError(
            text(
                "--data-sheet: a {kind} has soft sensors, which state numbers, not classes."
                " 'wg-client soft-sensor LOG LABORATORY' judges your own on days held out, without"
                " a server; docs/soft-sensors.md says what a server's brings and costs",
                kind=choice.data_sheet.kind,
            )
        )
    with freezing_progress(_PROGRESS_TITLE, ("read", "encoded", "judged")) as stage:
        outcome = simulation.simulate(
            choice,
            inspect_data(choice, stage),
            encoder_path=encoder if offer_file is None else None,
            offer=offer_file,
            other_site_count=sites,
            epsilon=float(price),
            on_progress=stage,
        )
    print_result(
        canonical.to_builtins(outcome),
        wrap_to_columns(_simulation_lines(outcome, _init_command_options())),
        as_json,
    )


def _open_offer(path: Path, encoder: Path | None, as_json: bool) -> OpenedOffer:
    """Open an offer whose encoder the owner confirms.

    Raises:
        DecodeError, VerificationError: The file is damaged, or holds another encoder.
        UsageError: Nobody can be asked, and the option names no encoder.
        RefusedError: The owner does not confirm the encoder.
    """
    from wg_client.simulate.offers import read_offer
    from wg_common.nets.encoder.package import read_description

    offer_file = read_offer(path)
    named_encoder = None if encoder is None else str(encoder)
    manifest = offer_file.offer
    check_owner_hash(
        named_encoder, manifest.encoder, source_name=str(path), consequence="nothing was run"
    )
    if named_encoder is None and not is_interactive(named_encoder, as_json):
        raise UsageError(
            f"{path}: compare the hash of its encoder with the operator's, and give --encoder"
            f" {manifest.encoder}"
        )
    if named_encoder is None:
        print_line(
            text(
                "offer of {server}, key {key}",
                server=escape_unprintable(manifest.server),
                key=manifest.key,
            )
        )
        confirm_encoder(read_description(offer_file.encoder_package), _ENCODER_REFUSED_MESSAGE)
    return offer_file


def _init_command_options() -> str:
    """Return the options of ``simulate`` that ``init`` takes too, as command-line words."""
    context = click.get_current_context()
    return " ".join(
        f"{param.opts[0]} {shlex.quote(str(context.params[param.name]))}"
        for param in context.command.params
        if param.name in _INIT_PARAMETER_NAMES
        and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    )


def _simulation_lines(simulation: Simulation, init_options: str) -> Iterator[str]:
    data = simulation.data
    yield text(
        "{path}: {records} {kind}, {labelled} with a label",
        path=escape_unprintable(data.path),
        records=data.records,
        kind=text(data.modality),
        labelled=data.labelled,
    )
    none = text("none: could be delivered")
    for label, count in list(data.per_label.items())[:_MOST_LISTED_LABELS]:
        yield text(
            "    {label} {count}",
            label=pad_columns(escape_unprintable(label), 24),
            count=count or none,
        )
    if len(data.per_label) > _MOST_LISTED_LABELS:
        yield text("    ... {count} classes in all", count=len(data.per_label))
    if data.left_out:
        yield text("    files that cannot be used: {count}", count=data.left_out)
        yield from abridged_item_lines(UNUSABLE_RECORD_TEMPLATE, data.problems)
    for sentence in data.hints:
        yield text("hint: {hint}", hint=sentence)
    if data.drawn < data.records:
        yield text("    {drawn} of them, evenly spaced, were examined", drawn=data.drawn)
    for hint in simulation.machine:
        yield text("data sheet: {hint}", hint=hint)
    yield from _gain_lines(simulation)
    yield from release_contents_lines(simulation.would_leave)
    yield from _privacy_lines(simulation)
    yield text("what it would take:")
    yield text(
        "    about {encode:.0f} s of processor time to freeze all records; how long the other"
        " plants take is not known",
        encode=simulation.encode_seconds,
    )
    yield text("nothing was sent, nothing was charged")
    yield text("to take part, get a join token from an operator and save it in a file, token")
    yield next_step("wg-client init --home plant --join-file token {said}", said=init_options)


def _gain_lines(simulation: Simulation) -> Iterator[str]:
    local, facts = simulation.local, simulation.facts
    if local is not None:
        yield text(
            "your own labels alone: {mean:.0f} % correct on classes that you have records "
            "of (95 % interval {low:.0f} to {high:.0f} %)",
            mean=100 * local.mean,
            low=100 * local.low,
            high=100 * local.high,
        )
    elif facts.labels:
        yield text(
            "your own labels alone: too few to evaluate; at least three records per class "
            "are needed"
        )
    yield from offer_sentences(simulation)
    yield gain_sentence(simulation)
    yield verdict_sentence(simulation)


def _privacy_lines(simulation: Simulation) -> Iterator[str]:
    unit = simulation.would_leave.unit
    shown = text("record") if unit == RECORD_UNIT else unit
    yield text("what it would cost in privacy, for any one {unit}:", unit=shown)
    yield text(
        "    somebody who guesses whether a certain {unit} is in your data, at even odds, and sees"
        " the file, is right at most",
        unit=shown,
    )
    for price in simulation.prices:
        yield text(
            "    epsilon {epsilon:g}: in {guess} of 100 cases; {fit} such releases in all "
            "fit under the default cap of 8",
            epsilon=price.epsilon,
            guess=math.ceil(100 * price.guess),
            fit=price.fit,
        )


COMMANDS = (simulate,)
