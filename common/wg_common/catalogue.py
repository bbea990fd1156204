"""The catalogue: architectures, weight plans and sources of candidates, by name. Needs no torch.

An *architecture* is a head on the encoder (one for each modality, ``modalities.registry``), or a
whole network (``NETWORKS``), whose module is imported when it is first run. To add a whole network:
one entry here, and its module, which has a ``NETWORK`` (``wg_common.nets.network.Kind``).

A *weight plan* says which part of a network is generated; the rest is the public base's.
"""

from dataclasses import dataclass
from typing import Final, Literal

from wg_common.modalities.registry import MODALITIES
from wg_core.errors import ConfigError

WeightPlan = Literal["head", "norm", "low-rank", "layers", "whole"]
WEIGHT_PLANS: Final[tuple[WeightPlan, ...]] = ("head", "norm", "low-rank", "layers", "whole")
"""From the narrowest to the widest; what each generates: ``wg_server.generator.weights``."""
HEAD_PLAN: Final = "head"


HEAD_WEIGHT: Final = "head.weight"
HEAD_BIAS: Final = "head.bias"  # Names of a head's tensors, [K, F] and [K], in every architecture

CandidateSource = Literal[
    "diffusion", "network", "closed-form", "retrieval", "base", "posterior", "kin"
]
"""How a candidate of a weights package came about:

``diffusion`` (a sample, or a mean of samples), ``network`` (deterministic head of the generator),
``closed-form`` (from noisy statistics by formula), ``retrieval`` (from nearest zoo entries),
``base`` (the public base), ``kin`` (a head on all local features, or a whole network, from records
of this kind of plant that the operator has) or ``posterior`` (no weights: a
``wg_common.inference.posterior.Posterior``).
"""
BASE: Final = "base"  # Of a whole network: what a plant's own training starts from
POSTERIOR: Final = "posterior"
"""Of what a plant finishes with its own records, rather than of weights."""
SAME_FAMILY: Final = "kin"
"""Of a head on all local features or a whole network: the server knows the kind of the plant."""
GENERATED_SOURCES: Final = frozenset({"diffusion", "network", "retrieval", SAME_FAMILY})


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """One architecture.

    Attributes:
        name: Its name in manifests, plans and settings.
        modality: Name of the modality of its records.
        plans: Weight plans that it can be generated under, the narrowest first.
        module: Of a whole network: its module. Empty: a head on the encoder.
        width: Channels of the first layer of a whole network; larger ones have more.
        domain_shift: Whether the zoo trains a second network on the operator's own records, with
            domain-shift augmentation.
        base_steps: Steps of the public base's training, over the zoo plan's.
    """

    name: str
    modality: str
    plans: tuple[WeightPlan, ...] = WEIGHT_PLANS
    module: str = ""
    width: int = 0
    domain_shift: bool = False
    base_steps: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether its tensors hold a trunk of their own, rather than a head on the encoder."""
        return bool(self.module)

    @property
    def all_own(self) -> bool:
        """Whether all its weights are trained, rather than a few changes of published ones."""
        return self.whole and "whole" in self.plans

    def widest(self, plan: str) -> WeightPlan:
        """A weight plan by name, or the widest that there is of one that is wider.

        Raises:
            ConfigError: No such plan.
        """
        plan_name = check_plan(plan)
        return plan_name if plan_name in self.plans else self.plans[-1]


_CNN = "wg_common.nets.cnn"
_CNN1D = "wg_common.nets.cnn1d"
NETWORKS: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (
        ArchitectureSpec("cnn-s", "images", module=_CNN, width=8, domain_shift=True),
        ArchitectureSpec("cnn-m", "images", module=_CNN, width=16, domain_shift=True),
        # A step of the large one takes five times as long.
        ArchitectureSpec(
            "cnn-l", "images", module=_CNN, width=40, domain_shift=True, base_steps=0.3
        ),
        ArchitectureSpec(
            "spectrum-lines",
            "windows",
            ("whole",),
            module="wg_common.nets.spectrum_lines",
            width=64,
        ),
        ArchitectureSpec("cnn1d-s", "windows", module=_CNN1D, width=8, domain_shift=True),
        ArchitectureSpec("cnn1d-m", "windows", module=_CNN1D, width=16, domain_shift=True),
        ArchitectureSpec(
            "lite0",
            "images",
            ("head", "norm", "low-rank"),
            module="wg_common.nets.lite0",
            width=32,
            domain_shift=True,
        ),
    )
}
"""Whole networks. 24, 82 and 476 thousand parameters; 107 thousand; 39 and 82; 3.4 million, of
which 51 thousand are the network's own and the rest the public base's."""
BESIDE: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (ArchitectureSpec("lite0-low", "images", (), module="wg_common.nets.lite0_low"),)
}
"""Networks that stand beside heads of a family and are nothing else. 254 thousand parameters."""


def architectures() -> dict[str, ArchitectureSpec]:
    """All architectures by name: a head for each modality, and ``NETWORKS``."""
    heads = {
        modality.head: ArchitectureSpec(modality.head, modality.name, (HEAD_PLAN,))
        for modality in MODALITIES.values()
    }
    return heads | NETWORKS


def known(name: str) -> ArchitectureSpec:
    """The architecture of a name.

    Raises:
        ConfigError: No such architecture.
    """
    specs = architectures()
    if name not in specs:
        raise ConfigError(f"architecture {name!r}: expected one of {', '.join(specs)}")
    return specs[name]


def network(name: str) -> ArchitectureSpec:
    """A network of ``BESIDE``, or an architecture that one may ask for; raises as ``known``."""
    return BESIDE.get(name) or known(name)


def check_plan(name: str) -> WeightPlan:
    """A weight plan by name.

    Raises:
        ConfigError: No such plan.
    """
    for plan in WEIGHT_PLANS:
        if plan == name:
            return plan
    raise ConfigError(f"weight plan {name!r}: expected one of {', '.join(WEIGHT_PLANS)}")
