"""Who is logged in: sessions in this process's memory, bounded in number and time.

A login gives a random cookie and a random CSRF token; the server keeps a hash of the cookie. The
operator behind it is looked up at each request, so that one who was removed is out at once. A new
start of the server ends all sessions.
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
from wg_server.store.sites import Store, hash_secret

IDLE_SECONDS = 30 * 60.0  # A session that made no request for so long is over
SESSION_SECONDS = 12 * 3600.0  # A session is over after so long, whatever it does
SIGN_ON_SECONDS = 3600.0
"""A session that was begun at the provider is over after so long: nobody tells this server that it
was ended there, and a new one is one redirect while the provider's goes on."""
SESSIONS_LIMIT = 256
"""Most sessions at a time; a login beyond them ends the one that was quiet for longest."""


@dataclass(slots=True)
class Session:
    """One login.

    Attributes:
        operator: Whose.
        csrf: What each form of it must send back.
        began: When, monotonic.
        used: When it made its last request, monotonic.
        role: A ``viewer`` changes nothing.
    """

    operator: str
    csrf: str
    began: float
    used: float
    _token_sha256: str  # Empty: it was begun at the provider, and ends by its time alone
    role: Role = "operator"

    @property
    def longest(self) -> float:
        """Seconds after which it is over, whatever it does."""
        return SESSION_SECONDS if self._token_sha256 else SIGN_ON_SECONDS

    @property
    def actor(self) -> Actor:
        """Who the log says did something."""
        return Actor(self.operator, "console")

    def owns(self, csrf: str) -> bool:
        """Return whether a form was sent to this session."""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())


class Sessions:
    """All logins of one server."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._by_hash: OrderedDict[str, Session] = OrderedDict()

    def login(self, token: str) -> tuple[str, Session] | None:
        """Begin a session with an operator's token: its cookie, and what is known of it."""
        operator = operators.of_token(self._store, token)
        return None if operator is None else self.begin(operator, token_sha256=hash_secret(token))

    def begin(
        self, operator: str, role: Role = "operator", *, token_sha256: str = ""
    ) -> tuple[str, Session]:
        """Begin a session of somebody who is known: its cookie, and what is known of it."""
        current_time, cookie = self._clock(), secrets.token_urlsafe(32)
        csrf = secrets.token_urlsafe(32)
        session = Session(operator, csrf, current_time, current_time, token_sha256, role)
        with self._lock:
            self._by_hash[_hash(cookie)] = session
            while len(self._by_hash) > SESSIONS_LIMIT:
                self._by_hash.popitem(last=False)
        return cookie, session

    def find(self, cookie: str, *, live: bool = False) -> Session | None:
        """The session of a cookie, if it goes on and its operator may still come in.

        Args:
            live: The request is made by the page by itself, and is no sign of a person.
        """
        current_time, key = self._clock(), _hash(cookie)
        with self._lock:
            session = self._by_hash.get(key)
            if session is None:
                return None
            if (
                current_time - session.used > IDLE_SECONDS
                or current_time - session.began > session.longest
            ):
                del self._by_hash[key]
                return None
            if not live:
                session.used = current_time
                self._by_hash.move_to_end(key)
        digest = session._token_sha256
        if digest and operators.of_hash(self._store, digest) != session.operator:
            self.logout(cookie)
            return None
        return session

    def logout(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._by_hash.pop(_hash(cookie), None)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
