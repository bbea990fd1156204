"""From a zoo to a generator package: all steps of ``wg-server train``, in order.

1. The zoo's tasks are read, families are split, and priors are fitted (``simulation.data``).
2. A denoiser of heads is trained on simulated plants (``weights.head_objective``), packed with its
   codec, its priors and what is kept of the zoo, and measured on left-out families: the model card.
3. If the zoo has whole networks, a second denoiser is trained for them on the same split
   (``weights.network_objective``), packed and measured likewise; it names the package of heads that
   it stands on.

Both trainings are the same loop (``training.loop``). The checkpoint of heads stays until networks
are done: a training that is killed while it learns networks does not learn heads again. The card of
heads is made beside the training of networks, and both packages are written at the end, as one new
version (``versions``). Nothing is installed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wg_common import catalogue, streams
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.modalities.registry import modality
from wg_common.nets.encoder import package as encoders
from wg_common.nets.family_network import FamilyNetwork
from wg_common.nets.network import trunk_only
from wg_common.streams import Stream
from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.checks import Check
from wg_server.generator.evaluation import (
    ablation,
    codec_fidelity,
    head_card,
    head_checks,
    network_card,
)
from wg_server.generator.evaluation.retrieval_weight import measure_weight
from wg_server.generator.families import heads as operator_heads
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.prior import retrieval
from wg_server.generator.simulation.data import TrainingData, load_tasks, prepare
from wg_server.generator.training import beside, compute, loop
from wg_server.generator.training.compute import Compute
from wg_server.generator.training.loop import Progress
from wg_server.generator.training.plan import TrainingPlan
from wg_server.generator.weights import network_package
from wg_server.generator.weights.codec import Codec
from wg_server.generator.weights.head_objective import HeadObjective
from wg_server.generator.weights.head_package import Parts, pack
from wg_server.generator.weights.network_denoiser import NetworkDenoiser
from wg_server.generator.weights.network_episodes import NetworkZoo
from wg_server.generator.weights.network_objective import SCENARIO, NetworkObjective
from wg_server.generator.weights.network_zoo import load_zoos
from wg_server.site.home import ServerHome
from wg_server.zoo import bases, devices, family_heads
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


def steps(home: ServerHome, plan: GeneratorPlan) -> int:
    """Most steps that a training takes; the zoo says whether there are networks to learn from."""
    has_base = (bases.base_path(home.zoo, name).is_file() for name in catalogue.NETWORKS)
    return plan.steps + (plan.networks.steps if any(has_base) else 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """A packed generator of heads whose card is being made.

    Attributes:
        packed: The package.
        known: Of the card, what is known already.
        figures: Waits for the rest.
    """

    packed: bytes
    known: Mapping[str, Any]
    figures: Callable[[], dict[str, Any]]

    @property
    def identity(self) -> str:
        """Of the package."""
        return canonical.sha256_hex(self.packed)

    def card(self) -> dict[str, Any]:
        """The complete card."""
        document = {"generator": self.identity, **self.known, **self.figures()}
        document["ablation"] = ablation.table(
            document["scenarios"][ablation.SCENARIO], list(document["own_families"].values())
        )
        return _checked(document, head_checks.checks(document))


@dataclass(frozen=True, slots=True, eq=False)
class _Networks:
    """A packed generator of whole networks, and its card."""

    packed: bytes
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """One training."""

    home: ServerHome
    plan: GeneratorPlan
    progress: Progress
    how: Compute

    def run(self) -> dict[str, Any]:
        """Make both generators and write them; the card of heads with that of networks in it."""
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
        architecture = modality(encoders.read_modality(encoder)).head
        with beside.opened(self.plan.workers) as begin:
            heads = self._heads(data, architecture, begin)
            networks, scarce = self._networks(data, heads.identity)
            return self._written(heads, networks, scarce)

    def _written(
        self, heads: _Heads, networks: _Networks | None, scarce: Mapping[str, int]
    ) -> dict[str, Any]:
        """Write what was made as one version; its card, and the version's id."""
        network_entries = {
            "networks": networks.card if networks else None,
            "too_few_networks": scarce,
        }
        card = {**heads.card(), **network_entries}
        version = versions.write(
            self.home, card, heads.packed, networks.packed if networks else None
        )
        for path in (self.home.checkpoint, self.home.networks_checkpoint):
            path.unlink(missing_ok=True)
        return {**version.card, "version": version.id}

    def _heads(self, data: TrainingData, architecture: str, begin: beside.Begin) -> _Heads:
        """Train and pack a generator of heads, and begin its card."""
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
        figures = begin(_head_figures, plan, data, parts, objective.codec)
        return _Heads(packed, training_figures, figures)

    def _network_progress(self, done: int, words: str) -> None:
        """Networks come after heads."""
        self.progress(self.plan.steps + done, words)

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
        kind = modality(encoders.read_modality(self.home.read_encoder()))
        architecture, zoo = next(iter(kind.family_networks), ""), Store(self.home.zoo)
        if not architecture or not bases.base_path(self.home.zoo, architecture).is_file():
            return {}
        _, base = bases.read_base(self.home.zoo, architecture)
        tasks = {entry.task for entry in owned}
        networks: dict[str, tuple[str, Sequence[FamilyNetwork]]] = {}
        for entry in zoo_networks.networks(zoo, architecture, base):
            if entry.task in tasks:
                network = zoo_networks.read(zoo, entry)
                trunk = trunk_only(network.shifted)
                if network.site_head is not None:
                    family_network = FamilyNetwork(architecture, trunk, network.site_head)
                    networks[entry.family] = entry.at_sites, (family_network, *network.beside)
        return networks

    def _networks(self, data: TrainingData, heads: str) -> tuple[_Networks | None, dict[str, int]]:
        """Train and pack a generator of networks.

        Returns:
            It and its card, if there are any; and of architectures of which the zoo has too few to
            learn from, how many.
        """
        plan, backend = self.plan.networks, self.how
        self._network_progress(0, "reading whole networks")
        zoos, scarce = load_zoos(self.home.zoo, plan, data.tasks, data.fitted_priors.priors)
        if not zoos:
            return None, scarce
        self._network_progress(0, "weighing retrieved networks")
        groups = _family_groups(data, zoos, self.plan.seed)
        weights = _weigh_retrieval(zoos, data, groups[0] | groups[1], plan, self.plan.seed)
        zoos = {name: zoo.weighted(weights[name][0]) for name, zoo in zoos.items()}
        identity = _identity(
            plan,
            heads=heads,
            networks={name: list(zoo.fitted_priors.index.keys) for name, zoo in zoos.items()},
            weights={name: repr(weight) for name, (weight, _) in weights.items()},
        )
        plants = data.plants(groups[0]), data.plants(groups[1])
        objective = NetworkObjective(
            zoos, plants, (groups[0], groups[1]), plan, self.plan.seed, backend=backend
        )
        checkpoint = self.home.networks_checkpoint
        state = loop.train(objective, plan, checkpoint, identity, self._network_progress, backend)
        self._network_progress(plan.steps, "writing the card of whole networks")
        objective.finish()
        bundles = {
            name: network_package.ArchitectureBundle.measured(zoo.fitted_priors, zoo.decoder)
            for name, zoo in zoos.items()
        }
        parts = network_package.NetworkParts(heads, plan.weight_plan, objective.model, bundles)
        packed = network_package.pack(parts)
        document = {
            "generator": canonical.sha256_hex(packed),
            "heads": heads,
            "families": [len(names) for names in groups],
            "training": {**state.figures(), "gate": float(objective.model.gate)},
            "trust": {
                name: {"chosen": weight, "accuracy": tried}
                for name, (weight, tried) in weights.items()
            },
            **_network_figures(self.plan, data, zoos, objective.model, groups[2]),
        }
        return _Networks(packed, _checked(document, network_card.checks(document))), scarce


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


def _network_figures(
    plan: GeneratorPlan,
    data: TrainingData,
    zoos: Mapping[str, NetworkZoo],
    model: NetworkDenoiser,
    families: frozenset[str],
) -> dict[str, Any]:
    """What a model card says of packed networks, on families that no training saw."""
    plants, seed, sizes = data.plants(families), plan.seed, plan.networks
    return {
        "weight_plan": sizes.weight_plan,
        "architectures": {name: len(zoo.networks) for name, zoo in zoos.items()},
        "parameters": sum(p.numel() for p in model.parameters()),
        "codec": {
            name: codec_fidelity.report(zoo.networks, zoo.decoder, latent=sizes.latent, seed=seed)
            for name, zoo in zoos.items()
        },
        "diversity": network_card.diversity(model, zoos, plants, families, seed),
        **network_card.evaluate(
            model, zoos, plants, families, episodes=2 * sizes.episodes // 3, seed=seed
        ),
    }


def _family_groups(
    data: TrainingData, zoos: Mapping[str, NetworkZoo], seed: int
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Families with networks, for training, validation and test.

    The split is that of heads, unless it leaves a part without any.
    """
    have = frozenset(n.task.family for zoo in zoos.values() for n in zoo.networks)
    train, validation, test = (
        have & set(names) for names in (data.split.train, data.split.validation, data.split.test)
    )
    if train and validation and test:
        return train, validation, test
    names = sorted(have)
    order = [names[i] for i in streams.rng(Stream.NETWORK_SPLIT, seed).permutation(len(names))]
    part_size = max(1, len(order) // 6)
    return (
        frozenset(order[2 * part_size :] or order),
        frozenset(order[:part_size]),
        frozenset(order[part_size : 2 * part_size] or order),
    )


def _weigh_retrieval(
    zoos: Mapping[str, NetworkZoo],
    data: TrainingData,
    families: frozenset[str],
    plan: TrainingPlan,
    seed: int,
) -> dict[str, tuple[float, dict[str, float]]]:
    """Weight of neighbours in the prior of each architecture, and the accuracy of each tried."""
    plants = data.plants(families)
    return {
        name: measure_weight(
            zoo, name, plants, families, SCENARIO, episodes=2 * plan.episodes, seed=seed
        )
        for name, zoo in zoos.items()
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
