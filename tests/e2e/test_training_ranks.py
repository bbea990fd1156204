"""Two processes train heads and whole networks on one zoo, as one does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from tests.e2e.fleet_support import make_home
from tests.e2e.test_networks import TRAINING, ZOO
from tests.server.generator.ranked import ended, start

from wg_core.errors import EXIT_NOT_ACCEPTED, EXIT_OK
from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.pipeline import train
from wg_server.site.home import ServerHome
from wg_server.zoo.build import build


@pytest.mark.slow
def test_two_ranks_train_whole_networks_as_one_does(tmp_path: Path) -> None:
    alone = make_home(tmp_path / "alone")
    alone.encoder.unlink()
    build(alone, ZOO, workers=1, progress=lambda *_: None)
    both = ServerHome(tmp_path / "both")
    shutil.copytree(alone.root, both.root)
    card = train(alone, TRAINING, progress=lambda *_: None)

    plan = tmp_path / "plan.yaml"
    plan.write_bytes(msgspec.yaml.encode(canonical.to_builtins(TRAINING)))
    words = ["train", "--home", str(both.root), "--plan", str(plan), "--device", "cpu", "--json"]
    first, second = ended(start(words, 2))
    passes = card["passes"] and card["networks"]["passes"]  # four steps seldom make a good card
    assert first[0] == (EXIT_OK if passes else EXIT_NOT_ACCEPTED), first[2] + second[2]
    assert second[0] == EXIT_OK, "the first rank alone speaks of the card"
    assert not second[1]
    printed = json.loads(first[1])
    assert printed["networks"]["training"]["computed"] == {"cpu, fp32, 2 processes": 4}
    assert printed["networks"]["architectures"] == card["networks"]["architectures"]
    made, again = versions.read(alone, card["version"]), versions.read(both, printed["version"])
    for one, two in ((made.heads, again.heads), (made.networks, again.networks)):
        expected, found = (safetensors.numpy.load_file(path) for path in (one, two))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
