"""Catalogues are whole, and one that is not is refused with its place; English needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from demo.languages import DEMO
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from tests.common.test_catalogues import OTHERS, values

from wg_client.plant_language import PLANT_CATALOGUES, load_plant_language
from wg_common import translations
from wg_common.language import ENGLISH, LanguageCode, text
from wg_core.errors import DecodeError
from wg_server.campaigns import status_texts
from wg_server.cli.languages import OPERATOR_CATALOGUE_FOLDER
from wg_server.console import messages

ROOT = Path(__file__).parents[2]
FOLDERS = (
    translations.COMMON_CATALOGUE_FOLDER,
    PLANT_CATALOGUES,
    status_texts.REASON_CATALOGUE_FOLDER,
    messages.PAGE_CATALOGUE_FOLDER,
    DEMO,
    OPERATOR_CATALOGUE_FOLDER,
)
KINDS = (
    "",
    *translations.PATTERN_CONTEXTS,
    status_texts.CATALOGUE_KEY_PREFIX,
    messages.CATALOGUE_KEY_PREFIX,
)
HEADER = """msgid ""
msgstr ""
"Language: ja\\n"
"Content-Type: text/plain; charset=UTF-8\\n"

"""
GOOD = (
    HEADER
    + """#. Where it stands
#, python-brace-format
msgid "{count} records"
msgstr "データ {count} 件"

msgctxt "page: login"
msgid "Log in"
msgstr "ログイン"

msgctxt "error"
msgid "denied by {name}"
msgstr ""
"{name} が"
"断りました"
"""
)

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def catalogue(content: str | bytes) -> Path:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / "ja.po").write_bytes(data)
        return tmp_path

    return catalogue


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda each: each.parent.name)
def test_every_catalogue_is_whole_and_its_contexts_are_read(
    folder: Path, code: LanguageCode
) -> None:
    found = translations.read_catalogue(folder, code)
    assert len(found) > 50
    assert {each.context.partition(": ")[0] for each in found} <= set(KINDS)
    assert [
        each
        for each in found
        if "\r" in each.translation or each.translation != each.translation.strip("\n")
    ] == []
    shapes = (
        translations.PATTERN_CONTEXTS
        if folder == messages.PAGE_CATALOGUE_FOLDER
        else ("wrong call",)
    )
    told = [each for each in found if each.context not in shapes]  # a shape may leave a value out
    assert [each for each in told if values(each.english) != values(each.translation)] == []


def test_these_are_all_folders_of_catalogues() -> None:
    parts = ("common", "client", "server", "demo")
    assert {path.parent for part in parts for path in (ROOT / part).rglob("*.po")} == set(FOLDERS)
    for folder in FOLDERS:
        assert {path.name for path in folder.iterdir()} == {f"{code}.po" for code in OTHERS}


def test_packages_hold_every_catalogue() -> None:
    wheel = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    source = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    for folder in FOLDERS:
        path = (folder / f"{OTHERS[0]}.po").relative_to(ROOT)
        assert path.as_posix() in source
        assert folder == DEMO or "/".join(path.parts[1:]) in wheel


def test_languages_have_the_same_texts_by_key() -> None:
    for folder, kind in (
        (status_texts.REASON_CATALOGUE_FOLDER, status_texts.CATALOGUE_KEY_PREFIX),
        (messages.PAGE_CATALOGUE_FOLDER, messages.CATALOGUE_KEY_PREFIX),
    ):
        english = translations.load_templates("en", folder, kind)
        for code in OTHERS:
            keyed = [
                each for each in translations.read_catalogue(folder, code) if ": " in each.context
            ]
            assert {each.context: each.english for each in keyed} == {
                f"{kind}: {key}": said for key, said in english.items()
            }


def test_a_catalogue_gives_sentences_shapes_and_texts(write: Write) -> None:
    folder = write(GOOD)
    japanese = translations.load_language("ja", folder)
    assert japanese(text("{count} records", count=3)) == "データ 3 件"
    assert japanese.translate_error("denied by Aiko") == "Aiko が断りました"
    assert translations.load_templates("ja", folder, "page") == {"login": "ログイン"}
    assert translations.load_templates("en", folder, "page") == {"login": "Log in"}
    assert translations.load_language("en", folder) is ENGLISH


LAST = 'msgid "{count} records"\n'
BROKEN = {
    "no header": ("", LAST + 'msgstr "件"\n', "header"),
    "another language": (HEADER.replace("ja", "de"), LAST + 'msgstr "件"\n', "header"),
    "another charset": (HEADER.replace("UTF-8", "EUC-JP"), LAST + 'msgstr "件"\n', "header"),
    "a fuzzy header": ("#, fuzzy\n" + HEADER, LAST + 'msgstr "件"\n', "header"),
    "fuzzy": (HEADER, "#, fuzzy\n" + LAST + 'msgstr "件"\n', "line 6.*fuzzy"),
    "obsolete": (HEADER, '#~ msgid "gone"\n#~ msgstr "件"\n', "obsolete"),
    "empty": (HEADER, LAST + 'msgstr ""\n', "empty"),
    "no English": (HEADER, 'msgctxt "error"\nmsgid ""\nmsgstr "件"\n', "empty"),
    "no end": (HEADER, LAST, "empty"),
    "twice": (HEADER, 2 * (LAST + 'msgstr "件"\n'), "twice"),
    "one key twice": (
        HEADER,
        'msgctxt "page: a"\nmsgid "A"\nmsgstr "件"\nmsgctxt "page: a"\nmsgid "B"\nmsgstr "件"\n',
        "twice",
    ),
    "plural": (
        HEADER,
        'msgid "{count} record"\nmsgid_plural "{count} records"\nmsgstr[0] "{count} 件"\n',
        "plural",
    ),
    "a value more": (HEADER, LAST + 'msgstr "{count} {more}"\n', "no {more}"),
    "a value looked into": (HEADER, LAST + 'msgstr "{count.__class__}"\n', "no {count.__class__}"),
    "another form": (HEADER, LAST + 'msgstr "{count:99999999999}"\n', "no {count}"),
    "half a brace": (HEADER, LAST + 'msgstr "{count"\n', "no template"),
    "a quote too few": (HEADER, LAST + 'msgstr "件\n', "line 7"),
    "a quote too many": (HEADER, LAST + 'msgstr "件"件"\n', "line 7"),
    "no quotes": (HEADER, LAST + "msgstr 件\n", "line 7"),
    "a conflict": (HEADER, "<<<<<<< HEAD\n" + LAST + 'msgstr "件"\n', "line 6"),
    "no order": (HEADER, 'msgstr "件"\n' + LAST, "no catalogue"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_catalogue_is_refused_with_its_place(
    case: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    header, content, why = BROKEN[case]
    folder = write(header + content)
    with pytest.raises(DecodeError, match=rf"ja\.po: .*{why}"):
        translations.read_catalogue(folder, "ja")
    with pytest.raises(DecodeError, match=why):
        translations.load_templates("en", folder, "page")
    # A person reads English, and the log says why.
    assert translations.load_language("ja", folder) is ENGLISH
    assert why.split(".*")[-1] in caplog.text and "ja.po" in caplog.text


def test_bytes_that_are_no_text_and_a_file_that_is_not_there(write: Write, tmp_path: Path) -> None:
    for content in (GOOD.encode("euc-jp"), GOOD.encode("utf-16"), b"\x00\xff", b""):
        with pytest.raises(DecodeError, match=r"ja\.po: "):
            translations.read_catalogue(write(content), "ja")
        translations.read_catalogue.cache_clear()
    with pytest.raises(DecodeError, match=r"no catalogue: .*No such file"):
        translations.read_catalogue(tmp_path / "none", "ja")


def test_a_catalogue_that_is_cut_off_is_refused_or_its_entries_are_whole(write: Write) -> None:
    """A cut between two lines of one string cannot be seen."""
    data = GOOD.partition('msgctxt "error"')[0].encode()
    whole = set(translations.read_catalogue(write(data), "ja"))
    for end in range(len(data)):
        translations.read_catalogue.cache_clear()
        try:
            found = translations.read_catalogue(write(data[:end]), "ja")
        except DecodeError:
            continue
        assert set(found) < whole or end >= len(data.rstrip()), end


@pytest.mark.parametrize("program", ["wg_client.cli.main", "wg_audit.cli", "wg_server.cli.main"])
@pytest.mark.parametrize("code", ["en", "ja"])
def test_english_reads_no_catalogue(program: str, code: str) -> None:
    words = (
        f"import sys\nfrom {program} import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('polib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words, "--help"],
        env={**os.environ, "WEIGHTGATE_LANGUAGE": code},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == str(code == "ja")


def test_what_is_read_once_is_kept() -> None:
    assert load_plant_language("ja") is load_plant_language("ja")
