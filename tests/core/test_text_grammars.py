"""Every text in a file that an auditor compares has a grammar, for reader and writer alike."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_common import auditor_record
from wg_core import text_grammars
from wg_core.errors import ConfigError, DecodeError
from wg_core.ledger import charging, entries, export
from wg_core.privacy.schema import default_schema
from wg_core.site import config as configuration
from wg_core.wire import canonical, statistics_file

SPOKEN = (
    "欠陥：キズ（大）",
    "Kratzer, tief",
    "pitted surface 3 mm",
    "傷" * text_grammars.NAME_CHARACTERS_LIMIT,
)
PURPOSE = "品質部門の依頼により、ライン3の外観検査用の重みを作成するためです。翌月に見直します。"
ROOTS = (
    *entries.ENTRY_TYPES.values(),
    charging.ChargeRequest,
    statistics_file.StatisticsManifest,
    auditor_record.ServerRecord,
    auditor_record.MembershipProof,
    export.ExportManifest,
    export.ExportedCheckpoint,
)


def record_classes(kind: Any) -> set[type]:
    """A record class and every record class within it."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True).values()
        return {kind}.union(*map(record_classes, hints))
    return set[type]().union(*map(record_classes, typing.get_args(kind)))


def has_bare_text(hint: Any) -> bool:
    """Whether a text without a grammar fits somewhere in a type, records apart."""
    if typing.get_origin(hint) is typing.Annotated:
        grammars = (text_grammars.PrintableText, text_grammars.Pattern)
        bounded = any(isinstance(part, grammars) for part in hint.__metadata__)
        return not bounded and has_bare_text(hint.__origin__)
    if typing.get_origin(hint) is typing.Literal:
        return False
    return hint is str or any(map(has_bare_text, typing.get_args(hint)))


ALL = sorted(set[type]().union(*map(record_classes, ROOTS)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_text_of_a_record_has_a_grammar(kind: type) -> None:
    hints = typing.get_type_hints(kind, include_extras=True)
    assert [name for name, hint in hints.items() if has_bare_text(hint)] == []


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_record_with_texts_checks_them_when_it_is_built(kind: Any) -> None:
    if text_grammars.text_field_grammars(kind):
        assert "check_text_fields" in kind.__post_init__.__code__.co_names


def test_names_and_purposes_of_real_plants_are_taken() -> None:
    for name in SPOKEN:
        text_grammars.check_name(name)
    assert text_grammars.PrintableText(text_grammars.SENTENCE_CHARACTERS_LIMIT).is_match(PURPOSE)
    configuration.check_labels(SPOKEN)


@given(st.text(st.characters(codec="utf-8"), max_size=2 * text_grammars.NAME_CHARACTERS_LIMIT))
def test_reader_and_writer_take_the_same_names(name: str) -> None:
    head = entries.EntryHeader(
        kind="reuse", seq=1, prev="0" * 64, origin="weightgate/a/0", key_id="0" * 8, time=0
    )
    document = canonical.encode(
        {
            "charge": 1,
            "head": canonical.to_builtins(head),
            "purpose": "weights",
            "recipient": name,
        }
    )
    if text_grammars.PrintableText(text_grammars.NAME_CHARACTERS_LIMIT).is_match(name):
        reuse = entries.Reuse(head=head, charge=1, purpose="weights", recipient=name)
        assert entries.encode(reuse) == document
        assert entries.decode(document) == reuse
        return
    with pytest.raises(DecodeError, match="recipient"):
        entries.Reuse(head=head, charge=1, purpose="weights", recipient=name)
    with pytest.raises(DecodeError, match="recipient"):
        entries.decode(document)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\u200bb", "x" * 101, "\ud800"])
def test_a_plant_hears_of_a_name_that_no_ledger_takes(name: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.labels.*expected 1 to 100 printable"):
        configuration.check_labels(("good", name))
    with pytest.raises(DecodeError):
        default_schema(encoder="ab" * 32, dimension=2, labels=("good", name), clip_radius=1.0)


@pytest.mark.parametrize(
    "kind", [text_grammars.Software, text_grammars.LibraryVersion, text_grammars.Identifier]
)
def test_what_a_program_says_of_itself_is_no_free_text(kind: Any) -> None:
    (rule,) = kind.__metadata__
    for text in ("x" * 4000, "weightgate 0.1.0 17 set aside", "weightgate 0.1.0\n", "", "é"):
        assert not rule.is_match(text)
