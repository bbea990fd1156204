"""Logs of real processes in JSON: every line is an object, and nothing private is in any."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.client.release.test_neighbours import TinyEncoder
from tests.e2e.fleet_support import Plant, enrol_plant, finished, healthy, make_home, start_campaign
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.release.home_freeze import freeze_data, inspect_home_data
from wg_core.site import config as configuration

PROGRAMS = Path(sys.executable).parent


def start(program: str, log: Path, *words: object) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        command = [str(PROGRAMS / program), *map(str, words), "--log-format", "json"]
        return subprocess.Popen(command, stderr=stream, stdout=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_SECONDS)


def lines(log: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found)
    return found


def freeze_one_picture(plant: Plant, folder: Path) -> None:
    """Make a picture the plant's data set, by a small encoder in the place of the installed one."""
    path = folder / "good" / "one.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6)).save(path)
    config = configuration.load(plant.home)
    data = dataclasses.replace(config.data, path=str(folder))
    configuration.save(plant.home, dataclasses.replace(config, data=data))

    def load(_: bytes) -> TinyEncoder:
        return TinyEncoder()

    freeze_data(plant.home, inspect_home_data(plant.home, load_encoder=load), load_encoder=load)


def test_both_programs_log_one_object_a_line_and_end_cleanly(tmp_path: Path) -> None:
    home = make_home(tmp_path / "server")
    server_log, plant_log = tmp_path / "server.log", tmp_path / "plant.log"
    server = start("wg-server", server_log, "serve", "--home", home.root)
    try:
        wait_until(lambda: healthy(home), "the server")
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        freeze_one_picture(plant, tmp_path / "nowhere")
        node = start("wg-client", plant_log, "run", "--home", plant.home.root)
        try:
            done = finished(home, start_campaign(home, ["plant-a"], epsilon="6"))  # too much
        finally:
            assert end(node) == 0
    finally:
        assert end(server) == 0
    assert (done.tasks[0].state, done.tasks[0].code) == ("refused", "policy")
    about = [line for line in lines(server_log) if line.get("campaign") == done.id]
    assert any(line.get("site") == "plant-a" for line in about)
    assert any(line.get("request") == done.tasks[0].query_id for line in about)
    assert lines(server_log)[-1]["message"] == "stopped"
    refused = [line for line in lines(plant_log) if line.get("request") == done.tasks[0].query_id]
    assert refused and all(line["site"] == "plant-a" for line in refused)
    assert "nowhere" not in plant_log.read_text() and "nowhere" not in server_log.read_text()
    for key in (home.admin_token, plant.home.site_secret):
        for log in (server_log, plant_log):
            assert key.read_bytes() not in log.read_bytes()


def test_an_error_is_a_line_too(tmp_path: Path) -> None:
    home = make_home(tmp_path / "server")
    home.tls_cert.unlink()
    process = start("wg-server", tmp_path / "log", "serve", "--home", home.root)
    assert process.wait(PATIENCE_SECONDS) == 3
    assert lines(tmp_path / "log")[-1]["level"] == "error"
