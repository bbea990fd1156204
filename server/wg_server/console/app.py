"""Routes of the console: its pages, forms and static files."""

from pathlib import Path

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from wg_server.console import actions, pages
from wg_server.console.views import Source
from wg_server.console.web import FORM_LIMIT, ROOT, Console, Shield
from wg_server.fleet.guards import BodyLimit

_STATIC = Path(__file__).parent / "static"


def console_routes(source: Source) -> list[BaseRoute]:
    """Return the routes of the console."""
    form_seconds = 20.0
    console = Console(source)

    def login_page(request: Request) -> Response:
        return console.render(request, console.speech(request), "login", said="")

    def missing(request: Request) -> Response:
        return console.fail(request, console.speech(request), 404)

    gets = {
        "/": pages.overview,
        "/sites": pages.sites,
        "/sites/{site}": pages.site,
        "/sites/{site}/evidence": pages.evidence,
        "/campaigns": pages.campaigns,
        "/campaigns/new": pages.new_campaign,
        "/campaigns/{id}": pages.campaign,
        "/generator": pages.generator,
        "/audit": pages.audit,
        "/help": lambda context: context.render("help"),
    }
    posts = {
        "/logout": console.logout,
        "/sites/invite": actions.invite,
        "/sites/{site}/revoke": actions.revoke,
        "/releases/{id}/{word}": actions.judge,
        "/campaigns": actions.start_campaign,
        "/campaigns/{id}/retry": actions.retry,
        "/campaigns/{id}/{word}": actions.change_campaign,
        "/generator/use": actions.use_generator,
    }
    inner: list[BaseRoute] = [
        Route("/login", login_page, methods=["GET"]),
        Route("/login", console.login, methods=["POST"]),
        Route("/sign-on", console.sign_on, methods=["GET"]),
        Route("/signed-on", console.signed_on, methods=["GET"]),
        Route("/language", console.speak, methods=["GET"]),
        *(Route(path, console.page(show), methods=["GET"]) for path, show in gets.items()),
        *(Route(path, console.form(act), methods=["POST"]) for path, act in posts.items()),
        Mount("/static", StaticFiles(directory=_STATIC)),
        Route("/{rest:path}", missing, methods=["GET"]),
    ]
    guards = [
        Middleware(Shield, console_url=source.home.config().console_url),
        Middleware(BodyLimit, limit=FORM_LIMIT, seconds=form_seconds),
    ]
    return [
        Route("/", lambda request: RedirectResponse(f"{ROOT}/", 303), methods=["GET"]),
        Mount(ROOT, routes=inner, middleware=guards),
    ]
