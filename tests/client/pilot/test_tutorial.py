"""The commands of ``docs/pilot-to-watched.md``, as they stand there, one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.cli.conftest import shown
from tests.client.conftest import LABELS, MakePlant, pictures

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import store
from wg_client.operation import stages

__all__ = ["shown"]

PAGE = Path(__file__).parents[3] / "docs" / "pilot-to-watched.md"


def _images(folder: Path, count: int, seed: int, labels: int) -> None:
    for label, name in enumerate(LABELS[:labels]):
        (folder / name).mkdir(parents=True)
        for row, picture in enumerate(pictures(np.random.default_rng(seed + label), label, count)):
            Image.fromarray(picture).save(folder / name / f"{row}.png")


@pytest.mark.slow
def test_the_commands_of_the_page_run(
    make_plant: MakePlant,
    good_head: LinearHead,
    tmp_path: Path,
    shown: Callable[..., tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = PAGE.read_text("utf-8")
    plant = make_plant({0: 4, 1: 4}, name="plant")
    monkeypatch.chdir(tmp_path)
    _images(tmp_path / "images", 4, 3, labels=2)
    _images(tmp_path / "new", 3, 40, labels=3)
    (figures,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "figures.yaml").write_text(figures)
    for name in ("first.wgw", "second.wgw"):
        (tmp_path / name).write_bytes(plant.package({"s": (good_head, "diffusion")}))
    encoder = ["--encoder", str(plant.home.encoder)]  # a small one, so that this takes seconds
    said = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ wg-client "))
            if words[0] == "simulate":
                words += encoder
            if "PACKAGE" in words:
                words[words.index("PACKAGE")] = store.all_manifests(plant.home)[1].package_id[:12]
            said.append(shown(*words))
    assert len(said) == 16 and stages.stage(plant.home) == "watched"
    assert (tmp_path / "sheet.html").is_file() and (tmp_path / "sheet.ja.html").is_file()
