"""Ten plants of real data: four ways give one verdict, and of 300 foreign records none passes."""

from __future__ import annotations

import asyncio
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.client.cli.conftest import Json, here

from wg_client.cli.prediction_run import PredictionRun
from wg_client.data.dataset import with_reading_config
from wg_client.models import adoption
from wg_client.models.export import VERDICTS, export_model
from wg_client.models.predict import load_records
from wg_client.models.predictor import Predictor
from wg_client.models.service import prediction_app
from wg_core.site.home import ClientHome
from wg_e5.network import prepare_texts
from wg_e5.trunk import E5Trunk

__all__ = ["here"]

DATASETS = Path(__file__).parents[3] / "shared" / "datasets"
PLANTS = {
    "images": ("neu_det", "magnetic_tile", "elpv_mono", "bridge_crack"),
    "windows": ("cwru_de", "skab_valve1", "italy_power"),
    "texts": ("text_log_bgl", "text_log_hpc", "text_log_hadoop"),
}
CLASSES, LABELLED, ASKED, FOREIGN = 4, 25, 6, 30  # The second and third of each class

Records = tuple[NDArray[Any], NDArray[np.int64]]
"""Records and their labels, of a few classes."""


def records_of(name: str) -> Records:
    """As many records of the first classes as a plant takes."""
    folder = DATASETS / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    if (folder / "records.csv").is_file():
        with (folder / "records.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        x = np.array([row["text"] for row in rows], dtype=object)
        y = np.unique([row["label"] for row in rows], return_inverse=True)[1]
    else:
        arrays = np.load(folder / "data.npz")
        x, y = arrays["x"], arrays["y"]
    order = np.random.default_rng(3).permutation(len(y))
    counts = Counter(y.tolist())
    classes = [label for label in sorted(counts) if counts[label] >= LABELLED + ASKED][:CLASSES]
    parts = [order[y[order] == label][: LABELLED + ASKED] for label in classes]
    return x[np.concatenate(parts)], np.repeat(np.arange(len(classes)), LABELLED + ASKED)


def write(record: Any, path: Path) -> Path:
    """Write a record as a file of its kind."""
    if isinstance(record, str):
        path = path.with_suffix(".txt")
        path.write_text(record, encoding="utf-8")
    elif record.dtype == np.uint8:
        path = path.with_suffix(".png")
        Image.fromarray(record).save(path)
    else:
        path = path.with_suffix(".npy")
        np.save(path, record.astype(np.float32))
    return path


def foreign(kind: str, name: str, like: Any) -> list[Any]:
    """Records of other data sets; windows in the channels and length of this one."""
    strangers = []
    others = [other for other in PLANTS[kind] if other != name]
    for other in others:
        x, _ = records_of(other)
        strangers += [
            x[row] for row in np.linspace(0, len(x) - 1, FOREIGN // len(others)).astype(int)
        ]
    if kind != "windows":
        return strangers
    channels, length = like.shape
    times = np.linspace(0, 1, length)
    return [
        np.stack(
            [
                np.interp(times, np.linspace(0, 1, window.shape[1]), window[row % len(window)])
                for row in range(channels)
            ]
        ).astype(np.float32)
        for window in strangers
    ]


@pytest.fixture(params=[(kind, name) for kind, names in PLANTS.items() for name in names], ids=str)
def at_work(
    request: pytest.FixtureRequest, here: Json, tmp_path: Path
) -> tuple[ClientHome, Path, dict[str, str]]:
    """A plant without a server, a folder of new records, and what each of them is."""
    kind, name = request.param
    x, y = records_of(name)
    asked = np.arange(len(y)) % (LABELLED + ASKED) >= LABELLED
    data, new = tmp_path / "data", tmp_path / "new"
    new.mkdir()
    for row in np.flatnonzero(~asked).tolist():
        folder = data / ("good" if y[row] == 0 else f"defect {y[row]}")
        folder.mkdir(parents=True, exist_ok=True)
        write(x[row], folder / f"{row}")
    truth = {}
    for row in np.flatnonzero(asked).tolist():
        truth[write(x[row], new / f"own{row}").name] = "good" if y[row] == 0 else "defect"
    for number, record in enumerate(foreign(kind, name, x[0])):
        truth[write(record, new / f"foreign{number}").name] = "foreign"
    home = ClientHome(tmp_path / "plant")
    here("init", "--home", home.root, "--data", data)
    return home, new, truth


DTYPES = {"tensor(float)": torch.float32, "tensor(int32)": torch.int32}


def by_onnx(home: ClientHome, predictor: Predictor, files: Sequence[Path], out: Path) -> list[str]:
    """Verdicts of the exported file."""
    export_model(home, predictor.manifest, predictor.model_name, "onnx", out)
    session = onnxruntime.InferenceSession(str(out))
    trunks = predictor.encoder.module.trunk, *predictor.encoder.further_trunks
    said = []
    for file in files:
        data = load_records(file, predictor.manifest.labels, predictor.reading_config)
        record = with_reading_config(data, predictor.reading_config).records[0]
        batches = [
            prepare_texts([record]) if isinstance(trunk, E5Trunk) else trunk.prepare([record])
            for trunk in trunks
        ]
        feeds = {
            part.name: torch.as_tensor(batch).to(DTYPES[part.type]).numpy()
            for part, batch in zip(session.get_inputs(), batches, strict=True)
        }
        said.append(VERDICTS[int(session.run(["verdict"], feeds)[0][0])])
    return said


def by_service(predictor: Predictor, files: Sequence[Path]) -> list[str]:
    """Verdicts over HTTP."""

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(prediction_app(predictor))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answers = [
                (await client.post(f"/predict/{file.name}", content=file.read_bytes())).json()
                for file in files
            ]
        return [answer["predictions"][0]["verdict"] for answer in answers]

    return asyncio.run(ask())


def by_watch(predictions: PredictionRun, files: Sequence[Path], out: Path) -> list[str]:
    """Verdicts that a watch appends."""
    lines = predictions.watch_folder(files[0].parent, out, pause_seconds=0)
    for _ in files:
        next(lines)
    with out.open(encoding="utf-8-sig", newline="") as stream:
        table = {row["file"]: row["verdict"] for row in csv.DictReader(stream)}
    return [table[file.name] for file in files]


@pytest.mark.slow
def test_four_ways_give_one_verdict_and_nothing_foreign_passes(
    at_work: tuple[ClientHome, Path, dict[str, str]], here: Json, tmp_path: Path
) -> None:
    home, new, truth = at_work
    (result,) = here("predict", "--home", home.root, new)["results"]
    said = {Path(row["name"]).name: row["verdict"] for row in result["predictions"]}
    assert set(said) == set(truth)
    files = [new / name for name in sorted(truth)]
    expected = [said[file.name] for file in files]
    predictor = Predictor.load(home, *adoption.model_in_use(home))
    assert by_service(predictor, files) == expected
    assert by_onnx(home, predictor, files, tmp_path / "model.onnx") == expected
    predictions = PredictionRun(home, predictor.manifest, predictor.model_name)
    assert by_watch(predictions, files, tmp_path / "verdicts.csv") == expected
    foreign_verdicts = [said[name] for name, kind in truth.items() if kind == "foreign"]
    assert len(foreign_verdicts) == FOREIGN and "pass" not in foreign_verdicts
