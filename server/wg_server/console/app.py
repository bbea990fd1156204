"""Routes of the console: its pages, forms and static files."""

from pathlib import Path

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from wg_server.console import actions, pages
from wg_server.console.page_data import PageSource
from wg_server.console.request_handling import CONSOLE_PATH, FORM_BYTES_LIMIT, Console, HostGuard
from wg_server.fleet.guards import BodyLimit

_STATIC_FOLDER = Path(__file__).parent / "static"


def console_routes(source: PageSource) -> list[BaseRoute]:
    """Return the routes of the console."""
    form_seconds = 20.0
    console = Console(source)

    def login_page(request: Request) -> Response:
        return console.render_page(request, console.load_page_texts(request), "login", said="")

    def missing(request: Request) -> Response:
        return console.render_failure_page(request, console.load_page_texts(request), 404)

    gets = {
        "/": pages.show_overview,
        "/sites": pages.show_sites,
        "/sites/{site}": pages.show_site,
        "/sites/{site}/evidence": pages.send_auditor_export,
        "/campaigns": pages.show_campaigns,
        "/campaigns/new": pages.show_new_campaign,
        "/campaigns/{id}": pages.show_campaign,
        "/generator": pages.show_generators,
        "/audit": pages.show_operator_log,
        "/help": lambda context: context.render_page("help"),
    }
    posts = {
        "/logout": console.logout,
        "/sites/invite": actions.invite_site,
        "/sites/{site}/revoke": actions.revoke_site,
        "/releases/{id}/{word}": actions.accept_or_reject_release,
        "/campaigns": actions.start_campaign,
        "/campaigns/{id}/retry": actions.retry_site,
        "/campaigns/{id}/{word}": actions.change_campaign,
        "/generator/use": actions.use_generator,
    }
    inner: list[BaseRoute] = [
        Route("/login", login_page, methods=["GET"]),
        Route("/login", console.handle_login, methods=["POST"]),
        Route("/sign-on", console.redirect_to_provider, methods=["GET"]),
        Route("/signed-on", console.finish_sign_on, methods=["GET"]),
        Route("/language", console.set_language, methods=["GET"]),
        *(Route(path, console.page_endpoint(show), methods=["GET"]) for path, show in gets.items()),
        *(Route(path, console.form_endpoint(act), methods=["POST"]) for path, act in posts.items()),
        Mount("/static", StaticFiles(directory=_STATIC_FOLDER)),
        Route("/{rest:path}", missing, methods=["GET"]),
    ]
    config = source.home.read_config()
    guards = [
        Middleware(ProxyHeadersMiddleware, trusted_hosts=[*config.trusted_proxies]),
        Middleware(HostGuard, console_url=config.console_url),
        Middleware(BodyLimit, limit=FORM_BYTES_LIMIT, seconds=form_seconds),
    ]
    return [
        Route("/", lambda request: RedirectResponse(f"{CONSOLE_PATH}/", 303), methods=["GET"]),
        Mount(CONSOLE_PATH, routes=inner, middleware=guards),
    ]
