"""What the plans of all trainings of the generator have in common."""

from dataclasses import dataclass
from typing import ClassVar

from wg_core import settings
from wg_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Sizes, steps and rates of one training.

    Attributes:
        steps: Training steps.
        batch: Episodes a step.
        learning_rate: Peak rate of AdamW; cosine decay after a warm-up.
        weight_decay: Of AdamW.
        width: Width of the denoiser.
        depth: Blocks of the denoiser.
        latent: Size of a latent token.
        functional: Weight of the functional loss.
        deterministic: Share of episodes trained for the deterministic answer.
        average: Decay of the exponential moving average of weights.
        evaluate_every: Steps between evaluations on left-out families; a checkpoint each time.
        patience: Evaluations without a better one before training stops.
        episodes: Episodes of each evaluation.
    """

    SECTION: ClassVar[str] = ""  # What stands before a field's name in messages

    steps: int = 2000
    batch: int = settings.fixed(16)
    learning_rate: float = settings.fixed(6e-4)
    weight_decay: float = settings.fixed(0.02)
    width: int = 96
    depth: int = 3
    latent: int = settings.fixed(65)
    functional: float = settings.fixed(3.0)
    deterministic: float = settings.fixed(0.35)
    average: float = settings.fixed(0.995)
    evaluate_every: int = 100
    patience: int = 8
    episodes: int = 120

    def __post_init__(self) -> None:
        self.check_positive(
            "steps", "batch", "width", "depth", "latent", "evaluate_every", "patience", "episodes"
        )
        self.check("width", self.width % 4 == 0, "a multiple of 4")
        self.check("learning_rate", 0 < self.learning_rate < 1, "above 0 and below 1")
        self.check("weight_decay", 0 <= self.weight_decay < 1, "0 or more and below 1")
        self.check("deterministic", 0 <= self.deterministic <= 1, "0 to 1")
        self.check("average", 0 <= self.average < 1, "0 or more and below 1")

    def check_positive(self, *names: str) -> None:
        """Refuse fields below 1.

        Raises:
            ConfigError: The message names the field.
        """
        for name in names:
            self.check(name, getattr(self, name) >= 1, "at least 1")

    def check(self, name: str, good: bool, expected: str) -> None:
        """Refuse a field that is out of range.

        Raises:
            ConfigError: It is not ``good``; the message names it and says what is expected.
        """
        if not good:
            value = getattr(self, name)
            raise ConfigError(f"{self.SECTION}{name}: {value}, expected {expected}")
