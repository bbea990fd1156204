"""``wg-audit``: the auditor's commands, which work offline and without torch and flwr.

Large modules are imported inside commands, so that the program starts fast.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from wg_audit import verification_options
from wg_common import help_page, language, translations
from wg_common.cli import (
    json_option,
    next_step,
    print_json,
    print_line,
    print_progress,
    print_result_lines,
    run_program,
    show_progress,
)
from wg_common.language import pad_columns, text
from wg_common.options import OUT_FILE_TYPE, out_option
from wg_core import __version__
from wg_core.errors import ConfigError, ExitCode
from wg_core.logs import escape_unprintable

if TYPE_CHECKING:
    from wg_audit.verification import VerificationResult
    from wg_audit.verification_options import EvidenceOptions

PLANTS_ENTRY_POINT_GROUP = "weightgate.audited_plants"
"""Entry-point group of plant factories for the empirical audit; the client registers one."""

_PATH_TYPE = click.Path(path_type=Path)
_FOLDER_TYPE = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wg-audit")
def group() -> None:
    """Verify offline what a site released and what it cost, and say on whose word."""


@group.command()
@click.argument("path", type=_PATH_TYPE)
@verification_options.evidence_options
@click.option(
    "--report",
    type=OUT_FILE_TYPE,
    help="Write one self-contained HTML page, to read, print and file. It answers NIST SP 800-226 "
    "and ISO/IEC 27559 (clauses 6 to 9) line by line, or says not evidenced.",
)
@json_option
def verify(
    path: Path, report: Path | None, as_json: bool, **evidence_options: Unpack[EvidenceOptions]
) -> int:
    """Verify PATH: a ledger export (.wgl), or a client's home folder.

    A log proves nothing by its own word alone: bring the keys, and a checkpoint or the server's
    folder. The verdict says what was compared, and what was not.

    Exit codes: 0 verified; 8 partly verified; 9 holds by itself; 5 not verified; 3 cannot be read.
    """
    finding = verification_options.verify_with_evidence(path, evidence_options)
    document = finding.to_json()
    if report is not None:
        document |= {"dossier": _write_report(path, finding, report)}
    if as_json:
        print_json(document)
        return finding.verdict.exit_code
    _print_verdict(finding, document)
    if report is not None:
        print_line(text("{path}: written ({word})", path=report, word=finding.verdict.word))
    return finding.verdict.exit_code


def _print_verdict(result: VerificationResult, document: dict[str, Any]) -> None:
    """Print the verdict on a log, with a line for each comparison, budget and remark."""
    verdict = result.verdict
    origin = escape_unprintable(document["origin"])
    print_line(
        text(
            "{word}: {entries} entries of {origin} hold together",
            word=verdict.word,
            entries=document["entries"],
            origin=origin,
        )
    )
    speak = language.current_language()
    print_line(f"  {escape_unprintable(speak(verdict.headline()))}")

    def show_finding(sentence: str) -> str:
        return escape_unprintable(speak(sentence))  # names in it are untrusted

    for problem in verdict.problems:
        print_line(text("  NOT VERIFIED  {problem}", problem=show_finding(problem)))
    for name, line in verdict.display_rows():
        print_line(
            text("  {name}{line}", name=pad_columns(speak(name), 12), line=show_finding(line))
        )
    charges = text(
        "{charges}, releases {releases}, burned {burned}",
        charges=document["charges"],
        releases=document["releases"],
        burned=document["burned"],
    )
    print_line(text("  {name}{line}", name=pad_columns(speak(text("charges")), 12), line=charges))
    for account in result.accounts:
        line = text(
            "{names}: epsilon {epsilon:.4f} of {cap:g} at delta {delta:g} (independent code:"
            " {independent:.4f})",
            names=escape_unprintable(", ".join(account.datasets)),
            epsilon=account.primary,
            cap=account.cap_epsilon,
            delta=account.delta,
            independent=account.independent,
        )
        print_line(text("  {name}{line}", name=pad_columns(speak(text("budget")), 12), line=line))
    for remark in result.remark_sentences:
        print_progress(text("note: {remark}", remark=show_finding(remark)))
    for missing in verdict.not_checked:
        print_progress(text("not checked: {what}", what=show_finding(missing)))


def _write_report(log_path: Path, result: VerificationResult, out: Path) -> list[Any]:
    """Write the auditor's HTML page to ``out``; return the page's answered forms as JSON values."""
    from wg_audit import dossier, dossier_answers
    from wg_audit.auditor_page import render_auditor_page
    from wg_core import atomic
    from wg_core.wire import canonical

    records = dossier_answers.read_log_records(log_path, result)
    atomic.write_bytes(out, render_auditor_page(records, language.current_language()).encode())
    return [canonical.to_builtins(form) for form in dossier.answer_forms(records)]


@group.command()
@click.option("--home", type=_FOLDER_TYPE, required=True, help="The client's home folder.")
@out_option("The export to write (.wgl).")
@json_option
def export(home: Path, out: Path, as_json: bool) -> None:
    """Write a client's ledger to a file that anyone can verify. Holds no released numbers."""
    from wg_core.ledger import export as exports
    from wg_core.ledger import shared_budget

    manifest = exports.write_export(shared_budget.ledger_file(home), out)
    document = {"file": str(out), "origin": manifest.origin, "entries": manifest.entries}
    print_result_lines(
        as_json,
        document,
        text(
            "{path}: {entries} entries of {origin}",
            path=out,
            entries=manifest.entries,
            origin=manifest.origin,
        ),
        next_step("wg-audit verify {path} --server EVIDENCE", path=out),
    )


@group.command()
@json_option
def empirical(as_json: bool) -> int:
    """Try to catch the installed release code giving less privacy than it claims.

    Runs simulated plants on synthetic records, from files through snapshot, encoder and charge to
    the file that would leave. Needs the plant's program.
    """
    from wg_audit import empirical_audit_output
    from wg_audit.installed import audit as audits
    from wg_audit.installed import probes
    from wg_audit.installed.plant_audit import AuditSize

    installed_plants = tuple(entry_points(group=PLANTS_ENTRY_POINT_GROUP))
    if len(installed_plants) != 1:
        raise ConfigError(
            f"{len(installed_plants)} plant's programs are installed here, one is needed: nothing"
            " was audited; pip install 'weightgate[client]'"
        )
    size = AuditSize()
    with show_progress(text("questions to simulated plants"), probes.count_questions(size)) as bar:
        report = audits.audit_installed_code(
            installed_plants[0].load()(), size=size, on_question=bar.update
        )
    print_result_lines(
        as_json,
        empirical_audit_output.report_document(report),
        *empirical_audit_output.report_lines(report),
    )
    return ExitCode.OK if report.is_passed else ExitCode.VERIFICATION


@group.command()
@click.option("--wheel", type=_PATH_TYPE, help="A wheel to read instead of what is installed here.")
@json_option
def digest(wheel: Path | None, as_json: bool) -> None:
    """Print the digest of the core's code, which charges state, and the files that it covers.

    The file list is what sha256sum prints, and its SHA-256 is the digest.
    """
    from wg_audit.wheel import wheel_code_digest
    from wg_core import installed_code

    digest = installed_code.installed_code_digest() if wheel is None else wheel_code_digest(wheel)
    if as_json:
        print_json(
            {
                "code_sha256": digest.sha256,
                "files": {file.path: file.sha256 for file in digest.files},
            }
        )
        return
    for file in digest.files:
        print_line(f"{file.sha256}  {file.path}")
    print_progress(
        f"{len(digest.files)} files of {installed_code.CORE_PACKAGE}; code digest {digest.sha256}"
    )


language.add_language_option(group, translations.shared_language)
help_page.translate_help(group, translations.shared_language)


def main() -> None:
    """Run the command ``wg-audit``."""
    run_program(group, package_extra="client", load_language=translations.shared_language)
