"""The console in Chromium, against a real server with three real plants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.browser import axe, chromium
from tests.browser.chromium import Browser
from tests.e2e.fleet_support import Plant, enrol_plant, make_home, running

from wg_core.errors import BudgetExceeded
from wg_server.site.home import ServerHome
from wg_server.store import operators
from wg_server.store.server_store import ServerStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason=chromium.MISSING),
]
PAGES = (
    "/",
    "/sites",
    "/sites/osaka-press",
    "/sites/nagoya-weld",
    "/campaigns",
    "/campaigns/new",
    "/generator",
    "/audit",
    "/help",
)
NAME = "佐藤 愛子"
CHECKS = (Path(__file__).parent / "page_checks.js").read_text("utf-8")


@dataclass
class World:
    """A server that runs, its plants, and a browser."""

    home: ServerHome
    token: str
    plants: dict[str, Plant]
    browser: Browser
    stack: ExitStack
    answers: threading.Event = field(default_factory=threading.Event)

    @property
    def pages(self) -> tuple[str, ...]:
        """Pages that are looked at: those of every server, and the newest campaigns."""
        self.browser.open(f"{self.url}/campaigns")
        newest = self.browser.run("document.querySelector('#campaigns a').pathname")
        return (*PAGES, newest.removeprefix("/console"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.home.read_config().admin_port}/console"

    def login(self) -> None:
        self.browser.open(f"{self.url}/login")
        self.browser.fill("#token", self.token)
        self.browser.click("button.main")

    def state(self, site: str) -> str:
        with ServerStore.open(self.home) as store:
            return store.require_site(site).state


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("console")
    home = make_home(root / "server")
    with ServerStore.open(home) as store:
        token = operators.grant_access(store, NAME, time.time())
    with ExitStack() as stack:
        stack.enter_context(running(home))
        names = ("osaka-press", "nagoya-weld", "kobe-paint")
        plants = {name: enrol_plant(home, root / name, name) for name in names}
        found = World(home, token, plants, stack.enter_context(chromium.browser()), stack)

        def refuse() -> None:
            if not found.answers.is_set():
                raise BudgetExceeded("the cap is reached")

        plants["nagoya-weld"].before_answer = refuse
        for name in names[:2]:
            stack.enter_context(plants[name].running())
        yield found


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    """The browser, logged in, in English; what a page logs as an error fails the test."""
    world.browser.shape(1300)
    world.browser.open(f"{world.url}/")
    if world.browser.run("location.pathname") == "/console/login":
        world.login()
    world.browser.said.clear()
    world.browser.open(f"{world.url}/language?to=en&at=/console/")
    yield world.browser
    assert world.browser.said == []


def test_a_wrong_token_lets_nobody_in_and_a_right_one_sets_a_cookie_that_no_script_sees(
    world: World,
) -> None:
    world.browser.open(f"{world.url}/sites")
    assert world.browser.run("location.pathname") == "/console/login"
    world.browser.fill("#token", "wrong")
    world.browser.click("button.main")
    assert "This token is not valid" in world.browser.text()
    world.login()
    assert NAME in world.browser.text() and "Needs attention" in world.browser.text()
    (cookie,) = world.browser.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert world.browser.run("document.cookie") == ""


def test_a_campaign_from_start_to_end_as_it_goes_on(world: World, browser: Browser) -> None:
    browser.open(f"{world.url}/campaigns/new")
    browser.fill("#purpose", "<autumn>")
    browser.fill("#min_sites", "1")
    browser.fill("#grace_minutes", "0.001")
    browser.run("document.querySelector('[name=unshared]').checked = true")  # nothing known of them
    browser.click("main form button.main")
    assert "The campaign is queued." in browser.text() and "<autumn>" in browser.text()
    browser.run("window.__same = true")
    cell = "document.getElementById('site-{}').closest('tr').innerText.includes('{}')"
    browser.wait(cell.format("osaka-press", "delivered"))
    browser.wait(cell.format("nagoya-weld", "privacy budget of the plant"))
    browser.wait(cell.format("kobe-paint", "it never connected"))
    world.stack.enter_context(world.plants["kobe-paint"].running())
    browser.wait(cell.format("kobe-paint", "delivered"))
    browser.wait("document.getElementById('head').innerText.includes('partial')")
    world.answers.set()
    assert browser.run("window.__same")  # the page is the same: it was never loaded again
    browser.click("#retry-nagoya-weld")
    assert "The site is tried again." in browser.text()
    browser.wait("document.getElementById('head').innerText.includes('done')")
    assert "3 of 3 sites have a package" in browser.text()
    browser.open(f"{world.url}/sites/nagoya-weld")
    assert "of 8 at δ" in browser.text()
    browser.open(f"{world.url}/audit")
    assert "retried a site" in browser.text() and "Each entry contains" in browser.text()


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_page_is_whole_in_both_languages_at_each_width(
    world: World, browser: Browser, language: str
) -> None:
    browser.open(f"{world.url}/language?to={language}&at=/console/campaigns")
    for path in world.pages:
        for width in (1300, 390):
            browser.shape(width)
            browser.open(world.url + path)
            assert browser.run("document.documentElement.lang") == language
            assert browser.run("document.documentElement.scrollWidth") <= width, (path, width)
            assert browser.run("document.querySelectorAll('h1').length") == 1, path
            browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert json.loads(browser.run(CHECKS)) == [], (path, width)


@pytest.mark.skipif(not axe.FILE.is_file(), reason=axe.MISSING)
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious_on_any_page(
    world: World, browser: Browser, dark: bool, language: str
) -> None:
    browser.open(f"{world.url}/language?to={language}&at=/console/campaigns")
    found = {}
    for path in (*world.pages, "/nothing", "/login"):
        for width in (1300, 390):
            browser.shape(width, dark=dark)
            browser.open(world.url + path)
            browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
            found[path, width] = axe.findings(browser)
    browser.said.clear()  # the page that is not there
    assert {key: lines for key, lines in found.items() if lines} == {}


def test_pages_can_be_read_without_script_and_used_by_keyboard(
    world: World, browser: Browser
) -> None:
    browser.open(world.url + "/")
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(12):
        browser.press("Tab")
        reached.add(browser.run("document.activeElement.textContent.trim()"))
    assert {"Sites", "Campaigns", "Audit", "Help", "Log out"} <= reached
    browser.without_script(True)
    try:
        browser.open(world.url + "/sites")
        assert "osaka-press" in browser.text()
    finally:
        browser.without_script(False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_somebody_else_changes_nothing(world: World, browser: Browser, host: str) -> None:
    """From another site the cookie does not come along; from another port of this one, it does."""
    with elsewhere(f"{world.url}/sites/osaka-press/revoke") as port:
        browser.open(f"http://{host}:{port}/")
        browser.wait(
            f"location.origin === 'http://127.0.0.1:{world.home.read_config().admin_port}'"
        )
        browser.wait("document.readyState === 'complete'")
        came = browser.text()
    assert "Operator token" in came if host == "localhost" else "nothing was changed" in came
    assert world.state("osaka-press") == "enrolled"
    browser.said.clear()  # the answer 403


def test_a_site_is_revoked_under_a_name_and_its_node_is_out(world: World, browser: Browser) -> None:
    browser.open(f"{world.url}/sites/kobe-paint")
    browser.fill("#confirm", "osaka-press")
    browser.click("form.danger button")
    assert "Nothing was changed" in browser.text() and world.state("kobe-paint") == "enrolled"
    browser.said.clear()  # the answer 409
    browser.open(f"{world.url}/sites/kobe-paint")
    browser.fill("#confirm", "kobe-paint")
    browser.click("form.danger button")
    assert "The site is revoked." in browser.text() and world.state("kobe-paint") == "revoked"
    browser.open(f"{world.url}/audit")
    assert NAME in browser.text() and "revoked" in browser.text()


class Attack(BaseHTTPRequestHandler):
    """A page that sends a form to the console as soon as it is there."""

    def __init__(self, target: str, *args: object) -> None:
        self._target = target
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        page = (
            f'<form method="post" action="{self._target}">'
            '<input name="confirm" value="osaka-press">'
            "</form><script>document.forms[0].submit()</script>"
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def elsewhere(target: str) -> Iterator[int]:
    """A web server of somebody else's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Attack, target)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
