from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wg_common.machines import bearing
from wg_common.modalities.windows import check_window
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.nets.encoder.reading_map import ReadingMap, ReadingMaps
from wg_core.errors import ConfigError, DataError
from wg_server.site.home import ServerHome
from wg_server.zoo import build, sources
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan, list_tasks, read_plan
from wg_server.zoo.procedural_windows import families
from wg_server.zoo.workers import WorkerPool


@pytest.mark.parametrize("kind", sorted(families.FAMILY_KINDS))
@pytest.mark.parametrize("seed", range(4))
def test_windows_are_accepted_varied_and_the_same_for_a_seed(kind: str, seed: int) -> None:
    found = []
    for _ in range(2):
        family = families.draw_family((31, seed), kind)
        site = families.draw_site(family, 1, strength=0.8)
        labels = np.arange(len(family.labels)).repeat(2)
        found.append(families.render_records(family, site, labels, np.random.default_rng(5)))
    assert np.array_equal(found[0], found[1])
    assert found[0].dtype == np.float32
    assert found[0].shape[:2] == (len(labels), len(family.channel_mixing))
    for window in found[0]:
        check_window(window)
    assert (found[0].std(axis=-1).max(axis=1) > 0).all()
    assert not np.array_equal(found[0][0], found[0][1])


def test_sites_of_a_family_share_labels_and_differ() -> None:
    family = families.draw_family((32, 1), "rotating")
    one, two = (families.draw_site(family, n, strength=0.7) for n in range(2))
    assert one.machine.labels == two.machine.labels == family.labels
    assert one.sensors.gain.tolist() != two.sensors.gain.tolist()
    assert one.relative_interval != two.relative_interval


def test_a_strike_comes_as_often_as_the_fault_says() -> None:
    # A reference of its own: the envelope's strongest line is the rate of strikes.
    for seed in range(40):
        family = families.draw_family((33, seed), "rotating")
        names = [name for name in family.labels if name.startswith("outer")]
        if names:
            break
    rotor = family.machine
    row = family.labels.index(names[-1])
    signal = rotor.simulate_windows(np.random.default_rng(0), np.full(8, row), 8192, 1.0)[:, 0]
    rate = rotor.impact_ratios[row] * rotor.shaft_frequency  # type: ignore[union-attr]
    power = np.abs(np.fft.rfft(signal**2 - (signal**2).mean(axis=1, keepdims=True))) ** 2
    lines = np.fft.rfftfreq(8192)
    near = np.abs(lines / rate - 1) < 0.15
    between = (np.abs(lines / rate - 1) > 0.2) & (lines > 0.3 * rate) & (lines < 0.9 * rate)
    assert power[:, near].max(axis=1).mean() > power[:, between].mean(axis=1).mean()


def _plan(*found: SourcePlan, **changes: object) -> ZooPlan:
    fields: dict[str, object] = {
        "seed": 3,
        "architecture": "window-head",
        "encoder": EncoderPlan(dimension=8, records=200),
        "sources": found,
    }
    return ZooPlan(**(fields | changes))  # type: ignore[arg-type]


PROCEDURAL = SourcePlan(kind="procedural-windows", families=2, sites=2, per_class=8)


@pytest.mark.parametrize("name", ["windows", "windows-quick"])
def test_packaged_plans_are_of_windows(name: str) -> None:
    plan = read_plan(Path(name))
    assert plan.modality == "windows"
    assert len({spec.family for spec in list_tasks(plan)}) >= 8


def test_a_plan_has_one_modality() -> None:
    with pytest.raises(ConfigError, match="has images"):
        _plan(SourcePlan(kind="procedural", families=1))
    with pytest.raises(ConfigError, match="architecture: window-head"):
        _plan(PROCEDURAL, architecture="lite0-head")
    with pytest.raises(ConfigError, match="networks: there are none for sensor windows"):
        _plan(PROCEDURAL, networks=True)


def test_only_one_kind_is_drawn_and_an_unknown_one_is_refused() -> None:
    only = SourcePlan(kind="procedural-windows", families=1, sites=1, per_class=8, only="process")
    assert sources.load_task(list_tasks(_plan(only))[0]).family.startswith("process")
    wrong = SourcePlan(kind="procedural-windows", families=1, only="cats")
    with pytest.raises(ConfigError, match="rotating"):
        sources.load_task(list_tasks(_plan(wrong))[0])


def test_an_archive_of_windows_makes_sites_of_disjoint_records(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3, 32)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(60) % 2, classes=np.array(["a", "b"]))
    source = SourcePlan(
        kind="npz", families=1, sites=2, per_class=8, path=str(tmp_path / "d.npz"), licence="own"
    )
    one, two = (sources.load_task(spec) for spec in list_tasks(_plan(source)))
    assert {w.shape for w in one.records + two.records} == {(3, 32)}
    first = {w.tobytes() for w in x}
    assert all(w.tobytes() in first for w in one.records)
    assert not any(w.tobytes() in first for w in two.records)  # behind sensors of its own
    x[7, 1, 3] = np.inf
    np.savez(tmp_path / "e.npz", x=x, y=np.arange(60) % 2, classes=np.array(["a", "b"]))
    bad = SourcePlan(kind="npz", families=1, path=str(tmp_path / "e.npz"), licence="own")
    with pytest.raises(DataError, match="window 7"):
        sources.load_task(list_tasks(_plan(bad))[0])


def test_a_home_serves_one_modality(tmp_path: Path) -> None:
    server_home = ServerHome(tmp_path)
    built = build.build_zoo(server_home, _plan(PROCEDURAL), workers=1, progress=lambda *_: None)
    assert built.new_entries == 4
    again = build.build_zoo(server_home, _plan(PROCEDURAL), workers=1, progress=lambda *_: None)
    assert (again.new_entries, again.earlier_entries, again.encoder) == (0, 4, built.encoder)
    images = ZooPlan(seed=1, sources=(SourcePlan(kind="procedural", families=1, per_class=8),))
    with pytest.raises(ConfigError, match="a home serves one of them"):
        build.build_zoo(server_home, images, workers=1, progress=lambda *_: None)


def test_an_encoder_that_is_fitted_has_the_reading_maps_of_its_plan(tmp_path: Path) -> None:
    asked: list[ZooPlan] = []

    def train_maps(plan: ZooPlan, _: WorkerPool, progress: build.ProgressCallback) -> ReadingMaps:
        asked.append(plan)
        progress(1, "learning")
        return {bearing.MACHINE_KIND.name: ReadingMap(bearing.MACHINE_KIND)}

    def built(home: str, plan: ZooPlan) -> tuple[str, ...]:
        words: list[str] = []
        place = ServerHome(tmp_path / home)
        build.build_zoo(
            place,
            plan,
            workers=1,
            progress=lambda _, said: words.append(said),
            train_reading_maps=train_maps,
        )
        assert ("reading map: learning" in words) == bool(plan.machine_steps)
        return load_encoder(place.read_encoder()).machine_kinds

    plan = replace(_plan(PROCEDURAL), machine_steps=7)
    assert built("machines", plan) == (bearing.MACHINE_KIND.name,)
    assert built("none", _plan(PROCEDURAL)) == ()
    assert asked == [plan]


def test_machines_have_windows() -> None:
    source = SourcePlan(kind="procedural", families=1, per_class=8)
    with pytest.raises(ConfigError, match="machines have windows"):
        ZooPlan(seed=1, sources=(source,), machine_steps=5)
    with pytest.raises(ConfigError, match="'kettle' is none of"):
        ZooPlan(seed=1, sources=(source,), machines=("kettle",))
