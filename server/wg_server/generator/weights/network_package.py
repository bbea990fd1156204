"""The package of the network generator: one safetensors file beside the generator of heads.

It holds the denoiser and, for each architecture, base, codec, feature-space regression and
retrieval index. It names the generator of heads that it stands on: priors and conditions come from
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common import catalogue
from wg_common.inference.family_head import NetworkHead
from wg_common.nets import family_network, network
from wg_core.errors import DecodeError
from wg_server.generator import container
from wg_server.generator.families import match
from wg_server.generator.prior.blup import Priors
from wg_server.generator.weights.codec import read_layer_codec
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.feature_regression import FeatureRegression
from wg_server.generator.weights.neighbours import RetrievalIndex
from wg_server.generator.weights.network_condition import NetworkPriors
from wg_server.generator.weights.network_denoiser import NetworkDenoiser, NetworkDenoiserConfig
from wg_server.generator.weights.weight_plan import weight_plan

VERSION = 1
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

    @classmethod
    def measured(cls, fitted_priors: NetworkPriors, decoder: Decoder) -> ArchitectureBundle:
        """A bundle with the distance between its networks."""
        flat = fitted_priors.index.latents
        flat = flat.reshape(len(flat), -1)
        distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(axis=2))
        np.fill_diagonal(distances, np.inf)
        nearest = max(float(np.median(distances.min(axis=1))), 1e-6) if len(flat) > 1 else 1.0
        return cls(fitted_priors, decoder, nearest)

    def novelty(self, latents: NDArray[np.floating]) -> float:
        """Distance of latents ``[P, l]`` to the nearest zoo network's, over ``nearest``."""
        zoo_latents, augmented = self.fitted_priors.index.latents, self.fitted_priors.augmented
        if augmented is not None:
            zoo_latents = np.concatenate([zoo_latents, augmented.latents])
        distances = np.sqrt(((zoo_latents - latents) ** 2).sum(axis=(1, 2)))
        return float(distances.min()) / self.nearest


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
        regression, index = (
            bundle.fitted_priors.regression,
            bundle.fitted_priors.index,
        )
        arrays = {f"base.{k}": v for k, v in bundle.decoder.base.items()}
        arrays |= {f"bridge.{k}": getattr(regression, k) for k in _REGRESSION}
        arrays |= _index_arrays(_INDEX, index)
        if bundle.fitted_priors.augmented is not None:
            arrays |= _index_arrays(_AUGMENTED, bundle.fitted_priors.augmented)
        for key, head in bundle.fitted_priors.site_heads.items():
            arrays |= {f"{_SITE}.{key}.{k}": v for k, v in head.tensors().items()}
        tensors |= {
            f"{name}/{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()
        }
        codec = bundle.decoder.codec
        tensors |= {f"{name}/codec.{k}": v for k, v in codec.tensors().items()}
        bundles[name] = {
            "codec": _CODEC,
            "scale": repr(regression.scale),
            "trust": repr(bundle.fitted_priors.retrieval_weight),
            "nearest": repr(bundle.nearest),
            **_index_names(index),
        }
        if bundle.fitted_priors.augmented is not None:
            bundles[name][_AUGMENTED] = _index_names(bundle.fitted_priors.augmented)
    config = parts.denoiser.config
    document = {
        "format": FORMAT,
        "version": VERSION,
        "heads": parts.heads,
        "weight_plan": parts.weight_plan,
        "config": {k: getattr(config, k) for k in _CONFIG},
        "stocks": bundles,
    }
    return container.pack(tensors, _KEY, document)


def unpack(data: bytes, priors: Priors) -> NetworkParts:
    """Read a package.

    Args:
        data: From ``pack``.
        priors: Of the generator of heads.

    Raises:
        DecodeError: The bytes are no package of this version.
    """
    tensors, document = container.unpack_package(
        data, _KEY, form=FORMAT, version=VERSION, limit=PACKAGE_LIMIT
    )
    with container.decoding(_KEY):
        config = NetworkDenoiserConfig(**{k: int(document["config"][k]) for k in _CONFIG})
        denoiser = NetworkDenoiser(config)
        denoiser.load_state_dict(container.under(tensors, "denoiser."))
        plan = catalogue.check_plan(str(document["weight_plan"]))
        bundles = {
            name: _bundle(name, plan, container.under(tensors, f"{name}/"), row, priors)
            for name, row in sorted(document["stocks"].items())
        }
        return NetworkParts(str(document["heads"]), plan, denoiser.eval(), bundles)


def _bundle(
    name: str, plan: str, tensors: dict[str, Tensor], row: dict[str, Any], priors: Priors
) -> ArchitectureBundle:
    widest_plan = weight_plan(name, catalogue.known(name).widest(plan))
    base = {k: v.numpy() for k, v in container.under(tensors, "base.").items()}
    if {k: v.shape for k, v in base.items()} != network.trunk_shapes(name):
        raise DecodeError(f"networks: the base of {name} is not its trunk")
    if row["codec"] != _CODEC:
        raise DecodeError(
            f"networks: {name} has the codec {row['codec']!r}, this program reads {_CODEC!r}; train"
            " the generator anew"
        )
    sizes = [part.size for part in widest_plan.parts]
    codec = read_layer_codec(
        [part.name for part in widest_plan.parts], sizes, container.under(tensors, "codec.")
    )
    regression = FeatureRegression(
        **{k: tensors[f"bridge.{k}"].numpy() for k in _REGRESSION}, scale=float(row["scale"])
    )
    index = _read_index(container.under(tensors, f"{_INDEX}."), row, sizes, name)
    augmented = None
    if _AUGMENTED in row:
        augmented = _read_index(
            container.under(tensors, f"{_AUGMENTED}."), row[_AUGMENTED], sizes, name
        )
        classes = index.classes()
        if any(classes.get(key) != names for key, names in augmented.classes().items()):
            raise DecodeError(f"networks: the two indexes of {name} do not hold together")
    weight = float(row["trust"])
    if not 0 <= weight <= 1:
        raise DecodeError(f"networks: {name} weighs neighbours by {weight}, expected 0 to 1")
    return ArchitectureBundle(
        NetworkPriors(
            priors,
            regression,
            index,
            match.measure(index, priors),
            catalogue.known(name).all_own,
            weight,
            augmented,
            _site_heads(name, container.under(tensors, f"{_SITE}."), augmented),
        ),
        Decoder(widest_plan, codec, base),
        float(row["nearest"]),
    )


def _site_heads(
    architecture: str, tensors: dict[str, Tensor], augmented: RetrievalIndex | None
) -> dict[str, NetworkHead]:
    """Heads of networks with domain-shift augmentation; none in a package that has none."""
    heads = {}
    classes = {} if augmented is None else augmented.classes()
    for key in sorted({name.rsplit(".", 1)[0] for name in tensors}):
        if key not in classes:
            raise DecodeError(f"networks: a head of {architecture} is of no network")
        arrays = {k: v.numpy() for k, v in container.under(tensors, f"{key}.").items()}
        heads[key] = family_network.head_from_tensors(arrays, architecture, len(classes[key]))
    return heads


def _index_arrays(prefix: str, index: RetrievalIndex) -> dict[str, NDArray[Any]]:
    return {f"{prefix}.{stored}": getattr(index, k) for k, stored in _ARRAYS.items()}


def _index_names(index: RetrievalIndex) -> dict[str, list[str]]:
    return {k: list(getattr(index, k)) for k in _NAMES}


def _read_index(
    tensors: dict[str, Tensor], row: dict[str, Any], sizes: list[int], name: str
) -> RetrievalIndex:
    parts: dict[str, Any] = {k: tensors[stored].numpy() for k, stored in _ARRAYS.items()}
    parts |= {k: tuple(map(str, row[k])) for k in _NAMES}
    index = RetrievalIndex(**parts)
    entries = len(index.latents)
    if (
        index.residuals.shape != (entries, sum(sizes))
        or index.sizes.tolist() != sizes
        or not len(index.names) == len(index.entry) == len(index.rows) == len(index.deviations)
        or not len(index.families) == len(index.keys) == len(index.centres) == entries
        or not np.array_equal(np.unique(index.entry), np.arange(entries))
        or (np.diff(index.entry) < 0).any()
    ):
        raise DecodeError(f"networks: the index of {name} does not hold together")
    return index


_KEY = "networks"
_CODEC = "pca"
"""The codec of a package of version 4."""
_REGRESSION = ("deviations", "centre", "whitener")
_INDEX, _AUGMENTED, _SITE = "shelf", "elsewhere", "site"
_NAMES = ("names", "families", "keys")
_ARRAYS = {
    **{name: name for name in ("deviations", "rows", "entry", "centres", "origins", "latents")},
    "residuals": "left",
    "units": "units",
    "sizes": "sizes",
}
"""Arrays of an index, and their names in a package."""
_CONFIG = ("dimension", "parts", "latent", "architectures", "row", "width", "depth", "heads")
