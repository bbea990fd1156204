"""Trunk from an ONNX file that the operator identifies by its SHA-256.

The file is never trusted, since a hash that matches the plan, or that a plant's owner confirmed,
identifies a file but does not make it harmless. It is handled in these steps:

1. At most ``FILE_LIMIT`` bytes are read, once; they are hashed before anything parses them, and all
   later steps use the same bytes.
2. The graph may contain only ``ALLOWED_OPERATORS`` of ONNX's own domain. This excludes custom
   operators (which need a library beside the file), loops, branches and functions (whose work the
   file's size does not bound), randomness, text and training. A tensor in another file is refused.
3. Only separate processes with bounds on memory and time load the file (``confined_trunk``), and
   the first ones encode only artificial images (``trial``).
4. At run time all tensors share a memory arena of at most ``ARENA_LIMIT`` bytes.

The network has one input ``[1, 3, p, p]`` or ``[1, p, p, 3]``, whose axes may be dynamic; a float32
input gets standardised pixels, a uint8 input raw ones. Features are an output ``[1, w]``, the first
token of an output ``[1, tokens, w]`` (the class token of vision transformers), or the spatial mean
of a feature map ``[1, w, h, h]``.
Each row is divided by its length, so no raw feature of any image exceeds 1, whatever the network
computes. *Guarantee.* Features depend on record and file alone: the network runs on one image at a
time, in one thread. *Not guaranteed:* equal bits on another kind of processor or another version of
ONNX Runtime, or protection from bugs in ONNX Runtime's parser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import image_trunk
from wg_common.nets.encoder.trunk import EncoderTrunk
from wg_common.nets.encoder.trunk_choice import FEATURE_COUNT_LIMIT, TrunkChoice
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.wire import canonical

FILE_LIMIT = 96 << 20  # Largest file that is read, in bytes
ARENA_LIMIT = 2 << 30  # Memory of all tensors at run time, including those of the file, in bytes
NODE_LIMIT = 20_000  # Largest number of nodes of a graph
ALLOWED_OPERATORS = frozenset(
    name
    for line in (
        "Abs Add And AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant",
        "ConstantOfShape Conv ConvInteger Cos DepthToSpace DequantizeLinear Div",
        "DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather",
        "GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater",
        "GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity",
        "InstanceNormalization LRN LayerNormalization LeakyRelu Less LessOrEqual Log",
        "LogSoftmax LpNormalization MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul",
        "Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal",
        "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
        "ReduceSumSquare Relu Reshape Resize Selu Shape Sigmoid Sign Sin Slice Softmax",
        "Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu",
        "Unsqueeze Where",
    )
    for name in line.split()
)
"""Operators of image networks whose work is bounded by the size of their output tensors."""
_ALLOWED_DOMAINS = frozenset({"", "ai.onnx"})
_INSTALL_COMMAND = "pip install 'weightgate[encoders]'"


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """Trunk kind for an ONNX file: the file's bytes, and the format that the operator declared.

    Attributes:
        declared_format: Declared name, hash, input format, output and licence.
        file_bytes: Content of the file, at most ``FILE_LIMIT`` bytes, not yet checked.
        batch_size: Number of images that are encoded together.
        needs_process: True: the file is run only in a separate process with limits.
        whitening_exponent: Each local direction is divided by its variance to this power.
        median_local_norm: Median L2 norm of public records' projected local features.
    """

    declared_format: TrunkChoice
    file_bytes: bytes
    batch_size: int = 1
    needs_process: bool = True
    whitening_exponent: float = 0.25
    median_local_norm: float = 2.0

    @property
    def label(self) -> str:
        """Name that the operator gave the trunk."""
        return self.declared_format.name

    @property
    def width(self) -> int:
        """Declared number of features of the network; 0 if not declared."""
        return self.declared_format.width

    @property
    def direction_count(self) -> int:
        """Largest number of projected local features: the image trunk's, but at most ``width``."""
        return min(image_trunk.ImageTrunk.direction_count, self.width)

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Sizes of local feature blocks: one block of all raw features."""
        return (self.width,)

    def choice(self) -> TrunkChoice:
        """Return the trunk's description for a package, ``declared_format``."""
        return self.declared_format

    def digest(self) -> str:
        """Return the declared SHA-256 of the file, hex."""
        return self.declared_format.sha256

    def released_fit_weights(self) -> NDArray[np.float64]:
        """Return equal weights ``[width]`` of features in the fit of the released projection."""
        return np.full(self.width, self.width**-0.5)

    def local_fit_weights(self) -> NDArray[np.float64]:
        """Return equal weights ``[width]``, those of ``released_fit_weights``."""
        return self.released_fit_weights()

    def pre_projection(self) -> None:
        """Return None: the projection is fitted on the raw features themselves."""

    def settings(self, *, pixels: int = 0) -> dict[str, str]:
        """Return an empty dict, since ``declared_format`` already has all settings."""
        return {}

    def check_settings(self, metadata: Mapping[str, Any]) -> None:
        """Accept any package metadata, since a trunk from a file has no settings."""

    def from_settings(self, metadata: Mapping[str, Any]) -> OnnxTrunk:
        """Load the file's network into this process; errors as for ``OnnxTrunk``."""
        return OnnxTrunk(self.declared_format, self.file_bytes)


class OnnxTrunk(EncoderTrunk):
    """Trunk that runs an ONNX file in this process.

    Raises:
        ConfigError: A package is missing.
        VerificationError: The file's hash is not the declared one.
        DecodeError: The file is not an accepted network of the declared format.
    """

    _mean: Tensor
    _std: Tensor
    _width: int

    def __init__(self, choice: TrunkChoice, file_bytes: bytes) -> None:
        super().__init__()
        check_hash(choice, file_bytes)
        self.choice = choice
        check_graph(file_bytes, choice)
        self._session = _open_session(file_bytes, choice.name)
        first_input = self._session.get_inputs()[0]
        self._input, self._bytes = first_input.name, first_input.type == "tensor(uint8)"
        self._output = choice.output or self._session.get_outputs()[0].name
        self._mean = torch.tensor(choice.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(choice.std).view(1, 3, 1, 1)
        features = self._features(self.prepare([example_image(choice.pixels)]))
        self._width = int(features.shape[1])
        if not 1 <= self.width <= FEATURE_COUNT_LIMIT or choice.width not in (0, self.width):
            expected_width = choice.width or f"1 to {FEATURE_COUNT_LIMIT}"
            raise DecodeError(f"{choice.name}: {self.width} features, expected {expected_width}")
        if not np.isfinite(features).all() or not features.any():
            raise DecodeError(
                f"{choice.name}: features of a plain image are not finite, or all zero"
            )

    @property
    def label(self) -> str:
        """Name that the operator gave the trunk."""
        return self.choice.name

    @property
    def width(self) -> int:
        """Number of features of the network."""
        return self._width

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Sizes of local feature blocks: one block of all raw features."""
        return (self._width,)

    @property
    def is_exportable(self) -> bool:
        """False: an exported model cannot include a trunk that ONNX Runtime runs."""
        return False

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert an image to the network's input, ``[1, 3, p, p]`` or ``[1, p, p, 3]``."""
        pixels = image_trunk.resize_images(
            records, self.choice.pixels, interpolation_mode="bicubic"
        )
        batch = pixels.round().byte() if self._bytes else (pixels / 255 - self._mean) / self._std
        return batch.permute(0, 2, 3, 1).contiguous() if self.choice.layout == "nhwc" else batch

    def forward(self, batch: Tensor) -> Tensor:
        """Return the features ``[1, width]`` of one prepared image, scaled to unit length."""
        features = torch.from_numpy(self._features(batch)).double()
        return F.normalize(features, dim=1).float()

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return an image's raw features, and a tuple with them as the only local block."""
        raw = self(records)
        return raw, (raw,)

    def feature_bounds(self) -> float:
        """Return 1.01 as bound on feature magnitudes, since vectors have unit length."""
        return 1.01

    def _features(self, batch: Tensor) -> NDArray[np.float32]:
        import onnxruntime

        options = onnxruntime.RunOptions()
        # The arena shrinks after each image, so that every image finds it in the same state.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            (output,) = self._session.run([self._output], {self._input: batch.numpy()}, options)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise DecodeError(f"{self.label}: ONNX Runtime: {_error_excerpt(error)}") from error
        return _pool_output(output, self.choice)


def check_hash(choice: TrunkChoice, file_bytes: bytes) -> None:
    """Raise ``VerificationError`` unless an ONNX file has the declared SHA-256."""
    digest = canonical.sha256_hex(file_bytes)
    if digest != choice.sha256:
        raise VerificationError(f"{choice.name}: SHA-256 {digest}, expected {choice.sha256}")


def check_graph(file_bytes: bytes, choice: TrunkChoice) -> None:
    """Check that an ONNX file has only accepted operators and the declared format; don't run it.

    Raises:
        DecodeError: The file is not an accepted network, or lacks the declared input or output.
        ConfigError: The package ``onnx`` is missing.
    """
    source = choice.name
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"an ONNX file needs the package onnx: {_INSTALL_COMMAND}") from error
    try:
        model = onnx.load_model_from_string(file_bytes)
    except Exception as error:  # protobuf's errors, of which it has several kinds
        raise DecodeError(f"{source}: not an ONNX file: {_error_excerpt(error)}") from error
    graph = model.graph
    if model.functions or model.training_info:
        raise DecodeError(f"{source}: functions and training are not taken; export it inlined")
    if not 0 < len(graph.node) <= NODE_LIMIT:
        raise DecodeError(f"{source}: {len(graph.node)} nodes, expected 1 to {NODE_LIMIT}")
    if graph.sparse_initializer:
        raise DecodeError(f"{source}: sparse tensors are not taken")
    for tensor in graph.initializer:
        _check_tensor(onnx, tensor, source)
    for node in graph.node:
        _check_node(onnx, node, source)
    if choice.output and choice.output not in {value.name for value in graph.output}:
        names = ", ".join(value.name[:64] for value in list(graph.output)[:8])
        raise DecodeError(f"{source}: no output {choice.output!r}; there are {names}")
    _check_input(onnx, graph, choice)


def _check_tensor(onnx: Any, tensor: Any, trunk_name: str) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise DecodeError(f"{trunk_name}: tensor {tensor.name[:64]!r} names another file")


def _check_node(onnx: Any, node: Any, trunk_name: str) -> None:
    if node.domain not in _ALLOWED_DOMAINS or node.op_type not in ALLOWED_OPERATORS:
        name = f"{node.domain}.{node.op_type}".strip(".")[:100]
        raise DecodeError(f"{trunk_name}: operator {name!r} is not taken")
    plain = onnx.AttributeProto
    for attribute in node.attribute:
        if attribute.type in (plain.GRAPH, plain.GRAPHS) or attribute.HasField("g"):
            raise DecodeError(f"{trunk_name}: operator {node.op_type!r} holds a graph")
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise DecodeError(f"{trunk_name}: sparse tensors are not taken")
        for tensor in (attribute.t, *attribute.tensors):
            _check_tensor(onnx, tensor, trunk_name)


def _check_input(onnx: Any, graph: Any, choice: TrunkChoice) -> None:
    source, side = choice.name, choice.pixels
    expected = [1, 3, side, side] if choice.layout == "nchw" else [1, side, side, 3]
    initialisers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialisers]
    if len(inputs) != 1 or not graph.output:
        raise DecodeError(f"{source}: {len(inputs)} inputs, expected one, and an output")
    kind = inputs[0].type.tensor_type
    sides = [axis.dim_value for axis in kind.shape.dim]  # 0: free
    good = len(sides) == 4 and all(
        size in (0, want) for size, want in zip(sides, expected, strict=True)
    )
    if kind.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8) or not good:
        raise DecodeError(
            f"{source}: input of shape {sides}, expected float32 or uint8 {expected}; 0 is free"
        )


def _open_session(file_bytes: bytes, trunk_name: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"an ONNX file needs the package onnxruntime: {_INSTALL_COMMAND}"
        ) from error
    _register_bounded_arena()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return onnxruntime.InferenceSession(
            file_bytes,
            options,
            providers=["CPUExecutionProvider"],
            # Constant folding would compute before the time limit applies.
            disabled_optimizers=["ConstantFolding"],
        )
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise DecodeError(
            f"{trunk_name}: ONNX Runtime does not take it: {_error_excerpt(error)}"
        ) from error


@cache
def _register_bounded_arena() -> None:
    """Give all ONNX Runtime sessions of this process one memory arena of bounded size."""
    import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    limits = onnxruntime.OrtArenaCfg(ARENA_LIMIT, -1, -1, -1)
    onnxruntime.create_and_register_allocator(memory, limits)


def _pool_output(output: Any, choice: TrunkChoice) -> NDArray[np.float32]:
    """Reduce an output for one image to features ``[1, w]``; ``DecodeError`` for other shapes."""
    source = choice.name
    if not isinstance(output, np.ndarray) or output.dtype != np.float32:
        kind = getattr(output, "dtype", type(output).__name__)
        raise DecodeError(f"{source}: output of type {kind}, expected float32")
    if output.ndim == 4:
        output = output.mean(axis=(2, 3) if choice.layout == "nchw" else (1, 2))
    elif output.ndim == 3:
        output = output[:, 0]
    if output.ndim != 2 or len(output) != 1:
        raise DecodeError(
            f"{source}: output of shape {output.shape}, expected [1, w], [1, tokens, w] or"
            " [1, w, h, h]"
        )
    return np.ascontiguousarray(output, dtype=np.float32)


def example_image(pixels: int) -> Record:
    """Return an artificial image with brightness ramps, uint8 ``[p, p, 3]``."""
    ramp = np.broadcast_to(np.linspace(0, 255, pixels).astype(np.uint8), (pixels, pixels))
    return np.stack([ramp, ramp.T, np.full_like(ramp, 128)], axis=2)


def _error_excerpt(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


FILE = OnnxFile
