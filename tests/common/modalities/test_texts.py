"""Texts: what is one, manners of writing, and the pinned sentence encoder."""

from __future__ import annotations

import numpy as np
import pytest

from wg_common.modalities import table_text
from wg_common.modalities.base import content_digest
from wg_common.modalities.registry import MODALITIES, modality_of_array, modality_of_file
from wg_common.modalities.texts import CHARACTERS_LIMIT, Texts
from wg_common.nets.encoder import sentence_encoder
from wg_core.errors import ConfigError, DataError, VerificationError

TEXTS = Texts()


def test_a_text_has_one_content_whatever_file_it_came_from() -> None:
    plain = TEXTS.decode("\ufeffポンプ  水漏れ\r\n".encode(), "a.txt")
    assert (
        str(plain) == "ポンプ 水漏れ" == str(TEXTS.decode("ポンプ 水漏れ".encode("cp932"), "b.txt"))
    )
    assert content_digest(plain) == content_digest(np.array(["ポンプ 水漏れ", "x" * 40])[0])
    assert (
        modality_of_file("a.TXT") is modality_of_array(np.array(["a"]))
        and modality_of_file("a.TXT") is not None
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n ", "empty"),
        ("a" * (CHARACTERS_LIMIT + 1), "at most 4096"),
        ("a\0b", "not a text"),
        ("\x1b[31m", r"U\+001B"),
    ],
)
def test_what_is_no_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=f"c.txt: .*{said}"):
        TEXTS.decode(text.encode(), "c.txt")


def test_numbers_and_rows_of_strings_are_no_text() -> None:
    for record in (np.array(3), np.array(["a", "b"])):
        with pytest.raises(DataError, match="expected one string"):
            TEXTS.check_record(record)


def test_lines_of_one_template_share_a_pattern_and_notes_do_not() -> None:
    """Where words are not set apart, only the number and what is written with it is left out."""
    lines = ["Task_01 took 12 ms", "task_77 took 3 ms", "bearing 7 is hot", "3号機の軸受が熱い"]
    first, second, *notes = TEXTS.repetition_keys([np.array(line) for line in lines])
    assert first == second == "# took # ms"
    assert notes == ["bearing # is hot", "#号機の軸受が熱い"]
    assert MODALITIES["images"].repetition_keys([np.zeros((8, 8), np.uint8)]) is None


def test_another_site_writes_texts_that_are_texts() -> None:
    rng = np.random.default_rng(1)
    found = [np.array("replace the worn bearing of conveyor 3"), np.array("油が漏れる")]
    for _ in range(20):
        for one in TEXTS.augment_site(found, 1.0, rng):
            TEXTS.check_record(one)
    assert [str(one) for one in TEXTS.augment_site(found, 0.0, rng)] == [str(one) for one in found]


@pytest.mark.skipif(not sentence_encoder.is_installed(), reason="the extra 'text' is not installed")
def test_a_vector_depends_on_its_sentence_alone_and_languages_meet() -> None:
    words = ["scratches", "打痕 傷", "good part", "良品"]
    alone = np.concatenate([sentence_encoder.embed_sentences([word]) for word in words])
    for size in range(1, 8):
        np.zeros(size * 1000)  # memory moves
        sentence_encoder.embed_sentences(["x" * size])
        assert all(
            (sentence_encoder.embed_sentences([word])[0] == alone[row]).all()
            for row, word in enumerate(words)
        )
    np.testing.assert_allclose(sentence_encoder.embed_sentences(words), alone, atol=1e-5)
    near = alone @ alone.T
    assert near[0, 1] > near[0, 3] and near[2, 3] > near[1, 2]


def test_another_version_is_refused_and_a_missing_one_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentence_encoder, "_load_model", sentence_encoder._load_model.__wrapped__)
    monkeypatch.setattr(sentence_encoder, "PACKAGE_REQUIREMENT", "wg-no-such-package==1")
    with pytest.raises(ConfigError, match=r"pip install 'weightgate\[text\]'"):
        sentence_encoder.embed_sentences(["a"])
    monkeypatch.setattr(sentence_encoder, "PACKAGE_REQUIREMENT", "weightgate==1")
    monkeypatch.setattr(sentence_encoder, "MODULE_NAME", "wg_common")
    monkeypatch.setattr(sentence_encoder, "_PINNED_FILES", ("streams.py",))
    with pytest.raises(VerificationError, match="expected"):
        sentence_encoder.embed_sentences(["a"])


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (['"a",x', '"open,y'], {2}),
        (['"open,x', "b,y"], {1}),
        (["a,x", '"b"c,y', "d,z"], {2}),
        (['"open,x', "b,y", 'hose of 5",z', "c,z"], {1, 3}),
        (["a,x", '"b', 'c",y', "d,z"], {2, 3}),
    ],
)
def test_a_line_with_an_open_quote_takes_no_other_line_with_it(
    lines: list[str], reasons: set[int]
) -> None:
    rows = dict(table_text.read_rows("\n".join(lines), ","))
    assert {number for number, row in rows.items() if isinstance(row, str)} == reasons
    good = [row for row in rows.values() if not isinstance(row, str)]
    assert good and all(len(row) == 2 for row in good)


def test_each_line_of_a_table_has_its_own_encoding() -> None:
    lines = [b"text,label", "ポンプ,良".encode(), "弁,不良".encode("cp932"), b"a\xff,x"]
    texts = [table_text.decode_table(b"\n".join(lines[:count]), "t.csv")[0] for count in (2, 3, 4)]
    assert texts[1] == "text,label\nポンプ,良\n弁,不良"
    assert texts[1].startswith(texts[0]) and texts[2].startswith(texts[1])
    assert not table_text.is_decodable_text(texts[2])
