"""What click says of a wrong call is Japanese where the person reads Japanese."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from tests.common.test_catalogues import in_context

from wg_common import cli, language, options, translations

WRONG_CALLS = in_context(translations.COMMON_CATALOGUE_FOLDER, "ja", "wrong call")


@click.group()
def _group() -> None:
    """A group."""


@_group.command()
@click.option("--count", type=int)
@click.option("--share", type=float)
@click.option("--few", type=click.IntRange(1, 3))
@click.option("--part", type=click.FloatRange(0, 1))
@click.option("--kind", type=click.Choice(["one", "two"]))
@click.option("--file", type=click.Path(dir_okay=False))
@click.option("--folder", type=click.Path(file_okay=False))
@click.option("--out", type=options.OUT_FILE_TYPE)
@click.option("--epsilon", type=options.EPSILON_TYPE)
@click.option("--delta", type=options.DELTA_TYPE)
@click.option("--flag", is_flag=True)
@click.argument("name")
def act(**_: object) -> None:
    """Do it."""


@_group.command()
@click.option("--needed", required=True)
def ask(needed: str) -> None:
    """Ask."""


language.add_language_option(_group, translations.shared_language)

CALLS = {
    "nothing": "'nothing'",
    "actt": "act",
    "--wrong": "'--wrong'",
    "act --koun 1": "--count",
    "act --fil x --flie": "--file",
    "act --fl x": "--flag",
    "ask": "--needed",
    "ask --needed": "--needed",
    "act": "NAME",
    "act a --flag=1": "--flag",
    "act a b": "b",
    "act a b c": "b c",
    "act a --count x": "--count",
    "act a --share x": "--share",
    "act a --few x": "--few",
    "act a --part x": "--part",
    "act a --part 2": "--part",
    "act a --kind three": "three",
    "act a --file .": "--file",
    "act a --folder pyproject.toml": "--folder",
    "act a --out .": "--out",
    "act a --out none/x": "none",
    "act a --out " + "x" * 300: "--out",
    "act a --epsilon x": "--epsilon",
    "act a --epsilon 0": "--epsilon",
    "act a --delta x": "--delta",
    "act a --delta 2": "--delta",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_is_told_in_japanese(
    call: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTGATE_LANGUAGE", "ja")
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(SystemExit) as ended:
        cli.run_program(_group, call.split(" "), load_language=translations.shared_language)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    usage, _, error = said.rpartition("エラー：")
    assert usage.startswith("使い方：") or not usage  # click names no command for some options
    assert CALLS[call] in error
    told = error.replace("File name too long", "")  # the operating system's words
    assert not re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", told), error


def test_a_call_without_a_word_is_answered_with_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTGATE_LANGUAGE", "ja")
    with pytest.raises(SystemExit) as ended:
        cli.run_program(_group, [], load_language=translations.shared_language)
    assert ended.value.code == 2 and "A group." in capsys.readouterr().err


def _said(call: str) -> str:
    """What click says of a call in English."""
    try:
        _group.main(call.split(" "), standalone_mode=False)
    except click.ClickException as error:
        return error.format_message()
    raise AssertionError(f"{call}: is no wrong call")


def test_every_shape_is_one_that_click_or_an_option_of_ours_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    elsewhere = {
        "{kind} {name} is not readable.",  # as root
        "the folder {folder} cannot be written",
        "a file of a home; choose another name",  # tests/client/cli/test_remedies.py
    }
    said = {_said(call) for call in CALLS} | {"Missing command."}
    used = set()
    for sentence in said:
        for shape in WRONG_CALLS:
            start = r".*" if not shape.startswith("{") else ""
            form = re.sub(r"\\\{\w+\\\}", ".*", re.escape(shape))
            if re.fullmatch(start + form + ".*", sentence, re.DOTALL):
                used.add(shape)
    assert set(WRONG_CALLS) - used - elsewhere == set()


def test_every_kind_of_click_s_errors_is_told() -> None:
    def tree(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(tree(sub) for sub in kind.__subclasses__()))

    ours = {kind.__name__ for kind in tree(click.ClickException) if "click" in kind.__module__}
    raised = {
        "NoSuchCommand",
        "NoSuchOption",
        "MissingParameter",
        "BadParameter",
        "BadOptionUsage",
        "UsageError",
        "NoArgsIsHelpError",
    }
    # No argument takes several values, and no option is a file that click opens.
    never = {"ClickException", "BadArgumentUsage", "FileError"}
    assert ours == raised | never
