"""The package of the network generator: one safetensors file beside the generator of heads.

It holds the denoiser and, for each architecture, base, codec of either kind, bridge and shelf. It
names the generator of heads that it stands on: priors and conditions come from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.errors import DecodeError
from wg_common.nets import network, registry
from wg_common.wire import canonical
from wg_server.generator.families import match
from wg_server.generator.networks.codec import Codec, read_layer_codec
from wg_server.generator.networks.condition import NetworkPriors
from wg_server.generator.networks.decoder import Decoder
from wg_server.generator.networks.denoiser import NetworkDenoiser, NetworkDenoiserConfig
from wg_server.generator.networks.feature_regression import FeatureRegression
from wg_server.generator.networks.neighbours import RetrievalIndex
from wg_server.generator.networks.vae import read_vae_codec
from wg_server.generator.networks.weight_plan import weight_plan
from wg_server.generator.prior.blup import Priors

VERSION = 4
FORMAT = "weightgate-networks"
PACKAGE_LIMIT = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class ArchitectureBundle:
    """What the generator has of one architecture.

    Attributes:
        fitted_priors: For conditions.
        decoder: From latents to networks.
        nearest: Median distance of a zoo network to its nearest other, in latents.
    """

    fitted_priors: NetworkPriors
    decoder: Decoder
    nearest: float


@dataclass(frozen=True, slots=True, eq=False)
class NetworkParts:
    """The content of a package.

    Attributes:
        heads: Id of the generator of heads.
        weight_plan: Name of the plan.
        denoiser: The moving average.
        bundles: By architecture.
    """

    heads: str
    weight_plan: str
    denoiser: NetworkDenoiser
    bundles: Mapping[str, ArchitectureBundle]


def pack(parts: NetworkParts) -> bytes:
    """The package's bytes."""
    tensors = {f"denoiser.{k}": v for k, v in parts.denoiser.state_dict().items()}
    bundles: dict[str, Any] = {}
    for name, bundle in parts.bundles.items():
        regression, retrieval_index = (
            bundle.fitted_priors.regression,
            bundle.fitted_priors.retrieval_index,
        )
        arrays = {f"base.{k}": v for k, v in bundle.decoder.base.items()}
        arrays |= {f"bridge.{k}": getattr(regression, k) for k in _REGRESSION}
        arrays |= _index_arrays(_INDEX, retrieval_index)
        if bundle.fitted_priors.elsewhere is not None:
            arrays |= _index_arrays(_ELSEWHERE, bundle.fitted_priors.elsewhere)
        tensors |= {
            f"{name}/{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()
        }
        codec = bundle.decoder.codec
        tensors |= {f"{name}/codec.{k}": v for k, v in codec.tensors().items()}
        bundles[name] = {
            "codec": codec.kind,
            "scale": repr(regression.scale),
            "trust": repr(bundle.fitted_priors.trust),
            "nearest": repr(bundle.nearest),
            **_index_names(retrieval_index),
        }
        if bundle.fitted_priors.elsewhere is not None:
            bundles[name][_ELSEWHERE] = _index_names(bundle.fitted_priors.elsewhere)
    config = parts.denoiser.config
    document = {
        "format": FORMAT,
        "version": VERSION,
        "heads": parts.heads,
        "weight_plan": parts.weight_plan,
        "config": {k: getattr(config, k) for k in _CONFIG},
        "stocks": bundles,
    }
    return safetensors.torch.save(
        {k: v.contiguous() for k, v in tensors.items()},
        metadata={"networks": canonical.encode(document).decode()},
    )


def unpack(data: bytes, priors: Priors) -> NetworkParts:
    """Read a package.

    Args:
        data: From ``pack``.
        priors: Of the generator of heads.

    Raises:
        DecodeError: The bytes are no package of this version.
    """
    if len(data) > PACKAGE_LIMIT:
        raise DecodeError(f"networks: {len(data)} bytes, at most {PACKAGE_LIMIT} are accepted")
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["networks"])
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise DecodeError(
                f"networks: {document['format']} version {document['version']}, this program reads"
                f" {FORMAT} version {VERSION}"
            )
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            raise DecodeError("networks: a tensor is not finite")
        config = NetworkDenoiserConfig(**{k: int(document["config"][k]) for k in _CONFIG})
        denoiser = NetworkDenoiser(config)
        denoiser.load_state_dict(_under(tensors, "denoiser."))
        plan = str(document["weight_plan"])
        bundles = {
            name: _bundle(name, plan, _under(tensors, f"{name}/"), row, priors)
            for name, row in sorted(document["stocks"].items())
        }
        return NetworkParts(str(document["heads"]), plan, denoiser.eval(), bundles)
    except (
        safetensors.SafetensorError,
        AttributeError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:
        raise DecodeError(f"networks: not a package of networks: {error}") from error


def _bundle(
    name: str, plan: str, tensors: dict[str, Tensor], row: dict[str, Any], priors: Priors
) -> ArchitectureBundle:
    wanted = weight_plan(name, registry.known(name).widest(plan))
    base = {k: v.numpy() for k, v in _under(tensors, "base.").items()}
    if {k: v.shape for k, v in base.items()} != network.trunk_shapes(name):
        raise DecodeError(f"networks: the base of {name} is not its trunk")
    codec = _CODECS[str(row["codec"])](
        [part.name for part in wanted.parts],
        [part.size for part in wanted.parts],
        _under(tensors, "codec."),
    )
    regression = FeatureRegression(
        **{k: tensors[f"bridge.{k}"].numpy() for k in _REGRESSION}, scale=float(row["scale"])
    )
    sizes = [part.size for part in wanted.parts]
    retrieval_index = _retrieval_index(_under(tensors, f"{_INDEX}."), row, sizes, name)
    elsewhere = None
    if _ELSEWHERE in row:
        elsewhere = _retrieval_index(
            _under(tensors, f"{_ELSEWHERE}."), row[_ELSEWHERE], sizes, name
        )
        classes = retrieval_index.classes()
        if any(classes.get(key) != names for key, names in elsewhere.classes().items()):
            raise DecodeError(f"networks: the two shelves of {name} do not hold together")
    trust = float(row["trust"])
    if not 0 <= trust <= 1:
        raise DecodeError(f"networks: {name} trusts neighbours by {trust}, expected 0 to 1")
    return ArchitectureBundle(
        NetworkPriors(
            priors,
            regression,
            retrieval_index,
            match.measure(retrieval_index, priors),
            trust,
            elsewhere,
        ),
        Decoder(wanted, codec, base),
        float(row["nearest"]),
    )


def _index_arrays(prefix: str, retrieval_index: RetrievalIndex) -> dict[str, NDArray[Any]]:
    return {f"{prefix}.{k}": getattr(retrieval_index, k) for k in _ARRAYS}


def _index_names(retrieval_index: RetrievalIndex) -> dict[str, list[str]]:
    return {k: list(getattr(retrieval_index, k)) for k in _NAMES}


def _retrieval_index(
    tensors: dict[str, Tensor], row: dict[str, Any], sizes: list[int], name: str
) -> RetrievalIndex:
    parts: dict[str, Any] = {k: tensors[k].numpy() for k in _ARRAYS}
    parts |= {k: tuple(map(str, row[k])) for k in _NAMES}
    retrieval_index = RetrievalIndex(**parts)
    entries = len(retrieval_index.latents)
    if (
        retrieval_index.left.shape != (entries, sum(sizes))
        or retrieval_index.sizes.tolist() != sizes
        or not len(retrieval_index.names)
        == len(retrieval_index.entry)
        == len(retrieval_index.rows)
        == len(retrieval_index.deviations)
        or not len(retrieval_index.families)
        == len(retrieval_index.keys)
        == len(retrieval_index.centres)
        == entries
        or not np.array_equal(np.unique(retrieval_index.entry), np.arange(entries))
        or (np.diff(retrieval_index.entry) < 0).any()
    ):
        raise DecodeError(f"networks: the shelf of {name} does not hold together")
    return retrieval_index


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


_CODECS: Mapping[str, Callable[[Sequence[str], Sequence[int], Mapping[str, Tensor]], Codec]] = {
    "pca": read_layer_codec,
    "vae": read_vae_codec,
}
_REGRESSION = ("deviations", "centre", "whitener")
_INDEX, _ELSEWHERE = "shelf", "elsewhere"
_NAMES = ("names", "families", "keys")
_ARRAYS = ("deviations", "rows", "entry", "centres", "origins", "latents", "left", "units", "sizes")
_CONFIG = ("dimension", "parts", "latent", "architectures", "row", "width", "depth", "heads")
