"""One verdict, whoever gives it: ``predict``, its watch, the local service and ONNX."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest.mock import Mock

import httpx
import numpy as np
import onnxruntime
import pytest
import uvicorn
from httpx import Response
from PIL import Image
from tests.client.conftest import LABELS, TestPlant, pictures, plant_maker

from wg_client.cli import prediction_run
from wg_client.cli.prediction_run import PredictionRun
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.sure_calls import (
    cap_probabilities,
    largest_supported_probability,
    provable_wrong_share,
)
from wg_client.models import adoption
from wg_client.models import service as local_service
from wg_client.models.export import VERDICTS, export_model
from wg_client.models.predict import Prediction
from wg_client.models.predictor import Predictor
from wg_client.models.service import CONCURRENT_REQUESTS_LIMIT, SERVER_OPTIONS, prediction_app
from wg_client.plant_language import load_plant_language
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common.modalities.images import Images
from wg_core.errors import DataError, StorageError

Shown = Callable[..., tuple[str, str]]
Asked = tuple[str, bytes, dict[str, str]]


@pytest.fixture(scope="module")
def judge(
    tmp_path_factory: pytest.TempPathFactory, encoder_package: bytes, good_head: LinearHead
) -> TestPlant:
    """A plant that knows what is good, and has a model."""
    make = plant_maker(tmp_path_factory.mktemp("judge"), encoder_package)
    plant = make({0: 8, 1: 8, 2: 8}, good=("bars",))
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    adoption.set_threshold(plant.home, missed_share=0.2, author="qa")
    return plant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures like the plant's, and foreign ones."""
    folder, rng = tmp_path_factory.mktemp("new"), np.random.default_rng(5)
    for label in range(3):
        for row, picture in enumerate(pictures(rng, label, 3)):
            Image.fromarray(picture).save(folder / f"{LABELS[label]}{row}.png")
    for row in range(3):
        odd = np.where(rng.random((32, 32)) < 0.5, 0, 255).astype(np.uint8)
        Image.fromarray(odd).save(folder / f"odd{row}.png")
    return folder


def predicted(judge: TestPlant, folder: Path) -> tuple[Predictor, dict[str, Prediction]]:
    predictor = Predictor.load(judge.home, *adoption.model_in_use(judge.home))
    rows = {path.name: predictor.predict_file(path)[0][0] for path in sorted(folder.iterdir())}
    return predictor, rows


def test_what_is_new_never_passes(judge: TestPlant, folder: Path) -> None:
    _, rows = predicted(judge, folder)
    assert {row.verdict for name, row in rows.items() if name.startswith("odd")} == {"look"}
    assert {row.verdict for row in rows.values()} == {"pass", "reject", "look"}
    for row in rows.values():
        assert row.probability <= largest_supported_probability(24)


def test_onnx_gives_the_same_verdicts(judge: TestPlant, folder: Path, tmp_path: Path) -> None:
    predictor, rows = predicted(judge, folder)
    out = tmp_path / "model.onnx"
    metadata = export_model(judge.home, predictor.manifest, predictor.model_name, "onnx", out)
    assert json.loads(metadata["verdicts"]) == list(VERDICTS) and metadata["threshold"] == "0.5"
    records = [np.array(Image.open(folder / name)) for name in rows]
    batch = predictor.encoder.module.trunk.prepare(records).float().numpy()
    session = onnxruntime.InferenceSession(str(out))
    label, probability, distance, verdict, *_ = session.run(None, {"images": batch})
    assert [LABELS[index] for index in label] == [row.label for row in rows.values()]
    assert [VERDICTS[index] for index in verdict] == [row.verdict for row in rows.values()]
    expected = [[row.probability, row.distance or 0.0] for row in rows.values()]
    np.testing.assert_allclose(np.stack([probability, distance], axis=1), expected, rtol=1e-3)


def test_the_service_says_what_predict_says(judge: TestPlant, folder: Path) -> None:
    predictor, rows = predicted(judge, folder)
    transport = httpx.ASGITransport(prediction_app(predictor))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/")).json()["labels"] == list(LABELS)
            for name, row in rows.items():
                body = (folder / name).read_bytes()
                (said,) = (await client.post(f"/predict/{name}", content=body)).json()[
                    "predictions"
                ]
                expected = name, row.verdict, row.probability
                assert (said["name"], said["verdict"], said["probability"]) == expected
            refused = await client.post("/predict/x.png", content=b"no picture")
            assert refused.status_code == 422 and refused.json()["error"].startswith("x.png")
            assert (await client.get("/", headers={"host": "example.org"})).status_code == 400

    asyncio.run(ask())


def asked(
    predictor: Predictor, requests: list[tuple[str, bytes, dict[str, str]]]
) -> list[Response]:
    """Answers of the service to requests: name, body, headers."""

    async def ask() -> list[Response]:
        transport = httpx.ASGITransport(prediction_app(predictor))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
            return [
                await client.post(f"/predict/{name}", content=body, headers=headers)
                for name, body, headers in requests
            ]

    return asyncio.run(ask())


def test_no_web_page_asks_the_service(judge: TestPlant, folder: Path) -> None:
    predictor = Predictor.load(judge.home, *adoption.model_in_use(judge.home))
    body = (folder / "odd0.png").read_bytes()
    pages = [
        {"origin": "https://evil.example", "content-type": "text/plain"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:2"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ]
    answers = asked(predictor, [("x.png", body, headers) for headers in pages])
    assert [answer.status_code for answer in answers] == [403] * len(pages)
    programs = [{"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-origin"}, {}]
    answers = asked(predictor, [("x.png", body, headers) for headers in programs])
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_request_has_one_record_and_any_other_is_refused_with_a_sentence(
    judge: TestPlant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(judge.home, *adoption.model_in_use(judge.home))
    picture, packed = (folder / "odd0.png").read_bytes(), io.BytesIO()
    np.savez_compressed(packed, x=np.zeros((3, 32, 32), dtype=np.uint8))
    table = b"file,label\n" + str(folder / "odd0.png").encode() + b",bars\n"
    refused = [
        ("x.npz", packed.getvalue()),
        ("x.csv", table),
        ("records.csv", table),
        ("x.jsonl", b'{"text": "x"}\n'),
        ("x.txt", b"x"),
        ("a.p%00ng", picture),
        ("a." + "x" * 300, picture),
        (".png", picture),
    ]
    for answer in asked(predictor, [(name, body, {}) for name, body in refused]):
        assert (answer.status_code, answer.json()["verdict"]) == (422, "look")
        assert "not the name of a file with one image" in answer.json()["error"]
    for error in (OSError(28, "no space"), ValueError("shape"), StorageError("disk")):
        monkeypatch.setattr(Predictor, "compute_inputs", Mock(side_effect=error))
        (answer,) = asked(predictor, [("x.png", picture, {})])
        assert (answer.status_code, answer.json()["error"]) == (422, str(error))


@contextmanager
def service(predictor: Predictor) -> Iterator[int]:
    """A service on a free port, as ``serve`` starts it; yields the port."""
    server = uvicorn.Server(uvicorn.Config(prediction_app(predictor), port=0, **SERVER_OPTIONS))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def unfinished(port: int, head: str, body: int = 0) -> socket.socket:
    """A connection with an unfinished request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(head.encode() + bytes(body))
    return connection


HEAD = "POST /predict/a.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: 250000000\r\n\r\n"


def test_an_unfinished_request_ends_at_its_deadline(
    judge: TestPlant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_service, "REQUEST_SECONDS_LIMIT", 1.0)
    predictor = Predictor.load(judge.home, *adoption.model_in_use(judge.home))
    with service(predictor) as port, ExitStack() as stack:
        heads = ("", HEAD[:30], HEAD)
        slow = [stack.enter_context(unfinished(port, head)) for head in heads]
        for connection in slow:
            with suppress(ConnectionError):
                assert connection.recv(1) == b""
        url, picture = f"http://127.0.0.1:{port}/predict/x.png", folder / "odd0.png"
        assert httpx.post(url, content=picture.read_bytes(), timeout=60).status_code == 200


@pytest.mark.parametrize(("count", "size"), [(3, 400 << 10), (CONCURRENT_REQUESTS_LIMIT + 1, 0)])
def test_requests_that_wait_are_few_and_small(
    judge: TestPlant, monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    monkeypatch.setattr(Images, "file_limit", 1 << 20)
    predictor = Predictor.load(judge.home, *adoption.model_in_use(judge.home))
    with service(predictor) as port, ExitStack() as stack:
        waiting = [stack.enter_context(unfinished(port, HEAD, size)) for _ in range(count)]
        (answered, *_), _, _ = select.select(waiting, [], [], 20)
        assert answered.recv(12) == b"HTTP/1.1 503"


def test_a_watch_writes_each_file_once(judge: TestPlant, folder: Path, tmp_path: Path) -> None:
    predictor, rows = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    arriving, out = tmp_path / "in", tmp_path / "verdicts.csv"
    arriving.mkdir()
    (arriving / "a.png").write_bytes((folder / "odd0.png").read_bytes())
    (arriving / "b.png").write_bytes(b"")
    lines = predictions.watch_folder(arriving, out, pause_seconds=0)
    next(lines), next(lines)
    (arriving / "c.png").write_bytes((folder / "bars0.png").read_bytes())
    next(lines)
    again = predictions.watch_folder(arriving, out, pause_seconds=0)
    (arriving / "d.png").write_bytes((folder / "bars0.png").read_bytes())
    next(again)
    with out.open(encoding="utf-8-sig", newline="") as stream:
        table = {row["file"]: row for row in csv.DictReader(stream)}
    assert list(table) == ["a.png", "b.png", "c.png", "d.png"]
    assert table["b.png"]["verdict"] == "look" == table["a.png"]["verdict"]
    assert table["c.png"]["verdict"] == rows["bars0.png"].verdict


def test_a_watch_reads_regular_files_of_the_folder_alone(
    judge: TestPlant, folder: Path, tmp_path: Path
) -> None:
    predictor, _ = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    arriving, out = tmp_path / "in", tmp_path / "verdicts.csv"
    arriving.mkdir()
    (arriving / "a.png").symlink_to(folder / "odd0.png")
    (arriving / "b.png").symlink_to(arriving / "b.png")
    (arriving / "c.png").symlink_to(folder)
    (arriving / "d.png").symlink_to("/dev/zero")
    (arriving / "e.png").mkdir()
    os.mkfifo(arriving / "f.png")
    (arriving / "z;=1.png").write_bytes(b"no picture")
    line = next(predictions.watch_folder(arriving, out, pause_seconds=0))
    assert line.startswith("z;'=1.png\t") and ";=" not in line
    assert len(out.read_text("utf-8-sig").splitlines()) == 2


def test_a_watch_has_a_row_for_every_file_and_says_why_it_is_not_read(
    judge: TestPlant, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_run, "current_language", lambda: load_plant_language("ja"))
    predictor, _ = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    arriving = tmp_path / "in"
    out = arriving / "0.csv"
    arriving.mkdir()
    for name in (".hidden", "a.HEIC", "b.zip", "c.pdf", "d.npz[0]", "empty.png"):
        (arriving / name).write_bytes(b"" if name == "empty.png" else b"x")
    picture = (folder / "odd0.png").read_bytes()
    (arriving / "half.png").write_bytes(picture[: len(picture) // 2])
    packed = np.stack([np.array(Image.open(folder / f"odd{row}.png")) for row in range(2)])
    np.savez(arriving / "d.npz", x=packed)
    (arriving / "z.png").write_bytes(picture)
    lines = predictions.watch_folder(arriving, out, pause_seconds=0)
    table = dict(line.split("\t", 1) for line in itertools.islice(lines, 9))
    assert list(table) == [
        *("a.HEIC", "b.zip", "c.pdf", "d.npz[0]", "d.npz[1]", r"d.npz[0\]"),
        *("empty.png", "half.png", "z.png"),
    ]
    assert all(cells.endswith("\tlook") for cells in table.values())
    notes = {name: cells.split("\t")[3] for name, cells in table.items()}
    assert "PNG で保存" in notes["a.HEIC"] and "展開" in notes["b.zip"]
    assert "空のファイル" in notes["empty.png"] and "壊れ" in notes["half.png"]
    assert "unreadable" not in out.read_text("utf-8-sig")
    again = predictions.watch_folder(arriving, out, pause_seconds=0)
    (arriving / "new.png").write_bytes(picture)
    assert next(again).startswith("new.png\t")


def test_what_predict_leaves_out_has_its_reason_in_the_users_language(
    judge: TestPlant, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_run, "current_language", lambda: load_plant_language("ja"))
    predictor, _ = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    picture = (folder / "odd0.png").read_bytes()
    for name, data in (("a.png", b""), ("b.png", b"x"), ("c.png", picture)):
        (tmp_path / name).write_bytes(data)
    predictions.predict_path(tmp_path)
    empty, foreign = map(load_plant_language("ja"), predictions.left_out_lines())
    assert "空のファイル" in empty and "画像ではない" in foreign


NAMES = [
    "'x.png",
    "x.png",
    "=1.png",
    "'=1.png",
    os.fsdecode(b"\xff.png"),
    r"\udcff.png",
    "a;=1.png",
]


def test_a_watch_knows_every_name_again(judge: TestPlant, folder: Path, tmp_path: Path) -> None:
    predictor, _ = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    arriving, out = tmp_path / "in", tmp_path / "verdicts.csv"
    arriving.mkdir()
    for count, name in enumerate(NAMES, 1):  # a restart for each
        (arriving / name).write_bytes((folder / "odd0.png").read_bytes())
        next(predictions.watch_folder(arriving, out, pause_seconds=0))
        with out.open(encoding="utf-8-sig", newline="") as stream:
            table = [row["file"] for row in csv.DictReader(stream)]
        assert len(table) == len(set(table)) == count


def test_one_file_that_cannot_be_read_keeps_no_other(
    judge: TestPlant, folder: Path, tmp_path: Path
) -> None:
    predictor, _ = predicted(judge, folder)
    predictions = PredictionRun(judge.home, predictor.manifest, predictor.model_name)
    phone = tmp_path / "x.heic"
    phone.write_bytes(b"\0")
    predictions.add_unreadable_path(phone, DataError("x"))
    predictions.predict_path(folder / "bars0.png")
    assert predictions.prediction_count == 1 and len(predictions.problems) == 1


def test_no_probability_is_above_what_labels_can_know() -> None:
    logits = np.array([[900.0, 0, -900], [2, 1, 0], [0, 0, 0]])
    chances = cap_probabilities(logits, 0.9)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances.max() == 0.9 and chances[0, 1] == pytest.approx(0.1)
    plain = np.exp(logits[1:]) / np.exp(logits[1:]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chances[1:], plain)  # what is below the limit stays
    assert cap_probabilities(np.zeros((2, 1)), 0.9).tolist() == [[1], [1]]


def test_few_labels_can_show_a_larger_share_alone() -> None:
    shares = [provable_wrong_share(labels) for labels in (0, 2, 10, 20, 38, 400)]
    assert shares == sorted(shares, reverse=True) and shares[-2:] == [0.1, 0.1] and shares[3] > 0.1
