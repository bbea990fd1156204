"""Request handling of the console: checks of host, session, origin and CSRF token, and answers.

* Pages answer only under a name of this machine or the host of ``console_url``, so that a foreign
name that points here (DNS rebinding) gets nothing.
* Reading needs a session. Changing also needs this origin in the browser's headers, and the
session's CSRF token in the form. A failed check changes nothing.
* The cookie is HttpOnly and SameSite=Strict, and Secure behind TLS. Pages contain no inline
scripts; templates escape all text.

The checks do not protect against someone who controls the machine or an operator's token.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wg_common.language import LANGUAGE_CODES
from wg_core import __version__
from wg_core.errors import DecodeError, InternalError, StorageError, WgError
from wg_server.console import messages, sessions
from wg_server.console.formats import template_helpers
from wg_server.console.messages import PageTexts
from wg_server.console.page_data import PageSource
from wg_server.console.sessions import Session, SessionTable
from wg_server.console.sign_on import read_oidc_provider
from wg_server.fleet.guards import Guard
from wg_server.fleet.sliding_window_limit import SlidingWindowLimit, client_network
from wg_server.store.operators import add_log_entry

log = logging.getLogger(__name__)

CONSOLE_PATH = "/console"
FORM_BYTES_LIMIT = 256 << 10  # Largest form, bytes: a campaign over a thousand named sites
FORM_FIELDS_LIMIT = 4096  # Largest number of fields of a form
LOGINS_PER_MINUTE_LIMIT = 10
"""Login attempts per minute and address (IPv6: per /64)."""
COUNTED_ADDRESSES_LIMIT = 1024  # Largest number of addresses whose login attempts are counted

_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_LANGUAGE_COOKIE = "wg-language"
_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_UNKNOWN_HOST_MESSAGE = (
    "the console answers on this machine alone: use a tunnel (ssh -L), or a proxy with TLS and"
    " console_url in server.yaml\n"
)

FormFields = Mapping[str, list[str]]


class HostGuard(Guard):
    """Middleware that answers only under known host names, and adds security headers."""

    def __init__(self, app: ASGIApp, console_url: str) -> None:
        super().__init__(app)
        self._outside = urlsplit(console_url).netloc if console_url else ""
        self._hosts = _LOCAL_HOSTS

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                header_names = {name for name, _ in message["headers"]}
                extra = {"cache-control": "no-store", **_SECURITY_HEADERS}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (k.encode(), v.encode())
                        for k, v in extra.items()
                        if k.encode() not in header_names
                    ),
                ]
            await send(message)

        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        if not self._is_known_host(host):
            await PlainTextResponse(_UNKNOWN_HOST_MESSAGE, 421)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _is_known_host(self, host: str) -> bool:
        if self._outside and host == self._outside:
            return True
        try:
            return urlsplit(f"//{host}").hostname in self._hosts
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class PageContext:
    """Request of a logged-in operator, with all that a page is rendered from."""

    request: Request
    session: Session
    texts: PageTexts
    console: Console

    @property
    def source(self) -> PageSource:
        """Data sources from which the page is filled."""
        return self.console.source

    def render_page(self, page_name: str, status: int = 200, **values: object) -> Response:
        """Render a page of the console."""
        return self.console.render_page(
            self.request, self.texts, page_name, status, session=self.session, **values
        )

    def redirect_with_confirmation(self, path: str, action: str) -> Response:
        """Redirect to a page (a path below ``/console``) that confirms an action."""
        return RedirectResponse(f"{CONSOLE_PATH}{path}?did={action}", 303)


class Console:
    """Sessions and templates of the console, and the checks of its pages and forms."""

    def __init__(self, source: PageSource) -> None:
        self.source = source
        self.sessions = SessionTable(source.store)
        self.provider = read_oidc_provider(source.home)
        config = source.home.read_config()
        self._name = config.name
        self._secure = bool(config.console_url)
        self._origin = config.console_url
        prefix = "__Host-" if self._secure else ""
        self._cookie = f"{prefix}wg-console-{config.admin_port}"
        self._tries = SlidingWindowLimit(LOGINS_PER_MINUTE_LIMIT, COUNTED_ADDRESSES_LIMIT)
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("wg_server.console", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page_endpoint(
        self, show_page: Callable[[PageContext], Response]
    ) -> Callable[[Request], Response]:
        """Return an endpoint that shows a page to logged-in users."""

        def endpoint(request: Request) -> Response:
            session = self._find_session(request)
            if session is None:
                return RedirectResponse(f"{CONSOLE_PATH}/login", 303)
            context = PageContext(request, session, self.load_page_texts(request), self)
            return self._run_action(context, lambda: show_page(context))

        return endpoint

    def form_endpoint(
        self, run_form_action: Callable[[PageContext, FormFields], Response]
    ) -> Callable[[Request], Any]:
        """Return an endpoint that runs a form's action, after checking session, origin and CSRF."""

        def judge(request: Request, form: FormFields) -> Response:
            session = self._find_session(request)
            texts = self.load_page_texts(request)
            if session is None:
                return RedirectResponse(f"{CONSOLE_PATH}/login", 303)
            if not self._is_same_origin(request) or not session.has_csrf_token(
                form_field(form, "csrf")
            ):
                log.warning("console: a form of %s was not from its own page", session.operator)
                return self.render_failure_page(request, texts, 403, session=session)
            if session.role == "viewer" and run_form_action != self.logout:
                detail = texts("viewer")
                return self.render_failure_page(request, texts, 403, detail, session=session)
            context = PageContext(request, session, texts, self)
            return self._run_action(context, lambda: run_form_action(context, form))

        async def endpoint(request: Request) -> Response:
            form = _parse_form(await request.body())
            if form is None:
                return self.render_failure_page(request, self.load_page_texts(request), 400)
            return await run_in_threadpool(judge, request, form)

        return endpoint

    async def handle_login(self, request: Request) -> Response:
        """Start a session of the console, or show why the login failed."""
        form = _parse_form(await request.body())
        texts = self.load_page_texts(request)
        if form is None or not self._is_same_origin(request):
            return self.render_failure_page(request, texts, 403)
        host = request.client.host if request.client else ""
        if not self._tries.count_try(client_network(host)):
            return self.render_page(request, texts, "login", 429, said="login often")
        session = await run_in_threadpool(self.sessions.login, form_field(form, "token").strip())
        if session is None:
            log.warning("console: a login with a wrong token")
            return self.render_page(request, texts, "login", 403, said="login wrong")
        response = RedirectResponse(f"{CONSOLE_PATH}/", 303)
        await run_in_threadpool(self._start_cookie_session, response, *session)
        return response

    def _start_cookie_session(self, response: Response, cookie: str, session: Session) -> None:
        """Log the login of an operator, and set the session's cookie."""
        add_log_entry(self.source.store, session.actor, "login", "", session.role)
        self._set_cookie(
            response, self._cookie, cookie, int(sessions.LONGEST_SESSION_SECONDS), "strict"
        )

    def _set_cookie(
        self,
        response: Response,
        name: str,
        value: str,
        lifetime_seconds: int,
        same_site: Literal["lax", "strict"],
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=lifetime_seconds,
            path="/" if self._secure else CONSOLE_PATH,
            secure=self._secure,
            httponly=True,
            samesite=same_site,
        )

    def redirect_to_provider(self, request: Request) -> Response:
        """Redirect a browser to the OpenID Connect provider for login."""
        host = request.client.host if request.client else ""
        if self.provider is None or not self._tries.count_try(client_network(host)):
            return self.render_failure_page(
                request, self.load_page_texts(request), 404 if self.provider is None else 429
            )
        secret = secrets.token_urlsafe(32)
        try:
            url = self.provider.authorization_url(secret, self._callback_url(request))
        except WgError as error:
            log.warning("console: %s", error)
            return self.render_failure_page(request, self.load_page_texts(request), 503)
        response = RedirectResponse(url, 303)
        self._set_cookie(response, f"{self._cookie}-oidc", secret, 600, "lax")
        return response

    def finish_sign_on(self, request: Request) -> Response:
        """Log in a person who returns from the provider.

        The answer is a page, not a redirect: the session's SameSite cookie is not sent on a
        navigation that another site started.
        """
        query, texts = request.query_params, self.load_page_texts(request)
        secret = request.cookies.get(f"{self._cookie}-oidc", "")
        if self.provider is None or not secret:
            return self.render_failure_page(request, texts, 403)
        words = query.get("state", ""), query.get("code", ""), self._callback_url(request)
        try:
            person, role = self.provider.fetch_user_and_role(secret, *words)
        except WgError as error:
            log.warning("console: a login failed: %s", error)
            return self.render_failure_page(request, texts, 403, str(error))
        response = self.render_page(request, texts, "signed_on")
        self._start_cookie_session(response, *self.sessions.begin_session(person, role))
        response.delete_cookie(f"{self._cookie}-oidc", path="/" if self._secure else CONSOLE_PATH)
        return response

    def _callback_url(self, request: Request) -> str:
        return f"{self._origin or 'http://' + request.headers['host']}{CONSOLE_PATH}/signed-on"

    def logout(self, context: PageContext, form: FormFields) -> Response:
        """End the session of an operator."""
        self.sessions.logout(context.request.cookies.get(self._cookie, ""))
        response = RedirectResponse(f"{CONSOLE_PATH}/login", 303)
        response.delete_cookie(self._cookie, path="/" if self._secure else CONSOLE_PATH)
        return response

    def set_language(self, request: Request) -> Response:
        """Store the reader's language in a cookie, and return to the page."""
        language = request.query_params.get("to", "")
        path = request.query_params.get("at", "")
        if not path.startswith(f"{CONSOLE_PATH}/") or "//" in path or "\\" in path:
            path = f"{CONSOLE_PATH}/"
        response = RedirectResponse(path, 303)
        if language in LANGUAGE_CODES:
            self._set_cookie(response, _LANGUAGE_COOKIE, language, 365 * 86400, "strict")
        return response

    def load_page_texts(self, request: Request) -> PageTexts:
        """Return the texts in the language of a request."""
        return PageTexts(
            messages.choose_language(
                request.cookies.get(_LANGUAGE_COOKIE), request.headers.get("accept-language", "")
            )
        )

    def render_page(
        self,
        request: Request,
        texts: PageTexts,
        page_name: str,
        status: int = 200,
        *,
        session: Session | None = None,
        **values: object,
    ) -> Response:
        """Render a page in the reader's language."""
        did = f"did {request.query_params.get('did', '')}"
        template = self._templates.get_template(f"{page_name}.html.j2")
        text = template.render(
            t=texts,
            languages=LANGUAGE_CODES,
            root=CONSOLE_PATH,
            page=page_name,
            path=request.url.path,
            server=self._name,
            version=__version__,
            session=session,
            csrf=session.csrf_token if session else "",
            provider=self.provider,
            did=did if did in texts else "",
            **template_helpers(texts),
            **values,
        )
        return HTMLResponse(text, status)

    def render_failure_page(
        self,
        request: Request,
        texts: PageTexts,
        status: int,
        detail: str = "",
        *,
        session: Session | None = None,
    ) -> Response:
        """Render a page that reports a failure."""
        return self.render_page(
            request, texts, "error", status, session=session, code=status, detail=detail
        )

    def _find_session(self, request: Request) -> Session | None:
        cookie = request.cookies.get(self._cookie)
        live = request.headers.get("x-live") == "1"
        return None if cookie is None else self.sessions.find_session(cookie, is_automatic=live)

    def _is_same_origin(self, request: Request) -> bool:
        """Return whether the browser's ``Origin`` header names this console."""
        origin = request.headers.get("origin", "")
        if self._origin and origin == self._origin:
            return True
        return origin == f"http://{request.headers.get('host', '')}"

    def _run_action(self, context: PageContext, action: Callable[[], Response]) -> Response:
        """Run the action of a page, and answer an error with a page rather than a traceback."""
        try:
            return action()
        except StorageError as error:
            log.error("console: %s", error)
            status, detail = 503, ""
        except InternalError:
            raise
        except PageNotFound:
            status, detail = 404, ""
        except WgError as error:
            status = 400 if isinstance(error, DecodeError) else 409
            detail = context.texts.translate_error(str(error))
        return self.render_failure_page(
            context.request, context.texts, status, detail, session=context.session
        )


class PageNotFound(WgError):
    """Error of a request for a page that does not exist."""


def form_field(form: FormFields, name: str) -> str:
    """Return the value of a field that occurs once in a form; empty otherwise."""
    values = form.get(name, [])
    return values[0] if len(values) == 1 else ""


def _parse_form(body: bytes) -> FormFields | None:
    """Parse a form as browsers send it; None if the form is invalid."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FORM_FIELDS_LIMIT,
        )
    except (ValueError, UnicodeError):
        return None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields
