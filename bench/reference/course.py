"""What trained baselines are trained on: simulated plants of the families that the generator saw.

Episodes are drawn once with the code that trains the generator, and kept by content: the set
network and the D2NWG reference read the same ones. Baselines are kept the same way, so that an
interrupted benchmark goes on with what is finished.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from wg_common import streams
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import InternalError
from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.simulation.data import TrainingData, load_tasks, prepare
from wg_server.generator.weights import head_batch as batches
from wg_server.generator.weights.head_batch import Targets
from wg_server.generator.weights.head_denoiser import Batch
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo

_LIMIT = 1 << 30
_GROUP = 64


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Training material.

    Attributes:
        data: Tasks and their split, as in the generator's training.
        plan: The generator's plan.
        identity: Names zoo, split and plan, for caches.
        folder: Where results are kept.
    """

    data: TrainingData
    plan: GeneratorPlan
    identity: str
    folder: Path

    def episodes(self, count: int) -> tuple[Batch, Targets]:
        """Simulated plants of training families, padded to one size; drawn once."""

        def draw() -> dict[str, Tensor]:
            rng = streams.rng(Stream.BENCH_EPISODES, self.plan.seed)
            batch, targets = batches.collate_episodes(self.data.train.draw_many(rng, count))
            tensors = {f"batch.{f.name}": getattr(batch, f.name) for f in fields(Batch)}
            return tensors | {
                f"targets.{f.name}": getattr(targets, f.name) for f in fields(Targets)
            }

        kept = self.keep("episodes", {"count": count}, draw)
        return (
            Batch(**{f.name: kept[f"batch.{f.name}"] for f in fields(Batch)}),
            Targets(**{f.name: kept[f"targets.{f.name}"] for f in fields(Targets)}),
        )

    def keep(
        self, name: str, settings: Mapping[str, int], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors that were made before, or are made and kept now."""
        about = canonical.encode({"of": self.identity, "name": name, **settings})
        path = self.folder / f"{name}-{canonical.sha256_hex(about)[:24]}.safetensors"
        if path.is_file():
            return dict(safetensors.torch.load(atomic.read_bytes(path, limit=_LIMIT)))
        made = {k: v.detach().contiguous() for k, v in make().items()}
        # A baseline of NaN answers with the first class, and looks like a weak one.
        bad = [key for key, value in made.items() if not bool(torch.isfinite(value).all())]
        if bad:
            raise InternalError(f"{name}: training ended with {bad} not finite")
        atomic.write_bytes(path, safetensors.torch.save(made))
        return made


def course(home: ServerHome, folder: Path) -> Course:
    """The material of a trained home, by the plan on its model card."""
    card = versions.installed(home).card
    plan = msgspec.convert(card["training"]["plan"], type=GeneratorPlan)
    encoder = home.encoder_id()
    tasks = load_tasks(Zoo(home.zoo), encoder)
    data = prepare(tasks, encoder, seed=plan.seed, folds=plan.folds)
    keys = canonical.encode({"tasks": sorted(t.key for t in tasks), "seed": plan.seed})
    folder.mkdir(parents=True, exist_ok=True)
    return Course(data, plan, canonical.sha256_hex(keys), folder)


def pick(batch: Batch, targets: Targets, rows: np.ndarray) -> tuple[Batch, Targets]:
    """Some episodes of many."""
    index = torch.from_numpy(rows)
    return (
        Batch(**{f.name: getattr(batch, f.name)[index] for f in fields(Batch)}),
        Targets(**{f.name: getattr(targets, f.name)[index] for f in fields(Targets)}),
    )
