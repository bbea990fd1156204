"""Small ONNX files, and encoders that stand on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
    contents = packages.unpack(package)
    values = [contents.tensors[name].astype(float) for name in packages.TENSORS]
    kinds = (*contents.kinds, *further)
    return packages.pack(values[0], values[1], values[2], contents.metadata, kinds)
