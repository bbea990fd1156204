"""The generator package: one safetensors file with everything that generation needs.

Network (the moving average), codec, priors, of the zoo what novelty and retrieval are measured
against, and heads of the operator's families if it has any. Its SHA-256 is the generator's id. The
model card lies beside it as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wg_common.catalogue import known
from wg_common.inference.family_head import Layout
from wg_common.modalities.registry import modality
from wg_server.generator import container
from wg_server.generator.families import heads as operator_families
from wg_server.generator.families.heads import OperatorFamilies
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.names import NameMap
from wg_server.generator.prior.retrieval import ZooIndex
from wg_server.generator.weights.codec import Codec
from wg_server.generator.weights.head_denoiser import Denoiser, DenoiserConfig

VERSION = 1
PACKAGE_LIMIT = 512 << 20
FORMAT = "weightgate-generator"


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The content of a package."""

    encoder: str
    architecture: str
    denoiser: Denoiser
    codec: Codec
    priors: Priors
    zoo_index: ZooIndex
    operator_families: OperatorFamilies | None = None
    names: NameMap | None = None

    @property
    def fitted_priors(self) -> FittedPriors:
        """What conditions and prior heads are made with."""
        return FittedPriors(self.priors, self.zoo_index, self.names)


def pack(parts: Parts) -> bytes:
    """The package's bytes."""
    tensors = {f"denoiser.{k}": v for k, v in parts.denoiser.state_dict().items()}
    tensors["codec.encode"] = parts.codec.encode_matrix
    tensors["codec.decode"] = parts.codec.decode_matrix
    for name in _PRIORS:
        tensors[f"priors.{name}"] = torch.tensor(getattr(parts.priors, name), dtype=torch.float64)
    for name in _INDEX:
        tensors[f"memory.{name}"] = getattr(parts.zoo_index, name)
    config = parts.denoiser.config
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": parts.encoder,
        "architecture": parts.architecture,
        **{k: getattr(config, k) for k in _CONFIG},
        "scale": repr(parts.priors.scale),
        "nearest": repr(parts.zoo_index.nearest),
    }
    if parts.operator_families is not None:
        arrays = parts.operator_families.arrays()
        tensors |= {f"{_OWN}.{k}": torch.from_numpy(v) for k, v in arrays.items()}
        document[_OWN] = _described(parts.operator_families)
    if parts.names is not None:
        for name in _MAP:
            value = getattr(parts.names, name)
            tensors[f"{_NAMED}.{name}"] = torch.tensor(value, dtype=torch.float64)
    return container.pack(tensors, _KEY, document)


def unpack(data: bytes) -> Parts:
    """Read a package.

    Raises:
        DecodeError: The bytes are no generator package of this version.
    """
    tensors, document = container.unpack_package(
        data, _KEY, form=FORMAT, version=VERSION, limit=PACKAGE_LIMIT
    )
    with container.decoding(_KEY):
        denoiser = Denoiser(DenoiserConfig(**{k: int(document[k]) for k in _CONFIG}))
        denoiser.load_state_dict(container.under(tensors, "denoiser."))
        return Parts(
            encoder=str(document["encoder"]),
            architecture=str(document["architecture"]),
            denoiser=denoiser.eval(),
            codec=Codec(tensors["codec.encode"], tensors["codec.decode"]),
            priors=Priors(
                **{name: _numpy(tensors[f"priors.{name}"]) for name in _PRIORS},
                scale=float(document["scale"]),
            ),
            zoo_index=ZooIndex(
                **{name: tensors[f"memory.{name}"] for name in _INDEX},
                nearest=float(document["nearest"]),
            ),
            operator_families=_operator_families(tensors, document) if _OWN in document else None,
            names=NameMap(**{name: _numpy(tensors[f"{_NAMED}.{name}"]) for name in _MAP})
            if f"{_NAMED}.{_MAP[0]}" in tensors
            else None,
        )


def _described(operator: OperatorFamilies) -> dict[str, Any]:
    return {
        "names": list(operator.names),
        "families": list(operator.families),
        "owned": sorted(operator.heads),
        "scaled": operator.layout.scaled,
        "blocks": list(operator.layout.blocks),
    }


def _operator_families(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any]
) -> OperatorFamilies:
    named = document[_OWN]
    arrays = {k: v.numpy() for k, v in container.under(tensors, f"{_OWN}.").items()}
    names, families, owned = (tuple(map(str, named[k])) for k in ("names", "families", "owned"))
    layout = Layout(int(named["scaled"]), tuple(map(int, named["blocks"])))
    architectures = modality(known(str(document["architecture"])).modality).family_networks
    return operator_families.read(arrays, names, families, owned, layout, architectures)


_KEY = "generator"
_CONFIG = ("dimension", "latent", "width", "depth", "heads")
_OWN = "own_kinds"
_NAMED = "name_map"
_MAP = ("matrix", "explained")
_PRIORS = ("basis", "between", "within", "site", "whitener")
_INDEX = ("rows", "weights", "biases", "task", "second", "norms")


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float64).numpy()
