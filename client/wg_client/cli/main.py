"""``wg-client``: what a plant engineer touches. Commands and exit codes as in the product's design.

Heavy imports (torch, flwr, matplotlib) happen inside the commands that need them, so that
``--help`` and ``budget`` answer at once. It is longer than 500 lines because each command's options
and words stand beside it; whatever a command does lies in a module of its own.
"""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.freeze import (
    allow_empty_option,
    freeze_command,
    freeze_document,
    freezing_bar,
    say_frozen,
    say_refusal,
    set_aside_option,
)
from wg_client.cli.upkeep import COMMANDS, home_option
from wg_client.fleet.joining import join_options
from wg_client.site.config import PrivacyConfig, default_request_epsilon
from wg_client.site.home import ClientHome
from wg_common import __version__, atomic, cli, errors, logs
from wg_common.cli import emit, json_option, note, say
from wg_common.wire import canonical, protocol

if TYPE_CHECKING:
    from wg_client.models.store import ModelsManifest
    from wg_client.release.preview import Check, SnapshotSight
    from wg_client.selection.apply import AppliedModel
    from wg_client.site.encoder_pin import EncoderAbout

epsilon_option = click.option(
    "--epsilon", help="Epsilon of the release; default: the policy's most."
)
delta_option = click.option("--delta", help="Delta of the release; default: the policy's most.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wg-client")
def group() -> None:
    """The plant's side of weightgate: private statistics out, made-to-measure weights in."""


for _command in (freeze_command, *COMMANDS):
    group.add_command(_command)


def main() -> None:
    """Entry point."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it reports on its font cache
    cli.run(group)


@group.command()
@home_option
@join_options
@click.option(
    "--replace",
    is_flag=True,
    help="Enrol an initialised home again: new transport keys; data, policy and ledger stay.",
)
@click.option(
    "--encoder",
    metavar="HASH",
    help="The encoder that you want: its SHA-256, or 16 or more of its first hex digits.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of class folders, folder with records.csv, or .npz file.",
)
@click.option("--labels", help="Label domain, a,b,c. It is public. Default: folder names.")
@click.option("--unit-column", help="Column or array that names the privacy unit of a record.")
@click.option(
    "--unit-rule",
    type=click.Choice(["record", "weight", "cap"]),
    default=None,
    help="How records of one unit count. Default: weight if there is a unit column.",
)
@click.option("--unit-cap", type=int, default=1, show_default=True, help="For --unit-rule cap.")
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
    f"{PrivacyConfig().cap_epsilon}, or that of --budget-of.",
)
@click.option(
    "--max-epsilon",
    help="Largest epsilon of one request. Default: "
    f"{PrivacyConfig().max_request_epsilon}, or the cap if that is smaller.",
)
@set_aside_option
@allow_empty_option
@json_option
def init(
    root: Path,
    token: str,
    replace: bool,
    encoder: str | None,
    data: Path | None,
    labels: str | None,
    unit_column: str | None,
    unit_rule: Any,
    unit_cap: int,
    name: str | None,
    budget_of: Path | None,
    cap_epsilon: str | None,
    max_epsilon: str | None,
    set_aside: bool,
    allow_empty: bool,
    as_json: bool,
) -> int:
    """Make keys on site, enrol with the server, write client.yaml, and freeze the data set.

    The encoder, which sees every record, comes from the server. The join token names it by its
    hash; on a terminal you are asked whether it is the one that the operator told you.
    """
    if replace:
        if budget_of is not None:
            raise errors.UsageError("--budget-of: for a new home; a budget cannot be moved")
        _enrol_again(root, token, encoder, data, as_json)
        return errors.EXIT_OK
    if data is None:
        raise errors.UsageError("--data: needed, unless --replace enrols a home again")
    from wg_client.fleet.initialise import DataChoice, check_new, initialise, look
    from wg_client.site import config as configuration

    check_new(ClientHome(root))
    if allow_empty and labels is None:
        raise errors.UsageError("--allow-empty: needs --labels")
    choice = DataChoice(
        path=data,
        labels=_labels(labels),
        unit_column=unit_column,
        name=name,
        set_aside=set_aside,
        allow_empty=allow_empty,
        budget_of=budget_of,
    )
    default = PrivacyConfig()
    if budget_of is not None:
        default = configuration.load(ClientHome(budget_of)).privacy
    cap_epsilon = cap_epsilon or default.cap_epsilon
    privacy = PrivacyConfig(
        cap_epsilon=cap_epsilon,
        cap_delta=default.cap_delta,
        max_request_epsilon=max_epsilon or default_request_epsilon(cap_epsilon),
        max_request_delta=default.max_request_delta,
        unit_rule=unit_rule or ("weight" if unit_column else "record"),
        unit_cap=unit_cap,
    )
    with freezing_bar() as stage:
        seen = look(choice, privacy, stage)
    if refused := say_refusal(seen, set_aside, allow_empty, data, as_json):
        return refused
    asked = encoder is None and not as_json and sys.stdin.isatty()
    with freezing_bar() as stage:
        config, frozen = initialise(
            ClientHome(root),
            token,
            choice,
            privacy,
            encoder=encoder,
            confirm=_ask_owner if asked else None,
            found=seen,
            stage=stage,
        )
    by = "option" if encoder is not None else "answer" if asked else "token"
    if as_json:
        emit(
            {
                "site": config.site,
                "home": str(root),
                "config": str(ClientHome(root).config),
                "records": frozen.records,
                "labels": list(config.data.labels),
                "cap_epsilon": cap_epsilon,
                "server": config.server.fleet_url,
                "encoder": config.data.encoder,
                "encoder_confirmed_by": by,
                "snapshot": freeze_document(frozen),
            }
        )
        return errors.EXIT_OK
    say(f"{config.site}: enrolled with {config.server.name} at {config.server.fleet_url}")
    say_frozen(frozen)
    say(f"public label domain: {', '.join(config.data.labels)}")
    say(
        f"budget: epsilon {cap_epsilon} at delta {privacy.cap_delta}; policy in "
        f"{ClientHome(root).config}"
    )
    say(f"encoder {config.data.encoder}, {_CONFIRMED[by]}")
    say(f"next: wg-client check --home {root}")
    return errors.EXIT_OK


_CONFIRMED = {
    "option": "as --encoder names it",
    "answer": "as you confirmed it",
    "token": "as the join token names it: nobody was asked. Compare it with the operator's",
}


def _ask_owner(about: EncoderAbout) -> None:
    """Show an encoder and ask whether it is wanted."""
    say(f"encoder {about.encoder}")
    sources = ", ".join(about.sources) or "nothing"
    say(f"for {about.modality}; says that it was fitted on {sources}")
    if not click.confirm("Is this the hash that the server's operator told you?", default=False):
        raise errors.RefusedError(
            "the encoder was not confirmed: nothing of it is kept. The join token is spent; ask"
            " the operator for another ('wg-server enroll --replace') when that is settled"
        )


@group.command()
@home_option
@epsilon_option
@delta_option
@json_option
def check(root: Path, epsilon: str | None, delta: str | None, as_json: bool) -> None:
    """Show what the client sees, what would leave and what it would cost. Sends nothing."""
    from wg_client.release.preview import check as look

    found = look(ClientHome(root), epsilon=epsilon, delta=delta)
    if as_json:
        emit(canonical.to_builtins(found))
    else:
        _say_check(found)


@group.command()
@home_option
@click.option("--once", is_flag=True, help="End after one weights package was applied.")
@cli.log_option
def run(root: Path, once: bool, log_format: str) -> None:
    """Connect to the server and answer it, within the policy, until stopped."""
    from wg_client.data import plant as plants
    from wg_client.fleet.interface import Handlers
    from wg_client.fleet.node import run_node
    from wg_client.release.query import answer_query
    from wg_client.selection.apply import apply_package
    from wg_client.site import config as configuration
    from wg_client.site import encoder_pin
    from wg_common.ledger import charging

    charging.code_digest()  # of the code as it is now, not of an upgrade while this runs
    home = ClientHome(root)
    config = configuration.load(home)
    plants.ready_snapshot(home)
    logs.use(log_format, hidden=(config.data.path,))
    if reminder := encoder_pin.reminder(home, config):
        logging.getLogger(__name__).warning("%s", reminder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    handlers = Handlers(answer_query=answer_query, apply_package=apply_package)
    run_node(home, handlers, once=once, stop=stop)


@group.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .wgs file.")
@click.option("--purpose", default="air-gapped release", show_default=True)
@epsilon_option
@delta_option
@json_option
def statistics(
    root: Path, out: Path, purpose: str, epsilon: str | None, delta: str | None, as_json: bool
) -> None:
    """Charge and write one release to a file, for a server that is not connected."""
    from wg_client.data import plant as plants
    from wg_client.release.budget import read_spend
    from wg_client.release.query import answer_query
    from wg_client.site import config as configuration

    home = ClientHome(root)
    config = configuration.load(home)
    plants.ready_snapshot(home)
    query = protocol.StatisticsQuery(
        request_id=secrets.token_hex(16),
        site=config.site,
        encoder=canonical.sha256_hex(plants.load_encoder_package(home)),
        epsilon=epsilon or config.privacy.max_request_epsilon,
        delta=delta or config.privacy.max_request_delta,
        purpose=purpose,
        expires=int(time.time()) + 3600,
    )
    before = read_spend(home, config)
    data = answer_query(home, query, witness=None)
    atomic.write_bytes(out, data)
    after = read_spend(home, config)
    result = {
        "file": str(out),
        "bytes": len(data),
        "sha256": canonical.sha256_hex(data),
        "charged": after.charges > before.charges,
        "epsilon_spent": after.epsilon,
        "cap_epsilon": after.cap_epsilon,
        "cap_delta": after.cap_delta,
    }
    if as_json:
        emit(result)
        return
    say(f"{out}: {len(data)} bytes")
    paid = "charged" if result["charged"] else "made before, nothing charged"
    say(f"{paid}; epsilon {after.epsilon:.4g} of {after.cap_epsilon} spent at {after.cap_delta}")


@group.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .wgc file.")
@click.option("--purpose", help="What the checkpoint may be used for.")
@epsilon_option
@delta_option
@click.option("--steps", type=click.IntRange(1, 10_000), default=60, show_default=True)
@click.option(
    "--sampling-probability",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    show_default=True,
    help="Probability with which a privacy unit enters a step.",
)
@click.option(
    "--units",
    type=click.FloatRange(1),
    default=200,
    show_default=True,
    help="Public guess of the number of privacy units, not their count; scales the step.",
)
@click.option("--clip-norm", type=click.FloatRange(0, min_open=True), default=1.0)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=2.0)
@json_option
def contribute(
    root: Path,
    out: Path,
    purpose: str | None,
    epsilon: str | None,
    delta: str | None,
    steps: int,
    sampling_probability: float,
    units: float,
    clip_norm: float,
    learning_rate: float,
    as_json: bool,
) -> None:
    """Charge, train a head with DP-SGD, and write it to a file for the server's zoo."""
    from wg_client.release import contribution as contributing
    from wg_client.release.budget import read_spend
    from wg_client.site import config as configuration

    home = ClientHome(root)
    config = configuration.load(home)
    done = contributing.contribute(
        home,
        contributing.ContributionRequest(
            epsilon=epsilon or config.privacy.max_request_epsilon,
            delta=delta or config.privacy.max_request_delta,
            steps=steps,
            sampling_probability=sampling_probability,
            units=units,
            clip_norm=clip_norm,
            learning_rate=learning_rate,
            purpose=purpose or contributing.PURPOSE,
        ),
    )
    atomic.write_bytes(out, done.data)
    spend = read_spend(home, config)
    result = {
        "file": str(out),
        "bytes": len(done.data),
        "sha256": canonical.sha256_hex(done.data),
        "request_id": done.request_id,
        "charged": done.charged,
        "event": canonical.to_builtins(done.event),
        "epsilon_spent": spend.epsilon,
        "cap_epsilon": spend.cap_epsilon,
        "cap_delta": spend.cap_delta,
    }
    if as_json:
        emit(result)
        return
    say(f"{out}: {len(done.data)} bytes")
    paid = "charged" if done.charged else "charged before, nothing charged now"
    say(f"{paid}; epsilon {spend.epsilon:.4g} of {spend.cap_epsilon} spent at {spend.cap_delta}")


@group.command()
@home_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def apply(root: Path, file: Path, as_json: bool) -> int:
    """Verify a weights package, compare it with local-only, keep what is better.

    Ends with code 6 if local-only was kept.
    """
    from wg_client.selection.apply import apply_package

    with cli.progress("fine-tuning, %", 100) as bar:
        applied = apply_package(
            ClientHome(root), file, progress=lambda done, total: bar.update(100 * done // total)
        )
    if as_json:
        emit(_applied(applied, root))
    else:
        _say_applied(applied, root)
    return errors.EXIT_OK if applied.accepted else errors.EXIT_NOT_ACCEPTED


@group.command()
@home_option
@json_option
def budget(root: Path, as_json: bool) -> None:
    """Show what left, what it cost, and what is left of the budget."""
    from wg_client.release.budget import read_spend
    from wg_client.site import config as configuration

    home = ClientHome(root)
    config = configuration.load(home)
    spend = read_spend(home, config)
    if as_json:
        emit(
            {
                "site": config.site,
                "dataset": config.data.name,
                "epsilon_spent": spend.epsilon,
                "cap_epsilon": spend.cap_epsilon,
                "cap_delta": spend.cap_delta,
                "charges": spend.charges,
                "burned": spend.burned,
                "ledger_entries": spend.entries,
                "releases": canonical.to_builtins(spend.releases),
            }
        )
        return
    say(
        f"{config.data.name}: epsilon {spend.epsilon:.4g} of {spend.cap_epsilon} spent at delta "
        f"{spend.cap_delta}; {spend.charges} charges, {spend.burned} without a release"
    )
    for row in spend.releases:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(row.time))
        size = "nothing left" if row.size is None else f"{row.size} bytes"
        say(
            f"  {when}  {row.request_id[:12]}  epsilon {row.epsilon},"
            f" {row.epsilon_after} composed, "
            f"{size}, to {row.recipient}: {row.purpose}"
        )


@group.group()
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
    if as_json:
        emit({"models": rows})
        return
    for row in rows:
        mark = "in use" if row["current"] else "kept" if row["kept"] else ""
        say(f"{row['package'][:16]}  {row['model']:24} {_percent(row)}  {mark}".rstrip())
    if not rows:
        say("no models yet; 'wg-client run' or 'wg-client apply' makes them")


@models.command("show")
@home_option
@click.option("--package", help="Package id; default: the one in use.")
@json_option
def show_models(root: Path, package: str | None, as_json: bool) -> None:
    """Show where a package's models come from, and why one was kept."""
    manifest = _manifest(ClientHome(root), package)
    if as_json:
        emit(canonical.to_builtins(manifest))
        return
    say(f"package {manifest.package_id}: kept {manifest.kept}")
    say(manifest.reason)
    for entry in manifest.models:
        figures = _percent({"accuracy": entry.accuracy, "error": entry.error})
        say(f"  {entry.name:24} {figures}  {entry.origin}")


@models.command("export")
@home_option
@click.option("--model", "name", default="kept", show_default=True, help="Which model.")
@click.option("--package", help="Package id; default: the one in use.")
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
    if as_json:
        emit({"file": str(target), "format": form, "bytes": target.stat().st_size, **metadata})
    else:
        say(f"{target}: {entry.name}, {form}, {target.stat().st_size} bytes")


@group.command()
@home_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", "name", default="kept", show_default=True, help="Which model.")
@click.option("--package", help="Package id; default: the one in use.")
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
    """Predict labels of images or windows, folders of them, or .npz files."""
    from wg_client.models import predict as predicting

    home = ClientHome(root)
    manifest = _manifest(home, package)
    results: list[dict[str, Any]] = []
    for path in paths:
        data = predicting.load_records(path, manifest.labels, split=split)
        features = predicting.encode_records(home, manifest, data)
        rows = predicting.predict(home, manifest, name, features, data.names)
        result: dict[str, Any] = {
            "path": str(path),
            "predictions": canonical.to_builtins(rows),
        }
        if evaluate:
            found = predicting.evaluate(home, manifest, features, data)
            result["evaluation"] = canonical.to_builtins(found)
        results.append(result)
    if as_json:
        emit(
            {
                "package": manifest.package_id,
                "model": manifest.entry(name).name,
                "kept": manifest.kept,
                "labels": list(manifest.labels),
                "results": results,
            }
        )
        return
    for result in results:
        for row in result["predictions"]:
            name, label = (cli.printable(row[each]) for each in ("name", "label"))
            say(f"{name}\t{label}\t{row['probability']:.3f}")
        for row in result.get("evaluation", ()):
            mark = "  (kept)" if row["model"] == manifest.kept else ""
            say(f"{row['model']:24} {_percent(row)} of {row['records']} records{mark}")


def _enrol_again(
    root: Path, token: str, encoder: str | None, data: Path | None, as_json: bool
) -> None:
    from wg_client.data import plant as plants
    from wg_client.fleet import reenrolment

    if data is not None:
        raise errors.UsageError("--data: the data set of a home that is enrolled again stays")
    config = reenrolment.replace(ClientHome(root), token, encoder=encoder)
    try:
        plants.ready_snapshot(ClientHome(root))
    except errors.ConfigError as error:  # another encoder, or a home of before
        note(str(error))
    if as_json:
        emit(
            {
                "site": config.site,
                "home": str(root),
                "server": config.server.fleet_url,
                "encoder": config.data.encoder,
            }
        )
    else:
        say(f"{config.site}: enrolled again with {config.server.name}; ledger and budget stay")


def _labels(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(label.strip() for label in text.split(",") if label.strip())


def _manifest(home: ClientHome, package: str | None) -> ModelsManifest:
    from wg_client.models import store

    home.require()
    if package is None:
        return store.current(home)[0]
    matches = [m for m in store.all_manifests(home) if m.package_id.startswith(package)]
    if len(matches) != 1:
        raise errors.ConfigError(f"package {package!r}: {len(matches)} packages begin with it")
    return matches[0]


def _percent(row: Any) -> str:
    if row["accuracy"] is None:
        return "      –      "
    return f"{100 * row['accuracy']:5.1f} ± {100 * row['error']:4.1f} %"


def _applied(applied: AppliedModel, root: Path) -> dict[str, Any]:
    manifest = applied.manifest
    return {
        "package": manifest.package_id,
        "already_applied": applied.already,
        "accepted": applied.accepted,
        "kept": manifest.kept,
        "reason": manifest.reason,
        "gain": manifest.gain,
        "models": canonical.to_builtins(manifest.models),
        "evidence": canonical.to_builtins(manifest.evidence),
        "report": str(ClientHome(root).report),
    }


def _say_applied(applied: AppliedModel, root: Path) -> None:
    manifest = applied.manifest
    if applied.already:
        note("this package was applied before; nothing was trained again")
    for entry in manifest.models:
        mark = "  kept" if entry.name == manifest.kept else ""
        figures = _percent({"accuracy": entry.accuracy, "error": entry.error})
        say(f"{entry.name:24} {figures}{mark}")
    say(manifest.reason)
    say(f"report: {ClientHome(root).report}")


def _say_snapshot(snapshot: SnapshotSight) -> None:
    change, number = snapshot.change, snapshot.number
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(snapshot.created))
    say(f"  snapshot {number}, frozen {when} UTC; a release is made from it and nothing else")
    if snapshot.set_aside or snapshot.duplicates:
        say(f"  {snapshot.set_aside} left out, {snapshot.duplicates} counted with an equal one")
    if change.any:
        words = [
            f"{count} {word}"
            for count, word in (
                (change.more, "more"),
                (change.gone, "fewer"),
                (change.touched, "of another size or date"),
            )
            if count
        ]
        found = f"the folder has {', '.join(words)}" if words else change.unreadable
        say(
            f"  {found}: wg-client freeze makes version {number + 1}, whose releases are charged"
            " anew"
        )


def _say_check(found: Check) -> None:
    data, leaves, cost = found.data, found.would_leave, found.cost
    say(f"{found.site}: data set {found.dataset}, {data.path}")
    _say_snapshot(found.snapshot)
    units = "" if data.units == data.records else f" in {data.units} privacy units"
    say(f"  {data.records} records{units}, {data.unlabelled} without a label")
    for label, count in data.per_label.items():
        say(f"    {label:24} {count or 'none: can be delivered, cannot be learnt here'}")
    sizes = list(data.record_sizes.items())
    shown = ", ".join(f"{count} of {size}" for size, count in sizes[:5])
    say(f"  {data.modality}: {shown}{', ...' if len(sizes) > 5 else ''}")
    say("what would leave, once:")
    for block in leaves.blocks:
        shape = " x ".join(map(str, block.shape))
        say(f"    {block.name:8} {shape:>9} = {block.integers:6} integers, noise {block.noise_std}")
    say(f"    {leaves.integers} integers, {leaves.payload_bytes} bytes, with signature and proofs")
    say(f"    never: {', '.join(leaves.never_leaves)}")
    say(f"what it would cost, for one {leaves.unit} added or removed:")
    say(f"    alone    epsilon {cost.alone:.4g} at delta {cost.cap_delta}")
    say(
        f"    composed epsilon {cost.after:.4g}, with {cost.spent:.4g} spent; the cap is "
        f"{cost.cap_epsilon}"
    )
    verdict = f"refused by {cost.refused_by}" if cost.refused_by else "allowed"
    say(f"    {verdict}; {cost.releases_left} such releases still fit under the cap")
    say("nothing was sent, nothing was charged")


if __name__ == "__main__":
    main()
