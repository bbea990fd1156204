"""The generator's plan: sizes, steps and rates. Read from YAML, strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wg_common.errors import ConfigError
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.zoo import plan as zoo_plan

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlan:
    """How a generator is trained.

    Attributes:
        seed: Of everything random.
        steps: Training steps.
        batch: Episodes a step.
        learning_rate: Peak rate of AdamW; cosine decay after a warm-up.
        weight_decay: Of AdamW.
        width: Width of the denoiser.
        depth: Blocks of the denoiser.
        latent: Size of a latent token.
        folds: Cross-fitting folds of the priors.
        functional: Weight of the functional loss.
        deterministic: Share of episodes trained for the deterministic head.
        average: Decay of the exponential moving average of weights.
        evaluate_every: Steps between evaluations on left-out families; a checkpoint each time.
        patience: Evaluations without a better one before training stops.
        episodes: Episodes of each evaluation; the model card takes four times as many.
        threads: Torch threads. Changes speed only.
        workers: Processes that draw episodes ahead; 0 draws in line. Changes speed only.
        networks: How whole networks are trained, where the zoo has some.
    """

    seed: int = 20240501
    steps: int = 2000
    batch: int = 16
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    width: int = 96
    depth: int = 3
    latent: int = 65
    folds: int = 4
    functional: float = 3.0
    deterministic: float = 0.35
    average: float = 0.995
    evaluate_every: int = 100
    patience: int = 8
    episodes: int = 120
    threads: int = 1
    workers: int = 2
    networks: NetworkTraining = field(default_factory=NetworkTraining)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "width",
            "depth",
            "latent",
            "evaluate_every",
            "patience",
            "episodes",
            "threads",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}, expected at least 1")
        if not 0 <= self.workers <= 256:
            raise ConfigError(f"workers: {self.workers}, expected 0 to 256")
        if self.folds < 2:
            raise ConfigError(f"folds: {self.folds}, expected at least 2")
        if self.width % 4:
            raise ConfigError(f"width: {self.width}, expected a multiple of 4")
        if not (0 < self.learning_rate < 1 and 0 <= self.deterministic <= 1):
            raise ConfigError("learning_rate or deterministic is not between 0 and 1")
        if not 0 <= self.average < 1:
            raise ConfigError(f"average: {self.average}, expected 0 to 1")


def read_plan(path: Path | None) -> GeneratorPlan:
    """Read a plan file, or a packaged plan (``default``, ``demo``).

    Raises:
        ConfigError: It is missing, not YAML, or a field is unknown or wrong; the message names it.
    """
    text, what = zoo_plan.read_text(path, "wg_server.generator", DEFAULT)
    return zoo_plan.parse(text, GeneratorPlan, what)
