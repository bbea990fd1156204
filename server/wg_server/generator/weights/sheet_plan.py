"""How networks from data sheets are trained: a section of the generator's plan."""

from dataclasses import dataclass
from typing import ClassVar

from wg_core import settings
from wg_server.generator.training.plan import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetTraining(TrainingPlan):
    """How networks from data sheets of rotating machines are trained.

    Attributes:
        windows: Of each condition of a machine.
        zoo: Machines that the Gaussian of latents is fitted to.
        test_machines: That the card is measured on.
        test_windows: Of each condition of one of these.
    """

    SECTION: ClassVar[str] = "machines."

    steps: int = 1400
    learning_rate: float = settings.fixed(2e-3)
    weight_decay: float = settings.fixed(0.01)
    patience: int = settings.fixed(100)
    episodes: int = settings.fixed(60)
    windows: int = settings.fixed(4)
    zoo: int = settings.fixed(4000)
    test_machines: int = 100
    test_windows: int = settings.fixed(24)

    def __post_init__(self) -> None:
        TrainingPlan.__post_init__(self)
        self.check_positive("windows", "zoo")
        self.check("test_machines", self.test_machines >= 2, "at least 2")
        self.check("test_windows", self.test_windows >= 2, "at least 2")
