from __future__ import annotations

from pathlib import Path

import pytest

from wg_core.errors import ConfigError
from wg_server.site.home import ServerConfig, ServerHome


def test_a_written_configuration_is_read_back(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    config = ServerConfig(fleet_port=1, enrol_port=2, admin_port=3, message_seconds=7)
    home.write_config(config)
    assert home.read_config() == config


def test_plants_are_told_the_advertised_host() -> None:
    config = ServerConfig(
        fleet_port=1, enrol_port=2, admin_port=3, host="0.0.0.0", advertise="fleet.example"
    )
    assert config.fleet_url == "https://fleet.example:1"
    assert config.enrol_url == "https://fleet.example:2"
    ipv6 = ServerConfig(fleet_port=1, enrol_port=2, admin_port=3, host="::1")
    assert ipv6.fleet_url == "https://[::1]:1"


def test_a_missing_encoder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zoo build"):
        ServerHome(tmp_path).encoder_sha256()
