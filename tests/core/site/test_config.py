"""``client.yaml``: what is read back, and what is refused with the field's name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.core.wire.test_data_sheet import SHEETS

from wg_core.errors import ConfigError
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer

ZEROS = "00" * 32


def _config() -> ClientConfig:
    return ClientConfig(
        site="plant-a",
        pin=PinnedServer(
            fleet_url="https://127.0.0.1:1",
            name="server",
            signing_key=ZEROS,
            witness_name="w",
            witness_key="11" * 32,
        ),
        data=DataConfig(name="plant-a", path="data", labels=("ok", "Kratzer", "裂"), encoder=ZEROS),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    configuration.save(home, _config())
    assert configuration.load(home) == _config()
    assert home.config.stat().st_mode & 0o077 == 0


def test_server_and_data_sheet_are_no_settings_and_have_files_of_their_own(tmp_path: Path) -> None:
    home, sheet = ClientHome(tmp_path), SHEETS[0]
    stated = dataclasses.replace(_config(), data_sheet=sheet)
    configuration.save(home, stated)
    assert configuration.load(home) == stated
    text = home.config.read_text("utf-8")
    assert "server" not in text and "rotating_machine" not in text
    for more in ("server: {}", "data_sheet: null"):
        home.config.write_text(f"{text}{more}\n", "utf-8")
        with pytest.raises(ConfigError, match="unknown fields"):
            configuration.load(home)
    configuration.save(home, _config())
    assert configuration.load(home).data_sheet is None


@pytest.mark.parametrize("data", [None, b"{}", b"x" * (65 << 10)])
def test_a_pinned_server_that_is_damaged_or_gone_is_named(
    tmp_path: Path, data: bytes | None
) -> None:
    home = ClientHome(tmp_path)
    configuration.save(home, _config())
    home.pinned_server.unlink()
    assert configuration.load(home).pin is None  # as a home that no server knows
    home.certificate.parent.mkdir()
    home.certificate.touch()
    if data is not None:
        home.pinned_server.write_bytes(data)
    with pytest.raises(ConfigError, match=r"pinned-server\.json"):
        configuration.load(home)


def test_the_site_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    first = home.load_site_secret()
    assert home.load_site_secret() == first and len(first) == 32
    assert home.site_secret.stat().st_mode & 0o077 == 0
    home.site_secret.write_bytes(b"short")
    with pytest.raises(ConfigError, match="restore a copy"):
        home.load_site_secret()


def test_limits_of_privacy_settings_hold_in_the_record_itself() -> None:
    with pytest.raises(ConfigError, match="max_request_epsilon"):
        PrivacyConfig(max_request_epsilon="0")


@pytest.mark.parametrize(
    ("column", "privacy", "message"),
    [
        ("record", {}, "data.unit_column: 'record'"),
        (None, {"cap_epsilon": "2"}, "max_request_epsilon: 4 is more than"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    column: str | None, privacy: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(
            _config(),
            data=DataConfig(name="d", path="p", labels=("ok",), encoder=ZEROS, unit_column=column),
            privacy=PrivacyConfig(**privacy),
        )


@pytest.mark.parametrize(
    "labels", [("ok", "_unlabelled"), ("Gr\u00fcn", "Gru\u0308n"), ("ok", "ok")]
)
def test_labels_that_cannot_be_told_apart_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"data\.labels"):
        DataConfig(name="d", path="p", labels=labels, encoder=ZEROS)


def _rewritten(home: ClientHome, old: str, new: str) -> ClientConfig:
    configuration.save(home, _config())
    text = home.config.read_text(encoding="utf-8")
    assert old in text
    home.config.write_text(text.replace(old, new, 1), encoding="utf-8")
    return configuration.load(home)


@pytest.mark.parametrize(
    ("written", "read"),
    [("8", "8"), ("8.5", "8.5"), ("7.1e+0", "7.1e+0"), ("7.30000000000000000001",) * 2],
)
def test_a_budget_without_quotes_is_the_number_that_stands_there(
    tmp_path: Path, written: str, read: str
) -> None:
    config = _rewritten(ClientHome(tmp_path), "cap_epsilon: '8'", f"cap_epsilon: {written}")
    assert config.privacy.cap_epsilon == read


@pytest.mark.parametrize("written", ["010", "0x8", "8_0", "1:30", "true", "[8]", ".inf", "1e400"])
def test_a_budget_that_yaml_reads_otherwise_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.cap_epsilon"):
        _rewritten(ClientHome(tmp_path), "cap_epsilon: '8'", f"cap_epsilon: {written}")


def test_the_default_request_is_never_above_the_cap() -> None:
    assert configuration.default_request_epsilon("1.5") == "1.5"
    assert configuration.default_request_epsilon("8") == PrivacyConfig().max_request_epsilon
