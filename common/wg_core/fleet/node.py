"""The plant's node: outbound only, and able to run nothing but the app installed with it.

One loop: renew the certificate if it is time, connect, take a message, answer it at the end of its
time slot (``slot``), and again. Flower is in ``flower``, what is answered in ``answers``, packages
in ``applier``. The node opens no port, and starts no process but the one that applies a package
(``applying``).
"""

import logging
import secrets
import threading
import time
from functools import partial

import httpx

from wg_core import errors, logs
from wg_core.connection import cosigning, link
from wg_core.fleet import certificate, trust
from wg_core.fleet.answers import Answers
from wg_core.fleet.applier import Applier
from wg_core.fleet.flower import Session
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.interface import Declined, Handlers, NodeOptions
from wg_core.fleet.slot import Slot, Stopped
from wg_core.ledger.cosigned import RolledBack
from wg_core.ledger.witness import WitnessRefused
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.contact import ContactFile
from wg_core.site.home import ClientHome
from wg_core.wire import fleet, protocol
from wg_core.wire.handover import Handover

log = logging.getLogger(__name__)

_LOOK_SECONDS = 60.0  # How often a session looks whether its certificate is to be renewed
_CHECK_IN_SECONDS = 3600.0
"""How often a session asks for the server's authority, and has its ledger cosigned."""


def run_node(
    home: ClientHome,
    handlers: Handlers,
    *,
    once: bool = False,
    stop: threading.Event | None = None,
    options: NodeOptions | None = None,
) -> None:
    """Serve the configured server until ``stop``, or, with ``once``, until a package was applied.

    With ``once`` the connection ends when a package is there, before it is applied: how long that
    takes depends on the records, and the server sees when a plant leaves.

    Network errors never end it: it tries again, more and more slowly, and says why in the log.

    Raises:
        ConfigError: The home is not that of an enrolled plant, or another process runs its node.
        WgError: With ``once``: the package could not be applied.
    """
    stop = stop or threading.Event()
    options = options or NodeOptions()
    node = Node(home, handlers, stop, options, once=once)
    with locks.node(home), logs.about(site=node.site):
        applier = Applier(
            home, handlers.apply_package, stop, again_seconds=options.apply_again_seconds, once=once
        )
        with applier:
            node.run(applier)
            if once:
                stop.wait()  # until the package was applied, or the node is told to stop
    if applier.crash is not None:
        raise applier.crash
    if once and applier.failure is not None:
        raise applier.failure


class Node:
    """One running node."""

    def __init__(
        self,
        home: ClientHome,
        handlers: Handlers,
        stop: threading.Event,
        options: NodeOptions,
        *,
        once: bool = False,
    ) -> None:
        """Prepare the node.

        Args:
            once: Leave the server for good when a package is there.
        """
        self._home = home
        self._inbox = Inbox(home) if once else None
        self._stop = stop
        self._options = options
        self._config = configuration.load(home)
        self._allowed = frozenset(self._config.privacy.message_types)
        self._backoff = options.backoff_seconds
        self._online = False
        self._look_again = 0.0
        self._check_in_again = 0.0
        self._handlers = handlers
        self._answers = self._answering()
        self._renew_again = 0.0
        self._trouble = ""
        self.site = self._config.site
        self.contact = ContactFile(home)

    def run(self, applier: Applier) -> None:
        """Serve until it is told to stop; what ends it otherwise is kept for ``status``."""
        try:
            while not self._must_leave():
                self.serve(applier)
        except errors.WgError as error:
            self.contact.say("stopped", str(error))
            raise
        self.contact.say("stopped")

    def serve(self, applier: Applier) -> None:
        """One session: certificate, connection, activation, messages; ends on any failure."""
        try:
            self._renew()
            self._check_in()
            url = self._config.server.fleet_url

            def on_beat() -> None:
                self.contact.say("connected", self._trouble)

            with Session(self._home, url, self._options, on_beat) as session:
                self._online = True
                log.info("online as %s", self._config.site)
                on_beat()
                last_request = time.monotonic()
                while not (self._must_leave() or self._renew_if_due()):
                    began = time.monotonic()
                    if self.serve_one(session):
                        applier.wake()
                        last_request = time.monotonic()
                    else:
                        current_time = time.monotonic()
                        self._stop.wait(
                            self._options.pause(current_time - last_request, current_time - began)
                        )
                    self._backoff = self._options.backoff_seconds
        except Stopped:
            log.info("stopped before an answer was due; it is kept")
        except httpx.HTTPStatusError as error:
            self._pause(link.explain_status(error.response))
        except httpx.HTTPError as error:
            self._pause(link.describe(error))
        except (errors.PeerError, errors.DecodeError) as error:
            self._pause(str(error))
        except errors.WgError:
            raise
        except Exception:  # whatever the server sent, the node must outlive it
            log.exception("internal error")
            self._pause("internal error")
        finally:
            self._online = False

    def _must_leave(self) -> bool:
        """Tell whether the node is to stop, or has the one package that it waits for."""
        has_package = self._inbox is not None and bool(self._inbox.waiting())
        return self._stop.is_set() or has_package

    def serve_one(self, session: Session) -> bool:
        """Answer one message; ``False`` if there is none.

        Whatever goes back for a question, even that it is declined, goes through its slot.
        """
        message = session.pull()
        if message is None:
            return False
        question = message.kind == protocol.QUERY_STATISTICS
        slot = Slot(self._config.privacy.answer_slot_seconds if question else 0, self._stop)
        try:
            envelope = session.read(message, self._allowed)
            reply = partial(session.answer, message, self._answers.to(message.kind, envelope, slot))
        except Declined as reason:
            log.warning("declined %s: %s: %s", message.kind, reason, fleet.MEANING[str(reason)])
            reply = partial(session.decline, message, str(reason))
        slot.send(reply)
        return True

    def _renew_if_due(self) -> bool:
        """Renew the certificate if it is due, at most once in ``_LOOK_SECONDS``; return if it was.

        A session can last longer than a certificate, and than the server's authority.
        """
        if time.monotonic() < self._look_again:
            return False
        if time.monotonic() >= self._check_in_again:
            self._check_in()
        return self._renew()

    def _renew(self) -> bool:
        """Renew the certificate if it is time; what hinders that does not hinder work.

        Not again at once: under a clock that is wrong every new certificate is due.
        """
        current_time = time.monotonic()
        self._look_again = current_time + _LOOK_SECONDS
        if current_time < self._renew_again or not certificate.renewal_due(self._home, time.time()):
            return False
        try:
            certificate.renew(self._home, self._config)
        except (errors.PeerError, errors.StorageError, errors.VerificationError) as error:
            log.warning("certificate not renewed: %s", error)
            return False
        log.info("certificate renewed")
        self._renew_again = current_time + self._options.renew_again_seconds
        if certificate.renewal_due(self._home, time.time()):
            log.warning(
                "the new certificate is old already: this machine's clock is ahead of the"
                " server's; set it"
            )
        return True

    def _check_in(self) -> None:
        """Learn whom to believe; have the ledger cosigned, to find out an older copy of it.

        That is before anything can be charged on it.

        Raises:
            RolledBack: The server has seen more of the ledger; the node ends.
            PeerError: The server cannot be reached, or its new keys cannot be taken over now.
        """
        self._check_in_again = time.monotonic() + _CHECK_IN_SECONDS
        with link.Link.open(self._home, self._config.server.fleet_url) as connection:
            try:
                answer = trust.follow(self._home, self._config, connection)
                links = trust.new_keys(self._config, answer)
                if links:
                    self._take_over(links)
                    trust.follow(self._home, self._config, connection)  # the server is told
                cosigning.check_newest(self._home, self._config, connection.witness)
            except RolledBack:
                raise
            except (WitnessRefused, errors.ConfigError, errors.VerificationError) as error:
                self._trouble = f"the ledger is not cosigned, releases wait: {error}"
                log.warning("%s", self._trouble)
            else:
                self._trouble = ""

    def _take_over(self, links: list[Handover]) -> None:
        """Take new keys of the server over, between sessions and with no package to apply.

        A server changes its keys between two runs of its own, so no package under the new ones came
        in this session; one that waits bears the old signature.
        """
        if self._online:
            raise errors.PeerError("the server has new keys; they are taken over first")
        if Inbox(self._home).waiting():
            raise errors.PeerError(
                "the server has new keys; the packages that wait are applied before that"
            )
        self._config = trust.take_over(self._home, self._config, links)
        self._answers = self._answering()

    def _answering(self) -> Answers:
        return Answers(self._home, self._config, self._handlers)

    def _pause(self, reason: str) -> None:
        """Wait after an error, each time up to twice as long, and a random part of it more."""
        delay = self._backoff * (1 + secrets.randbelow(1000) / 1000)
        log.warning("%s; trying again in %.1f s", reason, delay)
        self.contact.say("waiting", reason)
        self._backoff = min(2 * self._backoff, self._options.backoff_limit_seconds)
        self._stop.wait(delay)
