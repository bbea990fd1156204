"""A hostile file ends with the process that tries it."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
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

from wg_common.nets.encoder import trial
from wg_common.nets.encoder.onnx_file import OnnxFile
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
    kind, milliseconds = trial.tried(encoder_file())
    assert kind.width == WIDTH and kind.choice().width == WIDTH
    assert 0 < milliseconds < 10_000


def test_a_good_file_of_another_width_than_stated_is_refused() -> None:
    with pytest.raises(DecodeError, match="48 features, expected 47"):
        trial.tried(encoder_file(width=47))


def test_another_file_never_reaches_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(VerificationError, match="SHA-256"):
        trial.tried(encoder_file(sha256="0" * 64))


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
    monkeypatch.setattr(trial, "TIME_LIMIT", seconds)
    with pytest.raises(WgError, match=message):
        trial.tried(encoder_file(graph()))


def test_a_process_that_dies_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PROGRAM", "no.such.module")
    with pytest.raises(DecodeError, match="the process that tried it ended with 1"):
        trial.tried(encoder_file())


def test_features_that_differ_between_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(trial.Trial(width=8, features_sha256=each) for each in ("ab" * 32, "cd" * 32))
    monkeypatch.setattr(trial, "_answer", lambda *_: next(answers))
    with pytest.raises(VerificationError, match="from one process to another"):
        trial.tried(encoder_file())


def test_features_that_differ_between_runs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(1)
    plain = OnnxFile.from_settings

    def shaky(self: OnnxFile, metadata: Any) -> Any:
        trunk = plain(self, metadata)
        monkeypatch.setattr(
            type(trunk), "forward", lambda me, x: x.new_tensor(drawn.normal(size=(1, me.width)))
        )
        return trunk

    monkeypatch.setattr(OnnxFile, "from_settings", shaky)
    kind = encoder_file()
    with pytest.raises(VerificationError, match="from one run to another"):
        trial.run(kind.choice(), kind.data)
