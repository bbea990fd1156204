"""Sentences keep their English for files and are said in the reader's language."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from wg_common import cli, language
from wg_common.language import (
    ENGLISH,
    Language,
    LanguageCode,
    Text,
    join_sentences,
    list_names,
    pad_columns,
    text,
    wrap_columns,
)
from wg_core.errors import DataError

WORDS = {
    "{count} records of {what}": "{what}のデータ {count} 件",
    "plants": "工場",
    "done": "完了しました",
    "{name}: broken": "{name}：壊れています",
    "error: {message}": "エラー：{message}",
}
JAPANESE = Language("ja", WORDS)


def speaks(code: LanguageCode) -> Language:
    return JAPANESE if code == "ja" else ENGLISH


def test_a_sentence_is_english_until_it_is_said() -> None:
    said = text("{count} records of {what}", count=3, what=text("plants"))
    assert said == "3 records of plants" and json.dumps(said) == '"3 records of plants"'
    assert ENGLISH(said) == said and not isinstance(language.english_text(said), Text)
    assert JAPANESE(said) == "工場のデータ 3 件"
    assert JAPANESE(join_sentences(said, text("done"))) == "工場のデータ 3 件完了しました"
    assert (
        JAPANESE(list_names([text("plants"), "plants"])) == "工場、plants"
    )  # the second is a name


def test_what_the_catalogue_lacks_stays_english_and_names_are_no_templates() -> None:
    assert JAPANESE(text("{count} others", count=2)) == "2 others"
    assert JAPANESE("free text {with} braces") == "free text {with} braces"
    assert JAPANESE(text("{name}: broken", name="{0}{x}")) == "{0}{x}：壊れています"


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE", "WEIGHTGATE_LANGUAGE": "ja"}, "ja"),
    ],
)
def test_the_environment_names_a_language(environment: dict[str, str], code: str) -> None:
    assert language.environment_language(environment) == code


def test_lines_are_broken_by_width_and_lose_nothing() -> None:
    for shown in (
        "    何も送信せず、何も計上していません。" * 6,
        "  hint: " + "some words that go on " * 9,
        "ヒント：c:/a/very/long/path/that/cannot/be/broken/" + "x" * 60 + " そのあとの文です。",
    ):
        lines = list(wrap_columns(shown, 40))
        assert "".join(lines).replace(" ", "") == shown.replace(" ", "")
        assert all(language.display_width(line) <= 41 or "x" * 60 in line for line in lines)
    assert list(wrap_columns("short", 40)) == ["short"]
    assert pad_columns("良品", 6) == "良品  " and pad_columns("okay", 2) == "okay"


@click.group()
def _group() -> None:
    pass


@_group.command("good")
def _good() -> None:
    cli.print_line(text("done"))


@_group.command("bad")
def _bad() -> None:
    raise DataError(text("{name}: broken", name="a.png"))


language.add_language_option(_group, speaks)


def test_the_option_counts_before_the_environment() -> None:
    words = ["--language", "ja", "good"]
    assert CliRunner().invoke(_group, words, env={"LANG": "C"}).output == "完了しました\n"
    assert CliRunner().invoke(_group, ["good"], env={"LANG": "C"}).output == "done\n"
    assert CliRunner().invoke(_group, ["good"], env={"LANG": "ja_JP"}).output == "完了しました\n"


def test_errors_are_said_in_the_language_and_are_english_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run_program(_group, ["--language", "ja", "bad"])
    assert ended.value.code == 3
    assert "エラー：a.png：壊れています" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.run_program(_group, ["bad"])
    assert "error: a.png: broken" in capsys.readouterr().err


def test_an_error_is_recognised_by_its_shape_and_its_file_stays() -> None:
    words = {"{name}: {count} files, at most {most}; {mend}": "", "leave some out": "減らす"}
    errors = {"{count} files, at most {most}; {mend}": "{most} 件まで（{count} 件）。{mend}"}
    japanese = Language("ja", language.Catalogue(words, {**errors, "leave some out": "減らす"}))
    said = japanese.translate_error("a.csv: data: 7 files, at most 5; leave some out")
    assert said == "a.csv: data: 5 件まで（7 件）。減らす"
    assert japanese.translate_error("a.csv: what nobody knows") == "a.csv: what nobody knows"
    assert Language().translate_error("7 files, at most 5; x") == "7 files, at most 5; x"
