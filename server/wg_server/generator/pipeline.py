"""Training pipeline of ``wg-server train``, from a zoo to a generator version.

1. The tasks of the zoo are read and split by family; priors of class means are fitted on one part.
2. The priors are packed with the heads and networks of the operator's families, and evaluated on
plants of the held-out families for the model card.
3. If the encoder has reading maps, networks for each kind of machine are trained on simulated
machines and with the kind's map (``weights.kind_training``), evaluated, and packed.

The packages are written at the end, as one new version (``versions``), without installing it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wg_common import streams
from wg_common.modalities.registry import find_modality
from wg_common.nets.encoder import package as encoders
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.card_checks import read_checks
from wg_server.generator.evaluation import head_card
from wg_server.generator.evaluation.episodes import EpisodeSampler
from wg_server.generator.families import likeness_fit
from wg_server.generator.families.heads import OperatorFamilies, OperatorFamily
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.prior.class_names import fit_public_priors
from wg_server.generator.prior.zoo_tasks import ZooTask, split_train_and_test_families
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.data_sheet_generation import DataSheetGenerator
from wg_server.generator.weights.head_package import HeadPackage, pack_heads
from wg_server.generator.weights.kind_training import KindTraining, train_kind
from wg_server.generator.weights.machine_training import SimulatedMachineCounts
from wg_server.site.home import ServerHome
from wg_server.zoo import own_families
from wg_server.zoo.store import ZooStore as Store
from wg_server.zoo.workers import limit_threads, open_workers

Progress = Callable[[int, str], None]  # Called with the completed steps and a short text
_HEAD_PROGRESS_STEPS = 3  # Progress steps of heads and their card


def count_training_steps(home: ServerHome, plan: GeneratorPlan) -> int:
    """Return the number of steps that ``train_generator`` reports, for heads and for machines."""
    return (
        _HEAD_PROGRESS_STEPS
        + len(encoders.unpack_encoder(home.read_encoder()).reading_maps) * plan.machine_steps
    )


def train_generator(
    home: ServerHome,
    plan: GeneratorPlan,
    *,
    progress: Progress,
    workers: int = 1,
    machine_counts: SimulatedMachineCounts = SimulatedMachineCounts(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Train a generator on the home's zoo, write it as a new version, and return its model card.

    The result also has ``version``, the id of the new version.

    Args:
        progress: Called with the number of completed steps, of ``count_training_steps`` in all, and
            a short text.
        workers: Number of processes, each of which trains one kind of machine at a time.
        machine_counts: Numbers of simulated machines for training and evaluation.

    Raises:
        ConfigError: There is no zoo, or it is too small.
    """
    with limit_threads(1):
        return _TrainingPipeline(home, plan, progress, workers, machine_counts).run()


def load_tasks(zoo: Store, encoder_sha256: str) -> list[ZooTask]:
    """Load all zoo entries of one encoder (its SHA-256 in hex) as tasks.

    Raises:
        ConfigError: There are too few families to fit priors on.
    """
    tasks = []
    for entry in zoo.read_entries(encoder_sha256):
        records = zoo.read_encoded_task(entry)
        tasks.append(
            ZooTask(entry.key, entry.family, entry.labels, records.features, records.labels)
        )
    families = len({task.family for task in tasks})
    if families < 8:
        raise ConfigError(
            f"zoo: {len(tasks)} entries of {families} families, expected at least 8 families;"
            " run zoo build"
        )
    return tasks


@dataclass(frozen=True, slots=True)
class _TrainingPipeline:
    """Training of one generator from the zoo in a server's home."""

    home: ServerHome
    plan: GeneratorPlan
    progress: Progress
    workers: int
    machine_counts: SimulatedMachineCounts

    def run(self) -> dict[str, Any]:
        """Train and write the generator; return its model card, with the version's id added."""
        encoder = self.home.read_encoder()
        self.progress(0, "reading the zoo")
        tasks = load_tasks(Store(self.home.zoo_folder), canonical.sha256_hex(encoder))
        card, packed_heads = self._fit_heads(tasks, encoder)
        sheets, maps = None, encoders.unpack_encoder(encoder).reading_maps
        if maps and self.plan.machine_steps:
            sheets, about = self._train_networks(encoder, list(maps))
            if sheets is not None:
                card["sheets"] = about
        self.progress(count_training_steps(self.home, self.plan), "writing the generator")
        version = versions.write_version(self.home, card, packed_heads, sheets)
        return {**version.card, "version": version.id}

    def _train_networks(
        self, encoder_package: bytes, kinds: Sequence[str]
    ) -> tuple[bytes | None, dict[str, Any]]:
        """Train, evaluate and pack networks and soft sensors for the given kinds.

        Soft sensors that fail a check of their card are left out of the package.

        Returns:
            The package, or None if it would be empty, and the model card.
        """
        completed_steps = dict.fromkeys(kinds, 0)

        def report(number: int, step: int, words: str) -> None:
            completed_steps[kinds[number]] = step
            self.progress(
                _HEAD_PROGRESS_STEPS + sum(completed_steps.values()), f"{kinds[number]}: {words}"
            )

        plan, counts = self.plan, self.machine_counts
        jobs = [KindTraining(kind, plan.machine_steps, plan.seed, counts) for kind in kinds]
        with open_workers(min(self.workers, len(kinds))) as pool:
            trained = pool.run_long_jobs(train_kind, encoder_package, jobs, report)
        generators, sensors, cards, sensor_cards = {}, {}, {}, {}
        for kind, (packed_part, card) in zip(kinds, trained, strict=True):
            part = data_sheet_generation.unpack_sheet_generator(packed_part)
            if part.machine_generators:
                generators[kind], cards[kind] = part.machine_generators[kind], card
                continue
            sensor_cards[kind] = card
            if all(check.passed for check in read_checks(card)):
                sensors[kind] = part.sensor_networks[kind]
        packed_generator = data_sheet_generation.pack_sheet_generator(
            DataSheetGenerator(generators, sensors)
        )
        shipped_cards = [*cards.values(), *(sensor_cards[kind] for kind in sensors)]
        return packed_generator if shipped_cards else None, {
            "generator": canonical.sha256_hex(packed_generator),
            "kinds": cards,
            "sensors": sensor_cards,
            "checks": [check for card in shipped_cards for check in card["checks"]],
        }

    def _fit_heads(
        self, tasks: Sequence[ZooTask], encoder_package: bytes
    ) -> tuple[dict[str, Any], bytes]:
        """Fit priors of class means; return their card on held-out families, and their package."""
        start, seed = time.monotonic(), self.plan.seed
        encoder = canonical.sha256_hex(encoder_package)
        architecture = find_modality(encoders.read_modality(encoder_package)).head_architecture
        self.progress(1, "fitting what is known of classes in advance")
        train, test = split_train_and_test_families(
            tasks, streams.stream_generator(Stream.FAMILY_SPLIT, seed)
        )
        fitted_priors = fit_public_priors(
            [task for task in tasks if task.family in train],
            encoders.read_text_projection(encoder_package),
        )
        families, figures = self._read_operator_families(tasks, encoder)
        parts = HeadPackage(
            encoder_sha256=encoder,
            architecture=architecture,
            priors=fitted_priors.model_variances,
            operator_families=families,
            name_regression=fitted_priors.name_regression,
        )
        packed_parts = pack_heads(parts)
        self.progress(2, "writing the model card")
        document = {
            "generator": canonical.sha256_hex(packed_parts),
            "encoder": encoder,
            "architecture": architecture,
            "zoo": {
                "sha256": canonical.sha256_hex(
                    "".join(sorted(t.entry_key for t in tasks)).encode()
                ),
                "tasks": len(tasks),
                "train_families": len(train),
                "test_families": test,
            },
            "plan": canonical.to_builtins(self.plan),
            "own_families": figures,
            **head_card.score_methods(
                fitted_priors,
                EpisodeSampler(
                    [task for task in tasks if task.family in test], encoder, CLIP_RADIUS
                ),
                episodes=self.plan.episodes,
                seed=seed,
            ),
        }
        checks = head_card.card_checks(document)
        document["checks"] = [check.to_document() for check in checks]
        document["seconds"] = round(time.monotonic() - start, 1)
        return document, packed_parts

    def _read_operator_families(
        self, tasks: Sequence[ZooTask], encoder_sha256: str
    ) -> tuple[OperatorFamilies | None, dict[str, dict[str, str]]]:
        """Return the operator's families (None if there are none), and their model card figures."""
        zoo, dimension = Store(self.home.zoo_folder), tasks[0].features.shape[1]
        own_entries = {e.family: e for e in own_families.family_entries(zoo, encoder_sha256)}
        read = {
            family: own_families.read_family(zoo, entry) for family, entry in own_entries.items()
        }
        sites = {family: list(of) for family, (_, _, of) in read.items() if len(of)}
        rendered_features = [task.features for task in tasks if task.family not in own_entries]
        families, figures = {}, {}
        for name, entry in own_entries.items():
            head, network, _ = read[name]
            if name in sites:
                fitted_likeness = likeness_fit.fit_likeness_test(name, sites, rendered_features)
                test = fitted_likeness.test
                last_figures = {
                    "refused": f"{fitted_likeness.own_refusal_rate:.4f}",
                    "others_refused": f"{fitted_likeness.other_refusal_rate:.4f}",
                }
            else:
                test, last_figures = likeness_fit.accept_all_test(dimension), asdict(entry.privacy)
            families[name] = OperatorFamily(entry.labels, head, test, network, entry.privacy)
            at_sites = {"head": entry.head_at_sites, "network": entry.network_at_sites}
            figures[name] = {
                **{model: accuracy for model, accuracy in at_sites.items() if accuracy},
                **_attack_figures("head", entry.head_found),
                **_attack_figures("network", entry.network_found),
                **last_figures,
            }
        return (OperatorFamilies(entry.layout, families) if families else None), figures


def _attack_figures(model_name: str, area_and_error: tuple[str, str]) -> dict[str, str]:
    """Return the model card's entries on a membership attack: ROC area and standard error.

    There are none if the attack was not measured. ``area_and_error`` is both values as decimal
    strings.
    """
    area, error = area_and_error
    return {f"{model_name}_found": area, f"{model_name}_found_error": error} if area else {}
