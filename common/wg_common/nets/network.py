"""Networks: what every kind of them has in common, whatever records it is for.

The catalogue names each network's module, which says how records become one batch of arrays, and
builds a trunk (``Kind``). Here is all that is done with a trunk without knowing
its kind. A head of one row a class stands on its F features.

Tensors: ``trunk.*`` as the kind's module names them, ``head.weight`` ``[K, F]`` and ``head.bias``
``[K]``. A batch has one record in each row of its first axis, so that rows can be chosen from it.
"""

import importlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common import catalogue
from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT, Inputs
from wg_common.modalities.base import Record
from wg_common.modalities.registry import modality
from wg_common.nets.encoder.trunk import Records
from wg_core.errors import ConfigError, DecodeError
from wg_core.privacy.schema import DIMENSION

TRUNK = "trunk."  # Prefix of the trunk's tensors
_BATCH = 64

Batch = NDArray[Any]
"""Records as ``prepare_batch`` gives them: uint8 ``[n, 3, 64, 64]`` of images."""
Tensors = Mapping[str, NDArray[np.float32]]


class _Checked(Sequence[Record]):
    """Records, each checked when it is asked for: those of a plant may not fit in memory."""

    def __init__(self, name: str, records: Records) -> None:
        self._modality = modality(name)
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
        self._modality.check_all([record], index)
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Interface that a module of networks offers as its ``NETWORK``.

    Attributes:
        trunk: Builds a module of whatever weights; it takes a batch as float32.
        prepare: Valid records of any sizes as one batch.
        features: Number F of features.
        fold_standardisation: Folds into a trunk's tensors that its inputs are standardised by the
            mean and the spread of a batch; None: such a network runs on what is read alone.
        at_speed: Moves the lines of a batch to where they stand where a machine turns faster by a
            factor; None: such a network reads no lines.
        published: Start of the training of a network beside a family's head, ``trunk.*``
            tensors.
        site_norms: Number of values that make the changes of such a network's norms
            (``wg_common.nets.site_norms``).
    """

    trunk: Callable[[], nn.Module]
    prepare: Callable[[Records], Batch]
    features: int = DIMENSION
    fold_standardisation: Callable[[Tensors, Batch], dict[str, NDArray[np.float32]]] | None = None
    at_speed: Callable[[Batch, float], Batch] | None = None
    published: Callable[[], dict[str, NDArray[np.float32]]] | None = None
    site_norms: int = 0


def kind(architecture: str) -> Kind:
    """Return the interface of a network's module.

    Raises:
        ConfigError: No such architecture, or it is a head on the encoder.
    """
    module = catalogue.network(architecture).module
    network_kind = getattr(importlib.import_module(module), "NETWORK", None) if module else None
    if not isinstance(network_kind, Kind):
        raise ConfigError(f"architecture {architecture}: is no network")
    return network_kind


def feature_count(architecture: str) -> int:
    """Number F of features that a head stands on."""
    return kind(architecture).features


def prepare_batch(architecture: str, records: Records) -> Batch:
    """Records of any sizes as one batch.

    Raises:
        DataError: A record has another type or shape.
    """
    return kind(architecture).prepare(_Checked(catalogue.network(architecture).modality, records))


def trunk_at(
    architecture: str, tensors: Tensors, inputs: Inputs, batch: Batch
) -> dict[str, NDArray[np.float32]]:
    """Return a network's trunk as it runs at a plant, on records as they are read.

    What standardises its inputs is folded into it, so that nothing beside it must be kept, and
    whatever record it runs on, no other record has a part in the answer.

    Args:
        architecture: Name in the catalogue.
        tensors: The network's; those beside ``trunk.*`` are left out.
        inputs: Treatment of what goes into it.
        batch: All of the plant's records, from ``prepare_batch``, at least one.

    Raises:
        DecodeError: Inputs of this architecture cannot be standardised.
    """
    trunk = trunk_only(tensors)
    if inputs == "raw":
        return trunk
    fold = kind(architecture).fold_standardisation
    if fold is None:
        raise DecodeError(f"architecture {architecture}: its inputs are not standardised")
    return fold(trunk, batch)


def as_input(batch: Tensor) -> Tensor:
    """A batch as a trunk takes it, in the layout that is fast: channels last for images."""
    values = batch.float()
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def build_trunk(architecture: str) -> nn.Module:
    """A trunk of whatever weights torch gives it."""
    return kind(architecture).trunk()


def trunk_only(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """The tensors of a network without its head's."""
    return {name: value for name, value in tensors.items() if name.startswith(TRUNK)}


def with_numbers(trunks: Sequence[Tensors]) -> dict[str, NDArray[np.float32]]:
    """Name the ``trunk.*`` tensors of several trunks by number; those of one stay as they are."""
    if len(trunks) == 1:
        return dict(trunks[0])
    return {
        f"{number}.{name}": value
        for number, tensors in enumerate(trunks)
        for name, value in tensors.items()
    }


def by_number(tensors: Tensors) -> list[Tensors]:
    """Read what ``with_numbers`` gives: the ``trunk.*`` tensors of each trunk."""
    if any(name.startswith(TRUNK) for name in tensors):
        return [tensors]
    trunks: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, value in tensors.items():
        number, _, tensor_name = name.partition(".")
        trunks.setdefault(number, {})[tensor_name] = value
    return [trunks[number] for number in sorted(trunks, key=int)]


def trunk_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names (with prefix) and shapes of the trunk's tensors, in the network's order."""
    with torch.device("meta"):
        state = build_trunk(architecture).state_dict()
    return {TRUNK + name: tuple(value.shape) for name, value in state.items()}


def load_trunk(architecture: str, tensors: Tensors) -> nn.Module:
    """A trunk with the ``trunk.*`` tensors given; others are ignored. In evaluation mode."""
    module = build_trunk(architecture)
    module.load_state_dict(
        {
            name.removeprefix(TRUNK): torch.from_numpy(np.array(value))
            for name, value in tensors.items()
            if name.startswith(TRUNK)
        }
    )
    return module.eval()


def linear(tensors: Tensors) -> nn.Linear:
    """The head among an architecture's tensors, as a layer."""
    weight, bias = (torch.from_numpy(np.array(tensors[name])) for name in (HEAD_WEIGHT, HEAD_BIAS))
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head


def trunk_tensors(trunk: nn.Module) -> dict[str, NDArray[np.float32]]:
    """A trunk's tensors, with their prefix, copied."""
    return {TRUNK + name: value.numpy().copy() for name, value in trunk.state_dict().items()}


class RecordTrunk(nn.Module):
    """Trunks that stand beside the encoder, and see records as their architecture prepares them.

    Args:
        architecture: Name in the catalogue.
        trunks: ``trunk.*`` tensors of each, at least one.
    """

    def __init__(self, architecture: str, trunks: Sequence[Tensors]) -> None:
        super().__init__()
        self.architecture = architecture
        self.trunks = nn.ModuleList(load_trunk(architecture, tensors) for tensors in trunks)
        self.width = len(trunks) * feature_count(architecture)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, width]`` of a batch from ``prepare_batch``, by trunk."""
        values = batch.float()
        return torch.cat([trunk(values) for trunk in self.trunks], dim=1)

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Features ``[n, width]`` of valid records; what is not finite counts as 0."""
        return in_chunks(
            records, lambda chunk: features(self, prepare_batch(self.architecture, chunk))
        )


def in_chunks(
    records: Iterable[Record], features_of: Callable[[list[Record]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Features ``[n, width]`` of a few records at a time; what is not finite counts as 0."""
    remaining = iter(records)
    blocks: list[NDArray[np.float32]] = []
    while (chunk := list(itertools.islice(remaining, _BATCH))) or not blocks:
        blocks.append(features_of(chunk))
    all_blocks = np.concatenate(blocks)
    return np.where(np.isfinite(all_blocks), all_blocks, np.float32(0))


def features(trunk: nn.Module, batch: Batch) -> NDArray[np.float32]:
    """Features ``[n, F]`` of a batch from ``prepare_batch``."""
    blocks = []
    with torch.inference_mode():
        for start in range(0, max(len(batch), 1), _BATCH):
            blocks.append(trunk(as_input(torch.from_numpy(batch[start : start + _BATCH]))).numpy())
    return np.concatenate(blocks)
