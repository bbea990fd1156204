"""Every sentence that people read is in every catalogue, with the same values; and none is idle."""

from __future__ import annotations

import ast
import errno
import functools
import os
import re
import string
from collections.abc import Iterator
from pathlib import Path

import click
import jinja2
import pytest
from jinja2 import nodes

from wg_audit.cli import group as auditor
from wg_client.cli.main import group
from wg_client.methods.registry import METHODS
from wg_client.plant_language import PLANT_CATALOGUES, load_plant_language
from wg_client.release.preview import NEVER_LEAVES
from wg_common import help_page, translations
from wg_common.language import LANGUAGE_CODES, LanguageCode
from wg_common.modalities.registry import MODALITIES
from wg_core.site.weights_failures import FAILURE_MODES
from wg_server.cli.languages import OPERATOR_CATALOGUE_FOLDER
from wg_server.cli.languages import load_operator_language as operator_speaks
from wg_server.cli.main import main_group as operator

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client"
COMMON = tuple(ROOT / f"common/{package}" for package in ("wg_core", "wg_audit", "wg_common"))
OTHERS = LANGUAGE_CODES[1:]
"""Languages that have catalogues."""
MARKS = {"text", "template"}
NAMED_BY_VALUE = {
    *(method.title for method in METHODS),
    *(failure.name for failure in FAILURE_MODES),
    *NEVER_LEAVES,
    *MODALITIES,
    *("pilot", "shadow", "in use"),
    "passed",
    "warning",
    "failed",
}
"""Words that reach a page as values: titles, failures, verdicts."""


def in_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            first = node.args[0]
            if name in MARKS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def in_template(path: Path) -> Iterator[str]:
    tree = jinja2.Environment(autoescape=True).parse(path.read_text("utf-8"))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "t":
            first = call.args[0]
            assert isinstance(first, nodes.Const), f"{path}: t() of something else than a text"
            yield first.value


@functools.cache
def said(*folders: Path) -> set[str]:
    sentences = set()
    for folder in folders:
        sentences |= {one for path in folder.rglob("*.py") for one in in_python(path)}
        sentences |= {one for path in folder.rglob("*.j2") for one in in_template(path)}
    return sentences


OPERATOR_SOURCES = (
    OPERATOR_CATALOGUE_FOLDER.parent,
    ROOT / "server/wg_server/campaigns/expected_benefit.py",
)


def said_to_operators() -> set[str]:
    files = (path for source in OPERATOR_SOURCES for path in (source, *source.rglob("*.py")))
    return {one for path in files if path.suffix == ".py" for one in in_python(path)}


def shapes(*folders: Path) -> set[str]:
    """Every text in sources with ``{}`` for its values, also without what stands before a colon."""
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            said = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts
            )
            while said:
                found.add(said)
                said = said.partition(": ")[2]
    return found


@pytest.mark.parametrize("code", OTHERS)
def test_every_shape_of_an_error_is_that_of_a_sentence_in_the_sources(code: LanguageCode) -> None:
    there = shapes(CLIENT, *COMMON) | {os.strerror(number) for number in errno.errorcode}
    for folder in (PLANT_CATALOGUES, translations.COMMON_CATALOGUE_FOLDER):
        told = in_context(folder, code, "error")
        assert told
        assert [e for e in told if re.sub(r"{\w+}", "{}", e) not in there] == []


def in_context(folder: Path, code: LanguageCode, context: str) -> dict[str, str]:
    """Templates of a context by their English."""
    found = translations.read_catalogue(folder, code)
    return {each.english: each.translation for each in found if each.context == context}


def has_words(template: str) -> bool:
    return re.search("[A-Za-z]{2}", re.sub("{[^}]*}", "", template)) is not None


def values(template: str) -> list[tuple[str, str]]:
    found = string.Formatter().parse(template)
    return sorted((name, form or "") for _, name, form, _ in found if name is not None)


def in_help(command: click.Command) -> Iterator[str]:
    yield from help_page.help_paragraphs(command)
    for option in (each for each in command.params if isinstance(each, click.Option)):
        assert help_page.option_help(option), f"{command.name} {option.opts}: no help"
        yield help_page.option_help(option)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from in_help(inner)


@pytest.mark.parametrize("code", OTHERS)
def test_every_help_text_is_in_every_language(code: LanguageCode) -> None:
    assert sorted(set(in_help(group)) - set(load_plant_language(code).catalogue)) == []
    assert sorted(set(in_help(operator)) - set(operator_speaks(code).catalogue)) == []
    assert sorted(set(in_help(auditor)) - set(translations.shared_language(code).catalogue)) == []


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_is_in_every_language(code: LanguageCode) -> None:
    plant, shared = (
        load_plant_language(code).catalogue,
        translations.shared_language(code).catalogue,
    )
    for folders, catalogue in (((CLIENT,), plant), (COMMON, shared)):
        assert sorted(set(filter(has_words, said(*folders))) - set(catalogue)) == []
    assert sorted(NAMED_BY_VALUE - set(plant)) == []
    wanted = set(filter(has_words, said_to_operators()))
    assert sorted(wanted - set(operator_speaks(code).catalogue)) == []


@pytest.mark.parametrize("code", OTHERS)
def test_nothing_is_left_of_a_sentence_that_is_gone(code: LanguageCode) -> None:
    used = said(CLIENT, *COMMON) | NAMED_BY_VALUE | set(in_help(group)) | set(in_help(auditor))
    assert sorted(set(load_plant_language(code).catalogue) - used) == []
    used = said(*COMMON) | said_to_operators() | set(in_help(operator)) | set(in_help(auditor))
    of_operators = {
        each.english for each in translations.read_catalogue(OPERATOR_CATALOGUE_FOLDER, code)
    }
    assert sorted(of_operators - used) == []


def test_japanese_is_japanese_and_polite() -> None:
    """Sentences end in です, ます, した and the like, not in the plain form."""
    plain = re.compile(r"(する|(?<!ま)(?<!で)した|である|だ|ない|った|ある|いる|れる)。")
    for english, japanese in {
        **load_plant_language("ja").catalogue,
        **operator_speaks("ja").catalogue,
    }.items():
        assert not has_words(english) or re.search(r"[ぁ-んァ-ヶ一-龥]", japanese), english
        assert not plain.search(japanese), f"{english!r}: {japanese}"
