"""Plan of a generator: settings of its training and evaluation, read strictly from YAML."""

from dataclasses import dataclass
from pathlib import Path

from wg_core import yaml_settings
from wg_server.zoo import plan as zoo_plan

DEFAULT_PLAN = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlan:
    """Settings of a generator's training and evaluation.

    Attributes:
        seed: Seed of all random choices, such as the held-out families.
        episodes: Number of simulated plants in each scenario of the model card.
        machine_steps: Training steps of the networks for each kind of machine that has a reading
            map; 0: no networks are trained.
    """

    seed: int = 20240501
    episodes: int = 240
    machine_steps: int = 1200

    def __post_init__(self) -> None:
        yaml_settings.check_range("seed", self.seed, 0, 1 << 62)
        yaml_settings.check_range("episodes", self.episodes, 2, 1_000_000)
        yaml_settings.check_range("machine_steps", self.machine_steps, 0, 1_000_000)


def read_plan(path: Path | None) -> GeneratorPlan:
    """Read a generator's plan from a file, or a packaged one: ``default``, ``demo`` or ``quick``.

    If ``path`` is None, the packaged plan ``default`` is read.

    Raises:
        ConfigError: The file is missing or not YAML, or a field, which the message names, is
            unknown or out of its range.
    """
    text, source = zoo_plan.read_plan_bytes_and_name(path, "wg_server.generator", DEFAULT_PLAN)
    return yaml_settings.parse_yaml(text, GeneratorPlan, source)
