"""Plan of a generator, read strictly from YAML."""

from dataclasses import dataclass
from pathlib import Path

from wg_core import settings
from wg_server.zoo import plan as zoo_plan

DEFAULT_PLAN = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlan:
    """Settings of a generator's training and evaluation.

    Attributes:
        seed: Seed of the held-out families and of the plants of the model card.
        episodes: Number of simulated plants in each scenario of the card.
        machine_steps: Training steps of networks for each machine kind that has a reading map; 0:
            no such networks.
    """

    seed: int = 20240501
    episodes: int = 240
    machine_steps: int = 1200

    def __post_init__(self) -> None:
        settings.check_range("seed", self.seed, 0, 1 << 62)
        settings.check_range("episodes", self.episodes, 2, 1_000_000)
        settings.check_range("machine_steps", self.machine_steps, 0, 1_000_000)


def read_plan(path: Path | None) -> GeneratorPlan:
    """Read a plan file, or a packaged plan (``default``, ``demo``, ``quick``).

    Raises:
        ConfigError: The file is missing or not YAML, or a field is unknown or wrong; the message
            names it.
    """
    text, source = zoo_plan.read_plan_text(path, "wg_server.generator", DEFAULT_PLAN)
    return settings.parse_yaml(text, GeneratorPlan, source)
