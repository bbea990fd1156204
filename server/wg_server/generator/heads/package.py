"""The generator package: one safetensors file with everything that generation needs.

Network (the moving average), codec, priors, of the zoo what novelty and retrieval are measured
against, and heads of the operator's own kinds of plants if it has any. Its SHA-256 is the
generator's id. The model card lies beside it as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from wg_common.errors import DecodeError
from wg_common.wire import canonical
from wg_server.generator.families import heads as operator_families
from wg_server.generator.families.heads import OperatorFamilies
from wg_server.generator.heads.codec import Codec
from wg_server.generator.heads.denoiser import Denoiser, DenoiserConfig
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.retrieval import ZooIndex

VERSION = 3
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

    @property
    def fitted_priors(self) -> FittedPriors:
        """What conditions and skeletons are made with."""
        return FittedPriors(self.priors, self.zoo_index)


def pack(parts: Parts) -> bytes:
    """The package's bytes."""
    tensors = {f"denoiser.{k}": v.contiguous() for k, v in parts.denoiser.state_dict().items()}
    tensors["codec.encode"] = parts.codec.encode_matrix.contiguous()
    tensors["codec.decode"] = parts.codec.decode_matrix.contiguous()
    for name in _PRIORS:
        tensors[f"priors.{name}"] = torch.tensor(getattr(parts.priors, name), dtype=torch.float64)
    for name in _INDEX:
        tensors[f"memory.{name}"] = getattr(parts.zoo_index, name).contiguous()
    config = parts.denoiser.config
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": parts.encoder,
        "architecture": parts.architecture,
        "dimension": config.dimension,
        "latent": config.latent,
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "scale": repr(parts.priors.scale),
        "nearest": repr(parts.zoo_index.nearest),
    }
    if parts.operator_families is not None:
        arrays = parts.operator_families.arrays()
        tensors |= {f"{_OWN}.{k}": torch.from_numpy(v).contiguous() for k, v in arrays.items()}
        document[_OWN] = {k: list(getattr(parts.operator_families, k)) for k in _NAMES}
    return safetensors.torch.save(
        tensors, metadata={"generator": canonical.encode(document).decode()}
    )


def unpack(data: bytes) -> Parts:
    """Read a package.

    Raises:
        DecodeError: The bytes are no generator package of this version.
    """
    if len(data) > PACKAGE_LIMIT:
        raise DecodeError(f"generator: {len(data)} bytes, at most {PACKAGE_LIMIT} are accepted")
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["generator"])
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise DecodeError(
                f"generator: {document['format']} version {document['version']}, this program"
                f" reads {FORMAT} version {VERSION}"
            )
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            raise DecodeError("generator: a tensor is not finite")
        denoiser = Denoiser(
            DenoiserConfig(
                **{k: int(document[k]) for k in ("dimension", "latent", "width", "depth", "heads")}
            )
        )
        state = {
            k.removeprefix("denoiser."): v for k, v in tensors.items() if k.startswith("denoiser.")
        }
        denoiser.load_state_dict(state)
        priors = Priors(
            **{name: _numpy(tensors[f"priors.{name}"]) for name in _PRIORS},
            scale=float(document["scale"]),
        )
        zoo_index = ZooIndex(
            **{name: tensors[f"memory.{name}"] for name in _INDEX},
            nearest=float(document["nearest"]),
        )
        return Parts(
            encoder=str(document["encoder"]),
            architecture=str(document["architecture"]),
            denoiser=denoiser.eval(),
            codec=Codec(tensors["codec.encode"], tensors["codec.decode"]),
            priors=priors,
            zoo_index=zoo_index,
            operator_families=_operator_families(tensors, document[_OWN])
            if _OWN in document
            else None,
        )
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DecodeError(f"generator: not a generator package: {error}") from error


def _operator_families(tensors: Mapping[str, Tensor], named: Mapping[str, Any]) -> OperatorFamilies:
    arrays = {name: tensors[f"{_OWN}.{name}"].numpy() for name in operator_families.ARRAYS}
    return operator_families.read(arrays, *(tuple(map(str, named[k])) for k in _NAMES))


_OWN = "own_kinds"
_NAMES = ("names", "families")
_PRIORS = ("basis", "between", "within", "site", "whitener")
_INDEX = ("rows", "weights", "biases", "task", "second", "norms")


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float64).numpy()
