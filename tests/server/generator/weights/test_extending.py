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
from wg_server.generator.weights.network_generation import NetworkGenerator, generate_networks

LABELS = ("c0", "c1", "c2", "c3")
MAKER = '''
"""What lies half-way between the closed form and the nearest entries of the zoo."""

class HalfWay:
    name = "half-way"

    def make(self, making):
        if making.prior is not None:
            pairs = zip(making.closed_form, making.retrieved, strict=True)
            weights = tuple((one + other) / 2 for one, other in pairs)
            yield making.candidate(self.name, "closed-form", weights)
'''


@pytest.fixture(autouse=True)
def half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "half_way.py").write_text(MAKER)
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("half_way")
    monkeypatch.setattr(makers, "MAKERS", (*makers.MAKERS, added.HalfWay()))
    yield
    del sys.modules["half_way"]


def test_a_source_is_one_maker(world: World, generator: Generator) -> None:
    own = world.release(20, 0, epsilon=None, shots=30)
    made = {
        one.name: one.tensors["head.weight"]
        for one in generate(generator, own, [], LABELS, samples=1, seed=3).candidates
        if "head.weight" in one.tensors
    }
    expected = (made["closed-form"] + made["retrieval"]) / 2
    np.testing.assert_allclose(made["half-way"], expected, rtol=1e-5, atol=1e-6)


def test_it_makes_nothing_where_a_generation_lacks_what_it_needs(
    world: World, network_generator: NetworkGenerator
) -> None:
    own = world.release(20, 0, epsilon=None, shots=30)
    made = generate_networks(network_generator, "cnn-s", own, [], LABELS, samples=1, seed=3)
    assert [one.name for one in made.candidates] == [
        "network", "sample-mean", "closed-form", "sample-0", "retrieval", "base",
    ]  # fmt: skip


def test_names_of_makers_are_theirs_alone() -> None:
    names = [maker.name for maker in makers.MAKERS]
    assert len(set(names)) == len(names)
