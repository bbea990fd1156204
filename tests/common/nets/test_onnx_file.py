"""An ONNX file is taken by its hash, and only if it is a plain network of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wg_common.nets.encoder import onnx_file
from wg_common.nets.encoder.onnx_file import ImageInput, OnnxEncoder
from wg_core.errors import ConfigError, DataError, DecodeError, VerificationError, WgError
from wg_core.wire import canonical

SIDE = 32
IMAGES = ImageInput(pixels=SIDE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def model(
    nodes: Sequence[Any],
    *,
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    stored: Sequence[Any] = (),
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    inputs: Sequence[str] = ("x",),
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializer=list(stored),
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid(*one) for one in opsets])
    found.ir_version = 8
    return found


def pooled() -> list[Any]:
    return [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]


def constant(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def load(tmp_path: Path, found: Any, **changes: Any) -> OnnxEncoder:
    path = tmp_path / "encoder.onnx"
    data = found if isinstance(found, bytes) else found.SerializeToString()
    path.write_bytes(data)
    given = {"sha256": canonical.sha256_hex(data), "name": "own", "images": IMAGES, **changes}
    return OnnxEncoder(path, **given)


def run(encoder: OnnxEncoder, record: NDArray[np.uint8]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = encoder(encoder.prepare([record])).numpy()
    return found


def test_images_enter_as_stated_and_rows_have_length_one(tmp_path: Path) -> None:
    encoder = load(tmp_path, model(pooled(), shape=("n", 3, SIDE, SIDE)))
    record = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    x = record.astype(np.float64).transpose(2, 0, 1) / 255
    x = (x - np.array(IMAGES.mean)[:, None, None]) / np.array(IMAGES.std)[:, None, None]
    expected = x.reshape(3, 4, 8, 4, 8).mean(axis=(2, 4)).ravel()
    np.testing.assert_allclose(run(encoder, record)[0], expected / np.linalg.norm(expected), 1e-4)
    assert encoder.width == 48


@pytest.mark.parametrize("tokens", [False, True])
def test_maps_are_averaged_and_of_tokens_the_first_is_taken(tmp_path: Path, tokens: bool) -> None:
    nodes = [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8], strides=[8, 8])]
    stored = []
    if tokens:  # [1, 3, 4, 4] -> [1, 3, 16]: three tokens
        nodes[0].output[0] = "p"
        stored = [constant("s", np.array([1, 3, 16], np.int64))]
        nodes.append(helper.make_node("Reshape", ["p", "s"], ["y"]))
    encoder = load(tmp_path, model(nodes, stored=stored))
    assert encoder.width == (16 if tokens else 3)


def test_another_file_is_refused_before_anything_parses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "check_graph", lambda *_: pytest.fail("parsed"))
    with pytest.raises(VerificationError, match="SHA-256"):
        load(tmp_path, model(pooled()), sha256="0" * 64)


def test_a_missing_file_and_a_huge_one_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        OnnxEncoder(tmp_path / "none.onnx", "0" * 64, "own", IMAGES)
    monkeypatch.setattr(onnx_file, "FILE_LIMIT", 100)
    with pytest.raises(DataError, match="at most 100"):
        load(tmp_path, model(pooled()))


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


def _random() -> Any:
    return model([helper.make_node("RandomNormalLike", ["x"], ["y"])])


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "no ONNX": (lambda: b"\xff" * 64, "not an ONNX file"),
    "empty": (lambda: b"", "nodes"),
    "external tensor": (_external, "names another file"),
    "external constant": (_external_constant, "names another file"),
    "custom operator": (_custom_operator, "'evil'"),
    "undeclared domain": (_undeclared_domain, "'evil.Steal' is not taken"),
    "loop": (_loop, "'Loop' is not taken"),
    "graph in an operator": (_graph_in_a_harmless_operator, "holds a graph"),
    "function": (_function, "functions"),
    "randomness": (_random, "'RandomNormalLike' is not taken"),
    "two inputs": (lambda: model(pooled(), inputs=("x", "z")), "2 inputs"),
    "other side": (lambda: model(pooled(), shape=(1, 3, 64, 64)), "expected float32"),
    "other channels": (lambda: model(pooled(), shape=(1, 4, SIDE, SIDE)), "expected float32"),
    "batch of two": (lambda: model(pooled(), shape=(2, 3, SIDE, SIDE)), "expected float32"),
    "other type": (lambda: model(pooled(), kind=TensorProto.DOUBLE), "expected float32"),
    "vector": (lambda: model(pooled(), shape=(3,)), "expected float32"),
    "no such tensor": (lambda: model([helper.make_node("Relu", ["q"], ["y"])]), "ONNX Runtime"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(DecodeError, match=message):
        load(tmp_path, make())


def test_a_file_cut_off_anywhere_is_refused_or_of_no_harm(tmp_path: Path) -> None:
    data = model(pooled()).SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(WgError):
            load(tmp_path, data[:end])


def test_features_that_are_not_finite_are_refused_at_first_sight(tmp_path: Path) -> None:
    nodes = [
        *pooled()[:1],
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Log", ["f"], ["y"]),
    ]  # of negative numbers
    with pytest.raises(DecodeError, match="not finite"):
        load(tmp_path, model(nodes))


def test_too_many_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "WIDTH_LIMIT", 47)
    with pytest.raises(DecodeError, match="48 features, expected 1 to 47"):
        load(tmp_path, model(pooled()))


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


def test_a_file_that_unfolds_in_memory_is_stopped(tmp_path: Path) -> None:
    assert load(tmp_path, _bomb(1 << 10)).width == 48
    with pytest.raises(DecodeError, match="ONNX Runtime"):
        load(tmp_path, _bomb(1 << 33))


def test_an_image_that_takes_too_long_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 1024
    nodes = [
        *pooled()[:1],
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("ConstantOfShape", ["s"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(400)]
    nodes += [
        helper.make_node("ReduceSum", ["m400"], ["r"], keepdims=0),
        helper.make_node("Add", ["f", "r"], ["y"]),
    ]
    monkeypatch.setattr(onnx_file, "SECONDS_LIMIT", 0.05)
    with pytest.raises(ConfigError, match=r"takes more than 0\.05 s"):
        load(tmp_path, model(nodes, stored=[constant("s", np.array([side, side], np.int64))]))
