"""Package of a generator of heads: one safetensors file.

It contains the priors on classes, and the operator's families, if any. Its SHA-256 is the
generator's id. The model card is a separate JSON file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wg_common.catalogue import find_architecture
from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities.registry import find_modality
from wg_common.weights_package import NO_PRIVACY, PrivacyGuarantee
from wg_server.generator import tensor_file
from wg_server.generator.families import heads as families
from wg_server.generator.families.heads import OperatorFamilies
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.class_names import ClassPriors, NameRegression

FORMAT_VERSION = 1
PACKAGE_LIMIT = 512 << 20
FORMAT_NAME = "weightgate-generator"


@dataclass(frozen=True, slots=True, eq=False)
class HeadPackage:
    """Content of the package of a generator of heads.

    Attributes:
        encoder_sha256: Id of the encoder that the heads are for, hex.
        architecture: Name of the heads' architecture in ``wg_common.catalogue``.
        priors: Variances of the mixed model of class means.
        operator_families: The operator's families, or None.
        name_regression: Map from class names to class deviations, or None.
    """

    encoder_sha256: str
    architecture: str
    priors: ModelVariances
    operator_families: OperatorFamilies | None = None
    name_regression: NameRegression | None = None

    @property
    def fitted_priors(self) -> ClassPriors:
        """Priors of class means: variances, and the map from class names."""
        return ClassPriors(self.priors, self.name_regression)


def pack_heads(package: HeadPackage) -> bytes:
    """Encode the package of a generator of heads as a safetensors file."""
    tensors = {
        f"priors.{name}": torch.tensor(getattr(package.priors, name), dtype=torch.float64)
        for name in _PRIOR_FIELDS
    }
    document: dict[str, Any] = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "encoder": package.encoder_sha256,
        "architecture": package.architecture,
    }
    if package.operator_families is not None:
        arrays = package.operator_families.arrays()
        tensors |= {f"{_FAMILIES_PREFIX}.{k}": torch.from_numpy(v) for k, v in arrays.items()}
        document[_FAMILIES_PREFIX] = _describe_families(package.operator_families)
    if package.name_regression is not None:
        for name in _NAME_MAP_FIELDS:
            value = getattr(package.name_regression, name)
            tensors[f"{_NAME_MAP_PREFIX}.{name}"] = torch.tensor(value, dtype=torch.float64)
    return tensor_file.pack_tensors(tensors, _HEADER_KEY, document)


def unpack_heads(data: bytes) -> HeadPackage:
    """Decode the package of a generator of heads.

    Raises:
        DecodeError: The bytes are not such a package of this version, or are inconsistent.
    """
    tensors, document = tensor_file.unpack_tensors(
        data,
        _HEADER_KEY,
        format_name=FORMAT_NAME,
        version=FORMAT_VERSION,
        limit_bytes=PACKAGE_LIMIT,
    )
    with tensor_file.convert_decode_errors(_HEADER_KEY):
        return HeadPackage(
            encoder_sha256=str(document["encoder"]),
            architecture=str(document["architecture"]),
            priors=ModelVariances(
                **{name: _to_numpy(tensors[f"priors.{name}"]) for name in _PRIOR_FIELDS}
            ),
            operator_families=_decode_families(tensors, document)
            if _FAMILIES_PREFIX in document
            else None,
            name_regression=NameRegression(
                **{
                    name: _to_numpy(tensors[f"{_NAME_MAP_PREFIX}.{name}"])
                    for name in _NAME_MAP_FIELDS
                }
            )
            if f"{_NAME_MAP_PREFIX}.{_NAME_MAP_FIELDS[0]}" in tensors
            else None,
        )


def _describe_families(operator_families: OperatorFamilies) -> dict[str, Any]:
    return {
        "families": list(operator_families.families),
        "labels": [list(family.labels) for family in operator_families.families.values()],
        "scaled": operator_families.layout.scaled_count,
        "blocks": list(operator_families.layout.block_sizes),
        "privacy": {
            name: asdict(family.privacy)
            for name, family in operator_families.families.items()
            if family.privacy != NO_PRIVACY
        },
    }


def _decode_families(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any]
) -> OperatorFamilies:
    description = document[_FAMILIES_PREFIX]
    arrays = {
        k: v.numpy() for k, v in tensor_file.select_tensors(tensors, f"{_FAMILIES_PREFIX}.").items()
    }
    pairs = zip(description["families"], description["labels"], strict=True)
    labels = {str(name): tuple(map(str, class_names)) for name, class_names in pairs}
    layout = FeatureLayout(int(description["scaled"]), tuple(map(int, description["blocks"])))
    architecture = find_modality(
        find_architecture(str(document["architecture"])).modality
    ).family_network
    dimension = len(tensors["priors.within"])
    read = families.families_from_arrays(arrays, labels, layout, dimension, architecture)
    privacy = {
        name: PrivacyGuarantee(**values) for name, values in description.get("privacy", {}).items()
    }
    return OperatorFamilies(
        layout,
        {
            name: replace(family, privacy=privacy.get(name, NO_PRIVACY))
            for name, family in read.families.items()
        },
    )


_HEADER_KEY = "generator"
_FAMILIES_PREFIX = "own_kinds"
_NAME_MAP_PREFIX = "name_map"
_NAME_MAP_FIELDS = ("matrix", "explained")
_PRIOR_FIELDS = ("basis", "between", "within", "site", "whitener")


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float64).numpy()
