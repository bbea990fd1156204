"""A plant whose record makes the encoder fail looks like one whose record has zeros for features.

The encoder stands on a file that fails on a plain image of each of five brightnesses, by an error,
another width, a value that is not finite, memory and time. A plant has one such image among a
hundred. It is held against the same plant, keys and all, whose encoder gives zeros for that image
and is not asked about it. Random numbers and clocks are fixed, so what leaves is equal to the last
byte, in a file and on the network.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.client.conftest import LABELS, TestPlant, plant_maker, remembering
from tests.client.release.test_neighbours import START, Clock, Outsider, patched
from tests.common.nets.onnx_models import FAILURES, WIDTH, failing_file, plain_image

from wg_client.cli.freeze import freeze_document, freeze_result_lines
from wg_client.cli.main import group
from wg_client.data import acceptance_set
from wg_client.release import preview
from wg_client.release.home_freeze import encoder_failure_names, freeze_data, inspect_home_data
from wg_common.nets.encoder import confined_trunk
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.ledger import checkpoint
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release import query_answers as release_query
from wg_core.release.freeze import FreezeResult
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_core.wire.flower_messages import Envelope

COUNT = 100
TARGET = 42
NAME = "data.npz[42]"


@pytest.fixture(scope="module")
def package() -> Iterator[bytes]:
    """An encoder all of whose numbers come from the file."""
    raw = np.random.default_rng(0).normal(size=(200, WIDTH)).astype(np.float32)
    kind = failing_file(width=WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confined_trunk, "CPU_SECONDS_LIMIT", 1)
        yield fit_encoder(raw, np.arange(200) % 5, dimension=8, trunks=[kind])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, package: bytes) -> TestPlant:
    """A plant that was never frozen."""
    return plant_maker(tmp_path_factory.mktemp("total"), package)(frozen=False)


@dataclass(frozen=True)
class Zeros:
    """The encoder, but for one image, which it is not asked about."""

    encoder: Any
    image: NDArray[np.uint8]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode_local(self, records: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        features = np.zeros((len(records), self.local_dimension), np.float32)
        rows = [n for n, x in enumerate(records) if not np.array_equal(x, self.image)]
        features[rows] = self.encoder.encode_local([records[row] for row in rows])
        return features


def member(
    template: TestPlant, root: Path, failure: str, load: Any, *, acceptance: Any = None
) -> tuple[TestPlant, FreezeResult]:
    """A copy of the plant that has the image of a failure, frozen with ``--set-aside``."""
    shutil.copytree(template.home.root, root)
    images = np.random.default_rng(6).integers(0, 240, (COUNT, 24, 24), dtype=np.uint8)
    images[TARGET] = plain_image(failure)
    np.savez(root / "data.npz", x=images, y=np.arange(COUNT) % 3, classes=np.array(LABELS))
    plant = replace(
        template, home=ClientHome(root), witness=replace(template.witness, state=None, asked=0)
    )
    data = replace(plant.config.data, path=str(root / "data.npz"), acceptance=acceptance)
    plant.configure(data=data)
    seen = inspect_home_data(plant.home, load_encoder=load)
    frozen = freeze_data(
        plant.home, seen, load_encoder=load, set_aside=True, clock=lambda: START - 500
    )
    return plant, frozen


def noise(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
    drawn = np.random.default_rng(9).normal(0, sigma, exact.shape)
    return exact + np.rint(drawn).astype(np.int64)


class Bytes:
    """Random numbers of the program, the same each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int = 32) -> bytes:
        self.count += 1
        return hashlib.shake_256(str(self.count).encode()).digest(size)


@pytest.fixture(autouse=True)
def one_signature_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """ML-DSA draws random numbers for each signature; equal texts get the same one here."""
    made: dict[Any, Any] = {}
    sign = checkpoint._sign_note

    def remembered(note: Any, name: str, role: Any, key: Any, time: int) -> Any:
        asked = note.text, name, str(role), signing.public_bytes(key), time
        if asked not in made:
            made[asked] = sign(note, name, role, key, time)
        return made[asked]

    monkeypatch.setattr(checkpoint, "_sign_note", remembered)


@dataclass
class Listener(Outsider):
    """An outsider who keeps every byte."""

    def _sampler(self, exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        self.exact.append(exact)
        return noise(exact, sigma)

    def _sees(self, reply: Envelope) -> None:
        super()._sees(reply)
        self.seen.append((reply.record, reply.payload))

    def witness_seen(self, body: bytes) -> bytes:
        self.seen.append(body)
        return super().witness_seen(body)


def observed(
    template: TestPlant, root: Path, failure: str, load: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], list[bytes], tuple[str, ...]]:
    """What leaves by network, what leaves by file, and what is said at the plant."""
    clock = Clock()
    with monkeypatch.context() as patch:
        drawn = Bytes()
        patch.setattr("secrets.token_bytes", drawn)
        patch.setattr("secrets.token_hex", lambda size=32: drawn(size).hex())
        listener = Listener(template.home, template.witness, clock, np.random.default_rng(1), [])
        with patched(monkeypatch, listener):
            plant, frozen = member(template, root, failure, load)
            listener.home, listener.witness = plant.home, plant.witness
            query = plant.query(request_id="1" * 32, expires=int(START) + 100_000)
            listener.ask(query)
            listener.ask(replace(query, request_id="2" * 32, epsilon="99"))  # refused
            listener.look_at_ledger()
            files = [
                release_query.answer_query(
                    plant.home,
                    replace(query, request_id="3" * 32),
                    witness=None,
                    hooks=release_query.ReleaseHooks(sampler=noise),
                    clock=clock.time,
                )
            ]
            with Ledger.open(plant.home.ledger) as ledger:
                files += [ledger.entry_bytes(seq) for seq in range(ledger.size)]
    return listener.seen, files, encoder_failure_names(frozen.snapshot)


@pytest.mark.parametrize("failure", FAILURES)
def test_what_leaves_is_that_of_a_plant_whose_record_has_zeros(
    template: TestPlant,
    package: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
) -> None:
    encoder = remembering(package)
    loads = {"failing": lambda _: encoder, "zeros": lambda _: Zeros(encoder, plain_image(failure))}
    found = {
        name: observed(template, tmp_path / name / "plant", failure, load, monkeypatch)
        for name, load in loads.items()
    }
    by_network, by_file, said = found["failing"]
    assert len(by_network) > 8 and len(by_file) > 3
    assert by_network == found["zeros"][0]
    assert by_file == found["zeros"][1]
    assert [item[0] for item in by_network if item[0] in ("statistics", "refusal")] == [
        "statistics",
        "refusal",
    ]
    assert (said, found["zeros"][2]) == ((NAME,), ())


def test_the_plants_own_people_are_told_in_their_language(
    template: TestPlant, package: bytes, tmp_path: Path
) -> None:
    encoder = remembering(package)
    plant, frozen = member(template, tmp_path / "plant", "error", lambda _: encoder)
    features = np.asarray(frozen.snapshot.features())
    assert not features[TARGET].any() and np.delete(features, TARGET, axis=0).any(axis=1).all()
    assert freeze_document(frozen)["encoder_failures"] == [NAME]
    lines = freeze_result_lines(frozen)
    assert lines[0] == f"  zeros for features: {NAME}"
    assert lines[1].startswith("the encoder failed on 1 records")
    assert preview.preview_release(plant.home).snapshot.encoder_failures == 1
    for language, sentence in (("en", "the encoder failed on 1"), ("ja", "エンコーダーが 1 件")):
        words = ["--language", language, "check", "--home", str(plant.home.root)]
        shown = CliRunner().invoke(group, words)
        assert shown.exit_code == 0 and sentence in shown.output


def test_a_record_of_the_acceptance_set_has_zeros_too(
    template: TestPlant, package: bytes, tmp_path: Path
) -> None:
    images = np.stack(
        [
            plain_image("error"),
            *np.random.default_rng(8).integers(0, 240, (5, 24, 24), dtype=np.uint8),
        ]
    )
    spare = tmp_path / "spare.npz"
    np.savez(spare, x=images, y=np.arange(6) % 3, classes=np.array(LABELS))
    encoder = remembering(package)
    root = tmp_path / "plant"
    _, frozen = member(template, root, "width", lambda _: encoder, acceptance=str(spare))
    judged = acceptance_set.decode_acceptance_set(
        frozen.snapshot.read_acceptance_set(), "acceptance"
    )
    assert judged.encoder_failures.tolist() == [True, False, False, False, False, False]
    assert not judged.features[0].any() and judged.features[1:].any(axis=1).all()
    assert encoder_failure_names(frozen.snapshot) == (NAME, judged.listing.names[0])
