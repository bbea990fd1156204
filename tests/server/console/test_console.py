"""The console's guards, without a browser: who may read, who may change, what is written down."""

from __future__ import annotations

import html
import io
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp
from tests.common.test_catalogues import COMMON, shapes
from tests.server.console.test_admin import enrol
from tests.server.generators import candidate, install

from wg_common import translations
from wg_common.language import LANGUAGE_CODES
from wg_core.errors import ConfigError
from wg_core.wire import canonical, protocol
from wg_server.console import messages, request_handling, sessions
from wg_server.console.app import console_routes
from wg_server.console.messages import PageTexts
from wg_server.console.page_data import PageSource
from wg_server.console.sessions import SessionTable
from wg_server.generator import versions
from wg_server.operation.initialise import create_home
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store import operators
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

Client = Callable[[ASGIApp], httpx.Client]
CONSOLE = Path(request_handling.__file__).parent
ENGLISH = translations.load_templates(
    "en", messages.PAGE_CATALOGUE_FOLDER, messages.CATALOGUE_KEY_PREFIX
)


@dataclass
class Operator:
    """A browser, as far as forms and cookies go."""

    client: httpx.Client
    csrf: str = ""

    def login(self, token: str) -> httpx.Response:
        answer = self.post("/login", token=token)
        if answer.status_code == 303:
            self.csrf = re.findall(r'name="csrf" value="([^"]+)"', self.get("/").text)[0]
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"/console{path}")

    def post(self, path: str, *, origin: str | None = None, **fields: str) -> httpx.Response:
        here = str(self.client.base_url).rstrip("/")
        headers = {"origin": here if origin is None else origin}
        return self.client.post(f"/console{path}", data=fields, headers=headers)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is copied: keys and certificates take half a second to make."""
    found = ServerHome(tmp_path_factory.mktemp("console") / "server")
    create_home(found, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    found.encoder_file.parent.mkdir()
    found.encoder_file.write_bytes(b"a public encoder")
    return found.root


@pytest.fixture
def home(template: Path, tmp_path: Path) -> ServerHome:
    return ServerHome(Path(shutil.copytree(template, tmp_path / "server")))


@pytest.fixture
def token(store: ServerStore) -> str:
    return operators.grant_access(store, "Aiko Sato", time.time())


@pytest.fixture
def operator(home: ServerHome, store: ServerStore, client_of: Client) -> Operator:
    source = PageSource(home, store, (), lambda sites: set())
    return Operator(client_of(Starlette(routes=console_routes(source))))


def acts(store: ServerStore) -> list[tuple[str, str]]:
    return [(each.action, each.subject) for each in operators.read_log(store, limit=9)[::-1]]


PAGES = [
    "/",
    "/sites",
    "/sites/plant-a",
    "/campaigns",
    "/campaigns/new",
    "/generator",
    "/audit",
    "/help",
]


def test_without_a_session_there_is_a_login_and_nothing_else(
    operator: Operator, store: ServerStore
) -> None:
    enrol(store, "plant-a")
    for path in PAGES:
        found = operator.get(path)
        assert (found.status_code, found.headers["location"]) == (303, "/console/login"), path
    found = operator.post("/sites/plant-a/revoke", confirm="plant-a")
    assert found.headers["location"] == "/console/login"
    assert store.require_site("plant-a").state == "enrolled" and acts(store) == []


def test_an_operator_logs_in_reads_and_changes_under_a_name(
    operator: Operator, store: ServerStore, token: str
) -> None:
    enrol(store, "plant-a")
    assert operator.login(token).status_code == 303
    for path in PAGES:
        found = operator.get(path)
        assert found.status_code == 200 and "Aiko Sato" in found.text, path
    wrong = operator.post("/sites/plant-a/revoke", csrf=operator.csrf, confirm="plant-b")
    assert wrong.status_code == 409 and store.require_site("plant-a").state == "enrolled"
    done = operator.post("/sites/plant-a/revoke", csrf=operator.csrf, confirm="plant-a")
    assert done.headers["location"] == "/console/sites/plant-a?did=revoke"
    assert store.require_site("plant-a").state == "revoked"
    assert acts(store) == [("login", ""), ("revoke", "plant-a")]
    assert "The site is revoked." in operator.get("/sites/plant-a?did=revoke").text
    operator.post("/logout", csrf=operator.csrf)
    assert operator.get("/").status_code == 303


def test_a_form_from_elsewhere_or_of_another_session_changes_nothing(
    operator: Operator, store: ServerStore, token: str
) -> None:
    enrol(store, "plant-a")
    operator.login(token)
    path, good = "/sites/plant-a/revoke", {"csrf": operator.csrf, "confirm": "plant-a"}
    for origin in ("https://evil.example", "null", "", "http://127.0.0.1:1"):
        assert operator.post(path, origin=origin, **good).status_code == 403, origin
        assert operator.post("/login", origin=origin, token=token).status_code == 403, origin
    for csrf in ("", "x", "é"):
        assert operator.post(path, **{**good, "csrf": csrf}).status_code == 403, csrf
    assert store.require_site("plant-a").state == "enrolled" and acts(store) == [("login", "")]


def test_the_cookie_and_the_headers_are_what_browsers_need(operator: Operator, token: str) -> None:
    cookie = operator.login(token).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/console" in cookie
    assert "Secure" not in cookie  # plain HTTP on loopback: a browser would drop it
    headers = operator.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"


def test_behind_tls_the_cookie_is_secure_and_the_name_is_known(
    home: ServerHome, store: ServerStore, token: str, client_of: Client
) -> None:
    address = "console_url: https://wg.example.org"
    text = home.config_file.read_text().replace("console_url: ''", address)
    home.config_file.write_text(text)
    source = PageSource(home, store, (), lambda sites: set())
    client = client_of(Starlette(routes=console_routes(source)))
    headers = {"host": "wg.example.org", "origin": "https://wg.example.org"}
    found = client.post("/console/login", data={"token": token}, headers=headers)
    assert found.headers["set-cookie"].startswith("__Host-wg-console-3=")
    assert "Secure" in found.headers["set-cookie"] and "Path=/;" in found.headers["set-cookie"]


def test_a_foreign_name_that_points_here_gets_nothing(operator: Operator) -> None:
    for host in ("evil.example", "evil.example:8445", "127.0.0.1.evil.example", "["):
        found = operator.client.get("/console/login", headers={"host": host})
        assert found.status_code == 421 and "tunnel" in found.text, host


def test_logins_are_limited_and_wrong_tokens_let_nobody_in(operator: Operator, token: str) -> None:
    codes = [
        operator.login("wrong").status_code for _ in range(request_handling.LOGINS_PER_MINUTE_LIMIT)
    ]
    assert set(codes) == {403}
    assert operator.login(token).status_code == 429
    assert operator.get("/").status_code == 303


@pytest.mark.parametrize("proxy", ["127.0.0.1", "192.0.2.1"])
def test_a_trusted_proxy_alone_names_the_address_whose_logins_are_limited(
    home: ServerHome, store: ServerStore, token: str, client_of: Client, proxy: str
) -> None:
    home.write_config(replace(home.read_config(), trusted_proxies=(proxy,)))
    source = PageSource(home, store, (), lambda sites: set())
    operator = Operator(client_of(Starlette(routes=console_routes(source))))

    def login(word: str, forwarded: str) -> int:
        operator.client.headers["x-forwarded-for"] = forwarded
        return operator.login(word).status_code

    for row in range(request_handling.LOGINS_PER_MINUTE_LIMIT):
        assert login("wrong", f"198.51.100.{row}, 203.0.113.5") == 403  # the visitor forges others
    assert login(token, "198.51.100.99, 203.0.113.5") == 429
    assert login(token, "203.0.113.6") == (303 if proxy == "127.0.0.1" else 429)


@pytest.mark.parametrize("proxies", [("0.0.0.0/0",), ("::/0",), ("*",), ("proxy.example",)])
def test_not_everybody_is_a_trusted_proxy(proxies: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        ServerConfig(fleet_port=1, enrol_port=2, admin_port=3, trusted_proxies=proxies)


def test_an_operator_who_is_removed_is_out_at_once(
    operator: Operator, store: ServerStore, token: str
) -> None:
    operator.login(token)
    operators.remove_access(store, "Aiko Sato", time.time())
    assert operator.get("/").status_code == 303
    assert operator.login(token).status_code == 403


def test_a_session_ends_when_nobody_is_there_or_after_half_a_day(
    store: ServerStore, token: str
) -> None:
    current_time = [0.0]
    found = SessionTable(store, clock=lambda: current_time[0])
    begun = found.login(token)
    assert begun is not None
    cookie = begun[0]
    current_time[0] = sessions.SESSION_IDLE_SECONDS - 1
    assert (
        found.find_session(cookie, is_automatic=True) is not None
    )  # a page that is left open is no person
    current_time[0] = sessions.SESSION_IDLE_SECONDS + 1
    assert found.find_session(cookie) is None
    begun = found.login(token)
    assert begun is not None
    while current_time[0] < sessions.LONGEST_SESSION_SECONDS + 3 * sessions.SESSION_IDLE_SECONDS:
        alive = found.find_session(begun[0]) is not None
        current_time[0] += sessions.SESSION_IDLE_SECONDS / 2
    assert not alive


def test_a_session_from_the_provider_ends_after_an_hour(store: ServerStore) -> None:
    current_time = [0.0]
    found = SessionTable(store, clock=lambda: current_time[0])
    cookie, _ = found.begin_session("aiko@example.org (localhost)")
    while current_time[0] < sessions.LONGEST_PROVIDER_SESSION_SECONDS:
        assert found.find_session(cookie) is not None
        current_time[0] += sessions.SESSION_IDLE_SECONDS / 2
    current_time[0] = sessions.LONGEST_PROVIDER_SESSION_SECONDS + 1
    assert found.find_session(cookie) is None


def test_sessions_are_bounded(
    store: ServerStore, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_LIMIT", 2)
    found = SessionTable(store)
    cookies = [begun[0] for begun in (found.login(token) for _ in range(3)) if begun]
    assert [found.find_session(each) is not None for each in cookies] == [False, True, True]


def test_a_campaign_is_started_paused_resumed_and_cancelled(
    operator: Operator, home: ServerHome, store: ServerStore, token: str
) -> None:
    install(home)
    for name in ("plant-a", "plant-b"):
        enrol(store, name)
    operator.login(token)
    wrong = operator.post("/campaigns", csrf=operator.csrf, epsilon="-1", delta="1e-5", purpose="x")
    assert wrong.status_code == 400 and "epsilon" in wrong.text
    terms = {"epsilon": "0.5", "delta": "1e-6", "purpose": "<b>autumn</b>", "sites": "plant-b"}
    unshared = operator.post("/campaigns", csrf=operator.csrf, **terms)
    assert unshared.status_code == 409 and "share a class name" in unshared.text
    terms["unshared"] = "on"
    place = operator.post("/campaigns", csrf=operator.csrf, **terms).headers["location"]
    path = place.removeprefix("/console").partition("?")[0]
    (found,) = CampaignQueue(store.engine).newest_campaigns()
    assert (found.epsilon, found.delta, found.purpose) == ("0.5", "1e-6", "<b>autumn</b>")
    assert [task.site for task in found.tasks] == ["plant-b"]
    text = operator.get(path).text
    assert "&lt;b&gt;autumn&lt;/b&gt;" in text and "<b>autumn" not in text
    for word, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        operator.post(f"{path}/{word}", csrf=operator.csrf)
        assert CampaignQueue(store.engine).find_campaign(found.id).state == state
        assert operator.get(path).status_code == 200
    again = operator.post(f"{path}/cancel", csrf=operator.csrf)
    assert again.status_code == 409 and "cancelled already" in again.text
    assert acts(store)[-2:] == [("campaign cancel", found.id), ("failed", found.id)]


def test_a_join_token_is_shown_once_with_the_encoders_hash(
    operator: Operator, store: ServerStore, token: str
) -> None:
    operator.login(token)
    found = operator.post("/sites/invite", csrf=operator.csrf, site="plant-c", hours="2")
    (word,) = re.findall(r"wgj[0-9]\.[\w-]+", found.text)
    assert f"<code>{protocol.decode_join_token(word).encoder}</code>" in found.text
    assert protocol.decode_join_token(word).encoder == canonical.sha256_hex(b"a public encoder")
    assert found.headers["cache-control"] == "no-store"
    assert store.require_site("plant-c").state == "invited"
    assert ("enroll", "plant-c") in acts(store)


def test_an_auditors_evidence_is_of_one_site(
    operator: Operator, store: ServerStore, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def export(home: ServerHome, out: Path, names: list[str]) -> None:
        asked.append(names)
        (out / names[0]).mkdir(parents=True)
        (out / names[0] / "a.wgs").write_bytes(b"a release")

    monkeypatch.setattr("wg_server.campaigns.auditor_export.export_for_auditors", export)
    for name in ("plant-a", "plant-b"):
        enrol(store, name)
    assert operator.get("/sites/plant-a/evidence").status_code == 303  # to the login
    operator.login(token)
    assert "/sites/plant-a/evidence" in operator.get("/sites/plant-a").text
    found = operator.get("/sites/plant-a/evidence")
    assert found.headers["content-disposition"].endswith('filename="evidence-plant-a.zip"')
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        assert archive.read("plant-a/a.wgs") == b"a release"
    assert asked == [["plant-a"]]
    assert operator.get("/sites/nobody/evidence").status_code == 404


def test_what_is_not_there_or_no_form_is_said_so(operator: Operator, token: str) -> None:
    operator.login(token)
    for path in ("/sites/nobody", "/campaigns/none", "/nothing", "/sites/%00"):
        assert operator.get(path).status_code == 404, path
    here = str(operator.client.base_url).rstrip("/")
    kind = {"content-type": "application/x-www-form-urlencoded", "origin": here}
    for body in (b"\xff", b"a&b", b"csrf=%ff", b"&".join([b"a=1"] * 5000)):
        found = operator.client.post("/console/campaigns", content=body, headers=kind)
        assert found.status_code == 400, body[:20]


def test_the_readers_language_is_kept_and_leads_nowhere_else(
    operator: Operator, token: str
) -> None:
    operator.login(token)
    assert '<html lang="en">' in operator.get("/").text
    asked = operator.client.get("/console/", headers={"accept-language": "ja,en;q=0.5"})
    assert '<html lang="ja">' in asked.text
    found = operator.get("/language?to=ja&at=/console/sites")
    assert found.headers["location"] == "/console/sites"
    assert "拠点" in operator.get("/sites").text
    for at in ("//evil.example", "https://evil.example", "/console//evil", "/console/\\evil"):
        assert operator.get(f"/language?to=en&at={at}").headers["location"] == "/console/"


def test_a_generator_whose_card_fails_is_installed_by_its_id(
    operator: Operator, home: ServerHome, store: ServerStore, token: str
) -> None:
    check = {"name": "<i>gain</i>", "value": 0.1, "bound": 0.5}
    version = candidate(home, checks=[check])
    operator.login(token)
    assert "no generator is installed; of" in html.unescape(operator.get("/").text)
    text = page(operator)
    assert "fails" in text and "&lt;i&gt;gain" in text
    identity = re.findall(r'name="id" value="([0-9a-f]{64})"', text)[0]
    for typed, code in (("0" * 16, 409), (identity[:16], 303)):
        found = operator.post("/generator/use", csrf=operator.csrf, id=identity, confirm=typed)
        assert found.status_code == code
    assert versions.installed_version(home).id == identity == version.id
    assert "installed" in page(operator) and "generator/use" not in page(operator)
    assert acts(store)[-1] == ("generator use", identity)


def test_a_generator_that_is_damaged_is_on_the_overview(
    operator: Operator, home: ServerHome, token: str
) -> None:
    version = install(home)
    version.heads_path.write_bytes(b"another package")
    operator.login(token)
    assert "not the package that its model card names" in operator.get("/").text
    operator.get("/language?to=ja&at=/console/")
    assert "モデルカードと一致しません" in operator.get("/").text


OWN_FIGURES = {"head": "0.7", "network": "0.9", "refused": "0.03", "others_refused": "0.97"}
OWN_FIGURES |= {"head_found": "0.655", "head_found_error": "0.023"}
OWN_FIGURES |= {"epsilon": "4", "delta": "1e-05"}


def test_the_generator_s_page_says_what_own_families_are_worth(
    operator: Operator, home: ServerHome, token: str
) -> None:
    install(home, own_families={"rolled-steel-0": OWN_FIGURES})
    operator.login(token)
    assert re.search(r"rolled-steel-0.*Head.*0\.700.*Network.*0\.900", page(operator))
    assert re.search(r"own sites refused.*0\.030.*other families.*0\.970", page(operator))
    assert "0.655 ± 0.023" in page(operator)
    assert re.search(r"epsilon.*4\.000.*delta.*1e-05", page(operator))
    operator.get("/language?to=ja&at=/console/generator")
    assert "自社ファミリー" in page(operator)


def test_a_card_whose_content_is_damaged_shows_nothing(
    operator: Operator, home: ServerHome, token: str
) -> None:
    install(home, own_families={"rolled-steel-0": {"head": "good"}})
    operator.login(token)
    assert "There is no model card." in page(operator)


def page(operator: Operator) -> str:
    return operator.get("/generator").text


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    source = "".join(
        path.read_text("utf-8") for path in CONSOLE.rglob("*") if path.suffix in (".j2", ".py")
    )
    used = set(re.findall(r"""\bt\(["']([^"'{}]+)["'][,)]""", source))
    assert used <= ENGLISH.keys(), used - ENGLISH.keys()
    stems = ("act ", "did ", "campaign ", "part ", "site ", "standing ", "alert ", "error ", *_MORE)
    quoted = set(re.findall(r"""["']([^"'{}\n]+)["']""", source.replace(_reader(), "")))
    assert {key for key in ENGLISH if key not in quoted and not key.startswith(stems)} == set()


_MORE = ("through ", "card ", "generator ", "model ")
"""Beginnings of keys that are put together."""


def _reader() -> str:
    return Path(messages.__file__).read_text("utf-8")


def test_every_shape_of_an_error_is_in_the_sources() -> None:
    there = shapes(CONSOLE.parent) | shapes(*COMMON)
    told = [
        each.english
        for each in translations.read_catalogue(messages.PAGE_CATALOGUE_FOLDER, LANGUAGE_CODES[1])
        if each.context in translations.PATTERN_CONTEXTS
    ]
    assert len(told) > 30
    for shape in told:
        assert re.sub(r"{\w+}", "{}", shape) in there, shape


def test_the_log_is_told_in_the_reader_s_language(
    operator: Operator, home: ServerHome, store: ServerStore, token: str
) -> None:
    install(home)
    enrol(store, "plant-a")
    operator.login(token)
    fields = {"epsilon": "1", "delta": "1e-5", "purpose": "初回", "sites": "plant-a"}
    fields["unshared"] = "on"
    started = operator.post("/campaigns", csrf=operator.csrf, **fields)
    campaign = started.headers["location"].split("?")[0].removeprefix("/console")
    operator.get("/language?to=ja&at=/console/audit")
    for _ in range(2):
        ended = operator.post(f"{campaign}/cancel", csrf=operator.csrf)
    assert "すでに終わっています（中止）" in ended.text
    text = html.unescape(operator.get("/audit").text)
    assert "初回（epsilon 1、delta 1e-5）：plant-a" in text
    assert re.search("キャンペーンを中止：campaign [0-9a-z-]+: すでに終わっています（中止）", text)
    assert PageTexts("ja").translate_detail("login", "") == ""
    operator.get("/language?to=en&at=/console/audit")
    text = html.unescape(operator.get("/audit").text)
    assert "初回: epsilon 1, delta 1e-5: plant-a" in text
    assert "campaign cancel: campaign " in text


def test_spans_are_said_in_the_language_of_the_page() -> None:
    assert (PageTexts("en").span(7200), PageTexts("ja").span(7200)) == ("2 hours", "2 時間")
