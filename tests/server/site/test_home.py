from __future__ import annotations

from pathlib import Path

import pytest

from wg_core.errors import ConfigError
from wg_server.site.home import ServerConfig, ServerHome, parse_config

PORTS = b"fleet_port: 1\nenrol_port: 2\nadmin_port: 3\n"


def test_a_written_configuration_is_read_back(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    config = ServerConfig(fleet_port=1, enrol_port=2, admin_port=3, message_seconds=7)
    home.write_config(config)
    assert home.config() == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "expected fields"),
        (b"a: [", "not YAML"),
        (b"fleet_port: 1\n", "enrol_port"),
        (PORTS + b"mesage_seconds: 3\n", "unknown fields: mesage_seconds"),
        (PORTS + b"message_seconds: 0\n", "message_seconds: 0, expected at least 1"),
        (PORTS + b"message_seconds: many\n", "message_seconds"),
        (PORTS + b"name: Central!\n", "name: "),
        (PORTS + b"host: a b\n", "host: "),
        (b"fleet_port: 1\nenrol_port: 1\nadmin_port: 3\n", "three different"),
        (b"fleet_port: 70000\nenrol_port: 1\nadmin_port: 3\n", "1 to 65535"),
    ],
)
def test_a_wrong_configuration_is_refused_and_the_field_is_named(text: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=f"server.yaml: .*{words}"):
        parse_config(text, subject="server.yaml")


def test_a_folder_without_a_configuration_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run init first"):
        ServerHome(tmp_path).config()


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
        ServerHome(tmp_path).encoder_id()
