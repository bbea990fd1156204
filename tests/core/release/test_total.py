"""A freeze takes what any encoder does on a record for a record of zeros, and tells the plant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.conftest import MakePlant

from wg_client.release.home_freeze import freeze_data
from wg_core.errors import ConfigError, StorageError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release import encoding_failures, quality
from wg_core.site import reading_config
from wg_core.wire.data_sheet import DataSheet

Rows = NDArray[np.float32]
WIDTH = 8


def plain(records: Sequence[Any]) -> Rows:
    rows = [np.resize(np.asarray(record, np.float32).ravel(), WIDTH) / 255 for record in records]
    return np.asarray(np.stack(rows) + 0.1, np.float32)


def _raise(error: BaseException) -> Callable[[Rows], Rows]:
    def fail(rows: Rows) -> Rows:
        raise error

    return fail


def _filled(value: float) -> Callable[[Rows], Rows]:
    return lambda rows: np.full_like(rows, value)


FAILURES: dict[str, Callable[[Rows], Any]] = {
    "error": _raise(ValueError("on this record")),
    "error of ours": _raise(ConfigError("on this record")),
    "end": _raise(SystemExit(3)),
    "memory": _raise(MemoryError()),
    "narrower": lambda rows: rows[:, :-1],
    "wider": lambda rows: np.hstack([rows, rows]),
    "one number": lambda rows: np.float32(3),
    "one row": lambda rows: rows[:1] if len(rows) > 1 else rows[0],
    "text": lambda rows: "features",
    "NaN": _filled(np.nan),
    "infinity": _filled(np.inf),
}


class Failing:
    """An encoder that fails on some records, in a way."""

    modality = "images"
    dimension = scaled_dimension = local_dimension = WIDTH
    clip_radius = 1.0
    machine_kinds: tuple[str, ...] = ()

    def machine_features(self, records: Sequence[Any], data_sheet: DataSheet) -> Rows:
        raise NotImplementedError

    def __init__(self, fail: Callable[[Rows], Any], target: Any) -> None:
        self.fail, self.target, self.calls = fail, target, 0

    def encode_local(self, records: Sequence[Any]) -> Rows:
        self.calls += 1
        rows = plain(records)
        hit = np.array([np.array_equal(record, self.target) for record in records])
        if not hit.any():
            return rows
        changed = self.fail(rows)
        if isinstance(changed, np.ndarray) and changed.shape == rows.shape:
            rows[hit] = changed[hit]
            return rows
        answer: Rows = changed
        return answer


def records(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(2).integers(0, 256, (count, 4, 4), dtype=np.uint8))


@pytest.mark.parametrize("name", FAILURES)
def test_one_record_of_a_hundred_has_zeros_and_the_rest_their_bits(name: str) -> None:
    data = records(100)
    encoder = Failing(FAILURES[name], data[37])
    features, failures = encoding_failures.encode_or_zero(encoder.encode_local, WIDTH, data)
    assert np.flatnonzero(failures).tolist() == [37]
    assert not features[37].any() and features.dtype == np.float32
    rest = np.arange(100) != 37
    assert features[rest].tobytes() == plain(data)[rest].tobytes()


def test_where_nothing_fails_records_are_encoded_together() -> None:
    data = records(100)
    encoder = Failing(FAILURES["error"], None)
    features, failures = encoding_failures.encode_or_zero(encoder.encode_local, WIDTH, data)
    assert encoder.calls == 1 and not failures.any()
    assert features.tobytes() == plain(data).tobytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("the disk is full")])
def test_what_no_record_is_the_reason_of_ends_the_call(error: BaseException) -> None:
    data = records(3)
    encoder = Failing(_raise(error), data[1])
    with pytest.raises(type(error)):
        encoding_failures.encode_or_zero(encoder.encode_local, WIDTH, data)


def test_a_freeze_names_what_the_encoder_failed_on_also_where_it_was_cut_off(
    make_plant: MakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 3, 1: 3}, frozen=False)
    monkeypatch.setattr(reading_config, "RECORDS_PER_CHUNK", 2)
    look = plant.look()
    encoder = Failing(FAILURES["error"], look.read(1)[0])

    def stop(stage: str, done: int, _: int) -> None:
        if stage == "encoded" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        freeze_data(plant.home, look, load_encoder=lambda _: encoder, on_progress=stop)
    snapshot = freeze_data(plant.home, look, load_encoder=lambda _: encoder).snapshot
    assert quality.read(snapshot.folder).failures == (look.data.names[1],)
    rows = np.asarray(snapshot.features())
    assert not rows[1].any() and rows[[0, 2, 3, 4, 5]].any(axis=1).all()
    (snapshot.folder / "quality.json").unlink()  # a snapshot of 0.1.0 has none
    assert quality.read(snapshot.folder).failures == ()


def test_the_ledger_shows_when_a_freeze_began_and_not_how_long_it_took(
    make_plant: MakePlant,
) -> None:
    plant = make_plant({0: 3, 1: 3}, frozen=False)
    with Ledger.open(plant.home.ledger) as ledger:
        newest = entries.decode(ledger.entry_bytes(ledger.size - 1)).head.time
    look = plant.look()
    seconds = iter([newest + 100.0, newest + 900.0, newest + 9000.0])
    freeze_data(
        plant.home,
        look,
        load_encoder=lambda _: Failing(FAILURES["error"], None),
        clock=lambda: next(seconds),
    )
    with Ledger.open(plant.home.ledger) as ledger:
        assert entries.decode(ledger.entry_bytes(ledger.size - 1)).head.time == newest + 100
    # A clock that went back since the newest entry is no step back on the ledger.
    freeze_data(
        plant.home,
        look,
        load_encoder=lambda _: Failing(FAILURES["error"], None),
        clock=lambda: newest - 50.0,
    )
    with Ledger.open(plant.home.ledger) as ledger:
        assert entries.decode(ledger.entry_bytes(ledger.size - 1)).head.time == newest + 100
