"""The plant's node, which asks the server for messages and answers them.

The loop is: renew the certificate if due, connect, take a message, answer it at the end of its time
slot (``query_slot``), repeat. Flower is handled in ``flower``, answers in ``node_answers``,
packages in ``applier``. The node opens no port, runs only the Flower app installed with it, and
starts no process but the one that applies a package (``apply_process``).
"""

import logging
import secrets
import threading
import time
from functools import partial

import httpx

from wg_core import errors, logs
from wg_core.connection import cosigning, server_link
from wg_core.fleet import certificate, server_trust
from wg_core.fleet.applier import ApplierThread
from wg_core.fleet.flower import FlowerSession
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.node_answers import MessageHandler
from wg_core.fleet.node_interface import MessageDeclined, NodeHandlers, NodeOptions
from wg_core.fleet.query_slot import AnswerSlot, NodeStopped
from wg_core.ledger.cosigned import LedgerRolledBack
from wg_core.ledger.witness import WitnessRefused
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.home import ClientHome
from wg_core.site.server_contact import ContactFile
from wg_core.wire import flower_messages, protocol
from wg_core.wire.handover import Handover

log = logging.getLogger(__name__)

_RENEWAL_CHECK_SECONDS = 60.0  # Interval at which a session checks whether its certificate is due
_CHECK_IN_INTERVAL_SECONDS = 3600.0
"""Interval at which a session asks for the server's authority and has its ledger cosigned."""


def run_node(
    home: ClientHome,
    handlers: NodeHandlers,
    *,
    stops_after_package: bool = False,
    stop: threading.Event | None = None,
    options: NodeOptions | None = None,
) -> None:
    """Run a plant's node until ``stop`` is set or, with ``stops_after_package``, a package came.

    With ``stops_after_package`` the connection ends as soon as a package arrives, before it is
    applied: the time of applying depends on the records, and the server sees the disconnection.

    Network errors never end the node: it retries with growing pauses, and logs the reason.

    Raises:
        ConfigError: The home is not of an enrolled plant, or another process runs its node.
        WgError: With ``stops_after_package``, the package could not be applied.
    """
    stop = stop or threading.Event()
    options = options or NodeOptions()
    node = Node(home, handlers, stop, options, stops_after_package=stops_after_package)
    with locks.lock_node(home), logs.log_context(site=node.site):
        applier = ApplierThread(
            home,
            handlers.apply_package,
            stop,
            retry_seconds=options.apply_retry_seconds,
            stops_after_package=stops_after_package,
        )
        with applier:
            node.run(applier)
            if stops_after_package:
                stop.wait()  # until the package was applied, or the node is stopped
    if applier.crash is not None:
        raise applier.crash
    if stops_after_package and applier.failure is not None:
        raise applier.failure


class Node:
    """Running node of one home: it connects to the server, and answers messages."""

    def __init__(
        self,
        home: ClientHome,
        handlers: NodeHandlers,
        stop: threading.Event,
        options: NodeOptions,
        *,
        stops_after_package: bool = False,
    ) -> None:
        """Prepare the plant's node, without connecting to the server.

        Args:
            stops_after_package: Disconnect for good as soon as a package has arrived.
        """
        self._home = home
        self._inbox = Inbox(home) if stops_after_package else None
        self._stop = stop
        self._options = options
        self._config = configuration.load(home)
        self._allowed = frozenset(self._config.privacy.message_types)
        self._backoff = options.backoff_seconds
        self._online = False
        self._look_again = 0.0
        self._check_in_again = 0.0
        self._handlers = handlers
        self._answers = self._new_message_handler()
        self._renew_again = 0.0
        self._trouble = ""
        self.site = self._config.site
        self.contact = ContactFile(home)

    def run(self, applier: ApplierThread) -> None:
        """Answer the server until stopped; store a fatal error for ``wg-client status``."""
        try:
            while not self._should_disconnect():
                self.run_session(applier)
        except errors.WgError as error:
            self.contact.write_status("stopped", str(error))
            raise
        self.contact.write_status("stopped")

    def run_session(self, applier: ApplierThread) -> None:
        """Run one session with the server until it fails or the node is stopped."""
        try:
            self._renew_certificate_if_due()
            self._check_in_with_server()
            url = self._config.server.fleet_url

            def on_beat() -> None:
                self.contact.write_status("connected", self._trouble)

            with FlowerSession(self._home, url, self._options, on_beat) as session:
                self._online = True
                log.info("online as %s", self._config.site)
                on_beat()
                last_request = time.monotonic()
                while not (self._should_disconnect() or self._run_periodic_checks()):
                    began = time.monotonic()
                    if self.answer_next_message(session):
                        applier.wake()
                        last_request = time.monotonic()
                    else:
                        current_time = time.monotonic()
                        idle_seconds = current_time - last_request
                        pause = self._options.poll_pause_seconds(idle_seconds, current_time - began)
                        self._stop.wait(pause)
                    self._backoff = self._options.backoff_seconds
        except NodeStopped:
            log.info("stopped before an answer was due; it is kept")
        except httpx.HTTPStatusError as error:
            self._back_off(server_link.describe_error_status(error.response))
        except httpx.HTTPError as error:
            self._back_off(server_link.describe_connection_error(error))
        except (errors.PeerError, errors.DecodeError) as error:
            self._back_off(str(error))
        except errors.WgError:
            raise
        except Exception:  # the node must survive whatever the server sent
            log.exception("internal error")
            self._back_off("internal error")
        finally:
            self._online = False

    def _should_disconnect(self) -> bool:
        """Return True if the node is to stop, or has the one package that it waited for."""
        has_package = self._inbox is not None and bool(self._inbox.waiting_packages())
        return self._stop.is_set() or has_package

    def answer_next_message(self, session: FlowerSession) -> bool:
        """Answer the server's next message; return False if no message waits.

        Every reply to a query, even a refusal to read it, waits for the end of the time slot.
        """
        message = session.pull_message()
        if message is None:
            return False
        question = message.message_type == protocol.QUERY_MESSAGE_TYPE
        slot = AnswerSlot(self._config.privacy.answer_slot_seconds if question else 0, self._stop)
        try:
            envelope = session.read_envelope(message, self._allowed)
            answer = self._answers.answer(message.message_type, envelope, slot)
            reply = partial(session.send_answer, message, answer)
        except MessageDeclined as reason:
            meaning = flower_messages.DECLINE_MEANINGS[str(reason)]
            log.warning("declined %s: %s: %s", message.message_type, reason, meaning)
            reply = partial(session.decline_message, message, str(reason))
        slot.send_at_end(reply)
        return True

    def _run_periodic_checks(self) -> bool:
        """Check in with the server and renew the TLS certificate, if due; return True if renewed.

        A session can outlast a certificate and the server's authority.
        """
        if time.monotonic() < self._look_again:
            return False
        if time.monotonic() >= self._check_in_again:
            self._check_in_with_server()
        return self._renew_certificate_if_due()

    def _renew_certificate_if_due(self) -> bool:
        """Renew the TLS certificate if due, and return True if renewed; errors are only logged.

        Renewals are spaced: under a wrong clock every new certificate would be due at once.
        """
        current_time = time.monotonic()
        self._look_again = current_time + _RENEWAL_CHECK_SECONDS
        if current_time < self._renew_again or not certificate.is_renewal_due(
            self._home, time.time()
        ):
            return False
        try:
            certificate.renew(self._home, self._config)
        except (errors.PeerError, errors.StorageError, errors.VerificationError) as error:
            log.warning("certificate not renewed: %s", error)
            return False
        log.info("certificate renewed")
        self._renew_again = current_time + self._options.renewal_interval_seconds
        if certificate.is_renewal_due(self._home, time.time()):
            log.warning(
                "the new certificate is old already: this machine's clock is ahead of the"
                " server's; set it"
            )
        return True

    def _check_in_with_server(self) -> None:
        """Adopt the server's new authority and keys, and have the ledger cosigned.

        The cosigning detects an outdated copy of the ledger before anything can be charged on it.

        Raises:
            LedgerRolledBack: The server has seen more of the ledger; the node ends.
            PeerError: The server cannot be reached, or its new keys cannot be adopted now.
        """
        self._check_in_again = time.monotonic() + _CHECK_IN_INTERVAL_SECONDS
        with server_link.ServerLink.open(self._home, self._config.server.fleet_url) as connection:
            try:
                answer = server_trust.refresh_server_trust(self._home, self._config, connection)
                links = server_trust.find_pending_handovers(self._config, answer)
                if links:
                    self._adopt_new_keys(links)
                    # This call reports the new pins.
                    server_trust.refresh_server_trust(self._home, self._config, connection)
                cosigning.check_not_rolled_back(self._home, self._config, connection.cosign)
            except LedgerRolledBack:
                raise
            except (WitnessRefused, errors.ConfigError, errors.VerificationError) as error:
                self._trouble = f"the ledger is not cosigned, releases wait: {error}"
                log.warning("%s", self._trouble)
            else:
                self._trouble = ""

    def _adopt_new_keys(self, handovers: list[Handover]) -> None:
        """Adopt new keys of the server; raise ``PeerError`` during a session, to end it first.

        A server changes its keys only while it is down, so no package under the new keys arrived in
        this session; a waiting package bears the old signature. It is not applied first: the server
        sees when its keys are adopted, and the time of applying depends on the records.
        """
        if self._online:
            raise errors.PeerError("the server has new keys; they are taken over first")
        Inbox(self._home).store_server_key(self._config.server.signing_key)
        self._config = server_trust.adopt_keys(self._home, self._config, handovers)
        self._answers = self._new_message_handler()

    def _new_message_handler(self) -> MessageHandler:
        return MessageHandler(self._home, self._config, self._handlers)

    def _back_off(self, reason: str) -> None:
        """Wait after a network error, twice as long each time, plus a random part."""
        delay = self._backoff * (1 + secrets.randbelow(1000) / 1000)
        log.warning("%s; trying again in %.1f s", reason, delay)
        self.contact.write_status("waiting", reason)
        self._backoff = min(2 * self._backoff, self._options.backoff_limit_seconds)
        self._stop.wait(delay)
