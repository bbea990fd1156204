"""``client.yaml``: what is read back, and what is refused with the field's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from wg_client import config as configuration
from wg_client.config import ClientConfig, DataConfig, PrivacyConfig, ServerConfig
from wg_client.home import ClientHome
from wg_common.errors import ConfigError


def _config() -> ClientConfig:
    return ClientConfig(
        site="plant-a",
        server=ServerConfig(
            fleet_url="https://127.0.0.1:1",
            name="server",
            signing_key="00" * 32,
            witness_name="w",
            witness_key="11" * 32,
        ),
        data=DataConfig(name="plant-a", path="data", labels=("ok", "Kratzer", "裂")),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    configuration.save(home, _config())
    assert configuration.load(home) == _config()
    assert home.config.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cap_epsilon:", "cap_epsilom:", "privacy.cap_epsilom"),
        ("cap_epsilon: '8'", "cap_epsilon: '-8'", "privacy.cap_epsilon"),
        ("cap_epsilon: '8'", "cap_epsilon: 8", "privacy.cap_epsilon"),
        ("cap_epsilon: '8'", "cap_epsilon: nan", "privacy.cap_epsilon"),
        ("cap_epsilon: '8'", "cap_epsilon: Infinity", "privacy.cap_epsilon"),
        ("cap_delta: 1e-5", "cap_delta: '1'", "privacy.cap_delta"),
        ("unit_rule: record", "unit_rule: part", "privacy.unit_rule"),
        ("unit_rule: record", "unit_rule: weight", "data.unit_column"),
        ("unit_cap: 1", "unit_cap: 0", "privacy.unit_cap"),
        ("- query.statistics", "- query.everything", "privacy.message_types"),
        ("answer_slot_seconds: 2.0", "answer_slot_seconds: .inf", "answer_slot_seconds"),
        ("caution: 0.5", "caution: -1", "acceptance.caution"),
        ("- Kratzer", "- ok", "data.labels"),
        ("- Kratzer", "- ' x'", "data.labels"),
        ("site: plant-a", "site: Plant_A", "site name"),
        ("version: 1", "version: 2", "version"),
        ("version: 1", "version: [", "not YAML"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    home = ClientHome(tmp_path)
    configuration.save(home, _config())
    text = home.config.read_text(encoding="utf-8")
    assert old in text
    home.config.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        configuration.load(home)
    assert str(home.config) in str(caught.value)


def test_a_home_that_was_not_initialised_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wg-client init"):
        configuration.load(ClientHome(tmp_path))


def test_the_site_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    first = home.load_secret()
    assert home.load_secret() == first and len(first) == 32
    assert home.site_secret.stat().st_mode & 0o077 == 0
    home.site_secret.write_bytes(b"short")
    with pytest.raises(ConfigError, match="restore a copy"):
        home.load_secret()


def test_limits_of_privacy_settings_hold_in_the_record_itself() -> None:
    with pytest.raises(ConfigError, match="max_request_epsilon"):
        PrivacyConfig(max_request_epsilon="0")
