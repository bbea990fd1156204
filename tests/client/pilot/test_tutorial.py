"""The commands of ``docs/pilot-to-watched.md``, as they stand there, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.conftest import LABELS, MakePlant, pictures
from tests.tutorial import blocks, commands, shell, walk

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import adoption, store


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
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = make_plant({0: 4, 1: 4}, name="plant")
    monkeypatch.chdir(tmp_path)
    _images(tmp_path / "images", 4, 3, labels=2)
    _images(tmp_path / "new", 3, 40, labels=3)
    (figures,) = blocks("pilot-to-watched", "yaml")
    (tmp_path / "figures.yaml").write_text(figures)
    for name in ("first.wgw", "second.wgw"):
        (tmp_path / name).write_bytes(plant.package({"s": (good_head, "diffusion")}))
    encoder = ["--encoder", str(plant.home.encoder)]  # a small one, so that this takes seconds

    def package(words: list[str], number: int) -> list[str]:
        words[words.index("PACKAGE")] = store.all_manifests(plant.home)[number].package_id[:12]
        return words

    def first(words: list[str]) -> list[str]:
        return package(words, 0)

    def second(words: list[str]) -> list[str]:
        return package(words, 1)

    said = walk(
        commands("pilot-to-watched"),
        shell(capfd),
        {
            "wg-client simulate": lambda words: words + encoder,
            "wg-client models shadow --home plant PACKAGE": second,
            "wg-client models use --home plant PACKAGE": first,
        },
    )
    assert len(said) == 15 and adoption.read(plant.home).stage == "in use"
    assert (tmp_path / "sheet.html").is_file() and (tmp_path / "sheet.ja.html").is_file()
