import numpy as np
import pytest

from wg_common.modalities import cameras
from wg_server.zoo.procedural import boards, defects, families, glyphs, surfaces


@pytest.mark.parametrize("kind", sorted(surfaces.SURFACE_DRAWERS))
def test_every_surface_is_finite_and_varied(kind: str) -> None:
    rng = np.random.default_rng(0)
    sheet = surfaces.draw_sheet(rng, surfaces.draw_recipe(rng, kind))
    assert sheet.shape == (surfaces.SHEET_SIDE_PIXELS, surfaces.SHEET_SIDE_PIXELS)
    assert np.isfinite(sheet).all()
    assert 0.005 < sheet.std() < 0.5


@pytest.mark.parametrize("name", sorted(defects.PAINTERS))
def test_every_defect_leaves_a_mark(name: str) -> None:
    rng = np.random.default_rng(1)
    ground = np.full((6, 64, 64), 0.5, np.float32)
    drawn = defects.PAINTERS[name](rng, ground, (0.5,) * 8)
    changed = np.abs(drawn - ground).max(axis=(1, 2))
    assert drawn.shape == ground.shape
    assert np.isfinite(drawn).all()
    assert (changed > 0.05).sum() >= 5


@pytest.mark.parametrize("name", boards.BOARD_CLASSES)
def test_copper_is_between_nought_and_one(name: str) -> None:
    copper = boards.draw_boards(np.random.default_rng(2), name, 4, 64, np.full(8, 0.5))
    assert copper.min() >= 0
    assert copper.max() <= 1
    assert 0.02 < copper.mean() < 0.98


def test_digits_have_ten_names_and_ink() -> None:
    rng = np.random.default_rng(3)
    hand = glyphs.draw_digit_shapes(rng)
    assert sorted(hand) == [str(n) for n in range(10)]
    for glyph in hand.values():
        drawn = glyphs.render_glyph(rng, glyph, 3, 64, np.full(8, 0.5))
        assert 0.01 < drawn.mean() < 0.5


@pytest.mark.parametrize("kind", families.FAMILY_KINDS)
def test_pictures_are_the_same_for_a_seed(kind: str) -> None:
    pictures = []
    for _ in range(2):
        family = families.draw_family((11, 4), kind)
        site = families.draw_site(family, 1, strength=0.7)
        labels = np.arange(len(family.classes)).repeat(2)
        pictures.append(families.render_records(family, site, labels, np.random.default_rng(5)))
    assert np.array_equal(pictures[0], pictures[1])
    assert pictures[0].dtype == np.uint8
    assert pictures[0].shape[:3] == (len(labels), 64, 64)


def test_sites_of_a_family_differ_and_share_labels() -> None:
    family = families.draw_family((12, 1), "defects")
    sites = [families.draw_site(family, n, strength=0.7) for n in range(2)]
    assert not np.array_equal(sites[0].material_sheet, sites[1].material_sheet)
    assert len(set(family.labels)) == len(family.labels) >= 2


def test_a_neutral_camera_changes_nothing_but_rounding() -> None:
    scenes = np.random.default_rng(6).uniform(0, 1, (2, 64, 64)).astype(np.float32)
    taken = cameras.photograph(np.random.default_rng(7), scenes, cameras.Camera())
    assert np.abs(taken / 255 - scenes).max() <= 0.5 / 255 + 1e-6


def test_every_surface_is_reached_by_some_seed() -> None:
    rng = np.random.default_rng(8)
    found = {surfaces.draw_recipe(rng).kind for _ in range(1500)}
    assert found == set(surfaces.SURFACE_DRAWERS)


def test_defects_and_surfaces_that_plants_know_are_there() -> None:
    known = {"rolled", "ground", "cast", "woven", "printed", "cracked", "photovoltaic"}
    assert known <= set(surfaces.SURFACE_DRAWERS)
    marks = {"scratch", "pits", "inclusion", "patch", "scale", "crack", "stain", "dent"}
    assert marks <= set(defects.PAINTERS)
    assert {"short", "open"} <= set(boards.BOARD_CLASSES)
