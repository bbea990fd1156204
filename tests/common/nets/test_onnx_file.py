"""An ONNX file is taken by its hash, and only if it is a plain network of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.common.nets.onnx_models import (
    MEAN,
    SIDE,
    STD,
    constant,
    encoder_file,
    model,
    pooled,
    random_numbers,
)

from wg_common.nets.encoder import onnx_file
from wg_common.nets.encoder.onnx_file import OnnxTrunk
from wg_core.errors import DecodeError, VerificationError, WgError


def load(graph: Any, **changes: Any) -> OnnxTrunk:
    return encoder_file(graph, **changes).from_settings({})


def run(encoder: OnnxTrunk, record: NDArray[np.uint8]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = encoder(encoder.prepare([record])).numpy()
    return found


def test_images_enter_as_stated_and_rows_have_length_one() -> None:
    encoder = load(model(pooled(), shape=("n", 3, SIDE, SIDE)))
    record = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    x = record.astype(np.float64).transpose(2, 0, 1) / 255
    x = (x - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    expected = x.reshape(3, 4, 8, 4, 8).mean(axis=(2, 4)).ravel()
    np.testing.assert_allclose(run(encoder, record)[0], expected / np.linalg.norm(expected), 1e-4)
    assert encoder.width == 48


def test_bytes_enter_as_they_are_and_an_unused_operator_set_does_no_harm() -> None:
    nodes = pooled()
    nodes[0].input[0] = "f"
    cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    graph = model([cast, *nodes], kind=TensorProto.UINT8, opsets=[("", 17), ("com.microsoft", 1)])
    record = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    expected = record.transpose(2, 0, 1).reshape(3, 4, 8, 4, 8).mean(axis=(2, 4)).ravel()
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(run(load(graph), record)[0], expected, 1e-4)


@pytest.mark.parametrize("tokens", [False, True])
def test_maps_are_averaged_and_of_tokens_the_first_is_taken(tokens: bool) -> None:
    nodes = [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8], strides=[8, 8])]
    stored = []
    if tokens:  # [1, 3, 4, 4] -> [1, 3, 16]: three tokens
        nodes[0].output[0] = "p"
        stored = [constant("s", np.array([1, 3, 16], np.int64))]
        nodes.append(helper.make_node("Reshape", ["p", "s"], ["y"]))
    encoder = load(model(nodes, stored=stored))
    assert encoder.width == (16 if tokens else 3)


def test_another_file_is_refused_before_anything_parses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "check_graph", lambda *_: pytest.fail("parsed"))
    with pytest.raises(VerificationError, match="SHA-256"):
        load(model(pooled()), sha256="0" * 64)


def _external() -> Any:
    weight = constant("w", np.ones((1, 48), np.float32))
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    return model(
        [
            *pooled()[:1],
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Mul", ["f", "w"], ["y"]),
        ],
        stored=[weight],
    )


def _external_constant() -> Any:
    found = model(
        [
            helper.make_node("Constant", [], ["c"], value=constant("c", np.ones(1, "f4"))),
            helper.make_node("Mul", ["x", "c"], ["y"]),
        ]
    )
    tensor = found.graph.node[0].attribute[0].t
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    return found


def _custom_operator() -> Any:
    node = helper.make_node("Steal", ["x"], ["y"], domain="evil")
    return model([node], opsets=[("", 17), ("evil", 1)])


def _undeclared_domain() -> Any:
    return model([helper.make_node("Steal", ["x"], ["y"], domain="evil")])


def _loop() -> Any:
    body = helper.make_graph([], "b", [], [])
    return model([helper.make_node("Loop", ["", ""], ["y"], body=body)])


def _graph_in_a_harmless_operator() -> Any:
    body = helper.make_graph([], "b", [], [])
    return model([helper.make_node("Relu", ["x"], ["y"], body=body)])


def _function() -> Any:
    found = model(pooled())
    found.functions.append(
        helper.make_function("f", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)])
    )
    return found


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "no ONNX": (lambda: b"\xff" * 64, "not an ONNX file"),
    "empty": (lambda: b"", "nodes"),
    "external tensor": (_external, "names another file"),
    "external constant": (_external_constant, "names another file"),
    "custom operator": (_custom_operator, "'evil.Steal' is not taken"),
    "undeclared domain": (_undeclared_domain, "'evil.Steal' is not taken"),
    "loop": (_loop, "'Loop' is not taken"),
    "graph in an operator": (_graph_in_a_harmless_operator, "holds a graph"),
    "function": (_function, "functions"),
    "randomness": (random_numbers, "'RandomNormalLike' is not taken"),
    "two inputs": (lambda: model(pooled(), inputs=("x", "z")), "2 inputs"),
    "other side": (lambda: model(pooled(), shape=(1, 3, 64, 64)), "expected float32"),
    "other channels": (lambda: model(pooled(), shape=(1, 4, SIDE, SIDE)), "expected float32"),
    "batch of two": (lambda: model(pooled(), shape=(2, 3, SIDE, SIDE)), "expected float32"),
    "other type": (lambda: model(pooled(), kind=TensorProto.DOUBLE), "expected float32"),
    "vector": (lambda: model(pooled(), shape=(3,)), "expected float32"),
    "no such tensor": (lambda: model([helper.make_node("Relu", ["q"], ["y"])]), "ONNX Runtime"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(DecodeError, match=message):
        load(make())


def test_a_file_cut_off_anywhere_is_refused_or_of_no_harm() -> None:
    data = model(pooled()).SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(WgError):
            load(data[:end])


def test_features_that_are_not_finite_are_refused_at_first_sight() -> None:
    nodes = [
        *pooled()[:1],
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Log", ["f"], ["y"]),
    ]  # of negative numbers
    with pytest.raises(DecodeError, match="not finite"):
        load(model(nodes))


def test_too_many_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "FEATURE_COUNT_LIMIT", 47)
    with pytest.raises(DecodeError, match="48 features, expected 1 to 47"):
        load(model(pooled()))


def _bomb(numbers: int) -> Any:
    """So many numbers from a few bytes, in an operator that is taken."""
    return model(
        [
            helper.make_node("ConstantOfShape", ["s"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["r"], keepdims=0),
            *pooled()[:1],
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Add", ["f", "r"], ["y"]),
        ],
        stored=[constant("s", np.array([numbers], np.int64))],
    )


def test_a_file_that_unfolds_in_memory_is_stopped() -> None:
    assert load(_bomb(1 << 10)).width == 48
    with pytest.raises(DecodeError, match="ONNX Runtime"):
        load(_bomb(1 << 33))


def test_layout_range_and_output_are_as_stated() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMax", ["x"], ["z"], axes=[1, 2], keepdims=0),
    ]
    graph = model(nodes, shape=(1, SIDE, SIDE, 3))
    graph.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    changes: dict[str, Any] = {"layout": "nhwc", "output": "z"}
    encoder = load(graph, **changes, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
    record = np.zeros((SIDE, SIDE, 3), np.uint8)
    record[3, 4] = 30, 40, 0
    np.testing.assert_allclose(run(encoder, record)[0], [0.6, 0.8, 0.0], atol=1e-6)
    with pytest.raises(DecodeError, match="no output 'q'; there are y, z"):
        load(graph, **(changes | {"output": "q"}))


def test_values_that_are_not_finite_are_given_as_such() -> None:
    nodes = [*pooled(), helper.make_node("Sqrt", ["f"], ["y"])]  # NaN below the mean
    nodes[1].output[0] = "f"
    encoder = load(model(nodes), mean=(0.05,) * 3, std=(1.0,) * 3)
    assert np.isnan(run(encoder, np.zeros((SIDE, SIDE), np.uint8))).any()
    assert run(encoder, np.full((SIDE, SIDE), 255, np.uint8)).all()
