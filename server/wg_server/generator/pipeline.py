"""From a zoo to a generator package: all steps of ``wg-server train``, in order.

1. The zoo's tasks are read, families are split, and priors are fitted (``simulation.data``).
2. A denoiser of heads is trained on simulated plants (``weights.head_objective``), packed with its
   codec, its priors and what is kept of the zoo, and measured on left-out families: the model card.
3. Where the plan has them, networks from data sheets are trained on simulated machines
   (``weights.sheet_pipeline``), packed and measured likewise.

Packages are written at the end, as one new version (``versions``). Nothing is installed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wg_common import streams
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.modalities.registry import modality
from wg_common.nets.encoder import package as encoders
from wg_common.nets.family_network import FamilyNetwork
from wg_common.streams import Stream
from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.checks import Check
from wg_server.generator.evaluation import ablation, head_card, head_checks
from wg_server.generator.families import heads as operator_heads
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.prior import retrieval
from wg_server.generator.simulation.data import TrainingData, load_tasks, prepare
from wg_server.generator.training import compute, loop
from wg_server.generator.training.compute import Compute
from wg_server.generator.training.loop import Progress
from wg_server.generator.training.plan import TrainingPlan
from wg_server.generator.weights import sheet_pipeline
from wg_server.generator.weights.codec import Codec
from wg_server.generator.weights.head_objective import HeadObjective
from wg_server.generator.weights.head_package import Parts, pack
from wg_server.site.home import ServerHome
from wg_server.zoo import devices, family_heads
from wg_server.zoo import networks as zoo_networks
from wg_server.zoo.store import Zoo as Store
from wg_server.zoo.workers import threads


def train(
    home: ServerHome,
    plan: GeneratorPlan,
    *,
    progress: Progress,
    device: str = "cpu",
    precision: str = "auto",
) -> dict[str, Any]:
    """Train a generator on the home's zoo, write it as a new version, and return its model card.

    Beside the card the result has ``version``, the id of what was written.

    Args:
        progress: Called with ``steps`` done and a few words.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        ConfigError: There is no zoo, or too small a one; or no such device.
    """
    chosen = torch.device(devices.choose(device))
    kind = compute.choose_precision(precision, chosen)
    with threads(plan.threads), compute.reproducible(chosen):
        return _Pipeline(home, plan, progress, Compute(chosen, kind)).run()


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """One training."""

    home: ServerHome
    plan: GeneratorPlan
    progress: Progress
    how: Compute

    def run(self) -> dict[str, Any]:
        """Make the generator and write it; its card, and the version's id."""
        encoder = self.home.read_encoder()
        identity = canonical.sha256_hex(encoder)
        self.progress(0, "reading the zoo")
        tasks = load_tasks(Store(self.home.zoo), identity)
        self.progress(0, "cross-fitting what is known before training")
        data = prepare(
            tasks,
            identity,
            seed=self.plan.seed,
            folds=self.plan.folds,
            projection=encoders.projection_of_texts(encoder),
        )
        card, packed = self._heads(data, modality(encoders.read_modality(encoder)).head)
        sheets = None
        if self.plan.machines is not None:
            path, seed = self.home.sheets_checkpoint, self.plan.seed
            sheets, card["sheets"] = sheet_pipeline.make(
                self.plan.machines, seed, path, self._later_progress
            )
        version = versions.write(self.home, card, packed, sheets)
        for path in (self.home.checkpoint, self.home.sheets_checkpoint):
            path.unlink(missing_ok=True)
        return {**version.card, "version": version.id}

    def _later_progress(self, done: int, words: str) -> None:
        """What comes after heads."""
        self.progress(self.plan.steps + done, words)

    def _heads(self, data: TrainingData, architecture: str) -> tuple[dict[str, Any], bytes]:
        """Train and pack a generator of heads; its card, and the package."""
        plan, backend = self.plan, self.how
        objective = HeadObjective(data, plan, plan.seed, workers=plan.workers, backend=backend)
        identity = _identity(
            plan, encoder=data.encoder, tasks=sorted(task.key for task in data.tasks)
        )
        state = loop.train(objective, plan, self.home.checkpoint, identity, self.progress, backend)
        self.progress(plan.steps, "writing the model card")
        codec, gate = objective.finish()
        owned = list(family_heads.entries(Store(self.home.zoo), data.encoder))
        networks = self._family_networks(owned)
        parts = Parts(
            encoder=data.encoder,
            architecture=architecture,
            denoiser=objective.model,
            codec=codec,
            priors=data.fitted_priors.priors,
            zoo_index=retrieval.with_neighbour_distance(data.fitted_priors.zoo_index),
            operator_families=operator_heads.collect(
                data.tasks,
                self._family_heads(owned),
                {family: several for family, (_, several) in networks.items()},
            ),
            names=data.fitted_priors.names,
        )
        packed = pack(parts)
        training_figures = {
            "training": {**state.figures(), "plan": canonical.to_builtins(plan), "gate": gate},
            "own_families": {
                entry.family: entry.figures
                | ({"network": networks[entry.family][0]} if entry.family in networks else {})
                for entry in owned
            },
        }
        document = {
            "generator": canonical.sha256_hex(packed),
            **training_figures,
            **_head_figures(plan, data, parts, objective.codec),
        }
        document["ablation"] = ablation.table(
            document["scenarios"][ablation.SCENARIO], list(document["own_families"].values())
        )
        return _checked(document, head_checks.checks(document)), packed

    def _family_heads(
        self, owned: Sequence[family_heads.FamilyHeadEntry]
    ) -> dict[str, tuple[Layout, FamilyHead]]:
        zoo = Store(self.home.zoo)
        return {entry.family: family_heads.read(zoo, entry) for entry in owned}

    def _family_networks(
        self, owned: Sequence[family_heads.FamilyHeadEntry]
    ) -> dict[str, tuple[str, Sequence[FamilyNetwork]]]:
        """Networks that stand beside heads of the operator's families, if the zoo has such.

        With the first one's accuracy of held-out records at made-up sites.
        """
        zoo, tasks = Store(self.home.zoo), {entry.task for entry in owned}
        return {
            entry.family: (entry.at_sites, zoo_networks.read(zoo, entry))
            for entry in zoo_networks.networks(zoo)
            if entry.task in tasks
        }


def _head_figures(
    plan: GeneratorPlan, data: TrainingData, parts: Parts, codec: Codec
) -> dict[str, Any]:
    """What a model card says of packed heads, on families that no training saw."""
    test = data.test.draw_many(streams.rng(Stream.TEST_EPISODES, plan.seed), plan.episodes)
    rng = streams.rng(Stream.COPY_TEST, plan.seed)
    return {
        "encoder": data.encoder,
        "architecture": parts.architecture,
        "parameters": sum(p.numel() for p in parts.denoiser.parameters()),
        "zoo": {
            "sha256": canonical.sha256_hex("".join(sorted(t.key for t in data.tasks)).encode()),
            "tasks": len(data.tasks),
            "train_families": len(data.split.train),
            "validation_families": list(data.split.validation),
            "test_families": list(data.split.test),
        },
        "codec": head_card.codec_fidelity(codec, test),
        "diversity": head_card.diversity(parts, test[:20]),
        "memorisation": head_card.copies(parts, data.training_tasks, test[:40], rng),
        **head_card.evaluate(parts, data.test, episodes=2 * plan.episodes, seed=plan.seed),
    }


def _checked(document: dict[str, Any], checks: Sequence[Check]) -> dict[str, Any]:
    """A card with its checks, and what they come to."""
    return {
        **document,
        "checks": [check.document() for check in checks],
        "passes": all(check.passed for check in checks),
        "alarms": head_checks.alarms(document),
    }


def _identity(plan: TrainingPlan, **contents: Any) -> str:
    """What a checkpoint belongs to."""
    document = {
        "plan": {key: str(value) for key, value in canonical.to_builtins(plan).items()},
        **contents,
    }
    return canonical.sha256_hex(canonical.encode(document))
