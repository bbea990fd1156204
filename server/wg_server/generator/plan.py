"""The generator's plan: sizes, steps and rates. Read from YAML, strictly."""

from dataclasses import dataclass
from pathlib import Path

from wg_core import settings
from wg_server.generator.training.plan import TrainingPlan
from wg_server.generator.weights.sheet_plan import SheetTraining
from wg_server.zoo import plan as zoo_plan

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlan(TrainingPlan):
    """How the generator is trained.

    Attributes:
        seed: Of everything random.
        folds: Cross-fitting folds of the priors.
        threads: Torch threads. Changes speed only.
        workers: Processes that draw episodes ahead; 0 draws in line. Changes speed only.
        machines: How networks from data sheets of rotating machines are trained; None: there are
            none.
    """

    seed: int = 20240501
    folds: int = settings.fixed(4)
    threads: int = settings.fixed(1)
    workers: int = 2
    machines: SheetTraining | None = None

    @property
    def all_steps(self) -> int:
        """Steps of all trainings."""
        return self.steps + (self.machines.steps if self.machines else 0)

    def __post_init__(self) -> None:
        TrainingPlan.__post_init__(self)
        self.check_positive("threads")
        self.check("workers", 0 <= self.workers <= 256, "0 to 256")
        self.check("folds", self.folds >= 2, "at least 2")


def read_plan(path: Path | None) -> GeneratorPlan:
    """Read a plan file, or a packaged plan (``default``, ``demo``).

    Raises:
        ConfigError: It is missing, not YAML, or a field is unknown or wrong; the message names it.
    """
    text, source = zoo_plan.read_text(path, "wg_server.generator", DEFAULT)
    return settings.parse(text, GeneratorPlan, source)
