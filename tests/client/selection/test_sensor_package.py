"""Packages with a soft sensor: kept for a home's process unit, one used, or refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.client.conftest import MakePlant, TestPlant
from tests.server.generator.weights.test_process_units import SHEET

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import adoption, store
from wg_client.operation import status
from wg_client.selection import sensor_package
from wg_client.selection.sensor_package import (
    SensorPackage,
    receive_package,
    select_sensor,
    store_sensor_package,
)
from wg_common import catalogue
from wg_common.inference.hostile_tensors import Tensors
from wg_common.machines import exchanger
from wg_common.machines.process import WINDOW_SAMPLES
from wg_common.weights_package import GeneratorCondition
from wg_core.errors import ConfigError, DecodeError, UsageError, VerificationError
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig
from wg_core.wire import signing
from wg_core.wire.data_sheet import DataSheet, HeatExchanger
from wg_server.generator.weights.machine_statistic import absent_statistics
from wg_server.generator.weights.process_simulation import ExchangerSimulator
from wg_server.generator.weights.sensor_network import SensorNetwork

FIGURES = torch.tensor([[float(SHEET[name]) for name in exchanger.FIGURE_NAMES]])
NAMES = tuple(channel.name for channel in exchanger.CHANNELS)


@pytest.fixture(scope="module")
def network() -> Tensors:
    """An untrained soft sensor of the sheet's exchanger."""
    return SensorNetwork(exchanger.PROCESS_UNIT).package_tensors(FIGURES, absent_statistics(1))


@pytest.fixture
def unit_plant(make_plant: MakePlant, window_encoder: bytes) -> TestPlant:
    """A plant with the log of a heat exchanger."""
    plant = make_plant(name="plant-u", frozen=False)
    plant.confirm(window_encoder)
    simulator = ExchangerSimulator(3)
    units = replace(simulator.draw_units(1), figures=FIGURES)
    rows = simulator.simulate_windows(units, 12).displayed_values[0].mT.flatten(0, 1).tolist()
    log = plant.home.root / "data" / "log.csv"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{60 * place}," + ",".join(map(str, row)) for place, row in enumerate(rows)]
    log.write_text("\n".join([",".join(("time", *NAMES)), *lines]), "utf-8")
    seconds = 60.0 * WINDOW_SAMPLES
    reading = SensorLogConfig(
        rate=1 / 60, window_seconds=seconds, hop_seconds=seconds, channels=NAMES, time="time"
    )
    data = replace(
        plant.config.data,
        path=str(log),
        labels=("heat duty",),
        reading=ReadingConfig(log=reading),
    )
    sheet = DataSheet(heat_exchanger=HeatExchanger(**SHEET))  # type: ignore[arg-type]
    plant.configure(data=data, data_sheet=sheet)
    plant.freeze()
    return plant


def _file(plant: TestPlant, network: Tensors, **changes: Any) -> Path:
    """A package file of a soft sensor for a plant."""
    fields: dict[str, Any] = {
        "architecture": catalogue.PROCESS_SENSOR_NETWORK,
        "inputs": {"sensor": "standardised"},
        "condition": GeneratorCondition(generator="ab" * 32, data_sheet="heat_exchanger"),
        "pool_root": "",
        "pool_releases": 0,
    }
    path = plant.home.root / "sensor.wgw"
    path.write_bytes(plant.package({"sensor": (network, "conditioned")}, **(fields | changes)))
    return path


def test_a_home_keeps_soft_sensors_and_uses_the_newest(
    unit_plant: TestPlant, network: Tensors
) -> None:
    home, moment = unit_plant.home, int(time.time())
    ids = []
    for created in (moment, moment - 100):
        package = receive_package(home, _file(unit_plant, network, created=created))
        assert isinstance(package, SensorPackage) and package.quantities_text.startswith(
            "heat duty (kW)"
        )
        ids.append(package.manifest.package_id)
    assert len(store.sensor_package_paths(home)) == 2
    assert select_sensor(home).manifest.package_id == ids[0]
    shown = status.collect_status(home)
    assert shown.model.startswith("soft sensor") and shown.stage == "in use"
    with pytest.raises(ConfigError, match="wg-client soft-sensor"):
        adoption.model_in_use(home)


def test_a_free_soft_sensor_does_not_replace_a_charged_one(
    unit_plant: TestPlant, network: Tensors
) -> None:
    home, moment = unit_plant.home, int(time.time())
    charged = GeneratorCondition(
        generator="ab" * 32, data_sheet="heat_exchanger", statistic="cd" * 32, epsilon="1"
    )
    paid = receive_package(
        home, _file(unit_plant, network, created=moment - 100, condition=charged)
    )
    receive_package(home, _file(unit_plant, network, created=moment))
    assert isinstance(paid, SensorPackage)
    assert select_sensor(home).manifest == paid.manifest


def test_an_expired_package_is_taken_only_again(
    unit_plant: TestPlant, network: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(unit_plant, network)
    first = store_sensor_package(unit_plant.home, path)
    late = SimpleNamespace(time=lambda: first.manifest.expires + 1.0)
    monkeypatch.setattr(sensor_package, "time", late)
    assert store_sensor_package(unit_plant.home, path).manifest == first.manifest
    with pytest.raises(VerificationError, match="expired"):
        store_sensor_package(
            unit_plant.home, _file(unit_plant, network, expires=first.manifest.expires)
        )
    assert len(store.sensor_package_paths(unit_plant.home)) == 1


def test_a_kept_soft_sensor_is_refused_under_another_key_of_the_server(
    unit_plant: TestPlant, network: Tensors
) -> None:
    store_sensor_package(unit_plant.home, _file(unit_plant, network))
    key = signing.public_bytes(signing.generate_key()).hex()
    assert unit_plant.config.pin is not None
    unit_plant.configure(pin=replace(unit_plant.config.pin, signing_key=key))
    with pytest.raises(VerificationError, match="next campaign brings another"):
        select_sensor(unit_plant.home)


def test_a_home_without_a_soft_sensor_says_where_it_comes_from(unit_plant: TestPlant) -> None:
    with pytest.raises(ConfigError, match="'wg-client run' receives one"):
        select_sensor(unit_plant.home)
    with pytest.raises(ConfigError, match="wg-client init"):
        select_sensor(replace(unit_plant.home, root=unit_plant.home.root / "none"))


def test_other_packages_are_refused(
    unit_plant: TestPlant, network: Tensors, good_head: LinearHead
) -> None:
    home = unit_plant.home
    wrong = {name: value for name, value in network.items() if name != "half_width"}
    with pytest.raises(DecodeError, match="not those of a soft sensor"):
        receive_package(home, _file(unit_plant, wrong))
    vessel = GeneratorCondition(generator="ab" * 32, data_sheet="stirred_vessel")
    with pytest.raises(DecodeError, match="for a stirred_vessel"):
        receive_package(home, _file(unit_plant, network, condition=vessel))
    with pytest.raises(VerificationError, match="site"):
        receive_package(home, _file(unit_plant, network, site="another"))
    path = home.root / "heads.wgw"
    path.write_bytes(unit_plant.package({"s": (good_head, "diffusion")}))
    with pytest.raises(UsageError, match="holds no soft sensor"):
        store_sensor_package(home, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DecodeError):
        receive_package(home, path)
    assert not store.sensor_package_paths(home)


def test_a_column_names_its_quantity_and_its_unit(unit_plant: TestPlant, network: Tensors) -> None:
    package = store_sensor_package(unit_plant.home, _file(unit_plant, network))
    for target in ("heat duty", "Heat_duty [kW]", "HEAT DUTY (kW)"):
        assert package.quantity_index(target, None) == 0
    assert package.quantity_index("U", "conductance") == 1
    with pytest.raises(UsageError, match="convert the column"):
        package.quantity_index("heat duty [MW]", None)
    with pytest.raises(UsageError, match="say which: --quantity"):
        package.quantity_index("density", None)
