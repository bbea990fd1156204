"""Logging in through a real OpenID Connect provider, which each test starts on a thread."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from wg_core.errors import ConfigError, RefusedError
from wg_server.console import sign_on
from wg_server.console.app import console_routes
from wg_server.console.page_data import PageSource
from wg_server.console.sign_on import OPERATORS, VIEWERS
from wg_server.site.home import ServerHome
from wg_server.store import operators
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    provider_program = pytest.importorskip("oidc_provider_mock")

# What the provider's own program warns of is none of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Client = Callable[[ASGIApp], httpx.Client]
PEOPLE = {"aiko": [OPERATORS], "bo": [VIEWERS], "eve": ["others"], "mallory": [VIEWERS]}


def claims_of(name: str, groups: list[str]) -> dict[str, object]:
    """What the provider says of a person; one has written down an address of somebody else."""
    if name == "mallory":
        address = "aiko@example.org"
        unverified = {"email": address, "email_verified": False, "preferred_username": address}
        return {**unverified, "groups": groups}
    return {"email": f"{name}@example.org", "email_verified": True, "groups": groups}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    people = [
        provider_program.User(sub=name, claims=claims_of(name, groups))
        for name, groups in PEOPLE.items()
    ]
    with provider_program.run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def browser(home: ServerHome, store: ServerStore, issuer: str, client_of: Client) -> httpx.Client:
    home.oidc_file.write_text(
        json.dumps({"issuer": issuer, "client_id": "console", "client_secret": "secret"})
    )
    source = PageSource(home, store, (), lambda sites: set())
    app = Starlette(routes=console_routes(source))
    return client_of(app)


def here(browser: httpx.Client) -> str:
    return str(browser.base_url).rstrip("/")


def authorised(browser: httpx.Client, person: str) -> str:
    """Go to the provider, log in there, and come back; where the provider sends the browser."""
    asked = browser.get("/console/sign-on")
    assert asked.status_code == 303, asked.text
    answer = httpx.post(asked.headers["location"], data={"sub": person})
    return answer.headers["location"]


def login(browser: httpx.Client, person: str) -> httpx.Response:
    back = authorised(browser, person)
    assert back.startswith(f"{here(browser)}/console/signed-on?")
    return browser.get(back)


def csrf(browser: httpx.Client) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', browser.get("/console/").text)
    assert found is not None
    return found[1]


def start(browser: httpx.Client) -> httpx.Response:
    fields = {"csrf": csrf(browser), "epsilon": "1", "delta": "1e-5", "purpose": "p"}
    return browser.post("/console/campaigns", data=fields, headers={"origin": here(browser)})


def test_a_viewer_reads_and_cannot_start_a_campaign(
    browser: httpx.Client, store: ServerStore
) -> None:
    assert login(browser, "bo").status_code == 200
    assert "bo@example.org (localhost)" in browser.get("/console/").text
    refused = start(browser)
    assert refused.status_code == 403 and "ask an operator" in refused.text
    assert CampaignQueue(store.engine).newest_campaigns() == []
    words = {"csrf": csrf(browser)}
    out = browser.post("/console/logout", data=words, headers={"origin": here(browser)})
    assert out.status_code == 303 and browser.get("/console/").status_code == 303


def test_an_operator_may_and_the_log_names_them(browser: httpx.Client, store: ServerStore) -> None:
    assert login(browser, "aiko").status_code == 200
    assert start(browser).status_code == 409  # there is no site yet
    tried, begun, entered = operators.read_log(store, limit=3)
    assert [x.action for x in (entered, begun, tried)] == ["login", "campaign start", "failed"]
    assert {x.operator for x in (entered, begun)} == {"aiko@example.org (localhost)"}
    assert entered.detail == "operator"


def test_who_is_in_no_group_stays_outside(browser: httpx.Client) -> None:
    refused = login(browser, "eve")
    assert refused.status_code == 403 and OPERATORS in refused.text
    assert browser.get("/console/").status_code == 303


def test_a_way_back_that_another_browser_began_lets_nobody_in(browser: httpx.Client) -> None:
    back = authorised(browser, "aiko")
    browser.cookies.clear()
    assert browser.get(back).status_code == 403  # it never asked
    authorised(browser, "bo")
    assert browser.get(back).status_code == 403  # it asked with another state
    fields = dict(parse_qsl(urlsplit(authorised(browser, "aiko")).query))
    assert browser.get("/console/signed-on", params=fields | {"code": "x"}).status_code == 403


def test_a_token_of_another_audience_does_not_hold(
    browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = sign_on.OidcProvider._verify_id_token

    def of_another(provider: sign_on.OidcProvider, token: str, *rest: object) -> dict[str, object]:
        other = sign_on.OidcProvider(provider.issuer, "another", provider.client_secret)
        return claims(other, token, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sign_on.OidcProvider, "_verify_id_token", of_another)
    assert login(browser, "aiko").status_code == 403


def test_neither_an_unverified_address_nor_a_user_name_names_somebody_else(
    browser: httpx.Client,
) -> None:
    assert login(browser, "mallory").status_code == 200
    assert "aiko@example.org mallory (localhost)" in browser.get("/console/").text


@pytest.mark.parametrize(
    ("aud", "azp", "holds"),
    [
        ("console", None, True),
        (["console"], None, True),
        (["console", "another"], None, False),
        (["console", "another"], "console", True),
        ("console", "another", False),
        (["console", "another"], "another", False),
    ],
)
def test_a_token_that_was_issued_to_another_client_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, aud: object, azp: str | None, holds: bool
) -> None:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    claims = {"iss": "i", "aud": aud, "exp": time.time() + 60, "sub": "s", "nonce": "n"}
    claims |= {} if azp is None else {"azp": azp}
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: SimpleNamespace(claims=claims))
    monkeypatch.setattr(KeySet, "import_key_set", lambda keys: keys)
    provider = sign_on.OidcProvider("i", "console", "secret")
    with nullcontext() if holds else pytest.raises(RefusedError, match="azp"):
        assert provider._verify_id_token("token", {"keys": []}, "n")["sub"] == "s"


def test_without_a_provider_there_is_nothing_of_it(
    home: ServerHome, store: ServerStore, client_of: Client
) -> None:
    app = Starlette(routes=console_routes(PageSource(home, store, (), lambda sites: set())))
    browser = client_of(app)
    assert "sign-on" not in browser.get("/console/login").text
    assert browser.get("/console/sign-on").status_code == 404
    assert browser.get("/console/signed-on").status_code == 403


def test_a_provider_elsewhere_has_https(home: ServerHome) -> None:
    document = {"issuer": "http://idp.example.org", "client_id": "c", "client_secret": "s"}
    home.oidc_file.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="expected https"):
        sign_on.read_oidc_provider(home)
