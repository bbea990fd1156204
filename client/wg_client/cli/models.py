"""Weights come in, and models are used: apply, models, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.options import home_option, model_option, package_option
from wg_client.site.home import ClientHome
from wg_common import cli, errors
from wg_common.cli import json_option, note, show
from wg_common.wire import canonical

if TYPE_CHECKING:
    from wg_client.models.manifest import ModelsManifest


@click.command()
@home_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def apply(root: Path, file: Path, as_json: bool) -> int:
    """Verify a weights package, compare it with local-only, keep what is better.

    Ends with code 6 if local-only was kept.
    """
    from wg_client.selection.apply import apply_package

    home = ClientHome(root)
    with cli.progress("fine-tuning, %", 100) as bar:
        applied = apply_package(
            home, file, progress=lambda done, total: bar.update(100 * done // total)
        )
    manifest = applied.manifest
    if applied.already and not as_json:
        note("this package was applied before; nothing was trained again")
    document = {
        "package": manifest.package_id,
        "already_applied": applied.already,
        "accepted": applied.accepted,
        "kept": manifest.kept,
        "reason": manifest.reason,
        "gain": manifest.gain,
        "models": canonical.to_builtins(manifest.models),
        "findings": canonical.to_builtins(manifest.findings),
        "report": str(home.report),
    }
    lines = [
        f"{entry.name:24} {_percent(entry.accuracy, entry.error)}"
        f"{'  kept' if entry.name == manifest.kept else ''}"
        for entry in manifest.models
    ]
    show(document, [*lines, manifest.reason, f"report: {home.report}"], as_json)
    return errors.EXIT_OK if applied.accepted else errors.EXIT_NOT_ACCEPTED


@click.group()
def models() -> None:
    """List, show and export the models made at this plant."""


@models.command("list")
@home_option
@json_option
def list_models(root: Path, as_json: bool) -> None:
    """List every model of every package."""
    from wg_client.models import store

    home = ClientHome(root)
    home.require()
    found = store.all_manifests(home)
    used = store.current(home) if found else None
    rows: list[dict[str, Any]] = [
        {
            "package": manifest.package_id,
            "model": entry.name,
            "kept": entry.name == manifest.kept,
            "current": used is not None
            and (used[0].package_id, used[1]) == (manifest.package_id, entry.name),
            "accuracy": entry.accuracy,
            "error": entry.error,
        }
        for manifest in found
        for entry in manifest.models
    ]
    lines = []
    for row in rows:
        mark = "in use" if row["current"] else "kept" if row["kept"] else ""
        figures = _percent(row["accuracy"], row["error"])
        lines.append(f"{row['package'][:16]}  {row['model']:24} {figures}  {mark}".rstrip())
    nothing = ["no models yet; 'wg-client run' or 'wg-client apply' makes them"]
    show({"models": rows}, lines or nothing, as_json)


@models.command("show")
@home_option
@package_option
@json_option
def show_models(root: Path, package: str | None, as_json: bool) -> None:
    """Show where a package's models come from, and why one was kept."""
    manifest = _manifest(ClientHome(root), package)
    lines = [f"package {manifest.package_id}: kept {manifest.kept}", manifest.reason]
    lines += [
        f"  {entry.name:24} {_percent(entry.accuracy, entry.error)}  {entry.origin}"
        for entry in manifest.models
    ]
    show(canonical.to_builtins(manifest), lines, as_json)


@models.command("export")
@home_option
@model_option
@package_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["safetensors", "onnx", "torch"]),
    default="safetensors",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: MODEL.SUFFIX here.")
@json_option
def export_models(
    root: Path, name: str, package: str | None, form: Any, out: Path | None, as_json: bool
) -> None:
    """Write a whole model, records to logits, as one file."""
    from wg_client.models.export import SUFFIXES, export_model

    home = ClientHome(root)
    manifest = _manifest(home, package)
    entry = manifest.entry(name)
    target = out or Path(f"{entry.name}{SUFFIXES[form]}")
    metadata = export_model(home, manifest, name, form, target)
    size = target.stat().st_size
    document = {"file": str(target), "format": form, "bytes": size, **metadata}
    show(document, [f"{target}: {entry.name}, {form}, {size} bytes"], as_json)


@click.command()
@home_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@model_option
@package_option
@click.option("--evaluate", is_flag=True, help="Also the accuracy of every model; needs labels.")
@click.option("--split", type=int, help="For a .npz with 'split': only records of this value.")
@json_option
def predict(
    root: Path,
    paths: tuple[Path, ...],
    name: str,
    package: str | None,
    evaluate: bool,
    split: int | None,
    as_json: bool,
) -> None:
    """Predict labels of record files, folders of them, or .npz files."""
    from wg_client.models import predict as predicting

    home = ClientHome(root)
    manifest = _manifest(home, package)
    results: list[dict[str, Any]] = []
    lines = []
    for path in paths:
        data = predicting.load_records(path, manifest.labels, split=split)
        features = predicting.encode_records(home, manifest, data)
        rows = predicting.predict(home, manifest, name, features, data.names)
        results.append({"path": str(path), "predictions": canonical.to_builtins(rows)})
        for row in rows:
            shown = "\t".join(map(cli.printable, (row.name, row.label)))
            lines.append(f"{shown}\t{row.probability:.3f}")
        if not evaluate:
            continue
        found = predicting.evaluate(home, manifest, features, data)
        results[-1]["evaluation"] = canonical.to_builtins(found)
        for each in found:
            mark = "  (kept)" if each.model == manifest.kept else ""
            figures = _percent(each.accuracy, each.error)
            lines.append(f"{each.model:24} {figures} of {each.records} records{mark}")
    document = {
        "package": manifest.package_id,
        "model": manifest.entry(name).name,
        "kept": manifest.kept,
        "labels": list(manifest.labels),
        "results": results,
    }
    show(document, lines, as_json)


def _manifest(home: ClientHome, package: str | None) -> ModelsManifest:
    from wg_client.models import store

    home.require()
    if package is None:
        return store.current(home)[0]
    matches = [m for m in store.all_manifests(home) if m.package_id.startswith(package)]
    if len(matches) != 1:
        raise errors.ConfigError(f"package {package!r}: {len(matches)} packages begin with it")
    return matches[0]


def _percent(accuracy: float | None, error: float | None) -> str:
    if accuracy is None or error is None:
        return "      –      "
    return f"{100 * accuracy:5.1f} ± {100 * error:4.1f} %"


COMMANDS = (apply, models, predict)
