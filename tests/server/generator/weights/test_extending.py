"""A source of candidates is one module and one line; nothing else of a generation changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wg_server.generator.weights import makers
from wg_server.generator.weights.head_generation import Generator, generate

LABELS = ("c0", "c1", "c2", "c3")
MAKER = '''
from wg_server.generator.weights.makers import GeneratedCandidate

class Doubtful:
    """What other sites say, as if they were half as sure of it."""

    name = "doubtful"

    def make(self, making):
        tensors = dict(making.of_others())
        tensors |= {key: tensors[key] / 2 for key in ("precision", "weighted")}
        yield GeneratedCandidate(self.name, "posterior", tensors)
'''


@pytest.fixture(autouse=True)
def doubtful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "doubtful.py").write_text(MAKER)
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("doubtful")
    monkeypatch.setattr(makers, "MAKERS", (*makers.MAKERS, added.Doubtful()))
    yield
    del sys.modules["doubtful"]


def test_a_source_is_one_maker(generator: Generator) -> None:
    made = {one.name: one.tensors for one in generate(generator, [], LABELS)}
    np.testing.assert_allclose(
        made["doubtful"]["precision"], made["posterior"]["precision"] / 2, rtol=1e-6
    )


def test_names_of_makers_are_theirs_alone() -> None:
    names = [maker.name for maker in makers.MAKERS]
    assert len(set(names)) == len(names)
