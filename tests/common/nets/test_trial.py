"""A hostile file ends with the process that tries it."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from tests.common.nets.onnx_models import (
    WIDTH,
    constant,
    encoder_file,
    model,
    pooled,
    random_numbers,
)
from tests.common.nets.test_onnx_file import HOSTILE

from wg_common.nets.encoder import confined_trunk, trial
from wg_core.errors import DecodeError, VerificationError, WgError


def large(numbers: int, products: int = 0) -> Any:
    """A file that makes a square of so many numbers, and multiplies it with itself."""
    nodes = [*pooled(), helper.make_node("ConstantOfShape", ["s"], ["m0"])]
    nodes[1].output[0] = "f"
    for number in range(products):
        nodes.append(helper.make_node("MatMul", [f"m{number}", "m0"], [f"m{number + 1}"]))
    nodes.append(helper.make_node("ReduceSum", [f"m{products}"], ["r"], keepdims=0))
    nodes.append(helper.make_node("Add", ["f", "r"], ["y"]))
    side = round(numbers**0.5)
    return model(nodes, stored=[constant("s", np.array([side, side], np.int64))])


def test_a_good_file_comes_back_with_its_width_and_time() -> None:
    kind, milliseconds = trial.try_and_time_file(encoder_file())
    assert kind.width == WIDTH and kind.choice().width == WIDTH
    assert 0 < milliseconds < 10_000


def test_a_good_file_of_another_width_than_stated_is_refused() -> None:
    with pytest.raises(DecodeError, match="48 features, expected 47"):
        trial.try_and_time_file(encoder_file(width=47))


def test_another_file_never_reaches_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(VerificationError, match="SHA-256"):
        trial.try_and_time_file(encoder_file(sha256="0" * 64))


HOSTILE_FILES = {
    "random": (random_numbers, "'RandomNormalLike' is not taken", 60.0),
    "loop": (HOSTILE["loop"][0], "'Loop' is not taken", 60.0),
    "external data": (HOSTILE["external tensor"][0], "names another file", 60.0),
    "10 GB": (lambda: large(10 << 28), "ONNX Runtime", 60.0),
    "without end": (lambda: large(1 << 22, 400), r"more than 0\.5 s", 0.5),
}
"""A file, what is said of it, and the time that it gets."""


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_files_are_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, message, seconds = HOSTILE_FILES[name]
    monkeypatch.setattr(confined_trunk, "WALL_SECONDS_LIMIT", seconds)
    with pytest.raises(WgError, match=message):
        trial.try_and_time_file(encoder_file(graph()))


def test_a_process_that_dies_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined_trunk, "CHILD_MODULE", "no.such.module")
    with pytest.raises(
        DecodeError, match="needs more than 4 GiB, or is damaged: its process ended"
    ):
        trial.try_and_time_file(encoder_file())


class Shaky:
    """A trunk whose numbers change after some of them."""

    width, label = WIDTH, "shaky"

    def __init__(self, steady: int) -> None:
        self.steady, self.count = steady, 0

    def prepare(self, records: Any) -> torch.Tensor:
        self.count += 1
        return torch.full((1, WIDTH), float(self.count > self.steady))

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


@pytest.mark.parametrize(
    ("steady", "message"),
    [((99, 0), "from one process to another"), ((6, 6), "from one run to another")],
)
def test_features_that_differ_are_refused(
    monkeypatch: pytest.MonkeyPatch, steady: tuple[int, int], message: str
) -> None:
    trunks = iter([Shaky(number) for number in steady])
    monkeypatch.setattr(trial, "ConfinedTrunk", lambda *_: next(trunks))
    with pytest.raises(VerificationError, match=message):
        trial.try_and_time_file(encoder_file())
