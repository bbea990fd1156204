"""Catalogue of architectures and of candidate sources by name, without torch.

An *architecture* is a head on the encoder (one for each modality, ``modalities.registry``) or a
network (``PACKAGE_NETWORKS``). The module of a network is imported when the network first runs, and
the plant uses its features together with the encoder's. A new network needs one entry here and a
module with a ``NETWORK`` (``wg_common.nets.network.NetworkKind``).
"""

from dataclasses import dataclass
from typing import Final, Literal

from wg_common.modalities.registry import MODALITIES
from wg_core.errors import ConfigError

HEAD_WEIGHT_TENSOR: Final = "head.weight"
HEAD_BIAS_TENSOR: Final = (
    "head.bias"  # Names of a head's tensors, [K, F] and [K], in every architecture
)

SPECTRUM_LINES_NETWORK: Final = "spectrum-lines"
"""Network for rotating machines, generated from a data sheet."""

PROCESS_SENSOR_NETWORK: Final = "process-sensor"
"""Soft sensor for process units (``wg_common.nets.process_sensor``); it has no classes, so
``architectures`` does not list it."""

CandidateSource = Literal["diffusion", "posterior", "kin", "catalogue", "conditioned"]
"""Source of a candidate in a weights package.

- ``diffusion``: a network sampled by the diffusion model, or the mean of its distribution.
- ``conditioned``: a network for all units of a kind, specialised by one plant's data sheet and
  release.
- ``kin``: a head on all local features, perhaps with a network, fitted on the operator's records of
  the family that the plant's class names match.
- ``catalogue``: a head of any family, with its own classes, for class names that match none.
- ``posterior``: in place of weights, equations that the plant completes with its own records
  (``wg_common.inference.posterior.Posterior``).
"""
InputScaling = Literal["raw", "standardised"]
"""Treatment of a network's inputs: raw, or standardised by mean and standard deviation over all
records of the plant (``wg_common.nets.network.adapt_trunk``)."""
POSTERIOR_SOURCE: Final = "posterior"
"""Source of a candidate of equations, which the plant completes with its own records."""
SAME_FAMILY_SOURCE: Final = "kin"
"""Source of a head of the operator's family whose class names match those of the plant."""
ANY_FAMILY_SOURCE: Final = "catalogue"
"""Source of a head of any of the operator's families, with the class names of that family."""
FAMILY_SOURCES: Final = frozenset({SAME_FAMILY_SOURCE, ANY_FAMILY_SOURCE})
DIFFUSION_SOURCE: Final = "diffusion"
"""Source of weights that were generated for the plant's declared machine."""
SOFT_SENSOR_SOURCE: Final = "conditioned"
"""Source of soft sensors."""


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """Architecture of candidate weights: a head on the encoder, or a network.

    Attributes:
        name: Name in manifests, plans and settings.
        modality: Name of the modality of its records.
        module: Python module that runs the network; empty for a head on the encoder.
    """

    name: str
    modality: str
    module: str = ""

    @property
    def is_network(self) -> bool:
        """True if the architecture has its own trunk; False for a head on the encoder."""
        return bool(self.module)


PACKAGE_NETWORKS: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (
        ArchitectureSpec(SPECTRUM_LINES_NETWORK, "windows", "wg_common.nets.spectrum_lines"),
    )
}
"""Networks in packages, by name; ``spectrum-lines`` has 107 thousand parameters."""
FAMILY_NETWORKS: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (ArchitectureSpec("lite0-low", "images", "wg_common.nets.lite0_low"),)
}
"""Networks that accompany family heads, by name; ``lite0-low`` has 254 thousand parameters."""


def architectures() -> dict[str, ArchitectureSpec]:
    """Return all architectures by name: a head for each modality, and ``PACKAGE_NETWORKS``."""
    heads = {
        modality.head_architecture: ArchitectureSpec(modality.head_architecture, modality.name)
        for modality in MODALITIES.values()
    }
    return heads | PACKAGE_NETWORKS


def find_architecture(name: str) -> ArchitectureSpec:
    """Look up an architecture by name.

    Raises:
        ConfigError: There is no such architecture.
    """
    specs = architectures()
    if name not in specs:
        raise ConfigError(f"architecture {name!r}: expected one of {', '.join(specs)}")
    return specs[name]


def find_network(name: str) -> ArchitectureSpec:
    """Return an architecture by name, including networks of operators' families.

    Raises:
        ConfigError: As for ``find_architecture``.
    """
    return FAMILY_NETWORKS.get(name) or find_architecture(name)
