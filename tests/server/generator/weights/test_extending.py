"""A source of candidates is one module and one line; nothing else of a generation changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.server.generator.conftest import World

from wg_server.generator.weights import makers
from wg_server.generator.weights.head_generation import Generator, generate

LABELS = ("c0", "c1", "c2", "c3")
MAKER = '''
"""The answer, twice as sure of itself."""

class Bold:
    name = "bold"

    def make(self, making):
        weights = tuple(2 * array for array in making.answer)
        yield making.candidate(self.name, "network", weights)
'''


@pytest.fixture(autouse=True)
def bold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "bold.py").write_text(MAKER)
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("bold")
    monkeypatch.setattr(makers, "MAKERS", (*makers.MAKERS, added.Bold()))
    yield
    del sys.modules["bold"]


def test_a_source_is_one_maker(world: World, generator: Generator) -> None:
    own = world.release(20, 0, epsilon=None, shots=30)
    made = {
        one.name: one.tensors["head.weight"]
        for one in generate(generator, own, [], LABELS).candidates
        if "head.weight" in one.tensors
    }
    np.testing.assert_allclose(made["bold"], 2 * made["network"], rtol=1e-5, atol=1e-6)


def test_names_of_makers_are_theirs_alone() -> None:
    names = [maker.name for maker in makers.MAKERS]
    assert len(set(names)) == len(names)
