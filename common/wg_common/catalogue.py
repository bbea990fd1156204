"""The catalogue: architectures and sources of candidates, by name. Needs no torch.

An *architecture* is what a package holds: a head on the encoder (one for each modality,
``modalities.registry``), or a network (``NETWORKS``), whose module is imported when it is first run
and whose features stand beside the encoder's. To add a network: one entry here, and its module,
which has a ``NETWORK`` (``wg_common.nets.network.Kind``).
"""

from dataclasses import dataclass
from typing import Final, Literal

from wg_common.modalities.registry import MODALITIES
from wg_core.errors import ConfigError

HEAD_WEIGHT: Final = "head.weight"
HEAD_BIAS: Final = "head.bias"  # Names of a head's tensors, [K, F] and [K], in every architecture

SPECTRUM_LINES: Final = "spectrum-lines"
"""Of rotating machines: made from a data sheet."""

PROCESS_SENSOR: Final = "process-sensor"
"""Of process units: a soft sensor (``wg_common.nets.process_sensor``), which has no classes, so
that it stands in no ``architectures``."""

CandidateSource = Literal["diffusion", "posterior", "kin", "catalogue", "conditioned"]
"""How a candidate of a weights package came about:

``diffusion`` (a sample, or the mean that samples are drawn about), ``conditioned`` (a network of
all units of a kind, in which what one plant states and released is folded), ``kin`` (a head on all
local features, perhaps with networks beside it, from records of this kind of plant that the
operator has), ``catalogue`` (the same of any kind, with classes of its own, for a plant whose class
names say nothing) or ``posterior`` (no weights: a ``wg_common.inference.posterior.Posterior``).
"""
Inputs = Literal["raw", "standardised"]
"""Treatment of what goes into a network: as it is read, or every number minus its mean over all of
the plant's own records, and over its spread there (``wg_common.nets.network.trunk_at``)."""
POSTERIOR: Final = "posterior"
"""Of what a plant finishes with its own records, rather than of weights."""
SAME_FAMILY: Final = "kin"
"""Of a head on all local features: the class names are those of a kind that the operator has."""
ANY_FAMILY: Final = "catalogue"
"""The same with classes of its own: the plant's labels say which of them are its."""
FAMILIES: Final = frozenset({SAME_FAMILY, ANY_FAMILY})
DIFFUSION: Final = "diffusion"
"""Of weights that were made for what the plant states of its machine."""
CONDITIONED: Final = "conditioned"
"""Of soft sensors."""


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """One architecture.

    Attributes:
        name: Name in manifests, plans and settings.
        modality: Name of the modality of its records.
        module: Module of a network. Empty: a head on the encoder.
    """

    name: str
    modality: str
    module: str = ""

    @property
    def is_network(self) -> bool:
        """True if its tensors hold a trunk of their own, rather than a head on the encoder."""
        return bool(self.module)


NETWORKS: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (ArchitectureSpec(SPECTRUM_LINES, "windows", "wg_common.nets.spectrum_lines"),)
}
"""Networks that packages hold. 107 thousand parameters."""
BESIDE: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (ArchitectureSpec("lite0-low", "images", "wg_common.nets.lite0_low"),)
}
"""Networks that come with heads of a family. 254 thousand parameters."""


def architectures() -> dict[str, ArchitectureSpec]:
    """All architectures by name: a head for each modality, and ``NETWORKS``."""
    heads = {
        modality.head: ArchitectureSpec(modality.head, modality.name)
        for modality in MODALITIES.values()
    }
    return heads | NETWORKS


def architecture_of(name: str) -> ArchitectureSpec:
    """The architecture of a name.

    Raises:
        ConfigError: No such architecture.
    """
    specs = architectures()
    if name not in specs:
        raise ConfigError(f"architecture {name!r}: expected one of {', '.join(specs)}")
    return specs[name]


def network(name: str) -> ArchitectureSpec:
    """A network of ``BESIDE``, or one of the catalogue; errors as of ``architecture_of``."""
    return BESIDE.get(name) or architecture_of(name)
