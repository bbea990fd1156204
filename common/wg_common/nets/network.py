"""Operations on small networks that are the same for all architectures.

A network is a trunk with F features, and a linear head with a row for each of K classes. Its
architecture is a name in the catalogue (``wg_common.catalogue``), which names the module that
builds its trunk and prepares its batches (``NetworkKind``).

The tensors of a network are ``trunk.*``, named by the architecture's module, ``head.weight``
``[K, F]`` and ``head.bias`` ``[K]``. The first axis of a batch counts records.
"""

import importlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common import catalogue
from wg_common.catalogue import HEAD_BIAS_TENSOR, HEAD_WEIGHT_TENSOR, InputScaling
from wg_common.inference.hostile_tensors import Tensors
from wg_common.modalities.base import Record
from wg_common.modalities.registry import find_modality
from wg_common.nets.encoder.trunk import Records
from wg_core.errors import ConfigError, DecodeError
from wg_core.privacy.schema import RELEASED_DIMENSION

TRUNK_TENSOR_PREFIX = "trunk."  # Prefix of the trunk's tensors
_BATCH_RECORDS = 64  # Number of records that run through a network at a time

Batch = NDArray[Any]
"""Records as ``prepare_batch`` returns them, such as uint8 ``[n, 3, 64, 64]`` for images."""


class _CheckedRecords(Sequence[Record]):
    """Records that are checked one by one on access, since memory may not hold all of them."""

    def __init__(self, modality_name: str, records: Records) -> None:
        self._modality = find_modality(modality_name)
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        record: Record = self._records[index]
        self._modality.check_records([record], first_index=index)
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKind:
    """Functions and sizes of a network architecture, which its module defines as ``NETWORK``.

    Attributes:
        make_trunk: Function that builds an untrained trunk, whose input is a float32 batch.
        prepare_records: Function that converts valid records of any sizes to one batch.
        feature_count: Number F of the trunk's features.
        fold_standardisation: Function from a trunk's tensors and a batch to tensors of an equal
            trunk that standardises its inputs by this batch; None if inputs are always raw.
        rescale_to_speed: Function that rescales the line frequencies of a batch by a factor; None
            if the network's inputs have no lines.
        published_tensors: Function that returns published tensors ``trunk.*``, with which training
            starts; None if there are none.
        modulation_rank: Number R of hidden units of ``site_norms.NormModulation``; 0 without site
            norms.
    """

    make_trunk: Callable[[], nn.Module]
    prepare_records: Callable[[Records], Batch]
    feature_count: int = RELEASED_DIMENSION
    fold_standardisation: Callable[[Tensors, Batch], dict[str, NDArray[np.float32]]] | None = None
    rescale_to_speed: Callable[[Batch, float], Batch] | None = None
    published_tensors: Callable[[], dict[str, NDArray[np.float32]]] | None = None
    modulation_rank: int = 0


def network_kind(architecture: str) -> NetworkKind:
    """Look up the functions and sizes of a network architecture by its name.

    Raises:
        ConfigError: The architecture is unknown, or is a head on the encoder, without a network.
    """
    module = catalogue.find_network(architecture).module
    network_kind = getattr(importlib.import_module(module), "NETWORK", None) if module else None
    if not isinstance(network_kind, NetworkKind):
        raise ConfigError(f"architecture {architecture}: is no network")
    return network_kind


def feature_count(architecture: str) -> int:
    """Return the number F of features of a network architecture."""
    return network_kind(architecture).feature_count


def prepare_batch(architecture: str, records: Records) -> Batch:
    """Convert records of any sizes to one batch for a network architecture.

    Raises:
        DataError: A record has a wrong type or shape.
    """
    return network_kind(architecture).prepare_records(
        _CheckedRecords(catalogue.find_network(architecture).modality, records)
    )


def adapt_trunk(
    architecture: str, tensors: Tensors, input_scaling: InputScaling, batch: Batch
) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a network's trunk that is adapted to a plant and accepts raw inputs.

    A standardisation of inputs by the plant's records becomes part of the trunk. At prediction, the
    features of a record then do not depend on other records.

    Args:
        architecture: Name in the catalogue.
        tensors: Tensors of the network; tensors other than ``trunk.*`` are ignored.
        input_scaling: ``raw``, or how the inputs are standardised (``catalogue.InputScaling``).
        batch: All of the plant's records as a batch from ``prepare_batch``, at least one.

    Raises:
        DecodeError: Inputs of this architecture cannot be standardised.
    """
    trunk = select_trunk_tensors(tensors)
    if input_scaling == "raw":
        return trunk
    fold = network_kind(architecture).fold_standardisation
    if fold is None:
        raise DecodeError(f"architecture {architecture}: its inputs are not standardised")
    return fold(trunk, batch)


def trunk_input(batch: Tensor) -> Tensor:
    """Convert a batch to the float32 input of a trunk; images are stored channels last."""
    values = batch.float()
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def build_trunk(architecture: str) -> nn.Module:
    """Build the trunk of a network architecture with torch's initial weights."""
    return network_kind(architecture).make_trunk()


def select_trunk_tensors(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Select the ``trunk.*`` tensors among those of a network."""
    return {name: value for name, value in tensors.items() if name.startswith(TRUNK_TENSOR_PREFIX)}


def number_trunk_tensors(trunks: Sequence[Tensors]) -> dict[str, NDArray[np.float32]]:
    """Merge the tensors of several trunks, named ``NUMBER.trunk.*``, or ``trunk.*`` for one."""
    if len(trunks) == 1:
        return dict(trunks[0])
    return {
        f"{number}.{name}": value
        for number, tensors in enumerate(trunks)
        for name, value in tensors.items()
    }


def split_by_trunk(tensors: Tensors) -> list[Tensors]:
    """Split the tensors of ``number_trunk_tensors`` into a dict of ``trunk.*`` for each trunk."""
    if any(name.startswith(TRUNK_TENSOR_PREFIX) for name in tensors):
        return [tensors]
    trunks: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, value in tensors.items():
        number, _, tensor_name = name.partition(".")
        trunks.setdefault(number, {})[tensor_name] = value
    return [trunks[number] for number in sorted(trunks, key=int)]


def trunk_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of a trunk's tensors by its name ``trunk.*``, in module order."""
    with torch.device("meta"):
        state = build_trunk(architecture).state_dict()
    return {TRUNK_TENSOR_PREFIX + name: tuple(value.shape) for name, value in state.items()}


def load_trunk(architecture: str, tensors: Tensors) -> nn.Module:
    """Build a trunk in evaluation mode from ``trunk.*`` tensors; other tensors are ignored."""
    module = build_trunk(architecture)
    module.load_state_dict(
        {
            name.removeprefix(TRUNK_TENSOR_PREFIX): torch.from_numpy(np.array(value))
            for name, value in tensors.items()
            if name.startswith(TRUNK_TENSOR_PREFIX)
        }
    )
    return module.eval()


def build_head_layer(tensors: Tensors) -> nn.Linear:
    """Build a linear layer from the tensors ``head.weight`` and ``head.bias``."""
    weight, bias = (
        torch.from_numpy(np.array(tensors[name])) for name in (HEAD_WEIGHT_TENSOR, HEAD_BIAS_TENSOR)
    )
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head


def trunk_tensors(trunk: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return copies of a trunk's tensors, named ``trunk.*``."""
    return {
        TRUNK_TENSOR_PREFIX + name: value.numpy().copy()
        for name, value in trunk.state_dict().items()
    }


class NetworkTrunks(nn.Module):
    """One or several trunks of one architecture, which read a batch of their own.

    Args:
        architecture: Name in the catalogue.
        tensors_by_trunk: Tensors ``trunk.*`` of each trunk; at least one trunk.
    """

    def __init__(self, architecture: str, tensors_by_trunk: Sequence[Tensors]) -> None:
        super().__init__()
        self.architecture = architecture
        self.trunks = nn.ModuleList(
            load_trunk(architecture, tensors) for tensors in tensors_by_trunk
        )
        self.width = len(tensors_by_trunk) * feature_count(architecture)

    def forward(self, batch: Tensor) -> Tensor:
        """Return features ``[n, width]`` of a batch from ``prepare_batch``, trunk by trunk."""
        values = batch.float()
        return torch.cat([trunk(values) for trunk in self.trunks], dim=1)

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Return features ``[n, width]`` of valid records; values that are not finite become 0."""
        return features_in_chunks(
            records,
            lambda chunk: compute_trunk_features(self, prepare_batch(self.architecture, chunk)),
        )


def features_in_chunks(
    records: Iterable[Record], compute_features: Callable[[list[Record]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Compute features ``[n, width]`` of records by 64 at a time; non-finite values become 0."""
    remaining = iter(records)
    blocks: list[NDArray[np.float32]] = []
    while (chunk := list(itertools.islice(remaining, _BATCH_RECORDS))) or not blocks:
        blocks.append(compute_features(chunk))
    all_blocks = np.concatenate(blocks)
    return np.where(np.isfinite(all_blocks), all_blocks, np.float32(0))


def compute_trunk_features(trunk: nn.Module, batch: Batch) -> NDArray[np.float32]:
    """Compute a trunk's features ``[n, F]`` of a batch from ``prepare_batch``."""
    blocks = []
    with torch.inference_mode():
        for start in range(0, max(len(batch), 1), _BATCH_RECORDS):
            blocks.append(
                trunk(trunk_input(torch.from_numpy(batch[start : start + _BATCH_RECORDS]))).numpy()
            )
    return np.concatenate(blocks)
