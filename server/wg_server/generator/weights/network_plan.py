"""How the generator of whole networks is trained: a section of the generator's plan."""

from dataclasses import dataclass
from typing import ClassVar

from wg_common import catalogue
from wg_core import settings
from wg_server.generator.training.plan import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTraining(TrainingPlan):
    """One training for all architectures of the zoo.

    Attributes:
        weight_plan: Which parts are generated: one of ``catalogue.WEIGHT_PLANS``.
        functional_episodes: Episodes of a batch that the functional loss is computed on: it runs
            the networks.
    """

    SECTION: ClassVar[str] = "networks."

    weight_plan: str = settings.fixed("whole")
    functional_episodes: int = settings.fixed(4)
    steps: int = 600
    width: int = 96
    depth: int = 3
    batch: int = settings.fixed(12)
    latent: int = settings.fixed(16)
    deterministic: float = settings.fixed(0.4)
    average: float = settings.fixed(0.99)
    evaluate_every: int = 50
    patience: int = settings.fixed(6)
    episodes: int = 80

    def __post_init__(self) -> None:
        TrainingPlan.__post_init__(self)
        catalogue.check_plan(self.weight_plan)
        self.check_positive("functional_episodes")
