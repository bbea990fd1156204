"""``import weightgate`` says what the commands say; its examples run."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures, plant_maker, write_npz
from tests.client.families import beside, family_head

import weightgate
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.sure_calls import largest_supported_probability
from wg_client.methods.method_names import HANDED_ON, LOCAL_ONLY
from wg_client.models import adoption
from wg_client.release import preview
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.nets import family_network
from wg_core.errors import ConfigError, DataError, UsageError

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def plant(
    tmp_path_factory: pytest.TempPathFactory, encoder_package: bytes, good_head: LinearHead
) -> TestPlant:
    """A plant with a model in use."""
    found = plant_maker(tmp_path_factory.mktemp("python"), encoder_package)({0: 4, 1: 4})
    package = found.package({"s": (good_head, "diffusion")}, pool_releases=1)
    apply_and_adopt_package(found.home, package)
    return found


def test_a_plant_says_what_the_commands_say(plant: TestPlant) -> None:
    opened = weightgate.Plant.open(plant.home.root)
    assert (opened.site, opened.labels) == ("plant-a", LABELS)
    found, said = opened.check(epsilon="1"), preview.preview_release(plant.home, epsilon="1")
    assert (found.cost.alone, found.would_leave) == (said.cost.alone, said.would_leave)
    with pytest.raises(ConfigError, match="wg-client init"):
        weightgate.Plant.open(plant.home.root / "nowhere")


def test_files_and_arrays_are_predicted_alike(plant: TestPlant, tmp_path: Path) -> None:
    opened = weightgate.Plant.open(plant.home.root)
    records = pictures(np.random.default_rng(5), 1, 3)
    np.savez(tmp_path / "new.npz", x=records, classes=np.array(LABELS))
    of_arrays, of_file = opened.predict(records), opened.predict(tmp_path / "new.npz")
    assert [one.probabilities for one in of_arrays] == [one.probabilities for one in of_file]
    assert of_arrays[0].name == "X[0]"
    assert of_arrays[0].probability == largest_supported_probability(
        8
    )  # eight labels support no more
    with pytest.raises(DataError, match="expected paths, or a list of"):
        opened.predict([np.zeros(3, dtype=complex)])
    with pytest.raises(ConfigError, match="packages begin with it"):
        opened.predict(records, package="ffff")


def test_the_classifier_is_the_model_and_learns_on_from_it(plant: TestPlant) -> None:
    opened = weightgate.Plant.open(plant.home.root)
    records = np.concatenate([pictures(np.random.default_rng(k), k, 4) for k in range(3)])
    names = np.repeat(LABELS, 4)
    loaded = weightgate.Classifier(str(plant.home.root)).load()
    said = [one.probabilities for one in opened.predict(records)]
    assert np.allclose(loaded.predict_proba(records), said)
    assert list(loaded.classes_) == list(LABELS)
    manifest, _ = adoption.model_in_use(plant.home)
    trained = weightgate.Classifier(str(plant.home.root)).fit(records, names)
    assert trained.score(records, names) >= loaded.score(records, names)
    assert adoption.model_in_use(plant.home)[0] == manifest  # nothing is written
    with pytest.raises(DataError, match="expected some of"):
        trained.fit(records, np.repeat("mist", 12))
    with pytest.raises(ConfigError, match="a kept model lies"):
        weightgate.Classifier().load()


def test_a_model_beside_a_network_of_its_family_is_loaded_and_trained_on(
    make_plant: MakePlant, encoder_package: bytes
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    both = family_head(encoder_package, 3) | family_network.pack_network(beside(3))
    apply_and_adopt_package(plant.home, plant.package({"kin": (both, SAME_FAMILY_SOURCE)}))
    rng = np.random.default_rng(4)
    records = [record for label in range(3) for record in pictures(rng, label, 4)]
    names = np.repeat(LABELS, 4)
    for model in (HANDED_ON, LOCAL_ONLY):
        found = weightgate.Classifier(str(plant.home.root), model=model).load()
        assert found.predict_proba(records).shape == (12, 3)
        assert found.fit(records, names).score(records, names) > 0.5


def test_a_plant_is_its_budget_models_report_and_acceptance(plant: TestPlant) -> None:
    opened = weightgate.Plant.open(plant.home.root)
    assert len(repr(opened)) < 200 and "plant-a" in repr(opened)
    assert set(weightgate.__all__) == set(dir(weightgate))
    assert opened.budget.cap_epsilon == "8" and opened.report.is_file()
    (manifest,) = opened.models
    assert len(repr(manifest)) < 100 and len(repr(opened.check())) < 100
    assert opened.acceptance().counts_for_model(manifest.kept) is None
    wrong: Any = 1
    for call in (opened.predict, weightgate.Plant.open, lambda each: opened.check(epsilon=each)):
        with pytest.raises(UsageError, match="expected"):
            call(wrong)


def test_the_classifier_runs_under_cross_validation(plant: TestPlant) -> None:
    rng = np.random.default_rng(1)
    y = np.repeat(list(LABELS), 6)
    records = [row for at in range(3) for row in pictures(rng, at, 6)]
    scores = cross_val_score(weightgate.Classifier(str(plant.home.root)), records, y, cv=2)
    assert len(scores) == 2 and scores.min() > 0.3


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_examples_run(
    script: str,
    alone: bool,
    plant: TestPlant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_npz(tmp_path / "labelled.npz", {0: 8, 1: 8, 2: 8}, seed=9, labels=LABELS)
    arguments = [] if alone else [str(plant.home.root), str(data)]
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script))
    assert len(capsys.readouterr().out.splitlines()) >= 2
