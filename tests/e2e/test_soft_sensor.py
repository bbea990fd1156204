"""Soft sensors of three heat exchangers by the real commands, from logs to an auditor's verdict."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from demo.processes import managed_processes
from onnxruntime import InferenceSession
from tests.e2e import file_support
from tests.e2e.test_windows import TRAINING, ZOO
from tests.tutorial import Shell, shell

from wg_client.data.laboratory import read_laboratory_windows
from wg_common.machines import exchanger
from wg_common.machines.process import WINDOW_SAMPLES
from wg_core.wire import protocol
from wg_server.fleet.enrolment import create_join_token
from wg_server.generator.weights.process_simulation import ExchangerSimulator, SimulatedUnits
from wg_server.generator.weights.reading_map_training import train_reading_maps
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore
from wg_server.zoo.build import build_zoo

pytestmark = pytest.mark.slow
KIND, STEPS, WINDOWS, VALUES = exchanger.PROCESS_UNIT.name, 150, 320, 40
CONNECTED, BY_FILE = ("north", "south"), "east"
PLANTS = (*CONNECTED, BY_FILE)
_GAP = 5 * WINDOW_SAMPLES + 7  # Row of a log that lacks a value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    """A server whose encoder reads heat exchangers, and whose generator makes sensors of them."""
    home = file_support.without_encoder(tmp_path_factory.mktemp("soft") / "server")
    plan = replace(ZOO, machine_steps=STEPS, machines=(KIND,))
    build_zoo(
        home, plan, workers=1, progress=lambda *_: None, train_reading_maps=train_reading_maps
    )
    version = file_support.trained(home, replace(TRAINING, machine_steps=STEPS))
    assert list(version.card["sheets"]["sensors"]) == [KIND]
    assert all(check["passed"] for check in version.card["sheets"]["checks"])
    return home


class PlantFiles:
    """Log, laboratory file and data sheet of a unit, and what is true.

    Columns of the log stand in the order in which somebody exported them, and those of the
    laboratory's file are swapped; some of its values are missing, and one of the log.
    """

    def __init__(
        self, folder: Path, units: SimulatedUnits, values: np.ndarray[Any, Any], duty: Any
    ) -> None:
        folder.mkdir()
        figures = dict(zip(exchanger.FIGURE_NAMES, units.figures[0].tolist(), strict=True))
        figures["sample_seconds"] = round(figures["sample_seconds"])
        sheet = {KIND: {name: f"{value:.6g}" for name, value in figures.items()}}
        self.sheet, self.log = folder / "sheet.yaml", folder / "log.csv"
        self.laboratory, self.out = folder / "laboratory.csv", folder / "values.csv"
        self.onnx = folder / "sensor.onnx"
        self.sheet.write_text(yaml.safe_dump(sheet), "utf-8")
        self.seconds = int(figures["sample_seconds"])
        names = [channel.name.replace(" ", "_") for channel in exchanger.CHANNELS]
        rows = values.transpose(0, 2, 1).reshape(-1, len(names))  # [n * T, C]
        times = np.arange(len(rows)) * self.seconds
        order = np.random.default_rng(1).permutation(len(names))
        with self.log.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["time", *(names[place] for place in order)])
            for number, (moment, row) in enumerate(zip(times, rows, strict=True)):
                cells = [f"{row[place]:.5f}" for place in order]
                writer.writerow([moment, *(cells if number != _GAP else ["", *cells[1:]])])
        ends = times[WINDOW_SAMPLES - 1 :: WINDOW_SAMPLES]
        self.truth = dict(zip((str(end) for end in ends), duty.tolist(), strict=True))
        with self.laboratory.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["heat duty [kW]", "time"])
            for number, end in enumerate(ends):
                if number % (WINDOWS // VALUES) == 0:
                    writer.writerow(["" if number == 0 else f"{duty[number]:.3f}", end])

    def errors(self) -> tuple[float, float]:
        """Relative error of ``values.csv`` without a value, and truths within intervals."""
        errors, inside = [], []
        for row in csv.DictReader(self.out.read_text("utf-8").splitlines()):
            if row["time"] in self.truth and not row["laboratory"]:
                truth, value = self.truth[row["time"]], float(row["heat duty [kW]"])
                errors.append((value / truth - 1) ** 2)
                inside.append(float(row["lower"]) <= truth <= float(row["upper"]))
        assert len(errors) > WINDOWS // 2
        return float(np.mean(errors)) ** 0.5, float(np.mean(inside))


def plant_files(folder: Path, seed: int) -> PlantFiles:
    simulator = ExchangerSimulator(seed)
    units = simulator.draw_units(1)
    units.figures[:, -1] = 150  # Two weeks
    windows = simulator.simulate_windows(units, WINDOWS)
    return PlantFiles(
        folder, units, windows.displayed_values[0].numpy(), windows.true_quantities[0, :, 0].numpy()
    )


def enrolled(server: ServerHome, folder: Path, site: str, files: PlantFiles, run: Shell) -> None:
    """``wg-client init``: refused as the columns stand, and done as it says."""
    with ServerStore.open(server) as store:
        token = protocol.encode_join_token(create_join_token(server, store, site, 600.0))
    (folder / "token").write_text(token)
    words: list[object] = ["wg-client", "init", "--home", folder / "home"]
    words += ["--join-file", folder / "token", "--data", files.log, "--labels", "heat duty"]
    words += ["--data-sheet", files.sheet, "--time-column", "time", "--json"]
    words += ["--window", WINDOW_SAMPLES * files.seconds]
    refusal = json.loads(run(words, codes=(3,)))["error"]["message"]
    remedy = re.search("--channels '([^']*)'", refusal)
    assert remedy is not None
    run([*words, "--channels", remedy[1]])


Document = Callable[..., Any]
"""Runs a command, and returns what it prints as JSON."""


@pytest.fixture
def document(capfd: pytest.CaptureFixture[str]) -> Document:
    run = shell(capfd)
    return lambda *words: json.loads(run([*words, "--json"]))


def test_three_units_get_soft_sensors_and_an_auditor_verifies_what_they_cost(
    server: ServerHome, tmp_path: Path, capfd: pytest.CaptureFixture[str], document: Document
) -> None:
    """Two units are connected and asked by a campaign, the third one sends a file."""
    run = shell(capfd)
    plants = {site: plant_files(tmp_path / site, 50 + n) for n, site in enumerate(PLANTS)}
    homes = {site: ("--home", tmp_path / site / "home") for site in PLANTS}
    of_server = ("--home", server.root)
    with managed_processes(tmp_path / "processes") as started:
        started.start("server", "wg-server", "serve", *of_server)
        started.wait_for_log_text("server", "ready")
        for site, files in plants.items():
            enrolled(server, tmp_path / site, site, files, run)
            check_refusals(files, homes[site], run)
        for terms in (("--epsilon", "0"), ("--epsilon", "1", "--statistics", "machine")):
            asked = ("campaign", "start", *of_server, *terms, "--sites", ",".join(CONNECTED))
            campaign = document("wg-server", *asked)["id"]
            for site in CONNECTED:
                started.start(site, "wg-client", "run", *homes[site], "--once")
            for site in CONNECTED:
                started.wait_for_end(site)
                said = started.log_path(site).read_text("utf-8")
                assert "soft sensor kept; next: wg-client soft-sensor --home" in said
            of_sites = document("wg-server", "campaign", "show", *of_server, campaign)["sites"]
            assert [task["state"] for task in of_sites] == ["delivered", "delivered"]
        statistics, package = tmp_path / "east.wgs", tmp_path / "east.wgw"
        of_machine = (*homes[BY_FILE], "--of", "machine", "--epsilon", "1")
        released = document("wg-client", "statistics", *of_machine, "--out", statistics)
        assert released["charged"] and released["cosigned"] and released["epsilon_spent"] < 1.01
    run(["wg-server", "generate", *of_server, "--statistics", statistics, "--out", package])
    check_values(plants[BY_FILE], (*homes[BY_FILE], "--package", package), document)
    for site in CONNECTED:
        check_values(plants[site], homes[site], document)
        assert document("wg-client", "status", *homes[site])["model"].startswith("soft sensor")
        assert "soft-sensor" in run(["wg-client", "models", "show", *homes[site]])
        no_classes = ["wg-client", "predict", *homes[site], plants[site].log, "--json"]
        assert "soft-sensor" in json.loads(run(no_classes, codes=(3,)))["error"]["message"]
    run(["wg-client", "apply", *homes[BY_FILE], package])
    for site in PLANTS:
        exported = tmp_path / f"{site}.export"
        run(["wg-server", "export", *of_server, "--site", site, "--out", exported])
        verdict = document("wg-audit", "verify", homes[site][1], "--server", exported)
        assert verdict["charges"] == 1 and verdict["headline"]["files_compared"] == 1
        assert verdict["epsilon"]["independent"] == pytest.approx(1, abs=1e-3)
    command = ("wg-client", "soft-sensor", plants["south"].log, "--time", "time", *homes["south"])
    run([*command, "--target", "heat duty", "--package", package], codes=(5,))
    run([*command, "--target", "heat duty [MW]"], codes=(2,))
    run(["wg-client", "apply", *homes["south"], package], codes=(5,))


def check_refusals(files: PlantFiles, of_home: Sequence[object], run: Shell) -> None:
    """Hold what is refused before a soft sensor came, and for a laboratory's file, to a remedy."""
    command = ("wg-client", "soft-sensor", files.log)
    words = ("--target", "heat duty [kW]", "--time", "time", "--json")
    swapped = files.laboratory.with_name("swapped.csv")
    first_line, *rows = files.laboratory.read_text("utf-8").splitlines()
    swapped.write_text("\n".join([",".join(reversed(first_line.split(","))), *rows[1:]]), "utf-8")
    twice = files.laboratory.with_name("twice.csv")
    twice.write_text("\n".join([first_line, *rows, rows[-1].replace(",", "1,")]), "utf-8")
    for options, code, remedy in (
        (of_home, 3, "wg-client run"),
        ((swapped, "--samples", WINDOW_SAMPLES), 3, "may be swapped"),
        ((twice, "--samples", WINDOW_SAMPLES), 3, "keep one"),
        ((files.laboratory,), 2, "--samples"),
    ):
        refusal = json.loads(run([*command, *options, *words], codes=(code,)))
        assert remedy in refusal["error"]["message"]
    trial = ("wg-client", "simulate", "--data", files.log, "--data-sheet", files.sheet, "--json")
    cut = ("--time-column", "time", "--window", WINDOW_SAMPLES * files.seconds)
    refusal = json.loads(run([*trial, *cut], codes=(2,)))
    assert "wg-client soft-sensor LOG LABORATORY" in refusal["error"]["message"]


def check_values(files: PlantFiles, of_package: Sequence[object], document: Document) -> None:
    """Hold values without and with a laboratory's against the truth and the plant's own model."""
    command = ("wg-client", "soft-sensor", files.log)
    words = ("--target", "heat duty [kW]", "--time", "time", "--out", files.out)
    unlabelled = document(*command, *words, *of_package)
    assert (unlabelled["shares"], unlabelled["epsilon"]) == ({"delivered": 1}, "1")
    error, inside = files.errors()
    written = ("--onnx", files.onnx, "--report", files.out.with_suffix(".html"))
    labelled = document(*command, files.laboratory, *words, *of_package, *written)
    assert 0 < labelled["drift"]["p"] <= 1
    assert labelled["values"] == VALUES - 1 and labelled["delivered"]["r2"] > 0.7
    kept, _ = files.errors()
    check_file(files)
    document(*command, files.laboratory, *words, "--samples", WINDOW_SAMPLES)
    alone, _ = files.errors()
    assert error < 0.12 and inside > 0.7
    assert kept <= 1.1 * min(error, alone)


def check_file(files: PlantFiles) -> None:
    """Hold what the ONNX file says against what the command said last."""
    session = InferenceSession(files.onnx)
    channels = json.loads(session.get_modelmeta().custom_metadata_map["channels"])
    hours = read_laboratory_windows(
        files.log, None, target="", time="time", samples=WINDOW_SAMPLES
    ).select_channels(channels)
    rows = list(csv.DictReader(files.out.read_text("utf-8").splitlines()))
    at = {row["time"]: row for row in rows}
    names = ("heat duty [kW]", "lower", "upper", "unlike")
    told = [[float(at[moment][name]) for moment in hours.times] for name in names]
    assert np.allclose(session.run(None, {"windows": hours.windows}), told, rtol=1e-4)
