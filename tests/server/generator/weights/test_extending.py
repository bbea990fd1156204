"""A source of candidates is one function and one line; nothing else of a generation changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wg_server.generator.weights import head_generation
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads

LABELS = ("c0", "c1", "c2", "c3")
MAKER = '''
from wg_server.generator.weights.candidates import GeneratedCandidate

def doubtful(parts, labels, pooled):
    """What other sites say, as if they were half as sure of it."""
    tensors = dict(pooled.tensors())
    tensors |= {key: tensors[key] / 2 for key in ("precision", "weighted")}
    yield GeneratedCandidate("doubtful", "posterior", tensors)
'''


@pytest.fixture(autouse=True)
def doubtful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "doubtful.py").write_text(MAKER)
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("doubtful")
    monkeypatch.setattr(
        head_generation, "CANDIDATE_MAKERS", (*head_generation.CANDIDATE_MAKERS, added.doubtful)
    )
    yield
    del sys.modules["doubtful"]


def test_a_source_is_one_maker(generator: HeadGenerator) -> None:
    offered = generate_heads(generator, [], LABELS)
    made = {one.name: one.tensors for one in offered}
    assert len(made) == len(offered)
    np.testing.assert_allclose(
        made["doubtful"]["precision"], made["posterior"]["precision"] / 2, rtol=1e-6
    )
