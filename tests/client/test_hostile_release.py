"""A plant that signs and charges what it likes: the server keeps it, and uses it for nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.client.conftest import MakePlant
from tests.core.connection.test_cosigning import make_world

from wg_client.fitting.linear_head import LinearHead
from wg_core.errors import VerificationError
from wg_core.privacy.mechanism import Integers, add_opendp_noise
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import ReleaseHooks, answer_query
from wg_server.store import quarantine
from wg_server.store.server_store import ServerStore


class Largest:
    """Noise as it should be on counts and the sum over all records; class sums of any size."""

    def __init__(self) -> None:
        self.parts = 0

    def __call__(self, exact: Integers, sigma: float) -> Integers:
        self.parts += 1
        if self.parts == 1:
            return add_opendp_noise(exact, sigma)
        return np.where(np.arange(len(exact)) % 2 == 0, 1 << 62, -(1 << 62)).astype(np.int64)


def test_class_sums_of_two_to_the_62_are_charged_and_used_for_nobody(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    world = make_world(make_plant, good_head, tmp_path)
    query = world.plant.query(epsilon="1")
    source = tmp_path / "hostile.wgs"
    source.write_bytes(
        answer_query(world.plant.home, query, witness=None, hooks=ReleaseHooks(sampler=Largest()))
    )
    with pytest.raises(VerificationError, match=r"plant-a: quarantined: class '.*': its sum is"):
        world.generate(source)
    assert read_plant_spending(world.plant.home, world.plant.config).charge_count == 1
    assert world.releases() == 0
    with ServerStore.open(world.server) as store:
        (note,) = quarantine.list_release_summaries(store.engine, "quarantined")
        quarantine.set_release_status(store.engine, note.release_id, "accepted")
    assert world.generate(source)
    assert world.releases() == 1
