from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tests.server.generator.conftest import DIMENSION

from wg_common.nets.encoder import image_trunk
from wg_common.nets.encoder.fit import fit_encoder
from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.cli.train import train as command
from wg_server.generator import pipeline as training
from wg_server.generator import versions
from wg_server.generator.evaluation import ablation
from wg_server.generator.evaluation.head_card import BEFORE, GENERATED, SHUFFLED
from wg_server.generator.plan import GeneratorPlan, read_plan
from wg_server.generator.prior.fitted import crossfit, fit_public_priors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask, split_families
from wg_server.generator.simulation import prefetch
from wg_server.generator.simulation.episodes import NO_NOISE, Plants, Scenario
from wg_server.generator.weights import head_batch as batches
from wg_server.generator.weights import sheet_generation
from wg_server.generator.weights.codec import fit_codec
from wg_server.generator.weights.head_generation import load_generator
from wg_server.generator.weights.sheet_plan import SheetTraining
from wg_server.operation.initialise import initialise
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.zoo.store import Entry, Weights, Zoo, pack
from wg_server.zoo.task_spec import TaskSpec

PLAN = GeneratorPlan(
    steps=12,
    batch=4,
    width=16,
    depth=1,
    latent=8,
    evaluate_every=4,
    episodes=6,
    workers=0,
    patience=9,
)


def _silent(_done: int, _detail: str) -> None:
    return None


def _fill(home: ServerHome, tasks: list[ZooTask]) -> None:
    initialise(home, ServerConfig(fleet_port=1, enrol_port=2, admin_port=3))
    raw = np.random.default_rng(0).normal(size=(80, image_trunk.WIDTH)).astype(np.float32)
    package = fit_encoder(raw, np.arange(80) % 4, dimension=DIMENSION, settings={"pixels": "64"})
    atomic.write_bytes(home.encoder, package)
    encoder = canonical.sha256_hex(package)
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
        data = pack(Weights(task.features, task.y, task.weight, task.bias))
        entry = Entry(
            key=spec.key(encoder),
            encoder=encoder,
            architecture="lite0-head",
            task=spec,
            family=task.family,
            labels=task.labels,
            records=len(task.y),
            licence="none",
            accuracy="1.0",
            sha256=canonical.sha256_hex(data),
        )
        Zoo(home.zoo).write(data, entry)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, zoo_tasks: list[ZooTask]) -> ServerHome:
    place = ServerHome(tmp_path_factory.mktemp("server"))
    _fill(place, zoo_tasks)
    return place


@pytest.fixture(scope="module")
def card(home: ServerHome) -> dict[str, object]:
    return training.train(home, PLAN, progress=_silent)


def test_training_writes_a_package_that_its_card_names(
    home: ServerHome, card: dict[str, object]
) -> None:
    version = versions.read(home, str(card["version"]))
    assert load_generator(version.heads).id == card["generator"]
    assert {**version.card, "version": version.id} == card
    version.verify()
    assert not home.checkpoint.exists()
    assert not versions.pointer(home).version, "installing is another step"


def test_the_card_scores_every_method_on_families_held_out(card: dict[str, object]) -> None:
    scenarios = card["scenarios"]
    assert isinstance(scenarios, dict)
    for rows in scenarios.values():
        assert {*BEFORE, *GENERATED, *SHUFFLED} == set(rows)
        assert all(0 <= row["accuracy"] <= 1 for row in rows.values())
    assert isinstance(card["loses"], list)
    rows, mixed = ablation.rows(card), scenarios[ablation.SCENARIO]
    assert len(rows) == 3, "a zoo without own families has the parts of what is made from releases"
    assert rows[0]["points"] == 100 * mixed["closed-form"]["network_minus"]
    assert rows[1]["points"] == -100 * mixed["sample-mean"]["network_minus"]


class _Killed(Exception):
    pass


def test_interrupted_training_ends_with_the_same_weights(
    home: ServerHome, card: dict[str, object], zoo_tasks: list[ZooTask], tmp_path: Path
) -> None:
    other = ServerHome(tmp_path)
    _fill(other, zoo_tasks)

    def kill(done: int, _detail: str) -> None:
        if done == 8:
            raise _Killed

    with pytest.raises(_Killed):
        training.train(other, PLAN, progress=kill)
    assert other.checkpoint.exists() and not versions.present(other)
    assert training.train(other, PLAN, progress=_silent)["generator"] == card["generator"]


def test_an_empty_zoo_is_refused(tmp_path: Path, zoo_tasks: list[ZooTask]) -> None:
    home = ServerHome(tmp_path)
    _fill(home, zoo_tasks[:2])
    with pytest.raises(ConfigError, match="families"):
        training.train(home, PLAN, progress=_silent)


def test_the_command_prints_one_document(
    home: ServerHome, card: dict[str, object], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps: 2\nwidth: 16\ndepth: 1\nepisodes: 2\nworkers: 0\n")
    words = ["--home", str(home.root), "--plan", str(plan), "--json"]
    words += ["--device", "cpu", "--precision", "bf16"]
    before = versions.read(home, str(card["version"]))
    versions.use(home, before)
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["training"]["steps"] == 2
    assert document["training"]["computed"] == {"cpu, bf16": 2}
    passes = not versions.read(home, document["version"]).failed()
    assert document["installed"] == passes
    assert (versions.installed(home).id == before.id) == (not passes)
    before.verify()  # what was installed is as it was


def test_a_plan_for_machines_makes_networks_from_data_sheets(
    tmp_path: Path, zoo_tasks: list[ZooTask]
) -> None:
    home = ServerHome(tmp_path)
    _fill(home, zoo_tasks)
    machines = SheetTraining(
        steps=2, batch=2, windows=1, episodes=2, zoo=40, test_machines=2, test_windows=2
    )
    made = training.train(home, replace(PLAN, machines=machines), progress=_silent)
    version = versions.read(home, str(made["version"]))
    version.verify()
    assert version.architectures == ("lite0-head", "spectrum-lines")
    sheets = version.card["sheets"]
    assert sheets["training"]["steps"] == 2 and sheets["prior"] in ("flow", "gaussian")
    assert sheet_generation.unpack(version.sheets.read_bytes()).prior == sheets["prior"]
    assert not home.sheets_checkpoint.exists()


def test_packaged_plans_can_be_read() -> None:
    for name in (None, Path("default"), Path("demo"), Path("quick"), Path("machines")):
        plan = read_plan(name)
        assert plan.steps > 0
        assert (plan.machines is not None) == (name == Path("machines"))


def test_nothing_known_of_a_family_was_fitted_on_it(zoo_tasks: list[ZooTask]) -> None:
    families = sorted({t.family for t in zoo_tasks})
    blind, _ = crossfit(zoo_tasks, families, 3)
    for number, name in enumerate(families):
        others = {f for n, f in enumerate(families) if n % 3 != number % 3}
        expected = fit_public_priors([t for t in zoo_tasks if t.family in others])
        np.testing.assert_array_equal(blind[name].priors.between, expected.priors.between)
        assert torch.equal(blind[name].zoo_index.rows, expected.zoo_index.rows)


def test_splits_share_no_family(zoo_tasks: list[ZooTask]) -> None:
    split = split_families(zoo_tasks, np.random.default_rng(1))
    parts = [set(split.train), set(split.validation), set(split.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert set.union(*parts) == {t.family for t in zoo_tasks}


def _plants(tasks: list[ZooTask]) -> Plants:
    families = sorted({t.family for t in tasks})
    return Plants(tasks, crossfit(tasks, families, 2)[0], "ab" * 32, 1.0)


def test_workers_draw_the_same_episodes(zoo_tasks: list[ZooTask]) -> None:
    draw = partial(_plants(zoo_tasks).draw_step, 3, range(2))
    inline = list(prefetch.batches(draw, range(3), 0))
    prefetched = list(prefetch.batches(draw, range(3), 1))
    for one, two in zip(inline, prefetched, strict=True):
        for a, b in zip(one, two, strict=True):
            assert np.array_equal(a.condition.class_vectors, b.condition.class_vectors)
            assert np.array_equal(a.answers, b.answers)


def test_augmentation_keeps_every_logit(zoo_tasks: list[ZooTask]) -> None:
    rng = np.random.default_rng(0)
    episodes = [_plants(zoo_tasks).draw(rng, Scenario()) for _ in range(4)]
    batch, targets = batches.collate_episodes(episodes)
    turned, moved = batches.augment(batch, targets, [rng] * 4)
    before = torch.einsum("bqd,bkd->bqk", targets.queries, targets.weight)
    after = torch.einsum("bqd,bkd->bqk", moved.queries, moved.weight)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        torch.einsum("bqd,bkd->bqk", targets.queries, batch.weight),
        torch.einsum("bqd,bkd->bqk", moved.queries, turned.weight),
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_full_codec_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 9))
    codec = fit_codec(rows, 9)
    some = torch.tensor(rows[:5], dtype=torch.float32)
    torch.testing.assert_close(codec.decode(codec.encode(some)), some, rtol=1e-4, atol=1e-5)


def test_own_records_of_unlabelled_plants_stay_unlabelled(zoo_tasks: list[ZooTask]) -> None:
    scenario = Scenario(unlabelled=1.0, silent=0.0, epsilon=NO_NOISE)
    rng = np.random.default_rng(0)
    for _ in range(5):
        episode = _plants(zoo_tasks).draw(rng, scenario)
        own = episode.releases[0]
        assert own is not None
        assert site_evidence(own, episode.labels).present.max() < 0.01
        labelled = _plants(zoo_tasks).draw(rng, replace(scenario, unlabelled=0.0)).releases[0]
        assert labelled is not None
        assert site_evidence(labelled, labelled.schema.labels).present.max() > 0.99
