"""Login sessions of the console: in this process's memory, bounded in number and time.

A login yields a random cookie and a random CSRF token; the server stores a hash of the cookie. The
operator is looked up at each request, so that a removed operator loses access at once. A restart of
the server ends all sessions.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wg_server.console.sign_on import Role
from wg_server.store import operators
from wg_server.store.operators import Actor
from wg_server.store.server_store import ServerStore, hash_secret

SESSION_IDLE_SECONDS = 30 * 60.0  # Time without a request after which a session ends
LONGEST_SESSION_SECONDS = 12 * 3600.0  # Longest duration of a session
LONGEST_PROVIDER_SESSION_SECONDS = 3600.0
"""Longest duration of a session that began at the identity provider: the provider does not report
that it ended there, and renewing it takes one redirect while the provider's session lasts."""
SESSIONS_LIMIT = 256
"""Largest number of sessions; a further login ends the least recently used one."""


@dataclass(slots=True)
class Session:
    """Login session of one operator in the console.

    Attributes:
        operator: Name of the operator.
        csrf_token: Token against cross-site requests, which each form of the session must send
            back.
        login_time: Monotonic time of the login.
        last_request_time: Monotonic time of the last request.
        role: Role of the operator; a ``viewer`` can change nothing.
    """

    operator: str
    csrf_token: str
    login_time: float
    last_request_time: float
    _token_sha256: str  # Empty: login by the provider, so that only time ends the session
    role: Role = "operator"

    @property
    def duration_limit_seconds(self) -> float:
        """Longest duration of the session, seconds."""
        return LONGEST_SESSION_SECONDS if self._token_sha256 else LONGEST_PROVIDER_SESSION_SECONDS

    @property
    def actor(self) -> Actor:
        """Actor under whose name the session's actions are logged."""
        return Actor(self.operator, "console")

    def has_csrf_token(self, csrf_token: str) -> bool:
        """Return whether a form's CSRF token belongs to this session."""
        return hmac.compare_digest(csrf_token.encode(), self.csrf_token.encode())


class SessionTable:
    """All login sessions of one console."""

    def __init__(self, store: ServerStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._by_hash: OrderedDict[str, Session] = OrderedDict()

    def login(self, token: str) -> tuple[str, Session] | None:
        """Start a session with an operator's token; return (cookie, session), None if invalid."""
        operator = operators.operator_name_of_token(self._store, token)
        return (
            None
            if operator is None
            else self.begin_session(operator, token_sha256=hash_secret(token))
        )

    def begin_session(
        self, operator: str, role: Role = "operator", *, token_sha256: str = ""
    ) -> tuple[str, Session]:
        """Start a session of an authenticated operator; return its cookie and the session."""
        current_time, cookie = self._clock(), secrets.token_urlsafe(32)
        csrf = secrets.token_urlsafe(32)
        session = Session(operator, csrf, current_time, current_time, token_sha256, role)
        with self._lock:
            self._by_hash[_hash_cookie(cookie)] = session
            while len(self._by_hash) > SESSIONS_LIMIT:
                self._by_hash.popitem(last=False)
        return cookie, session

    def find_session(self, cookie: str, *, is_automatic: bool = False) -> Session | None:
        """Return the session of a cookie if it is valid and its operator still has access.

        Args:
            is_automatic: True for automatic requests of a page, which do not count as activity.
        """
        current_time, key = self._clock(), _hash_cookie(cookie)
        with self._lock:
            session = self._by_hash.get(key)
            if session is None:
                return None
            if (
                current_time - session.last_request_time > SESSION_IDLE_SECONDS
                or current_time - session.login_time > session.duration_limit_seconds
            ):
                del self._by_hash[key]
                return None
            if not is_automatic:
                session.last_request_time = current_time
                self._by_hash.move_to_end(key)
        digest = session._token_sha256
        if digest and operators.operator_name_of_hash(self._store, digest) != session.operator:
            self.logout(cookie)
            return None
        return session

    def logout(self, cookie: str) -> None:
        """End the session of a cookie."""
        with self._lock:
            self._by_hash.pop(_hash_cookie(cookie), None)


def _hash_cookie(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
