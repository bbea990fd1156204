"""How the generator of whole networks is trained: a section of the generator's plan."""

from __future__ import annotations

from dataclasses import dataclass

from wg_common.errors import ConfigError

CODECS = ("auto", "pca", "vae")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTraining:
    """One training for all architectures of the zoo.

    Attributes:
        weight_plan: Which parts are generated: ``head``, ``norm``, ``low-rank``, ``layers`` or
            ``whole``.
        steps: Training steps.
        batch: Episodes a step.
        learning_rate: Peak rate of AdamW.
        width: Width of the denoiser.
        depth: Blocks of the denoiser.
        latent: Size of a part's latent.
        codec: ``pca``, ``vae``, or ``auto``: the one whose decoded networks do better on
            left-out families.
        functional: Weight of the functional loss.
        functional_episodes: Episodes of a batch that it is computed on: it runs the networks.
        deterministic: Share of episodes trained for the deterministic network.
        average: Decay of the moving average.
        evaluate_every: Steps between evaluations on left-out families; a checkpoint each time.
        patience: Evaluations without a better one before training stops.
        episodes: Episodes of an evaluation.
    """

    weight_plan: str = "whole"
    steps: int = 600
    batch: int = 12
    learning_rate: float = 6e-4
    width: int = 96
    depth: int = 3
    latent: int = 16
    codec: str = "auto"
    functional: float = 3.0
    functional_episodes: int = 4
    deterministic: float = 0.4
    average: float = 0.99
    evaluate_every: int = 50
    patience: int = 6
    episodes: int = 80

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "width",
            "depth",
            "latent",
            "functional_episodes",
            "evaluate_every",
            "patience",
            "episodes",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"networks.{name}: {getattr(self, name)}, expected at least 1")
        if self.codec not in CODECS:
            raise ConfigError(f"networks.codec: {self.codec!r}, expected {', '.join(CODECS)}")
        if self.width % 4:
            raise ConfigError(f"networks.width: {self.width}, expected a multiple of 4")
        if not (0 < self.learning_rate < 1 and 0 <= self.deterministic <= 1):
            raise ConfigError("networks.learning_rate or deterministic is not between 0 and 1")
        if not 0 <= self.average < 1:
            raise ConfigError(f"networks.average: {self.average}, expected 0 to 1")
