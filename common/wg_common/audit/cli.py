"""``wg-audit``: the auditor's commands. Offline; neither torch nor flwr.

Everything heavy is imported inside a command, so that the program starts at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_common import __version__
from wg_common.cli import emit, json_option, note, run, say
from wg_common.errors import EXIT_VERIFICATION, UsageError

if TYPE_CHECKING:
    from wg_common.ledger.anchors import Anchors, KnownWitness

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)

_ledger_key_option = click.option(
    "--ledger-key", metavar="HEX", help="The site's ledger key, as the server knows it."
)
_witness_keys_option = click.option(
    "--witness-key",
    "witness_keys",
    metavar="NAME=HEX",
    multiple=True,
    help="A witness's name and key, as it publishes them; only cosignatures under this key count. "
    "Repeat it for further witnesses.",
)
_witnesses_option = click.option(
    "--witnesses",
    "quorum",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many of the given witnesses must have cosigned.  [default: all]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wg-audit")
def group() -> None:
    """Verify what a site released and what it cost. Offline, trusting nobody."""


@group.command()
@click.argument("path", type=_PATH)
@_ledger_key_option
@_witness_keys_option
@_witnesses_option
@click.option(
    "--statistics",
    type=_PATH,
    multiple=True,
    help="A file that the server received (.wgs, .wgc), or a folder of them: each must be covered, "
    "and be what its charge says.",
)
@click.option(
    "--previous", type=_PATH, help="The log that this one replaced: its spend must be inherited."
)
@json_option
def verify(
    path: Path,
    ledger_key: str | None,
    witness_keys: tuple[str, ...],
    quorum: int | None,
    statistics: tuple[Path, ...],
    previous: Path | None,
    as_json: bool,
) -> None:
    """Verify PATH: a ledger export (.wgl), or a client's home folder."""
    from wg_common.audit import verification

    finding = verification.verify(
        path,
        _anchors(ledger_key, witness_keys, quorum),
        statistics=statistics,
        previous=previous,
    )
    if as_json:
        emit(finding.to_json())
        return
    document = finding.to_json()
    say(f"verified: {document['entries']} entries of {document['origin']} hold")
    say(
        f"  charges {document['charges']}, releases {document['releases']}, "
        f"burned {document['burned']}"
    )
    for account in finding.accounts:
        say(
            f"  {', '.join(account.datasets)}: epsilon {account.primary:.4f} of "
            f"{account.cap_epsilon:g} at delta {account.delta:g} "
            f"(independent code: {account.independent:.4f})"
        )
    say(
        f"  cosigned up to entry {document['witnessed_size']} "
        f"({document['cosigned_checkpoints']} checkpoints)"
    )
    if finding.received:
        say(f"  received files, each covered by one release: {len(finding.received)}")
    for remark in finding.remarks:
        note(f"note: {remark}")


@group.command()
@click.option("--home", type=_FOLDER, required=True, help="The client's home folder.")
@click.option("--out", type=_PATH, required=True, help="The export to write (.wgl).")
@json_option
def export(home: Path, out: Path, as_json: bool) -> None:
    """Write a client's ledger to a file that anyone can verify. Holds no released numbers."""
    from wg_common.ledger import export as exports

    manifest = exports.write(home / "ledger.sqlite", out)
    if as_json:
        emit({"out": str(out), "origin": manifest.origin, "entries": manifest.entries})
    else:
        say(f"{out}: {manifest.entries} entries of {manifest.origin}")


@group.command()
@click.argument("path", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="The HTML page to write.")
@_ledger_key_option
@_witness_keys_option
@_witnesses_option
@json_option
def report(
    path: Path,
    out: Path,
    ledger_key: str | None,
    witness_keys: tuple[str, ...],
    quorum: int | None,
    as_json: bool,
) -> None:
    """Verify PATH and write one self-contained HTML page about it, to read, print and file."""
    from wg_common import atomic
    from wg_common.audit.report import render

    page = render(path, _anchors(ledger_key, witness_keys, quorum))
    atomic.write_bytes(out, page.encode())
    if as_json:
        emit({"out": str(out), "bytes": len(page.encode())})
    else:
        say(f"{out}: written")


@group.command()
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="The claim to test.")
@click.option("--delta", type=float, default=1e-5, show_default=True)
@click.option("--repetitions", type=int, help="Releases to make; more find smaller violations.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def empirical(
    epsilon: float, delta: float, repetitions: int | None, seed: int, as_json: bool
) -> int:
    """Try to catch the installed release code giving less privacy than it claims."""
    from dataclasses import asdict

    from wg_common.audit import empirical as audits
    from wg_common.cli import progress

    count = audits.REPETITIONS if repetitions is None else repetitions
    with progress("releases", count) as bar:
        found = audits.audit(epsilon, delta, repetitions=count, seed=seed, on_repetition=bar.update)
    if as_json:
        emit(asdict(found))
    else:
        say(
            f"claimed epsilon {found.epsilon:g} at delta {found.delta:g}: {found.canaries} canaries"
        )
        say(f"  lower bound, Clopper-Pearson 95 %:  {found.clopper_pearson:.3f}")
        say(f"  lower bound, parametric 99.9 %:     {found.parametric:.3f}")
        say(f"  a true epsilon from {found.detectable:.3f} on would be found")
        say("passed" if found.passed else "FAILED: more is released than is claimed")
    return 0 if found.passed else EXIT_VERIFICATION


@group.command()
@click.argument("path", type=_PATH)
@click.option("--out", type=_PATH, help="The YAML file to write; standard output if not given.")
@_ledger_key_option
@_witness_keys_option
@_witnesses_option
@json_option
def registry(
    path: Path,
    out: Path | None,
    ledger_key: str | None,
    witness_keys: tuple[str, ...],
    quorum: int | None,
    as_json: bool,
) -> None:
    """Verify PATH and write a draft for the Differential Privacy Deployments Registry.

    What the log cannot know is left for a person, and named.
    """
    from wg_common import atomic
    from wg_common.audit import registry as registries

    entry = registries.write(path, _anchors(ledger_key, witness_keys, quorum))
    if out is not None:
        atomic.write_bytes(out, entry.to_yaml().encode("utf-8"))
    if as_json:
        place = None if out is None else str(out)
        emit({"out": place, "entry": entry.document, "missing": list(entry.missing)})
        return
    if out is None:
        say(entry.to_yaml().rstrip("\n"))
    else:
        say(f"{out}: written")
    for name in entry.missing:
        note(f"for a person: {name}")


@group.command()
@click.option("--wheel", type=_PATH, help="A wheel to read instead of what is installed here.")
@json_option
def digest(wheel: Path | None, as_json: bool) -> None:
    """Print the digest of the program's code, which charges state, and the files that it covers.

    The file list is what sha256sum prints, and its SHA-256 is the digest.
    """
    from wg_common import installed_code

    found = installed_code.installed() if wheel is None else installed_code.in_wheel(wheel)
    if as_json:
        emit(
            {
                "code_sha256": found.sha256,
                "packages": list(found.packages),
                "files": {file.path: file.sha256 for file in found.files},
            }
        )
        return
    for file in found.files:
        say(f"{file.sha256}  {file.path}")
    missing = [name for name in installed_code.PACKAGES if name not in found.packages]
    note(f"{len(found.files)} files of {', '.join(found.packages)}; code digest {found.sha256}")
    if missing:
        note(f"note: {', '.join(missing)} is not here: a client's charges state another digest")


def main() -> None:
    """Entry point of ``wg-audit``."""
    run(group)


def _key(text: str, option: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text[:80]!r} is not hex") from error
    if len(raw) != 32:
        raise UsageError(f"{option}: {len(raw)} bytes, expected 32")
    return raw


def _anchors(ledger_key: str | None, witness_keys: tuple[str, ...], quorum: int | None) -> Anchors:
    from wg_common.ledger.anchors import Anchors

    return Anchors(
        ledger_key=None if ledger_key is None else _key(ledger_key, "--ledger-key"),
        witnesses=tuple(map(_witness, witness_keys)),
        quorum=quorum,
    )


def _witness(text: str) -> KnownWitness:
    from wg_common.ledger.anchors import KnownWitness

    name, separator, key = text.rpartition("=")
    if not separator or not name:
        raise UsageError(f"--witness-key: {text[:80]!r}, expected NAME=HEX")
    return KnownWitness(name, _key(key, "--witness-key"))
