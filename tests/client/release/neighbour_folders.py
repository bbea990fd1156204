"""Small data sets of pictures, and changes that make a neighbour of one, or leave it as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

LABELS = ("bars", "dots", "rings")

Write = Callable[[Path, np.random.Generator], None]


def picture(path: Path, rng: np.random.Generator, side: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(path)


def added(root: Path, rng: np.random.Generator) -> None:
    picture(root / LABELS[rng.integers(3)] / "zz.png", rng)


def removed(root: Path, rng: np.random.Generator) -> None:
    found = sorted(root.rglob("*.png"))
    if found:
        found[rng.integers(len(found))].unlink()


def corrupt(root: Path, rng: np.random.Generator) -> None:
    path = root / LABELS[rng.integers(3)] / "torn.png"
    picture(path, rng)
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(0, len(data)))])


def garbage(root: Path, rng: np.random.Generator) -> None:
    (root / LABELS[0]).mkdir(parents=True, exist_ok=True)
    (root / LABELS[0] / "zz.tif").write_bytes(rng.bytes(100))


def renamed(root: Path, rng: np.random.Generator) -> None:
    found = sorted(root.rglob("*.png"))
    if found:
        path = found[rng.integers(len(found))]
        path.rename(path.with_name("a much longer name " * 5 + ".png"))


def huge(root: Path, rng: np.random.Generator) -> None:
    picture(root / LABELS[rng.integers(3)] / "huge.png", rng, side=1100)


def too_large(root: Path, rng: np.random.Generator) -> None:
    path = root / LABELS[rng.integers(3)] / "bomb.ppm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6 100000 100000 255\n")


def float_tiff(root: Path, rng: np.random.Generator) -> None:
    path = root / LABELS[rng.integers(3)] / "float.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.normal(size=(6, 6)).astype(np.float32)).save(path)


def duplicate(root: Path, rng: np.random.Generator) -> None:
    found = sorted(root.rglob("*.png"))
    if found:
        path = found[rng.integers(len(found))]
        shutil.copy(path, path.with_name(f"copy-{path.name}"))


def other_label(root: Path, rng: np.random.Generator) -> None:
    found = sorted(root.rglob("*.png"))
    if found:
        path = found[rng.integers(len(found))]
        target = root / LABELS[rng.integers(3)] / f"relabelled-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def undeclared(root: Path, rng: np.random.Generator) -> None:
    picture(root / "cracks" / "0.png", rng)


def stray(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "notes.txt").write_bytes(rng.bytes(1000))


def window(root: Path, rng: np.random.Generator) -> None:
    (root / LABELS[0]).mkdir(parents=True, exist_ok=True)
    np.save(root / LABELS[0] / "window.npy", rng.normal(size=(2, 64)))


def table(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "records.csv").write_bytes(b"part,shift,text\nnotes of " + rng.bytes(1000))


def linked(root: Path, rng: np.random.Generator) -> None:
    folder = root / LABELS[rng.integers(3)]
    folder.mkdir(parents=True, exist_ok=True)
    for one, other in (("a.jpg", "b.jpg"), ("b.jpg", "a.jpg"), ("self", "self")):
        if not (folder / one).is_symlink():
            (folder / one).symlink_to(other)


CHANGES: tuple[Write, ...] = (
    added,
    removed,
    corrupt,
    garbage,
    renamed,
    huge,
    too_large,
    float_tiff,
    duplicate,
    other_label,
    undeclared,
    stray,
    window,
    table,
    linked,
)


def folder(root: Path, rng: np.random.Generator) -> None:
    """A data set of up to nine records, with or without faults of its own."""
    root.mkdir(parents=True)
    for number in range(int(rng.integers(0, 10))):
        picture(root / LABELS[rng.integers(3)] / f"{number}.png", rng)
    for change in CHANGES:
        if rng.random() < 0.1:
            change(root, rng)


HEADER = b"text,label,author\n"
ODD_ROWS: dict[str, bytes] = {
    "NUL": b'"the pump \0 leaks",dots,a9\n',
    "NUL in the label": b"the pump leaks,do\0ts,a9\n",
    "long": b'"' + b"leak " * 30_000 + b'",dots,a9\n',
    "long label": b"the pump leaks," + b"x" * 140_000 + b",a9\n",
    "not UTF-8": b"the p\xffmp leaks,dots,a9\n",
    "half a sign": "the pump is 傷".encode()[:-2] + b",dots,a9\n",
    "open quote": b'"the pump leaks,dots,a9\n',
    "line break": b'"the pump\nleaks",dots,a9\n',
    "inches": b'hose of 5",dots,a9\n',
    "cells": b"the pump leaks,dots\n",
    "nothing": b",,\n",
}
"""Rows of a table of texts that cannot be used."""


def rows(rng: np.random.Generator) -> list[bytes]:
    """Rows of a table of notes by authors, of several each, in two languages."""
    things = ("pump", "valve", "ポンプ", "shaft", "弁")
    return [
        f"{things[rng.integers(5)]} {number} 傷あり leaks,{LABELS[rng.integers(3)]},"
        f"a{number // 3}\n".encode()
        for number in range(12)
    ]
