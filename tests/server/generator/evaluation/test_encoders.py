"""Encoders are judged on the same tasks, and another one is used only when somebody says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.common.nets.onnx_models import encoder_file

from wg_common import cli
from wg_server.cli.encoder import encoder as group
from wg_server.generator.evaluation.encoders import best_candidate
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

PLAN = """
seed: 3
encoder:
  {{pixels: 64, dimension: 8, records: 64,
   trunks: [{{name: pooled, file: {file}, sha256: {sha256}, pixels: 32, mean: {mean},
             licence: MIT}}]}}
sources: [{{kind: procedural, families: 3, sites: 2, per_class: 16, only: digits}}]
"""


def plan(folder: Path, mean: float) -> Path:
    kind = encoder_file()
    file, path = folder / "pooled.onnx", folder / f"plan-{mean}.yaml"
    file.write_bytes(kind.data)
    path.write_text(PLAN.format(file=file, sha256=kind.digest(), mean=[mean] * 3))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.run(group, [str(word) for word in words])
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out + output.err


def test_candidates_are_compared_on_the_same_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [plan(tmp_path, 0.5), plan(tmp_path, 0.4), "--json"]
    code, text = said(capsys, *words)
    assert code == 0, text
    first, second = json.loads(text)["candidates"]
    assert first["trunks"] == ["pooled (MIT)"]
    for row in (first, second):
        assert len(row["local"]) == len(row["released"]) == 2
        assert all(0 < share <= 1 for share in (*row["local"], *row["released"]))
        assert row["milliseconds"] > 0 and row["megabytes"] > 0
    assert first["recommended"] or second["recommended"]


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([[0.1, 0.12, 0.09]], 1),
        ([[0.1, -0.1, 0.05]], 0),  # not surely
        ([[-0.1, -0.1, -0.11]], 0),
        ([[0.1, 0.12, 0.09], [0.2, 0.22, 0.19]], 2),
        ([[float("nan"), 0.12, float("nan")]], 0),
    ],
)
def test_the_first_is_left_only_for_one_that_is_surely_better(
    gains: list[list[float]], expected: int
) -> None:
    base = np.array([0.5, 0.6, 0.7])
    assert best_candidate(np.array([base, *(base + np.array(row) for row in gains)])) == expected


def test_another_encoder_takes_the_place_of_the_home_s_while_no_campaign_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ServerHome(tmp_path / "server")
    home.root.mkdir()
    home.encoder.parent.mkdir()
    home.encoder.write_bytes(b"old")
    monkeypatch.setattr(Store, "open", _no_store)
    chosen: Any = {"a"}
    monkeypatch.setattr(CampaignQueue, "generators", lambda _: chosen)
    monkeypatch.setattr("wg_server.cli.encoder.record_action", _recorded)
    words = [plan(tmp_path, 0.5), "--use", home.root, "--json"]
    code, text = said(capsys, *words)
    assert code == 3 and "campaigns are open" in text
    assert home.encoder.read_bytes() == b"old"
    chosen = set()
    code, text = said(capsys, *words)
    assert code == 0, text
    assert json.loads(text)["encoder"] == home.encoder_id()


class _Nothing:
    engine = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _no_store(_: object) -> Any:
    return _Nothing()


def _recorded(*_: object) -> Any:
    return _Nothing()
