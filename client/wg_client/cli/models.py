"""``wg-client apply``, ``models`` and ``predict``; see also ``model_in_use``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli import acceptance_threshold, model_in_use, options
from wg_client.cli.acceptance_threshold import acceptance_lines
from wg_client.cli.model_in_use import APPLYING_MESSAGE, adoption_change_lines, chosen_model
from wg_client.cli.options import approver_option, home_option, model_option, package_option
from wg_client.cli.prediction_run import PredictionRun
from wg_client.cli.reading_options import text_column_option
from wg_client.methods.method_names import LOCAL_ONLY
from wg_common import cli
from wg_common.cli import json_option, next_step, print_progress, print_result
from wg_common.language import Text, text
from wg_common.options import EPSILON_TYPE, OUT_FILE_TYPE, out_option
from wg_core import atomic, errors
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, container, protocol

if TYPE_CHECKING:
    from wg_client.models.export import ExportFormat
    from wg_client.models.manifest import ModelEntry
    from wg_client.selection.apply import AppliedModel
    from wg_client.selection.sensor_package import SensorPackage


FOLDER_POLL_SECONDS = 0.5  # Pause between two readings of a folder
_ACCURACY_NOTE = text(
    "accuracy on your own records, out of fold, ± standard error; –: could not be evaluated"
)


@click.command()
@home_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def apply(home: ClientHome, file: Path, as_json: bool) -> int:
    """Verify a weights package, compare it with your own model, keep the better.

    Ends with code 6 if your own model was kept. A soft sensor is kept for 'wg-client soft-sensor'.
    """
    with cli.show_progress(text("comparing models, %"), 100) as bar, _name_file_in_errors(file):
        from wg_client.selection.sensor_package import SensorPackage, receive_package

        applied_model = receive_package(
            home, file, progress=lambda count, total: bar.update(100 * count // max(total, 1))
        )
    if isinstance(applied_model, SensorPackage):
        print_result(*kept_sensor_document_and_lines(home, applied_model), as_json)
        return errors.ExitCode.OK
    manifest = applied_model.manifest
    if applied_model.was_applied_before and not as_json:
        print_progress(text("this package was applied before; nothing was trained again"))
    document = applied_model_document(home, applied_model) | {
        "already_applied": applied_model.was_applied_before,
        "models": canonical.to_builtins(manifest.models),
        "findings": canonical.to_builtins(manifest.findings),
    }
    lines: list[str] = [
        _ACCURACY_NOTE,
        *(
            _model_row(entry.name, entry, text("kept") if entry.name == manifest.kept else "")
            for entry in manifest.models
        ),
    ]
    lines += applied_model_lines(home, applied_model)
    print_result(document, lines, as_json)
    return (
        errors.ExitCode.OK if applied_model.keeps_delivered_model else errors.ExitCode.NOT_ACCEPTED
    )


@click.group()
def models() -> None:
    """See the models made at this plant, export them, and say which one is in use."""


@models.command("show")
@home_option
@click.argument("package", metavar="[PACKAGE]", required=False)
@json_option
def show_models(home: ClientHome, package: str | None, as_json: bool) -> None:
    """List every model, and every change of the one in use: when, what, who, why.

    With PACKAGE (its id, or the beginning of it): where its models come from, why one was kept.
    """
    from wg_client.data import plant_data as plants
    from wg_client.models import acceptance as judging

    if package is None:
        _print_models(home, as_json)
        return
    manifest, _ = chosen_model(home, package, None)
    lines: list[str] = [
        text("package {package}: kept {model}", package=manifest.package_id, model=manifest.kept),
        manifest.reason,
    ]
    lines += [_ACCURACY_NOTE]
    lines += [
        f"  {entry.name:24} {_format_accuracy(entry.accuracy, entry.error)}"
        f"  {_origin_sentence(entry)}"
        for entry in manifest.models
    ]
    judgement = judging.evaluate_on_acceptance_set(home, plants.open_plant_data(home), manifest)
    lines += acceptance_lines(judgement)
    figures = {"acceptance": canonical.to_builtins(judgement.counts_by_model)}
    print_result(canonical.to_builtins(manifest) | figures, lines, as_json)


def _origin_sentence(entry: ModelEntry) -> str:
    """Return the candidate that a model started from, and its mechanism; empty if there is none."""
    from wg_client.methods import registry

    if not entry.origin:
        return ""
    return f"{entry.origin} ({text(registry.source_mechanism(entry.source))})"


def _print_models(home: ClientHome, as_json: bool) -> None:
    from wg_client.models import adoption, store
    from wg_client.models.adoption import ModelReference
    from wg_core.fleet.inbox import Inbox

    home.check_initialised()
    manifests, adoption_state = store.all_manifests(home), adoption.read_adoption_history(home)
    state = adoption_state.latest_change
    rows: list[dict[str, Any]] = [
        {
            "package": manifest.package_id,
            "model": entry.name,
            "kept": entry.name == manifest.kept,
            "current": state.in_use
            == ModelReference(package_id=manifest.package_id, model=entry.name),
            "shadow": state.shadow
            == ModelReference(package_id=manifest.package_id, model=entry.name),
            "accuracy": entry.accuracy,
            "error": entry.error,
        }
        for manifest in manifests
        for entry in manifest.models
    ]
    lines: list[str] = [_ACCURACY_NOTE] if rows else []
    for row in rows:
        states = (("current", text("in use")), ("shadow", text("shadow")), ("kept", text("kept")))
        mark = next((text("  {word}", word=word) for key, word in states if row[key]), "")
        figures = _format_accuracy(row["accuracy"], row["error"])
        words = {"package": row["package"][:16], "model": row["model"], "figures": figures}
        lines.append(text("{package}  {model:24} {figures}{mark}", **words, mark=mark))
    hint = text("no models yet; 'wg-client run' or 'wg-client apply' makes them")
    if sensors := store.sensor_package_paths(home):
        hint = text(
            "soft sensors: {count}, which 'wg-client soft-sensor --home {home}' uses",
            count=len(sensors),
            home=home.root,
        )
    if Inbox(home).waiting_packages():
        hint = text(APPLYING_MESSAGE)
    lines += adoption_change_lines(adoption_state.changes)
    document = {"models": rows, "changes": canonical.to_builtins(adoption_state.changes)}
    print_result(document, lines or [hint], as_json)


@models.command("fit")
@home_option
@json_option
def fit_models(home: ClientHome, as_json: bool) -> None:
    """Make the model of your own labels, and the report on it; needs no server."""
    print_result(*fit_and_describe_local_only(home), as_json)


def fit_and_describe_local_only(home: ClientHome) -> tuple[dict[str, Any], list[str]]:
    """Fit the local-only model; return the result as a JSON document and as lines of text."""
    with cli.show_spinner(text("training the model on your own labels")):
        from wg_client.selection import local_only_fit

        try:
            applied_model = local_only_fit.fit_and_adopt_local_only(home)
        except errors.DataError as error:
            return {"kept": None, "reason": str(error)}, [str(error)]
    (entry,) = applied_model.manifest.models
    lines = [
        _ACCURACY_NOTE,
        _model_row(entry.name, entry, ""),
        *applied_model_lines(home, applied_model),
    ]
    return applied_model_document(home, applied_model), lines


@models.command("export")
@home_option
@model_option
@package_option
@out_option("File to write, .onnx or .safetensors.")
@click.option(
    "--private",
    "epsilon",
    metavar="EPSILON",
    type=EPSILON_TYPE,
    help="Train a new head on the encoder's released features by private gradient descent, charge"
    " it to the ledger at this epsilon, and export it in place of a model. Takes 30 time slots.",
)
@options.window_shape_option
@approver_option
@json_option
def export_models(
    home: ClientHome,
    name: str | None,
    package: str | None,
    out: Path,
    epsilon: str | None,
    window: tuple[int, int] | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Write a whole model, records to logits, as one file.

    A model was trained on records without noise, or chosen by them: it tells of them, and the
    ledger does not count that. With --private EPSILON the ledger counts it, and OUT.wgs beside the
    file shows an auditor what was charged. The same order on the same data gives the same head
    again, and charges nothing.
    """
    from wg_client.models.export import FORMAT_BY_SUFFIX, export_model
    from wg_core import snapshot as snapshots

    form = FORMAT_BY_SUFFIX.get(out.suffix.lower())
    if form is None:
        raise errors.UsageError(
            f"--out {out}: its name says no format; expected one of {', '.join(FORMAT_BY_SUFFIX)}"
        )
    if epsilon is not None:
        if name is not None or package is not None:
            raise errors.UsageError(
                "--private: trains a head of its own; leave out --model, --package"
            )
        order = PrivateExportOptions(epsilon, by, form, out, window)
        return _export_private_head(home, order, as_json)
    if by is not None:
        raise errors.UsageError("--by: for --private, which the ledger counts")
    if window is not None:
        raise errors.UsageError("--window-shape: for --private; a model has that of the records")
    manifest, name = chosen_model(home, package, name)
    metadata = export_model(home, manifest, name, form, out)
    size = out.stat().st_size
    document = {**metadata, "file": str(out), "format": form, "bytes": size}
    count = int((snapshots.load_current(home).records().labels >= 0).sum())
    lines = [
        f"{out}: {manifest.find_entry(name).name}, {form}, {size} bytes",
        text(
            "this file contains a model that was trained on this plant's records ({count} "
            "with a label now), or selected by them, without noise. It reveals something "
            "about them, and the ledger does not count it. --private EPSILON exports a head"
            " that the ledger counts",
            count=count,
        ),
    ]
    print_result(document, lines, as_json)


@dataclass(frozen=True, slots=True)
class PrivateExportOptions:
    """Options of ``models export --private``; ``window_shape`` is (channels, samples)."""

    epsilon: str
    approver: str | None
    file_format: ExportFormat
    out_path: Path
    window_shape: tuple[int, int] | None


def _export_private_head(home: ClientHome, order: PrivateExportOptions, as_json: bool) -> None:
    """Train a private head, charge its privacy cost, and write the model and its release."""
    from wg_client.models.export import check_private_head_exportable, export_private_head
    from wg_common.nets.private_head import train_private_head
    from wg_core.fleet import file_release_witness
    from wg_core.release.budget import read_plant_spending
    from wg_core.release.private_head import HeadOrder, release_private_head
    from wg_core.site import config as configuration

    config, out = configuration.load(home), order.out_path
    head_order = HeadOrder(
        request_id=secrets.token_hex(16),
        epsilon=order.epsilon,
        delta=config.privacy.cap_delta,
        approver=order.approver,
    )
    check_private_head_exportable(home, order.file_format, order.window_shape)
    with file_release_witness.connect_server_witness(home, config) as witness:
        before = read_plant_spending(home, config).charge_count
        with cli.show_spinner(text("training a private head; with a server, a fixed time")):
            data = release_private_head(home, head_order, train_private_head, witness=witness)
    evidence = out.with_name(f"{out.name}.wgs")
    atomic.write_bytes(evidence, data)
    metadata = export_private_head(home, data, order.file_format, out, order.window_shape)
    spend, size = read_plant_spending(home, config), out.stat().st_size
    is_new = spend.charge_count > before
    document = {
        **metadata,
        "file": str(out),
        "format": order.file_format,
        "bytes": size,
        "evidence": str(evidence),
        "charged": is_new,
        "epsilon_spent": spend.epsilon,
        "cap_epsilon": spend.cap_epsilon,
        "cap_delta": spend.cap_delta,
    }
    lines = [
        f"{out}: {metadata['model']}, {order.file_format}, {size} bytes",
        text(
            "{paid}; epsilon {spent:.4g} of {cap} spent at {delta}",
            paid=text("charged") if is_new else text("made before, nothing charged"),
            spent=spend.epsilon,
            cap=spend.cap_epsilon,
            delta=spend.cap_delta,
        ),
        text("for an auditor: {path}", path=evidence),
    ]
    print_result(document, lines, as_json)


@click.command()
@home_option
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@model_option
@package_option
@click.option(
    "--out",
    type=OUT_FILE_TYPE,
    help="A CSV file: file, label, probability, likeness, call, verdict.",
)
@click.option(
    "--watch",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Instead of PATHS: go on until stopped, and append the rows of each file that"
    " arrives to --out.",
)
@text_column_option
@json_option
def predict(
    home: ClientHome,
    paths: tuple[Path, ...],
    name: str | None,
    package: str | None,
    text_column: str | None,
    out: Path | None,
    watch: Path | None,
    as_json: bool,
) -> int:
    """Predict labels of record files, folders of them, or .npz files.

    A line has the file, its label, the label's probability, the likeness to the plant's own records
    (the share of these that are at least as odd), and the call: sure, unsure, or new for a record
    that is unlike all others. The verdict is pass, reject or look: look for a new record, otherwise
    by the threshold, if a label means that a record is good.

    A file that cannot be read is named and left out; the others are predicted, and the command ends
    with code 3.
    """
    if (watch is None) == (not paths):
        raise errors.UsageError("PATHS or --watch: give one of them")
    if watch is not None and (out is None or as_json):
        raise errors.UsageError("--watch: needs --out FILE.csv, and has no --json")
    with cli.show_spinner(text("loading the model")):
        predictions = PredictionRun(home, *chosen_model(home, package, name), text_column)
    if watch is not None and out is not None:
        for line in predictions.watch_folder(watch, out, pause_seconds=FOLDER_POLL_SECONDS):
            cli.print_line(line)
    for path in paths:
        try:
            predictions.predict_path(path)
        except errors.DataError as error:
            if len(paths) == 1:
                raise
            predictions.add_unreadable_path(path, error)
    if out is not None:
        predictions.write_csv(out)
    for line in (*predictions.shadow_lines(), *predictions.left_out_lines()):
        print_progress(line)
    lines = (
        predictions.prediction_lines()
        if out is None
        else [
            text("{path}: {count} predictions", path=out, count=predictions.prediction_count),
            *predictions.verdict_notes(),
        ]
    )
    print_result(predictions.json_document(), lines, as_json)
    if not (unread := len(predictions.problems)):
        return errors.ExitCode.OK
    total = predictions.prediction_count + unread
    print_progress(
        text("error: {count} of {total} records cannot be read", count=unread, total=total)
    )
    return errors.ExitCode.CONFIG


@contextmanager
def _name_file_in_errors(file: Path) -> Iterator[None]:
    """Run a ``with`` block, and add the file's name to the errors that it raises.

    Raises:
        VerificationError: The block raised one, or the file is a damaged weights package.
        DecodeError: The file is not a weights package.
    """
    try:
        yield
    except errors.DecodeError as error:
        if _is_weights_package(file):
            raise errors.VerificationError(
                f"{file}: damaged on its way, or made like this: {error}"
            ) from error
        raise errors.DecodeError(f"{file}: {error}") from error
    except errors.VerificationError as error:
        raise errors.VerificationError(f"{file}: {error}") from error


def _is_weights_package(file: Path) -> bool:
    """Return whether a file begins like a weights package."""
    kind = f'"kind":"{protocol.WEIGHTS_FILE_KIND}"'.encode()
    try:
        with file.open("rb") as stream:
            start = stream.read(256)
    except OSError:
        return False
    return start.startswith(container.MAGIC) and kind in start


def applied_model_document(home: ClientHome, applied_model: AppliedModel) -> dict[str, Any]:
    """Build the JSON document that ``apply --json`` prints about an applied package."""
    manifest = applied_model.manifest
    return {
        "package": manifest.package_id,
        "accepted": applied_model.keeps_delivered_model,
        "kept": manifest.kept,
        "reason": manifest.reason,
        "gain": manifest.gain,
        "report": str(home.report),
    }


def kept_sensor_document_and_lines(
    home: ClientHome, package: SensorPackage
) -> tuple[dict[str, Any], list[str]]:
    """Describe a stored soft sensor as a JSON document and as lines of text."""
    about = package.manifest
    document = {
        "package": about.package_id,
        "accepted": True,
        "kept": "soft sensor",
        "condition": canonical.to_builtins(about.condition),
        "quantities": package.quantities_text,
    }
    line = text(
        "soft sensor of a {kind} for {quantities}; package {package}",
        kind=about.condition.data_sheet,
        quantities=package.quantities_text,
        package=about.package_id[:16],
    )
    command = "wg-client soft-sensor --home {home} LOG --target QUANTITY --time COLUMN"
    return document, [line, next_step(command, home=home.root)]


def applied_model_lines(home: ClientHome, applied_model: AppliedModel) -> list[str]:
    """Describe an applied package as lines of text: recommendation, reason, report, next step."""
    return [
        *(applied_model.advice_sentences or (applied_model.manifest.reason,)),
        text("report: {path}", path=home.report),
        model_in_use.next_adoption_step(home, applied_model.manifest),
    ]


def _model_row(name: str, entry: ModelEntry, status_text: str) -> Text:
    figures = _format_accuracy(entry.accuracy, entry.error)
    name = text("{name} (your own)", name=name) if name == LOCAL_ONLY else name
    status_text = text("  {word}", word=status_text) if status_text else ""
    return text("{name:24} {figures}{mark}", name=name, figures=figures, mark=status_text)


def _format_accuracy(accuracy: float | None, standard_error: float | None) -> str:
    if accuracy is None or standard_error is None:
        return "      –      "
    return f"{100 * accuracy:5.1f} ± {100 * standard_error:4.1f} %"


for _command in (*model_in_use.COMMANDS, *acceptance_threshold.COMMANDS):
    models.add_command(_command)

COMMANDS = (apply, models, predict)
