"""Where a join token comes from."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner

from wg_client.cli.options import JOIN_ON_COMMAND_LINE_WARNING, join_token_options, split_at_commas
from wg_core.errors import ConfigError, DecodeError, UsageError


@click.command()
@join_token_options
def join(token: str) -> None:
    click.echo(f"<{token}>")


def test_a_token_is_read_from_standard_input_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("wgj1.abc\n")
    runner = CliRunner()
    assert runner.invoke(join, ["--join", "-"], input="wgj1.abc\n").output == "<wgj1.abc>\n"
    assert runner.invoke(join, ["--join-file", str(file)]).output == "<wgj1.abc>\n"


def test_a_token_that_windows_wrote_is_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for encoding in ("utf-8-sig", "utf-16", "ascii"):
        file.write_bytes("wgj2.abc\r\n".encode(encoding))
        done = CliRunner().invoke(join, ["--join-file", str(file)])
        assert done.output == "<wgj2.abc>\n"
        piped = CliRunner().invoke(join, ["--join", "-"], input=file.read_bytes())
        assert piped.output == "<wgj2.abc>\n"


def test_labels_are_parted_by_commas_of_any_script() -> None:
    for text in ("良品、傷", "良品，傷", "良品, 傷,", " 良品,,傷 "):
        assert split_at_commas(text) == ("良品", "傷")


def test_a_token_on_the_command_line_is_warned_of() -> None:
    done = CliRunner().invoke(join, ["--join", "wgj1.abc"])
    assert "<wgj1.abc>" in done.output and JOIN_ON_COMMAND_LINE_WARNING in done.output


def test_one_source_is_named_and_bounded(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 100_000)
    runner = CliRunner()
    for words, given, error in (
        ([], "", UsageError),
        (["--join", "-", "--join-file", str(large)], "", UsageError),
        (["--join-file", str(large)], "", DecodeError),
        (["--join-file", str(tmp_path / "none")], "", ConfigError),
        (["--join", "-"], "x" * 100_000, DecodeError),
    ):
        done = runner.invoke(join, words, input=given)
        assert isinstance(done.exception, error), words
