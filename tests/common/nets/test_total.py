"""An encoder is total: whatever a trunk does on one record, that record alone has no features."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.common.nets.onnx_models import FAILURES, WIDTH, failing_file, plain_image
from torch import Tensor

from wg_common.nets.encoder import confined_trunk, image_trunk, trunk_process
from wg_common.nets.encoder.confined_trunk import ConfinedTrunk, TrunkNotStarted, load_trunk
from wg_common.nets.encoder.image_trunk import ImageTrunk
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import ConfigError, DecodeError

MARK = 251
"""Brightness of the plain image on which a trunk in this process fails."""


def images(count: int, side: int = 24) -> list[NDArray[Any]]:
    rng = np.random.default_rng(5)
    return list(rng.integers(0, 240, (count, side, side), dtype=np.uint8))


@pytest.fixture(scope="module")
def in_file() -> Iterator[Encoder]:
    """An encoder whose numbers all come from the file that fails in five ways."""
    raw = np.random.default_rng(0).normal(size=(200, WIDTH)).astype(np.float32)
    package = fit_encoder(raw, np.arange(200) % 5, dimension=8, trunks=[failing_file(width=WIDTH)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confined_trunk, "CPU_SECONDS_LIMIT", 1)
        yield load_encoder(package)


def test_a_file_that_fails_on_some_records_leaves_the_others_as_they_are(in_file: Encoder) -> None:
    good = images(35)
    expected = in_file.encode_local(good)
    assert np.isfinite(expected).all() and expected.any(axis=1).all()
    mixed = list(good)
    places = [0, 13, 20, 21, 39]
    for place, failure in zip(places, FAILURES, strict=True):
        mixed.insert(place, plain_image(failure))
    features = in_file.encode_local(mixed)
    assert np.isnan(features[places]).all()
    assert np.delete(features, places, axis=0).tobytes() == expected.tobytes()
    released = in_file.encode(mixed)
    assert not released[places].any()
    assert released[1].tobytes() == expected[0, :8].tobytes()
    assert np.isfinite(in_file.encode_local_batched(mixed[:2])).all()


def test_a_further_trunk_that_fails_takes_its_own_features_alone(here: Encoder) -> None:
    raw = np.random.default_rng(0).normal(size=(200, image_trunk.FEATURE_COUNT)).astype(np.float32)
    settings, kinds = {"pixels": "64"}, (ImageTrunk, failing_file(width=WIDTH))
    groups = np.arange(200) % 5
    encoder = load_encoder(
        fit_encoder(raw, groups, dimension=8, trunk_settings=settings, trunks=kinds)
    )
    records = [*images(1), plain_image("error")]
    features = encoder.encode_local(records)
    expected = here.encode_local(records)
    assert features[:, :-WIDTH].tobytes() == expected.tobytes()
    assert np.isfinite(features[0]).all() and np.isnan(features[1, -WIDTH:]).all()


def test_a_record_finds_the_process_as_every_other_did(in_file: Encoder) -> None:
    """Memory that one record took is no memory that the next one lacks."""
    (record,) = images(1)
    expected = in_file.encode_local([record])
    for failure in FAILURES:
        if failure != "time":
            again = in_file.encode_local([plain_image(failure), record])
            assert again[1].tobytes() == expected[0].tobytes()


def test_a_process_that_was_killed_is_started_again(in_file: Encoder) -> None:
    trunk = in_file.module.trunk
    assert isinstance(trunk, ConfinedTrunk) and trunk._process is not None
    (record,) = images(1)
    expected = in_file.encode_local([record])
    os.kill(trunk._process._process.pid, signal.SIGKILL)
    trunk._process._process.wait()
    assert np.isnan(in_file.encode_local([record])).all()
    assert in_file.encode_local([record]).tobytes() == expected.tobytes()


def test_a_process_that_cannot_be_started_again_is_no_matter_of_a_record(
    in_file: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk = in_file.module.trunk
    assert isinstance(trunk, ConfinedTrunk)
    trunk._stop_process()
    monkeypatch.setattr(confined_trunk, "CHILD_MODULE", "no.such.module")
    with pytest.raises(TrunkNotStarted, match="cannot be started again"):
        in_file.encode_local(images(1))


def test_a_record_that_no_clock_waits_for_has_no_features(
    in_file: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, expected = images(1), in_file.encode_local(images(1))
    monkeypatch.setattr(
        confined_trunk, "WALL_SECONDS_LIMIT", 0.2
    )  # no more than it takes to work for 1 s
    assert np.isnan(in_file.encode_local([plain_image("time")])).all()
    monkeypatch.undo()
    assert in_file.encode_local(good).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "answer",
    [b"", b"+", b"+" + bytes(4 * WIDTH - 1), b"+" + bytes(4 * WIDTH + 4), b"x" + bytes(4 * WIDTH)],
)
def test_an_answer_of_another_length_is_a_failure(answer: bytes) -> None:
    with pytest.raises(DecodeError):
        trunk_process.decode_features(answer, WIDTH)


def test_where_a_system_has_no_fork_failures_still_have_no_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trunk = failing_file().from_settings({})
    start = trunk_process.TrunkReply(width=WIDTH, local_blocks=(WIDTH,), bounds=(1.01,))
    monkeypatch.delattr(os, "fork")
    frames = [plain_image("error"), plain_image("width"), plain_image("memory"), *images(1)]
    with torch.inference_mode():
        answers = [
            trunk_process._answer_in_forked_copy(
                trunk, start, trunk_process.encode_record_message(record), 1
            )
            for record in frames
        ]
    assert [answer[:1] for answer in answers] == [b"-", b"-", b"-", b"+"]


@pytest.mark.parametrize("record", [np.array("a text"), np.zeros((2, 3), np.float32), images(1)[0]])
def test_a_record_arrives_as_it_was_sent(record: NDArray[Any]) -> None:
    arrival = trunk_process._decode_record(trunk_process.encode_record_message(record))
    assert arrival.dtype == record.dtype and arrival.shape == record.shape
    np.testing.assert_array_equal(arrival, record)


# ------------------------------------------------------------------------- trunks in this process

Prepare = Callable[[ImageTrunk, Sequence[Any]], Tensor]
plain_prepare, plain_read = ImageTrunk.prepare, ImageTrunk.compute_features


def _raising(error: type[BaseException]) -> Prepare:
    def prepare(trunk: ImageTrunk, records: Sequence[Any]) -> Tensor:
        if any((np.asarray(record) == MARK).all() for record in records):
            raise error("on this record")
        return plain_prepare(trunk, records)

    return prepare


def _asking_for_memory(trunk: ImageTrunk, records: Sequence[Any]) -> Tensor:
    if any((np.asarray(record) == MARK).all() for record in records):
        torch.zeros(1 << 50)
    return plain_prepare(trunk, records)


def _changing(change: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A trunk's ``read`` whose raw features are changed where an image is the marked one."""

    def read(trunk: ImageTrunk, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        raw, blocks = plain_read(trunk, records)
        marked = (records == MARK).all(dim=(1, 2, 3))
        return change(raw, marked), blocks

    return read


def _narrower(raw: Tensor, marked: Tensor) -> Tensor:
    return raw[:, :-1] if marked.any() else raw


def _with(value: float) -> Callable[[Tensor, Tensor], Tensor]:
    def change(raw: Tensor, marked: Tensor) -> Tensor:
        raw = raw.clone()
        raw[marked, 7] = value
        return raw

    return change


IN_PROCESS: dict[str, tuple[str, Any]] = {
    "an error": ("prepare", _raising(ValueError)),
    "an error of ours": ("prepare", _raising(ConfigError)),
    "an end": ("prepare", _raising(SystemExit)),
    "memory": ("prepare", _asking_for_memory),
    "width": ("compute_features", _changing(_narrower)),
    "NaN": ("compute_features", _changing(_with(float("nan")))),
    "infinity": ("compute_features", _changing(_with(float("-inf")))),
}


@pytest.fixture(scope="module")
def here() -> Encoder:
    raw = np.random.default_rng(0).normal(size=(200, image_trunk.FEATURE_COUNT)).astype(np.float32)
    return load_encoder(
        fit_encoder(raw, np.arange(200) % 5, dimension=8, trunk_settings={"pixels": "64"})
    )


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_trunk_of_this_process_fails_on_one_record_alone(
    here: Encoder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    good = images(17, 64)
    alone, batched = here.encode_local(good), here.encode_local_batched(good)
    records = [*good[:5], np.full((64, 64), MARK, np.uint8), *good[6:]]
    attribute, change = IN_PROCESS[name]
    monkeypatch.setattr(ImageTrunk, attribute, change)
    for features, expected in (
        (here.encode_local(records), alone),
        (here.encode_local_batched(records), batched),
    ):
        assert not np.nan_to_num(features[5]).any()
        rest = np.arange(17) != 5
        assert features[rest].tobytes() == expected[rest].tobytes()
    assert np.isnan(here.encode_local(records[5:6])).all()


def test_an_error_that_no_record_is_the_reason_of_shows_when_a_trunk_is_loaded(
    here: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Tensor:
        raise ConfigError("a package is not installed")

    monkeypatch.setattr(ImageTrunk, "prepare", missing)
    with pytest.raises(ConfigError, match="not installed"):
        load_trunk(ImageTrunk, "images", {"pixels": "64"})


def test_a_trunk_that_says_nothing_of_itself_runs_in_a_process_of_its_own() -> None:
    from wg_common.nets.encoder.trunk import NamedTrunk

    assert NamedTrunk.needs_process and failing_file().needs_process
