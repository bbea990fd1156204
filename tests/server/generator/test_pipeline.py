from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.server.generator.conftest import DIMENSION

from wg_common.machines import bearing, exchanger
from wg_common.nets.encoder import image_trunk, package
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_common.nets.encoder.reading_map import ReadingMap, ReadingMaps
from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.cli.train import train as command
from wg_server.generator import pipeline as training
from wg_server.generator import versions
from wg_server.generator.evaluation.episodes import EpisodeSampler, EpisodeSettings
from wg_server.generator.evaluation.method_scores import COMPLETED_HEAD, EXCHANGED_HEAD, HEAD_ALONE
from wg_server.generator.plan import GeneratorPlan, read_plan
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask, split_train_and_test_families
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.head_generation import load_head_generator
from wg_server.generator.weights.machine_training import SimulatedMachineCounts
from wg_server.operation.initialise import create_home
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.zoo.store import EncodedTask, ZooEntry, ZooStore, pack_encoded_task
from wg_server.zoo.task_spec import TaskSpec

PLAN = GeneratorPlan(episodes=6)


def _silent(_done: int, _detail: str) -> None:
    return None


def _fill(home: ServerHome, tasks: list[ZooTask], maps: ReadingMaps | None = None) -> None:
    create_home(home, ServerConfig(fleet_port=1, enrol_port=2, admin_port=3))
    raw = np.random.default_rng(0).normal(size=(80, image_trunk.FEATURE_COUNT)).astype(np.float32)
    settings = {"pixels": "64"}
    data = fit_encoder(raw, np.arange(80) % 4, dimension=DIMENSION, trunk_settings=settings)
    data = package.replace_reading_maps(data, maps or {})
    atomic.write_bytes(home.encoder_file, data)
    encoder = canonical.sha256_hex(data)
    for number, task in enumerate(tasks):
        spec = TaskSpec(
            seed=1,
            kind="procedural",
            family=number,
            site=0,
            sites=1,
            per_class=20,
            strength="0.5",
            only="",
            path="",
            name="test",
            licence="",
        )
        packed = pack_encoded_task(EncodedTask(task.features, task.y))
        entry = ZooEntry(
            key=spec.entry_key(encoder),
            encoder=encoder,
            task=spec,
            family=task.family,
            labels=task.labels,
            records=len(task.y),
            licence="none",
            sha256=canonical.sha256_hex(packed),
        )
        ZooStore(home.zoo_folder).write_entry(packed, entry)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, zoo_tasks: list[ZooTask]) -> ServerHome:
    place = ServerHome(tmp_path_factory.mktemp("server"))
    _fill(place, zoo_tasks)
    return place


@pytest.fixture(scope="module")
def card(home: ServerHome) -> dict[str, object]:
    return training.train_generator(home, PLAN, progress=_silent)


def test_training_writes_a_package_that_its_card_names(
    home: ServerHome, card: dict[str, object]
) -> None:
    version = versions.read_version(home, str(card["version"]))
    assert load_head_generator(version.heads_path).id == card["generator"]
    assert {**version.card, "version": version.id} == card
    version.verify_packages()
    assert not versions.read_installed_versions(home).version, "installing is another step"


def test_the_card_scores_every_method_on_families_held_out(card: dict[str, object]) -> None:
    scenarios = card["scenarios"]
    assert isinstance(scenarios, dict)
    for rows in scenarios.values():
        assert {COMPLETED_HEAD, HEAD_ALONE, EXCHANGED_HEAD} == set(rows)
        assert all(0 <= row["accuracy"] <= 1 for row in rows.values())
    assert card["own_families"] == {}


def test_the_same_zoo_gives_the_same_generator(
    card: dict[str, object], zoo_tasks: list[ZooTask], tmp_path: Path
) -> None:
    other = ServerHome(tmp_path)
    _fill(other, zoo_tasks)
    assert training.train_generator(other, PLAN, progress=_silent)["generator"] == card["generator"]


def test_an_empty_zoo_is_refused(tmp_path: Path, zoo_tasks: list[ZooTask]) -> None:
    home = ServerHome(tmp_path)
    _fill(home, zoo_tasks[:2])
    with pytest.raises(ConfigError, match="families"):
        training.train_generator(home, PLAN, progress=_silent)


def test_the_command_prints_one_document(
    home: ServerHome, card: dict[str, object], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("episodes: 2\n")
    words = ["--home", str(home.root), "--plan", str(plan), "--json"]
    before = versions.read_version(home, str(card["version"]))
    versions.install_version(home, before)
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["plan"]["episodes"] == 2
    passes = not versions.read_version(home, document["version"]).failed_checks()
    assert document["installed"] == passes
    assert (versions.installed_version(home).id == before.id) == (not passes)
    before.verify_packages()  # what was installed is as it was


def test_networks_for_machines_are_made_through_the_encoders_maps(
    tmp_path: Path, zoo_tasks: list[ZooTask], home: ServerHome
) -> None:
    draws = SimulatedMachineCounts(per_step=2, pool=4, renewals_per_step=1, validation=2, test=3)
    plan = replace(PLAN, machine_steps=2)
    assert "sheets" not in training.train_generator(
        home, plan, progress=_silent, machine_counts=draws
    )
    kinds = bearing.MACHINE_KIND, exchanger.PROCESS_UNIT
    maps = {kind.name: ReadingMap(kind) for kind in kinds}
    generators = []
    for workers in (1, 2):
        home = ServerHome(tmp_path / str(workers))
        _fill(home, zoo_tasks, maps)
        steps: list[int] = []
        made = training.train_generator(
            home,
            plan,
            progress=lambda done, _, steps=steps: steps.append(done),  # type: ignore[misc]
            workers=workers,
            machine_counts=draws,
        )
        assert steps == sorted(steps) and steps[-1] == training.count_training_steps(home, plan)
        version = versions.read_version(home, str(made["version"]))
        version.verify_packages()
        generators.append(version.card["sheets"]["generator"])
    assert generators[0] == generators[1], "workers change nothing but the time"
    assert version.architectures == ("lite0-head", "spectrum-lines")
    sheets = version.card["sheets"]
    card = sheets["kinds"][bearing.MACHINE_KIND.name]
    assert card["training"]["steps"] == 2 and sheets["checks"] == card["checks"]
    generator = data_sheet_generation.unpack_sheet_generator(version.sheets_path.read_bytes())
    assert generator.machine_generators[bearing.MACHINE_KIND.name].shipped_kinds == card["ships"]


def test_packaged_plans_can_be_read() -> None:
    for name in (None, Path("default"), Path("demo"), Path("quick")):
        plan = read_plan(name)
        assert plan.episodes > 0
        assert plan.machine_steps > 0


def test_splits_share_no_family(zoo_tasks: list[ZooTask]) -> None:
    train, test = split_train_and_test_families(zoo_tasks, np.random.default_rng(1))
    assert not set(train) & set(test)
    assert {*train, *test} == {t.family for t in zoo_tasks}


def _plants(tasks: list[ZooTask]) -> EpisodeSampler:
    return EpisodeSampler(tasks, "ab" * 32, 1.0)


def test_own_records_of_unlabelled_plants_stay_unlabelled(zoo_tasks: list[ZooTask]) -> None:
    scenario = EpisodeSettings(unlabelled_probability=1.0, epsilon=float("inf"))
    rng = np.random.default_rng(0)
    for _ in range(5):
        episode = _plants(zoo_tasks).draw_episode(rng, scenario)
        own = episode.release
        assert site_evidence(own, episode.labels).presence_probabilities.max() < 0.01
        labelled = (
            _plants(zoo_tasks)
            .draw_episode(rng, replace(scenario, unlabelled_probability=0.0))
            .release
        )
        assert site_evidence(labelled, labelled.schema.labels).presence_probabilities.max() > 0.99
