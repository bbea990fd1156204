"""Command-line frame of all programs: ``--json``, logs on standard error, exit codes, progress.

A command module builds a click group and calls ``run_program(group)``. Errors of the tree in
``wg_core.errors`` become one message and their exit code; any other exception is reported as a bug.
With ``--json`` on the command line, errors too are one JSON document on standard output.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from wg_common import language
from wg_common.language import template
from wg_core import errors, logs

_PRINTS_JSON: ContextVar[bool] = ContextVar("as_json", default=False)

_OUR_PACKAGES = ("wg_core", "wg_audit", "wg_common", "wg_server", "wg_client")
"""Packages whose log shows information; other packages show warnings only."""

log_option = click.option(
    "--log-format",
    "log_format",
    type=click.Choice(logs.LOG_FORMATS),
    default=logs.TEXT_FORMAT,
    show_default=True,
    help="Form of the log on standard error; json: one object a line.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output."
)


def run_program(
    group: click.Command,
    arguments: Sequence[str] | None = None,
    *,
    package_extra: str = "",
    load_language: language.LanguageLoader | None = None,
) -> NoReturn:
    """Run a program's command group, and exit with the documented code.

    Args:
        arguments: Words after the program's name; None for those of this process.
        package_extra: Extra of ``weightgate`` that installs missing packages, as in
            ``weightgate[extra]``.
        load_language: Function that loads the language named by ``--language``, if any.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    before = os.umask(logs.PRIVATE_UMASK)
    try:
        code = _run_command(group, words, package_extra, load_language)
    finally:
        os.umask(before)
    sys.exit(code)


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    if not text.isascii() and logs.escape_unprintable(text, _LAYOUT_CHARACTERS) != text:
        # File names may hold undecodable bytes and characters that reverse the text direction.
        text = json.dumps(document, indent=2, sort_keys=True)
    click.echo(text)


_LAYOUT_CHARACTERS = "\n\t"
"""Control characters that printed text may contain; others are escaped."""


def print_line(text: str) -> None:
    """Print one line on standard output, in the user's language."""
    click.echo(logs.escape_unprintable(language.current_language()(text), _LAYOUT_CHARACTERS))


def print_result(document: object, lines: Iterable[str], as_json: bool) -> None:
    """Print the result of a command: the document as JSON if ``as_json``, else the lines."""
    if as_json:
        print_json(document)
    else:
        for line in lines:
            print_line(line)


def print_progress(text: str) -> None:
    """Print one line about a command's progress on standard error, in the user's language."""
    click.echo(
        logs.escape_unprintable(language.current_language()(text), _LAYOUT_CHARACTERS), err=True
    )


def next_step(command: str, **values: object) -> language.Text:
    """Return a line of output that names the next command; ``values`` fill in its template."""
    return language.text("next: {command}", command=command.format(**values))


def print_result_lines(as_json: bool, document: object, *lines: str) -> None:
    """Print a command's result as ``print_result`` does; each line is an argument."""
    if as_json:
        print_json(document)
        return
    for line in lines:
        print_line(line)


@contextmanager
def show_progress(title: str, total: int | None) -> Iterator[ProgressBar]:
    """Yield a handle that shows progress as a bar on a terminal, or as plain lines elsewhere.

    Both go to standard error; with ``--json`` nothing is shown. A line is printed at each tenth of
    the total (at 1, 2, 5, 10, 20, 50, ... steps if it is unknown), and whenever the detail changes
    while no step or every step is finished.
    """
    console, speak = Console(stderr=True), language.current_language()
    title = speak(title)
    if _PRINTS_JSON.get():
        yield ProgressBar(lambda *_: None)
    elif console.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[detail]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total, detail="")
            yield ProgressBar(
                lambda steps, detail: bar.update(task, completed=steps, detail=speak(detail))
            )
    else:
        yield ProgressBar(_plain_progress_printer(title, total))


@contextmanager
def show_spinner(title: str) -> Iterator[None]:
    """Show a spinner on a terminal while work of unknown length runs; nothing elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal and not _PRINTS_JSON.get():
        with console.status(language.current_language()(title)):
            yield
    else:
        yield


class ProgressBar:
    """Handle of a running progress bar."""

    def __init__(self, show_steps: Any) -> None:
        self._show = show_steps

    def update(self, steps: int, detail: str = "") -> None:
        """Set the number of finished steps and the text beside it."""
        self._show(steps, detail)


def _plain_progress_printer(title: str, total: int | None) -> Any:
    last, last_detail = -1, ""

    def show(steps: int, detail: str) -> None:
        nonlocal last, last_detail
        step = 10 * steps // total if total else _thresholds_reached(steps)
        detail = language.current_language()(detail)
        if step != last or (steps in (0, total) and detail != last_detail):
            last, last_detail = step, detail
            print_progress(f"{title}: {steps}{f'/{total}' if total else ''} {detail}".rstrip())

    return show


def _thresholds_reached(count: int) -> int:
    """Return how many of the thresholds 1, 2, 5, 10, 20, 50, ... ``count`` has reached."""
    if count < 1:
        return 0
    digits = len(str(count))
    digit = int(str(count)[0])
    return 3 * (digits - 1) + 1 + (digit >= 2) + (digit >= 5)


def _run_command(
    group: click.Command,
    arguments: list[str],
    package_extra: str,
    load_language: language.LanguageLoader | None,
) -> int:
    logs.configure_logging(*_OUR_PACKAGES)
    as_json = "--json" in arguments
    json_before = _PRINTS_JSON.set(as_json)
    language.store_command_line(arguments, load_language)
    try:
        result = group.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        failure = errors.error_report(KeyboardInterrupt())
        return _report_failure(failure.code, failure.message, failure.exit_code, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        if as_json:
            return _report_failure("usage", "a command is missing", errors.ExitCode.USAGE, as_json)
        print_progress(error.format_message())
        return errors.ExitCode.USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        if context is not None and not as_json:
            print_progress(language.usage_line(context))
        return _report_failure("usage", error.format_message(), errors.ExitCode.USAGE, as_json)
    except BrokenPipeError:
        return errors.ExitCode.OK
    except (Exception, KeyboardInterrupt) as error:  # a bug, too, must not look like an answer
        package = _missing_package(error)
        if package and package_extra:
            message = f"{package} is not installed: pip install 'weightgate[{package_extra}]'"
            return _report_failure(
                errors.ConfigError.code, message, errors.ExitCode.CONFIG, as_json
            )
        failure = errors.error_report(error)
        if failure.exit_code == errors.ExitCode.INTERNAL:
            logging.getLogger(__name__).exception("internal error")
        return _report_failure(failure.code, failure.message, failure.exit_code, as_json)
    finally:
        _PRINTS_JSON.reset(json_before)
    return result if isinstance(result, int) else errors.ExitCode.OK


_ERROR_CODE_TEXTS = {
    "usage": template("The command was called wrongly; --help says how."),
    "config": template("A setting, a folder or an option is wrong: see the file and field above."),
    "storage": template("The disk is full or cannot be written. Nothing was changed; try again."),
    "data": template("A record or table cannot be read or used: see the file named above."),
    "decode": template("A file is not what it claims to be: see its name above."),
    "refused": template("The plant's rules or its budget do not allow this."),
    "budget": template("The privacy budget does not cover this."),
    "policy": template("The plant's policy does not allow this."),
    "approval": template("A person must decide first: wg-client requests."),
    "verification": template("A signature, hash or proof does not hold. Do not use the file."),
    "not-accepted": template("The delivered weights were not accepted."),
    "peer": template("The network or the other side failed; try again."),
    "interrupted": template("Interrupted. Run the same command again to go on."),
}
"""Explanation of each error code, for users who do not read the English details."""


def _missing_package(error: BaseException) -> str:
    """Return the name of the library that an import error misses; empty for other errors."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    package = (name or "").partition(".")[0]
    return "" if package in _OUR_PACKAGES else package


def _report_failure(code: str, message: str, exit_code: int, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"code": code, "message": message, "exit_code": exit_code}})
    if logs.is_logging_json():
        logging.getLogger(__name__).error("%s: %s", code, message)
    else:
        # Messages of parsers have several lines; none of them may look like our own.
        speak = language.current_language()
        sentence = speak.translate("error: {message}", message=speak.translate_error(message))
        print_progress("\n  ".join(logs.escape_unprintable(line) for line in sentence.split("\n")))
        if speak.code != "en" and code in _ERROR_CODE_TEXTS:
            print_progress(speak.translate(_ERROR_CODE_TEXTS[code]))
    return exit_code
