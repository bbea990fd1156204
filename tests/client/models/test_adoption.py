"""Which model is in use after several packages and decisions; a model never changes silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import TestPlant

from wg_client.models import adoption, store
from wg_client.models.manifest import KEPT_ALIAS, VERSION, CheckFinding, ModelsManifest
from wg_common.weights_package import GeneratorCondition
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, StorageError, UsageError
from wg_core.site.weights_failures import FEW_SITES_CODE


def _later(manifest: ModelsManifest, number: int, accuracy: float | None) -> ModelsManifest:
    """A later package's manifest, of a whole network with this out-of-fold accuracy."""
    kept = replace(manifest.find_entry(KEPT_ALIAS), accuracy=accuracy)
    return replace(
        manifest, package_id=f"{number:032x}", architecture="lite0-low", gain=0.0, models=(kept,)
    )


def _arrives(plant: TestPlant, manifest: ModelsManifest) -> ModelsManifest:
    """A package was applied; returns the manifest in use afterwards."""
    store.write_models(plant.home, manifest, {})
    adoption.decide_adoption(plant.home, manifest)
    return adoption.model_in_use(plant.home)[0]


def _first(plant: TestPlant) -> ModelsManifest:
    return adoption.model_in_use(plant.home)[0]


def _shadowed(plant: TestPlant, manifest: ModelsManifest) -> bool:
    """A package was applied; returns whether its model waits in shadow."""
    _arrives(plant, manifest)
    shadow = adoption.shadow_model(plant.home)
    return shadow is not None and shadow[0] == manifest


def test_between_architectures_the_more_accurate_model_waits(plant: TestPlant) -> None:
    manifest = _first(plant)
    accuracy = manifest.find_entry(KEPT_ALIAS).accuracy
    assert accuracy is not None
    assert not _shadowed(plant, _later(manifest, 1, accuracy - 0.1))
    assert not _shadowed(plant, _later(manifest, 2, accuracy))  # as good is no reason
    assert _shadowed(plant, _later(manifest, 4, accuracy + 0.1))
    assert _shadowed(plant, replace(_later(manifest, 3, None), architecture="spectrum-lines"))


def test_with_one_architecture_the_larger_gain_waits(plant: TestPlant) -> None:
    manifest = _first(plant)
    assert not _shadowed(plant, replace(manifest, package_id="0" * 31 + "1"))  # the same again
    assert not _shadowed(plant, replace(manifest, package_id="1" * 32, gain=manifest.gain - 0.01))
    assert _shadowed(plant, replace(manifest, package_id="2" * 32, gain=manifest.gain + 0.01))
    other = replace(manifest, package_id="3" * 32, gain=-1.0, commitment="00" * 32)
    assert _shadowed(plant, other)  # of other records: gains cannot be compared


def _doubted(manifest: ModelsManifest) -> ModelsManifest:
    """A manifest whose kept model has the warning of few sites."""
    finding = CheckFinding(
        model=manifest.find_entry(KEPT_ALIAS).name,
        code=FEW_SITES_CODE,
        passed=False,
        figures={},
        message="few",
        action="warn",
    )
    return replace(manifest, findings=(finding,))


def test_a_first_model_with_classes_of_few_sites_waits_for_a_person(plant: TestPlant) -> None:
    first = _doubted(_first(plant))
    (plant.home.models / adoption.FILE_NAME).unlink()
    adoption.decide_adoption(plant.home, replace(first, package_id="4" * 32))
    history = adoption.read_adoption_history(plant.home)
    assert (
        history.latest_change.in_use is not None
        and history.latest_change.in_use.model == "local-only"
    )
    assert (
        history.latest_change.shadow is not None
        and history.latest_change.shadow.model == first.kept
    )
    store.write_models(plant.home, replace(first, package_id="4" * 32), {})
    waiting = adoption.shadow_model(plant.home)
    assert waiting is not None
    with pytest.raises(ConfigError, match="--few-sites"):
        adoption.put_model_in_use(plant.home, *waiting, "QA")
    change = adoption.put_model_in_use(plant.home, *waiting, "QA", accept_few_sites=True)
    assert change.in_use == history.latest_change.shadow and change.shadow is None


def test_a_plant_without_a_model_of_its_own_hears_what_waits(plant: TestPlant) -> None:
    first = _doubted(_first(plant))
    kept = (first.find_entry(KEPT_ALIAS),)
    (plant.home.models / adoption.FILE_NAME).unlink()
    adoption.decide_adoption(plant.home, replace(first, models=kept))
    with pytest.raises(ConfigError, match="models use --shadow --few-sites"):
        adoption.model_in_use(plant.home)


def test_a_better_model_waits_in_shadow_until_a_person_uses_it(plant: TestPlant) -> None:
    first = _first(plant)
    larger = replace(first, package_id="2" * 32, gain=first.gain + 0.01)
    assert _arrives(plant, larger) == first
    found = adoption.shadow_model(plant.home)
    assert found is not None and found[0] == larger
    assert adoption.read_adoption_history(plant.home).stage == "shadow"
    adoption.put_model_in_use(plant.home, larger, KEPT_ALIAS, "QA lead")
    assert _first(plant) == larger and adoption.shadow_model(plant.home) is None
    adoption.put_model_in_use(plant.home, first, KEPT_ALIAS, "QA lead")
    assert _first(plant) == first
    adoption.decide_adoption(plant.home, larger)  # applied again: what a person decided stays
    assert _first(plant) == first and adoption.shadow_model(plant.home) is None
    changes = adoption.read_adoption_history(plant.home).changes
    assert [change.what for change in changes] == ["use", "shadow", "use", "use"]
    assert {change.by for change in changes} == {"weightgate", "QA lead"}


def test_a_model_of_other_records_waits_without_a_claim_to_be_better(plant: TestPlant) -> None:
    first = _first(plant)
    other = replace(first, package_id="3" * 32, commitment="00" * 32, gain=first.gain - 1)
    assert _arrives(plant, other) == first
    found = adoption.shadow_model(plant.home)
    assert found is not None and found[0] == other
    why = adoption.read_adoption_history(plant.home).latest_change.why
    assert "cannot be compared" in why and "better" not in why


def test_a_repeated_campaign_with_equal_scores_changes_neither_model(plant: TestPlant) -> None:
    first = _first(plant)
    state = adoption.read_adoption_history(plant.home).latest_change
    for number in range(3):
        assert _arrives(plant, replace(first, package_id=f"{number:032x}")) == first
    latest = adoption.read_adoption_history(plant.home).latest_change
    assert (latest.in_use, latest.shadow) == (state.in_use, state.shadow)
    assert len(adoption.read_adoption_history(plant.home).changes) == 4  # and each is in the log


def test_a_model_of_an_encoder_that_is_gone_makes_place_at_once(plant: TestPlant) -> None:
    first = _first(plant)
    other = replace(first, package_id="5" * 32, encoder="00" * 32)
    assert _arrives(plant, other) == other


def test_a_person_chooses_any_model(plant: TestPlant) -> None:
    first, kept = adoption.model_in_use(plant.home)
    adoption.set_shadow_model(plant.home, first, "local-only", "QA")
    adoption.put_model_in_use(plant.home, first, "local-only", "QA")  # it is in shadow no more
    assert adoption.model_in_use(plant.home) == (first, "local-only")
    assert adoption.shadow_model(plant.home) is None
    with pytest.raises(ConfigError, match="in use already"):
        adoption.put_model_in_use(plant.home, first, "local-only", "QA")
    with pytest.raises(ConfigError, match="its own shadow"):
        adoption.set_shadow_model(plant.home, first, "local-only", "QA")
    with pytest.raises(UsageError, match="--by"):
        adoption.put_model_in_use(plant.home, first, kept, "  ")


def test_a_crash_leaves_the_old_history_and_the_package_can_come_again(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, first = adoption.read_adoption_history(plant.home), _first(plant)
    second = replace(first, package_id="7" * 32)
    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(atomic, "write_bytes", _full_at(adoption.FILE_NAME, atomic.write_bytes))
        adoption.decide_adoption(plant.home, second)
    assert adoption.read_adoption_history(plant.home) == before
    adoption.decide_adoption(plant.home, second)
    subject = adoption.read_adoption_history(plant.home).latest_change.subject
    assert subject is not None and subject.package_id == second.package_id


def _full_at(name: str, write: Callable[..., None]) -> Callable[..., None]:
    """A disk that is full when a file of this name is written."""

    def written(path: Path, data: bytes, **words: Any) -> None:
        if path.name == name:
            raise StorageError(f"{path}: cannot be written: No space left on device")
        write(path, data, **words)

    return written


def test_a_history_that_is_damaged_or_of_another_version_is_refused(plant: TestPlant) -> None:
    path = plant.home.models / adoption.FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3'))
    with pytest.raises(DecodeError, match="version 3"):
        adoption.read_adoption_history(plant.home)
    path.write_bytes(b"{")
    with pytest.raises(DecodeError, match="adoption"):
        adoption.read_adoption_history(plant.home)


def test_models_that_the_first_version_kept_are_still_read(plant: TestPlant) -> None:
    manifest = _first(plant)
    path = store.models_folder(plant.home, manifest.package_id) / store.MANIFEST_FILE
    document = json.loads(path.read_bytes())
    assert document.pop("condition") and document.pop("version") == VERSION
    path.write_bytes(json.dumps({**document, "version": 1}).encode())
    assert _first(plant) == replace(manifest, condition=GeneratorCondition(), novelty="")
    path.write_bytes(json.dumps({**document, "version": VERSION + 1}).encode())
    with pytest.raises(DecodeError, match="update the older program"):
        _first(plant)
