"""A private kind by the installed commands: on the card, and in the package that a plant gets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.e2e.test_copied_home import SITE, enrolled  # noqa: F401 - a fixture
from tests.homes import make

from wg_common.weights_package import WeightsManifest, read_sections
from wg_core.wire import canonical

KIND = """  - {{kind: npz, name: marks, families: 1, path: {path}, licence: own,
     private: {{epsilon: 4, delta: 1.0e-5}}}}
"""


@pytest.mark.slow
def test_a_private_kind_says_its_epsilon_wherever_it_goes(
    enrolled: Path,  # noqa: F811 - the fixture above
    tmp_path: Path,
) -> None:
    server, plant = tmp_path / make.SERVER, enrolled / SITE
    subprocess.run(["cp", "-a", enrolled / make.SERVER, server], check=True)
    plans = zoo, training = tmp_path / "zoo.yaml", tmp_path / "training.yaml"
    own = KIND.format(path=enrolled / make.DATA / make.RECORDS)
    for path, text in zip(plans, (make.ZOO + own, make.TRAINING), strict=True):
        path.write_text(text)
    of_server = "--home", server
    make.command("wg-server", "zoo", "build", *of_server, "--plan", zoo, "--workers", "1")
    card = make.command("wg-server", "train", *of_server, "--plan", training, good=(0, 6))
    figures = card["own_families"]["marks-0"]
    assert (figures["epsilon"], figures["delta"]) == ("4", "1e-05")
    assert not {"refused", "network"} & set(figures)
    make.command("wg-server", "generator", *of_server, "--use", card["version"])

    statistics, package = tmp_path / "release.wgs", tmp_path / "package.wgw"
    make.command("wg-client", "statistics", "--home", plant, "--epsilon", "2", "--out", statistics)
    words = "--statistics", statistics, "--out", package
    make.command("wg-server", "generate", *of_server, *words)
    data = read_sections(package.read_bytes())["manifest"]
    manifest = canonical.decode(WeightsManifest, data, input_name="manifest")
    privacy = {candidate.name: candidate.privacy.epsilon for candidate in manifest.candidates}
    assert privacy == {"kin": "4", "posterior": ""}
    make.command("wg-client", "apply", "--home", plant, package, good=(0, 6))
