import numpy as np
import pytest

from wg_common.nets.encoder import ngrams


def _cosine(one: str, two: str) -> float:
    return float(ngrams.text_vector(one) @ ngrams.text_vector(two))


@pytest.mark.parametrize("text", ["a", "pump 3 leaks", "火花が出る", "x" * 4096])
def test_vectors_have_unit_length_and_depend_on_the_text_alone(text: str) -> None:
    found = ngrams.text_vector(text)
    assert found.shape == (ngrams.VECTOR_LENGTH,)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(found, ngrams.text_vector(text))


def test_case_and_width_of_characters_do_not_matter() -> None:
    np.testing.assert_array_equal(ngrams.text_vector("ＰＵＭＰ 3"), ngrams.text_vector("pump 3"))


def test_texts_with_like_words_are_near() -> None:
    near = _cosine("seal of pump E41-7 leaks", "pump E41-7: leak at the seal")
    assert near > 0.3 > abs(_cosine("seal of pump E41-7 leaks", "火花が出た"))


def test_a_misspelt_word_is_nearer_than_another() -> None:
    assert _cosine("bearing", "beering") > 0.3 > abs(_cosine("bearing", "motor"))


def test_directions_are_pinned() -> None:
    """Another platform, the same bits up to rounding: a few numbers of one text."""
    found = ngrams.text_vector("pump 3 leaks")
    places = np.flatnonzero(found)[:6]
    assert places.tolist() == [4, 9, 18, 25, 34, 42]
    np.testing.assert_allclose(found[places], [0.0536] * 5 + [-0.0536], atol=1e-4)
