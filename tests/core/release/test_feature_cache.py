"""A freeze that was cut off: what is encoded is not encoded again, and nothing else is kept."""

from __future__ import annotations

from typing import Any

import pytest
from tests.client.conftest import MakePlant, remembering

from wg_client.release.home_freeze import freeze_data
from wg_core.site import reading_config


def test_a_freeze_that_was_cut_off_goes_on_where_it_stopped(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 2, 1: 2}, frozen=False)
    monkeypatch.setattr(reading_config, "RECORDS_PER_CHUNK", 1)
    encoded: list[int] = []

    class Counting:
        """Encodes, and is interrupted once."""

        def __init__(self, stop: int) -> None:
            self._encoder = remembering(plant.home.encoder.read_bytes())
            self._stop = stop

        def __getattr__(self, name: str) -> Any:
            return getattr(self._encoder, name)

        def encode_local(self, records: Any) -> Any:
            if len(encoded) == self._stop:
                raise KeyboardInterrupt
            encoded.append(len(records))
            return self._encoder.encode_local(records)

    with pytest.raises(KeyboardInterrupt):
        freeze_data(plant.home, plant.look(), load_encoder=lambda _: Counting(2))
    (kept,) = (plant.home.snapshots / ".encoded").iterdir()
    kept.write_bytes(kept.read_bytes() + b"half a row")
    frozen = freeze_data(plant.home, plant.look(), load_encoder=lambda _: Counting(-1))
    assert sum(encoded) == frozen.records
    assert not (plant.home.snapshots / ".encoded").exists()
    alone = plant.freeze()
    assert frozen.snapshot.manifest.features_sha256 == alone.snapshot.manifest.features_sha256
