"""``wg-client init`` and ``join``: make a home; enrol it with a server at once, later or again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from wg_client.cli import options
from wg_client.cli.encoder_confirmation import (
    confirm_encoder,
    confirm_encoder_hash,
    encoder_option,
    is_interactive,
)
from wg_client.cli.freeze import (
    FREEZING_TITLE,
    freeze_document,
    freeze_result_lines,
    freezing_progress,
    inspection_document,
    inspection_line,
    print_freeze_refusal,
)
from wg_client.cli.models import fit_and_describe_local_only
from wg_client.cli.reading_options import ReadingOptions, build_reading_config, reading_options
from wg_common import cli
from wg_common.cli import json_option, next_step, print_line, print_progress, print_result
from wg_common.language import current_language, text
from wg_core import errors
from wg_core.site.config import (
    ClientConfig,
    PrivacyConfig,
    default_request_epsilon,
    read_data_sheet,
)
from wg_core.site.home import ClientHome
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig

if TYPE_CHECKING:
    from wg_core.release.freeze import FreezeResult


class _InitOptions(ReadingOptions):
    """Options of ``wg-client init`` for reading files and for the privacy policy."""

    cap_epsilon: str | None
    max_epsilon: str | None
    answer_slot: float
    acceptance: str | None


_DEFAULT_PRIVACY = PrivacyConfig()
_CONFIRMATION_PHRASES = {
    "option": text("as --encoder names it"),
    "answer": text("as you confirmed it"),
    "token": text("as in the join token; nobody has confirmed it. Compare it with the operator's"),
    "before": text("as it was when this home was enrolled"),
    "built in": text("built in, the same everywhere; nothing was fitted on your records"),
}


@click.command()
@options.home_option
@options.optional_join_token_options
@click.option(
    "--replace",
    is_flag=True,
    help="Enrol an initialised home again: new transport keys; data, policy and ledger stay.",
)
@encoder_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of class folders, folder with records.csv, .npz file, table of texts, sensor logs"
    " (--window).",
)
@click.option("--labels", help="Label domain, a,b,c. It is public. Default: folder names.")
@click.option("--unit-column", help="Column or array that names the privacy unit of a record.")
@click.option(
    "--acceptance",
    help="Records that only judge models, never train them: a share, such as 0.2, or their folder.",
)
@reading_options
@options.data_sheet_option
@click.option("--name", help="Public name of the data set; default: the site's name.")
@click.option(
    "--budget-of",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="HOME",
    help="Another home of this plant, at another server: both draw on its one budget and ledger.",
)
@click.option(
    "--cap-epsilon",
    help="Cap on what all releases of this data set cost together. Default: "
    f"{_DEFAULT_PRIVACY.cap_epsilon}, or that of --budget-of.",
)
@click.option(
    "--max-epsilon",
    help="Largest epsilon of one request. Default: "
    f"{_DEFAULT_PRIVACY.max_request_epsilon}, or the cap if that is smaller.",
)
@click.option(
    "--answer-slot",
    type=click.FloatRange(0, 3600, min_open=True),
    default=_DEFAULT_PRIVACY.answer_slot_seconds,
    metavar="SECONDS",
    help="Answers leave only at multiples of this time; more records need a longer one.",
)
@options.set_aside_option
@options.allow_empty_option
@json_option
def init(  # long: a parameter for each option
    home: ClientHome,
    token: str | None,
    replace: bool,
    encoder: str | None,
    data: Path | None,
    labels: str | None,
    unit_column: str | None,
    data_sheet: Path | None,
    name: str | None,
    budget_of: Path | None,
    set_aside: bool,
    allow_empty: bool,
    as_json: bool,
    **reading_and_privacy_options: Unpack[_InitOptions],
) -> int:
    """Make keys on site, enrol with the server, write client.yaml, and freeze the data set.

    Without a join token the home works alone, with a model of your own labels; 'join' comes later.

    If it is interrupted, run it again with the same token to continue.

    The encoder, which sees every record, comes from the server. The join token names it by its
    hash; on a terminal you are asked whether it is the one that the operator told you.
    """
    if replace:
        if token is None:
            raise errors.UsageError(options.JOIN_REQUIRED_MESSAGE)
        if budget_of is not None:
            raise errors.UsageError("--budget-of: for a new home; a budget cannot be moved")
        if data is not None:
            raise errors.UsageError("--data: the data set of a home that is enrolled again stays")
        _enrol_again(home, token, encoder, as_json)
        return errors.ExitCode.OK
    if token is None and encoder is not None:
        raise errors.UsageError("--encoder: comes with a server; give its join token, too")
    if data is None:
        raise errors.UsageError("--data: needed, unless --replace enrols a home again")
    with cli.show_spinner(FREEZING_TITLE):
        from wg_client.fleet.home_initialisation import (
            DataSetChoice,
            check_not_initialised,
            check_token,
            initialise,
            inspect_data,
        )

    check_not_initialised(home)
    reading = build_reading_config(data, unit_column, reading_and_privacy_options)
    if unit_column is None:
        unit_column = _ask_recording_unit(
            data, reading, interactive=is_interactive(encoder, as_json)
        )
    if allow_empty and labels is None:
        raise errors.UsageError("--allow-empty: needs --labels")
    choice = DataSetChoice(
        path=data,
        labels=None if labels is None else options.split_at_commas(labels),
        unit_column=unit_column,
        dataset_name=name,
        set_aside=set_aside,
        allow_empty=allow_empty,
        budget_home=budget_of,
        reading=reading,
        data_sheet=None if data_sheet is None else read_data_sheet(data_sheet),
        acceptance_share_or_folder=_parse_acceptance_option(
            reading_and_privacy_options["acceptance"]
        ),
    )
    policy = _build_privacy_config(
        budget_of,
        reading_and_privacy_options["cap_epsilon"],
        reading_and_privacy_options["max_epsilon"],
        reading_and_privacy_options["answer_slot"],
    )
    if token is not None:
        check_token(token, encoder)
    with freezing_progress() as stage:
        scan = inspect_data(choice, stage)
    if exit_code := print_freeze_refusal(scan, set_aside, allow_empty, data, as_json):
        return exit_code
    if unit_column is None:
        _print_unnamed_parts_hint(data, reading, scan.data.modality)
    interactive = is_interactive(encoder, as_json) and token is not None
    confirm = confirm_encoder if interactive else None
    by = "built in" if token is None else _confirmation_kind(home, encoder, interactive)
    with freezing_progress(immediate=interactive is False) as stage:
        config_and_snapshot = initialise(
            home,
            token,
            choice,
            policy,
            encoder_hash=encoder,
            confirm_encoder=confirm,
            inspection=scan,
            progress=stage,
        )
    lines = [] if token is not None else fit_and_describe_local_only(home)[1]
    document, summary = _home_document_and_lines(home, *config_and_snapshot, by, lines)
    document["read"] = inspection_document(scan)
    print_result(document, [summary[0], inspection_line(scan), *summary[1:]], as_json)
    return errors.ExitCode.OK


@click.command()
@options.home_option
@options.join_token_options
@encoder_option
@json_option
def join(home: ClientHome, token: str, encoder: str | None, as_json: bool) -> None:
    """Enrol a home that works alone with a server: keys, ledger and data set stay.

    The encoder, which sees every record, comes from the server then, and the data set is frozen
    anew with it. The join token names it by its hash, which you compare with the operator's.
    """
    from wg_client.fleet import reenrolment
    from wg_core import snapshot as snapshots
    from wg_core.release.freeze import FreezeResult
    from wg_core.wire import protocol

    if interactive := is_interactive(encoder, as_json):
        encoder_id = protocol.decode_join_token(token.strip()).encoder
        print_line(text("encoder {encoder}", encoder=encoder_id))
        confirm_encoder_hash()
    config = reenrolment.join_server(home, token, encoder_hash=encoder)
    by = "option" if encoder is not None else "answer" if interactive else "token"
    snapshot = snapshots.load_current(home)
    models: list[str] = []
    if snapshot.manifest.schema.encoder == config.data.encoder:
        frozen = FreezeResult(snapshot=snapshot, listing=snapshot.listing())
    else:
        print_progress(
            text("the encoder is another one now: data set and model are made anew with it")
        )
        frozen = _freeze_again(home)
        fit, models = fit_and_describe_local_only(home)
        models = models[:-1] if fit["kept"] else models  # The last one names the next command
    command = "wg-client check --home {home} && wg-client run --home {home}"
    models = [*models, next_step(command, home=home.root)]
    print_result(*_home_document_and_lines(home, config, frozen, by, models), as_json)


def _freeze_again(home: ClientHome) -> FreezeResult:
    with cli.show_spinner(FREEZING_TITLE):
        from wg_client.data import plant_data as plants
        from wg_client.release.home_freeze import freeze_data, inspect_home_data

    load = plants.caching_encoder_loader()
    with freezing_progress() as stage:
        scan = inspect_home_data(home, load_encoder=load, on_progress=stage)
        return freeze_data(home, scan, load_encoder=load, set_aside=True, on_progress=stage)


def _ask_recording_unit(data: Path, reading: ReadingConfig, *, interactive: bool) -> str | None:
    """Ask whether each recording is one privacy unit; return its ``--unit-column``, or None.

    Without a terminal a hint is printed instead, and None returned.
    """
    from wg_client.data.recording_units import find_recording_unit_column, unnamed_recording_hint

    if not (unit := find_recording_unit_column(data, reading)):
        return None
    if not interactive:
        print_progress(unnamed_recording_hint(unit))
        return None
    question = text(
        "Records of one {unit} resemble each other. Treat each {unit} as one privacy "
        "unit, for protection and for evaluation?",
        unit=unit,
    )
    return unit if click.confirm(current_language()(question), default=True) else None


def _print_unnamed_parts_hint(data: Path, reading: ReadingConfig, modality: str) -> None:
    """Print a hint that records of one part count separately, unless the data set names parts."""
    from wg_client.data.recording_units import unnamed_part_hint

    if hint := unnamed_part_hint(data, reading, modality):
        print_progress(text("hint: {hint}", hint=hint))


def _parse_acceptance_option(option: str | None) -> str | float | None:
    """Parse ``--acceptance``: a share of the records, or a folder, returned as absolute path.

    Raises:
        UsageError: The option is neither a number nor an existing path.
    """
    if option is None:
        return None
    try:
        return float(option)
    except ValueError:
        path = Path(option).resolve()
    if not path.exists():
        raise errors.UsageError(
            f"--acceptance: {path}: not there; a share is a number, such as 0.2"
        )
    return str(path)


def _confirmation_kind(home: ClientHome, encoder_hash: str | None, interactive: bool) -> str:
    """Return how the owner confirms the encoder: a key of ``_CONFIRMATION_PHRASES``."""
    if home.config.exists():  # an interrupted call is resumed
        return "before"
    return "option" if encoder_hash is not None else "answer" if interactive else "token"


def _build_privacy_config(
    budget_home: Path | None,
    cap_epsilon: str | None,
    max_epsilon: str | None,
    answer_slot_seconds: float,
) -> PrivacyConfig:
    """Build the privacy policy of ``client.yaml`` from options and defaults."""
    from wg_core.site import config as configuration

    default = _DEFAULT_PRIVACY
    if budget_home is not None:
        default = configuration.load(ClientHome(budget_home)).privacy
    cap = cap_epsilon or default.cap_epsilon
    return PrivacyConfig(
        cap_epsilon=cap,
        cap_delta=default.cap_delta,
        max_request_epsilon=max_epsilon or default_request_epsilon(cap),
        answer_slot_seconds=answer_slot_seconds,
    )


def _home_document_and_lines(
    home: ClientHome,
    config: ClientConfig,
    freeze_result: FreezeResult,
    confirmation_kind: str,
    model_lines: list[str],
) -> tuple[dict[str, object], list[str]]:
    """Describe a new home, as a JSON document and as lines of text."""
    data, privacy, server = config.data, config.privacy, config.pin
    state = text("{site}: works alone, without a server", site=config.site)
    if server is not None:
        state = text(
            "{site}: enrolled with {server} at {url}",
            site=config.site,
            server=server.name,
            url=server.fleet_url,
        )
    return (
        {
            "site": config.site,
            "home": str(home.root),
            "config": str(home.config),
            "records": freeze_result.records,
            "labels": list(data.labels),
            "cap_epsilon": privacy.cap_epsilon,
            "server": None if server is None else server.fleet_url,
            "encoder": data.encoder,
            "encoder_confirmed_by": confirmation_kind,
            "snapshot": freeze_document(freeze_result),
        },
        [
            state,
            *freeze_result_lines(freeze_result),
            *_sensor_log_lines(data.reading.log),
            *_data_sheet_lines(config),
            text("public label domain: {labels}", labels=", ".join(data.labels)),
            *_budget_lines(home, config),
            text(
                "encoder {encoder}, {how}",
                encoder=data.encoder,
                how=_CONFIRMATION_PHRASES[confirmation_kind],
            ),
            *model_lines,
            *([] if model_lines else [next_step("wg-client check --home {home}", home=home.root)]),
        ],
    )


def _budget_lines(home: ClientHome, config: ClientConfig) -> list[str]:
    """Describe a new home's privacy budget as lines of text; none without a server."""
    if config.pin is None:
        return []
    return [
        text(
            "budget: epsilon {cap} at delta {delta}; policy in {path}",
            cap=config.privacy.cap_epsilon,
            delta=config.privacy.cap_delta,
            path=home.config,
        )
    ]


def _data_sheet_lines(config: ClientConfig) -> list[str]:
    """Describe the effect of the plant's data sheet as lines of text; none without a sheet."""
    from wg_client.release.machine_hints import machine_hints

    hints = machine_hints(config.data_sheet, config.data.labels)
    return [text("data sheet: {hint}", hint=hint) for hint in hints]


def _sensor_log_lines(log_config: SensorLogConfig | None) -> list[str]:
    """Describe the public rule by which windows are cut from sensor logs, as lines of text."""
    if log_config is None:
        return []
    return [
        text(
            "sensor logs: {rate:g} samples a second, windows of {window:g} s every {hop:g} s;"
            " channels {channels}",
            rate=log_config.rate,
            window=log_config.window_seconds,
            hop=log_config.hop_seconds,
            channels=", ".join(log_config.channels),
        )
    ]


def _enrol_again(home: ClientHome, token: str, encoder_hash: str | None, as_json: bool) -> None:
    from wg_client.fleet import reenrolment
    from wg_core.release import readiness

    config = reenrolment.enrol_again(home, token, encoder_hash=encoder_hash)
    try:
        readiness.ready_snapshot(home)
    except errors.ConfigError as error:  # the encoder has changed
        print_progress(str(error))
    print_result(
        {
            "site": config.site,
            "home": str(home.root),
            "server": config.server.fleet_url,
            "encoder": config.data.encoder,
        },
        [
            text(
                "{site}: enrolled again with {server}; ledger and budget stay",
                site=config.site,
                server=config.server.name,
            )
        ],
        as_json,
    )


COMMANDS = (init, join)
