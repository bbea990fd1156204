"""Sources of files: what is read, what is refused, and that nothing is ever extracted."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wg_core.errors import ConfigError, DataError
from wg_server.site.home import ServerHome
from wg_server.zoo import archives, sources
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import SourcePlan, ZooPlan, list_tasks


@pytest.fixture(autouse=True)
def _forget() -> None:
    for cached in (archives.read_image_folder, archives.read_npz):
        cached.cache_clear()


def _plan(kind: str, path: Path, **more: object) -> ZooPlan:
    fields = {"families": 2, "sites": 2, "per_class": 8, "licence": "test", **more}
    source = SourcePlan(kind=kind, path=str(path), **fields)  # type: ignore[arg-type]
    return ZooPlan(seed=3, sources=(source, SourcePlan(kind="procedural", families=1, sites=1)))


def _png(seed: int = 0, mode: str = "L", size: tuple[int, int] = (12, 12)) -> bytes:
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 1 << 16, size[::-1]).astype(np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
        picture = picture.convert(mode)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


Members = dict[str, bytes]


def _members(count: int = 12) -> Members:
    return {
        f"set/{label}/{n:02d}.png": _png(100 * row + n)
        for row, label in enumerate(("good", "scratch", "pit"))
        for n in range(count)
    }


def _folder(path: Path, members: Members) -> Path:
    for name, data in members.items():
        file = path.joinpath(*Path(name).parts[1:])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def test_a_folder_has_a_class_in_each_sub_folder(tmp_path: Path) -> None:
    found = archives.read_image_folder(str(_folder(tmp_path / "set", _members())))
    assert found.class_names == ("good", "pit", "scratch")
    assert found.labels.tolist() == [row for row in range(3) for _ in range(12)]


def test_too_many_bytes_of_pictures_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "TOTAL_BYTES_LIMIT", 1000)
    with pytest.raises(DataError, match="more than 1000 bytes"):
        archives.read_image_folder(str(_folder(tmp_path / "set", _members())))


def test_tasks_of_files_have_disjoint_records(tmp_path: Path) -> None:
    path = _folder(tmp_path / "set", _members(20))
    one, two = (
        sources.load_task(spec) for spec in list_tasks(_plan("folder", path, strength=0.0))[:2]
    )
    assert one.licence == "test" and one.family == "folder-0"
    assert not {i.tobytes() for i in one.records} & {i.tobytes() for i in two.records}


def test_too_few_records_for_the_sites_are_named(tmp_path: Path) -> None:
    plan = _plan("folder", _folder(tmp_path / "set", _members(12)), sites=4)
    with pytest.raises(DataError, match="'good' has 3 records for site 0 of 4"):
        sources.load_task(list_tasks(plan)[0])


def test_sixteen_bits_keep_their_contrast() -> None:
    found = archives.decode_picture(_png(5, "I;16"), "x")
    assert found.dtype == np.uint8
    assert found.std() > 50  # clipped to 255 it would be near zero


def test_a_large_picture_is_made_smaller() -> None:
    assert archives.decode_picture(_png(size=(600, 300)), "x").shape == (128, 256)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        _png()[:60],
        b"GIF89a" + b"\0" * 40,
        _png(size=(4, 40)),
        # A header that claims 60000 x 60000 pixels.
        _png()[:16] + struct.pack(">II", 60000, 60000) + _png()[24:],
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        archives.decode_picture(data, "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((6, 16, 16), np.int32)}, "array x: int32"),
        ({"x": np.zeros((6, 16, 16, 4), np.uint8)}, "array x: uint8"),
        ({"x": np.zeros((6, 4, 4), np.uint8)}, "image 0: 4 x 4 pixels, too small"),
        ({"y": np.zeros(5, np.int64)}, "array y: .5., expected .6."),
        ({"y": np.zeros(6)}, "array y: float64"),
        ({"y": np.full(6, 2)}, "between 0 and 1"),
        ({"classes": np.array(["a", "a"])}, "classes"),
        ({"x": np.array([{}] * 6, dtype=object)}, "not a .npz file of plain arrays"),
    ],
)
def test_arrays_that_are_not_as_they_should_be_are_named(
    change: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    arrays = {
        "x": np.zeros((6, 16, 16), np.uint8),
        "y": np.arange(6) % 2,
        "classes": np.array(["a", "b"]),
        **change,
    }
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        archives.read_npz(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_files_that_are_absent_are_named_before_anything_is_made(kind: str, tmp_path: Path) -> None:
    plan = _plan(kind, tmp_path / "gone", name="castings", families=2)
    home = ServerHome(tmp_path / "home")
    with pytest.raises(ConfigError, match=f"source castings: nothing is at {tmp_path}/gone"):
        build_zoo(home, plan, workers=1, progress=lambda done, words: None)
    assert not home.root.exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "link out", "link to itself"])
def test_a_folder_holds_pictures_and_no_pipe_device_or_way_out(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "set"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
    bad = root / "b" / "x.png"
    if kind == "pipe":
        os.mkfifo(bad)
    elif kind == "device":
        bad.symlink_to("/dev/zero")
    elif kind == "link out":
        (tmp_path / "secret.png").write_bytes(b"x")
        bad.symlink_to(tmp_path / "secret.png")
    else:
        bad.symlink_to(bad)
    with pytest.raises(DataError, match=r"x\.png"):
        archives.read_image_folder(str(root))
