from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from wg_core.connection import server_link
from wg_core.errors import ConfigError
from wg_core.site.home import ClientHome


def response(status: int, date: str = "Tue, 24 Nov 2026 12:00:00 GMT") -> httpx.Response:
    return httpx.Response(status, headers={"date": date})


NOON = 1795521600.0


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (600.0, "clock is 600 s ahead of the server's"),
        (-400.0, "clock is 400 s behind the server's"),
        (1.0, "does not know this node"),
    ],
)
def test_a_401_with_a_wrong_clock_is_called_a_wrong_clock(ahead: float, words: str) -> None:
    assert words in server_link.describe_error_status(response(401), NOON + ahead)


def test_a_server_without_a_date_is_not_blamed_on_the_clock() -> None:
    assert server_link.clock_skew_seconds(httpx.Response(401)) is None
    for text in ("yesterday", "Tue, 99 Nov 99999 12:00:00 GMT\x00"):
        assert server_link.clock_skew_seconds(response(401, text)) is None
    assert "does not know" in server_link.describe_error_status(httpx.Response(401), 0.0)


def test_every_status_has_words() -> None:
    assert "not the one that it enrolled with" in server_link.describe_error_status(
        response(403), NOON
    )
    assert "418" in server_link.describe_error_status(response(418), NOON)


def test_a_revoked_site_is_told_so_and_what_to_do() -> None:
    said = server_link.describe_error_status(
        httpx.Response(403, headers={"weightgate-why": "revoked"})
    )
    assert "revoked this site" in said and "init --replace" in said
    assert "revoked" not in server_link.describe_error_status(
        httpx.Response(403, headers={"weightgate-why": "x"})
    )


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        server_link.client_tls_context(home)
