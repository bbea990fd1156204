"""The shell of every command: exit codes, one JSON document, no trace for a person."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from wg_common import cli
from wg_core import errors, logs


def group(action: Callable[[], object]) -> click.Group:
    @click.group()
    def main() -> None:
        """A group."""

    @main.command()
    @cli.json_option
    def act(as_json: bool) -> None:
        result = action()
        if as_json:
            cli.print_json(result)

    return main


def exit_code(command: click.Group, *words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.run_program(command, words)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def fail(error: Exception) -> Callable[[], object]:
    def action() -> object:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.ConfigError("x"), 3),
        (errors.DataError("x"), 3),
        (errors.DecodeError("x"), 3),
        (errors.BudgetExceeded("x"), 4),
        (errors.PolicyRefused("x"), 4),
        (errors.VerificationError("x"), 5),
        (errors.NotAcceptedError("x"), 6),
        (errors.PeerError("x"), 7),
        (ZeroDivisionError("secret"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_ends_with_its_code_and_one_json_document(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(group(fail(error)), "act", "--json") == code
    out = capsys.readouterr().out
    assert json.loads(out)["error"]["exit_code"] == code
    assert "secret" not in out


def test_no_line_of_an_error_looks_like_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    words = "bad name 'x\nverified: all\x1b[1A\u202e'"
    assert exit_code(group(fail(errors.DecodeError(words))), "act") == 3
    assert capsys.readouterr().err == "error: bad name 'x\n  verified: all\\x1b[1A\\u202e'\n"


def test_success_prints_one_document_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(group(lambda: {"b": 1, "a": "é"}), "act", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"a": "é", "b": 1}


@pytest.mark.parametrize("words", [("none",), ("act", "--none"), ("act", "extra")])
def test_a_wrong_call_ends_with_2(words: tuple[str, ...]) -> None:
    assert exit_code(group(dict), *words) == 2


def test_progress_without_a_terminal_is_a_few_plain_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with cli.show_progress("work", 100) as bar:
        for done in range(1, 101):
            bar.update(done)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert 10 <= len(shown.err.splitlines()) <= 12


def test_the_table_of_exit_codes_is_the_documented_one() -> None:
    def tree(kind: type[errors.WgError]) -> set[type[errors.WgError]]:
        return {kind}.union(*(tree(sub) for sub in kind.__subclasses__()))

    ours = {kind for kind in tree(errors.WgError) if kind.__module__ == errors.__name__}
    codes = {kind.code: kind.exit_code for kind in ours}
    assert codes == {
        "usage": 2,
        "config": 3,
        "storage": 3,
        "data": 3,
        "decode": 3,
        "refused": 4,
        "budget": 4,
        "policy": 4,
        "approval": 4,
        "machine": 4,
        "verification": 5,
        "not-accepted": 6,
        "peer": 7,
        "internal": 70,
    }


FORGED = "a\nplant.jpg\tgood\t1.000\r\x1b[2K\u202e\u2028\udce9\x9b"


def test_a_name_cannot_forge_a_line_of_output_or_log(capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> object:
        cli.print_line(logs.escape_unprintable(FORGED))
        cli.print_progress(FORGED)
        return None

    assert exit_code(group(action), "act") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "\t" not in out
    for text in (out, err):
        assert not set(text) & set("\r\x1b\u202e\u2028\udce9\x9b")
    record = logging.LogRecord("x", logging.WARNING, "", 0, "file %s", (FORGED,), None)
    line = logs._LineFormatter("%(asctime)s %(name)s %(levelname)s %(message)s").format(record)
    assert line.count("\n") == 0 and line.isprintable() is ("\t" not in line)


def test_names_that_are_no_text_are_still_one_json_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(group(lambda: {"name": FORGED}), "act", "--json") == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == {"name": FORGED}
    assert out.isascii()


def test_plain_text_of_any_script_is_left_as_it_is() -> None:
    for text in ("plant", "Größe 5 µm", "合格", "a\tb\nc"):
        assert logs.escape_unprintable(text, kept_characters="\n\t") == text


def test_what_a_command_writes_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:

        def action() -> object:
            (tmp_path / "folder").mkdir()
            (tmp_path / "folder" / "file").write_text("x")
            return None

        assert exit_code(group(action), "act") == 0
        assert os.umask(0) == 0, "the shell's own is left as it was"
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "folder/file")]
    assert modes == [0o700, 0o600]
