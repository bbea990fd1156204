"""What ``simulate`` says before there is a server, and what ``init`` and ``apply`` find after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tests.client.cli.conftest import Json, here
from tests.client.conftest import pictures, waves
from tests.e2e.file_support import head_package
from tests.e2e.fleet_support import make_home, running

from wg_client.fitting.linear_head import LinearHead
from wg_common.nets.encoder.projected_trunk import compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import ExitCode
from wg_core.wire import protocol
from wg_server.fleet.enrolment import create_join_token
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

__all__ = ["here"]

POINTS = 0.05
LABELS = ("leak", "noise", "spark", "wear")
SYMPTOMS = (
    ("oil drips from the seal", "a puddle below the housing", "液漏れ", "wet around the flange"),
    ("it rattles under load", "a loud hum", "異音がする", "whining from the drive"),
    ("burnt smell at the plug", "the fuse blew again", "火花が出た", "flickers and trips"),
    ("the belt is worn", "teeth are missing", "摩耗している", "the pad is thin"),
)
PLACES = ("pump 3", "line B", "mixer", "ポンプ", "the old press", "conveyor", "dryer", "弁")

Records = tuple[Any, NDArray[np.int64]]
"""Records and their labels."""


def digits() -> Records:
    """Handwritten digits of 8 by 8 pixels, each pixel four by four."""
    found = load_digits()
    rows = np.concatenate([np.flatnonzero(found.target == label)[:10] for label in range(10)])
    enlarged = np.kron(found.images[rows], np.ones((1, 4, 4))) * 15
    return enlarged.astype(np.uint8), found.target[rows].astype(np.int64)


def tones() -> Records:
    """Tones of three pitches in much noise."""
    rng = np.random.default_rng(5)
    x = np.concatenate([waves(rng, label, 40) for label in range(3)])
    return x + rng.normal(0, 2.2, x.shape).astype(np.float32), np.repeat(np.arange(3), 40)


def notes(seed: int = 5, count: int = 35) -> Records:
    """Notes that name a symptom, and now and then one of another kind."""
    rng = np.random.default_rng(seed)
    found = []
    for label in np.repeat(np.arange(4), count):
        said = SYMPTOMS[label] if rng.random() < 0.8 else SYMPTOMS[rng.integers(4)]
        found.append(f"{rng.choice(PLACES)}, {rng.integers(1000)}: {rng.choice(said)}")
    return np.array(found), np.repeat(np.arange(4), count)


def shapes() -> Records:
    rng = np.random.default_rng(11)
    x = np.concatenate([pictures(rng, label, 60) for label in range(3)])
    return x, np.repeat(np.arange(3), 60)


def public_tones() -> Records:
    rng = np.random.default_rng(3)
    return np.concatenate([waves(rng, label, 60) for label in range(3)]), np.repeat(range(3), 60)


CASES: dict[str, tuple[Callable[[], Records], Callable[[], Records]]] = {
    "images": (digits, shapes),
    "windows": (tones, public_tones),
    "texts": (notes, lambda: notes(6, 60)),
}
"""Records of a plant, and public ones that the server's encoder is fitted on."""


def encoder(kind: str, public: Records) -> bytes:
    records, labels = public
    if kind == "texts":
        records = [np.array(text) for text in records]
    raw = compute_raw_features(records, modality=kind)
    return fit_encoder(raw, labels % 2, labels, modality=kind)


def package(server: ServerHome, kind: str, labels: tuple[str, ...]) -> bytes:
    """A head that says nothing."""
    dimension = load_encoder(server.encoder_file.read_bytes()).dimension
    head = LinearHead(np.zeros((len(labels), dimension)), np.zeros(len(labels)))
    return head_package(server, head, labels, site="plant-a", kind=kind)


@pytest.mark.parametrize("kind", CASES)
def test_simulate_says_what_init_and_apply_find(kind: str, tmp_path: Path, here: Json) -> None:
    plant, public = CASES[kind]
    x, y = plant()
    names = LABELS if kind == "texts" else tuple(f"class {label}" for label in range(y.max() + 1))
    data = tmp_path / "data.npz"
    if kind == "texts":
        data = tmp_path / "notes.csv"
        lines = [f'"{text}",{names[label]}' for text, label in zip(x, y, strict=True)]
        data.write_text("\n".join(["text,label", *lines, ""]), encoding="utf-8")
    else:
        np.savez(data, x=x, y=y, classes=np.array(names))
    expected = here("simulate", "--data", data)["local"]["mean"]
    server = make_home(tmp_path / "server")
    server.encoder_file.write_bytes(encoder(kind, public()))
    with running(server), ServerStore.open(server) as store:
        token = protocol.encode_join_token(create_join_token(server, store, "plant-a", 600.0))
        (tmp_path / "token").write_text(token)
        words = ("--home", tmp_path / "plant")
        here("init", *words, "--data", data, "--join-file", tmp_path / "token")
    (tmp_path / "a.wgw").write_bytes(package(server, kind, names))
    applied = here("apply", *words, tmp_path / "a.wgw", code=(0, ExitCode.NOT_ACCEPTED))
    (alone,) = (one for one in applied["models"] if one["name"] == "local-only")
    assert 0.5 < alone["accuracy"] < 0.97  # else the check would say little
    assert abs(expected - alone["accuracy"]) <= POINTS


def test_simulate_does_not_judge_by_features_that_say_nothing(
    tmp_path: Path, here: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wg_common.nets.encoder import ngrams, sentence_encoder
    from wg_e5.trunk import E5Trunk

    monkeypatch.setattr(
        sentence_encoder,
        "embed_sentences",
        lambda texts: np.ones((len(texts), sentence_encoder.VECTOR_LENGTH), np.float32),
    )
    monkeypatch.setattr(
        ngrams, "text_vector", lambda text: np.ones(ngrams.VECTOR_LENGTH, np.float32)
    )
    monkeypatch.setattr(E5Trunk, "is_available", lambda: False)
    data = tmp_path / "notes.csv"
    data.write_text("text,label\na leak,x\na hum,y\na spark,x\nworn,y\n")
    said = here("simulate", "--data", data, code=ExitCode.CONFIG)["error"]
    assert said["code"] == "data" and "no difference between any of 4 records" in said["message"]
