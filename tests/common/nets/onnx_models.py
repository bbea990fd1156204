"""Small ONNX files, and encoders that stand on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.onnx_file import OnnxFile
from wg_common.nets.encoder.trunk import TrunkKind
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.wire import canonical

SIDE = 32
WIDTH = 48
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


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


def random_numbers() -> Any:
    return model([helper.make_node("RandomNormalLike", ["x"], ["y"])])


FAILURES = {"error": 251, "width": 252, "not finite": 253, "memory": 254, "time": 255}
"""Brightness of the plain image on which ``failing`` fails, by how."""


def plain_image(failure: str, side: int = 24) -> NDArray[np.uint8]:
    return np.full((side, side), FAILURES[failure], np.uint8)


def failing() -> Any:
    """Means of fields, and on plain images of five brightnesses a failure each."""
    node = helper.make_node
    nodes = [*pooled()[:1], node("Flatten", ["p"], ["f"])]
    nodes.append(node("ReduceMean", ["x"], ["mean"], keepdims=0))
    stored = [
        constant("one", np.array([1], np.int64)),
        constant("zero", np.array([0], np.int64)),
        constant("width", np.array([WIDTH], np.int64)),
        constant("far", np.array([1000], np.int64)),
        constant("many", np.array([1_200_000_000], np.int64)),  # 4.8 GB
        constant("side", np.array([2047], np.int64)),
    ]
    for failure, level in FAILURES.items():
        name = failure.replace(" ", "_")
        for end, value in (("low", level - 0.5), ("high", level + 0.5)):
            stored.append(constant(f"{name}_{end}", np.array([value], np.float32)))
        nodes += [
            node("Greater", ["mean", f"{name}_low"], [f"{name}_a"]),
            node("Less", ["mean", f"{name}_high"], [f"{name}_b"]),
            node("And", [f"{name}_a", f"{name}_b"], [f"{name}_c"]),
            node("Cast", [f"{name}_c"], [f"is_{name}"], to=TensorProto.INT64),
        ]
    nodes += [
        node("Mul", ["is_error", "far"], ["index"]),
        node("Gather", ["f", "index"], ["column"], axis=1),
        node("Sub", ["one", "is_not_finite"], ["divisor"]),
        node("Cast", ["divisor"], ["float_divisor"], to=TensorProto.FLOAT),
        node("Div", ["f", "float_divisor"], ["g0"]),
        node("Mul", ["is_memory", "many"], ["numbers"]),
        node("Add", ["numbers", "one"], ["size"]),
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        node("Add", ["g0", "nothing"], ["g1"]),
        node("Mul", ["is_time", "side"], ["more"]),
        node("Add", ["more", "one"], ["square_side"]),
        node("Concat", ["square_side", "square_side"], ["square"], axis=0),
        node("ConstantOfShape", ["square"], ["m0"]),
        *(node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(300)),
        node("ReduceSum", ["m300"], ["work"], keepdims=0),
        node("Add", ["g1", "work"], ["g2"]),
        node("Mul", ["column", "float_zero"], ["no_column"]),
        node("Add", ["g2", "no_column"], ["g3"]),
        node("Sub", ["width", "is_width"], ["end"]),
        node("Slice", ["g3", "zero", "end", "one"], ["y"]),
    ]
    stored.append(constant("float_zero", np.array([0], np.float32)))
    return model(nodes, stored=stored)


def failing_file(**changes: Any) -> OnnxFile:
    """As ``failing``, of pixels from 0 to 255."""
    return encoder_file(failing(), mean=(0.0,) * 3, std=(1 / 255,) * 3, **changes)


def encoder_file(graph: Any = None, **changes: Any) -> OnnxFile:
    """A file, by default one of the means of 4 x 4 fields, ``WIDTH`` numbers."""
    graph = model(pooled()) if graph is None else graph
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    fields: dict[str, Any] = {
        "name": "pooled",
        "file": "pooled.onnx",
        "sha256": canonical.sha256_hex(data),
        "pixels": SIDE,
        "mean": MEAN,
        "std": STD,
        "licence": "MIT",
    }
    return OnnxFile(TrunkChoice(**(fields | changes)), data)


def with_further(package: bytes, *further: TrunkKind) -> bytes:
    """An encoder package with further trunks behind its own."""
    contents = packages.unpack_encoder(package)
    values = [contents.tensors[name].astype(float) for name in packages.TENSOR_NAMES]
    kinds = (*contents.trunk_kinds, *further)
    return packages.pack_encoder(values[0], values[1], values[2], contents.metadata, kinds)
