"""The server as a witness of its plants' ledgers."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Self

from wg_core.errors import ConfigError
from wg_core.ledger import inclusion_proof
from wg_core.ledger import witness as rules
from wg_core.ledger.signed_note import Note
from wg_core.ledger.witness import WitnessFork, WitnessRefused, WitnessRequest, WitnessState
from wg_core.wire import canonical, protocol, signing
from wg_core.wire.protocol import EnrolmentRequest, KeyRotation
from wg_core.wire.signing import PrivateKey
from wg_server.fleet import bundle_verification
from wg_server.site.home import AdditionalWitness, ServerConfig, ServerHome
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)


class LedgerWitness:
    """Witness of plants' ledgers; it stores the last cosigned checkpoint of each ledger.

    Attributes:
        name: Key name of its cosignatures.
        public_key: Public key of its cosignatures.
        others: Additional witnesses whose cosignatures count towards the quorum.
        quorum: Number of witnesses, this one included, that must have cosigned a release's ledger.
    """

    def __init__(
        self,
        store: ServerStore,
        name: str,
        key: PrivateKey,
        other_witnesses: Sequence[AdditionalWitness],
        quorum: int,
    ) -> None:
        self._store = store
        self._key = key
        self.name = name
        self.public_key = key.public_key()
        self.others = tuple(other_witnesses)
        self.quorum = quorum

    @classmethod
    def open(cls, home: ServerHome, store: ServerStore) -> Self:
        """Create the witness of a server's home."""
        config = home.read_config()
        key = signing.load(home.witness_key)
        return cls(store, witness_key_name(config), key, config.witnesses, config.witness_quorum)

    def cosign_extension(self, site: StoredSite, request: bytes) -> bytes:
        """Cosign a checkpoint that extends the last cosigned one; return the cosignature lines.

        Args:
            site: The site; only its own ledger is cosigned.
            request: Body of a C2SP ``add-checkpoint`` request.

        Raises:
            WitnessRefused: The checkpoint is refused; the error holds the HTTP status. Evidence of
                a fork is stored.
        """
        current_time = time.time()
        decide = partial(
            self._decide_cosignature, site.ledger_origin, site.ledger_key, request, current_time
        )
        with self.store_evidence_on_fork(site.ledger_origin, current_time):
            return self._store.update_checkpoint(site, current_time, decide)

    def cosign_file_checkpoint(self, site: StoredSite, requests: Sequence[WitnessRequest]) -> bytes:
        """Cosign the checkpoint in a statistics file, and return the cosignature lines.

        Args:
            site: The site; only its own ledger is cosigned.
            requests: Requests for the file's checkpoint, each with a consistency proof from another
                earlier size.

        Raises:
            WitnessRefused: No request starts from the last cosigned size, or the matching request
                is refused; evidence of a fork is stored.
        """
        current_time = time.time()

        def decide(checkpoint: bytes | None) -> tuple[bytes, int, bytes]:
            size = 0 if checkpoint is None else WitnessState(checkpoint).newest_checkpoint.size
            fit = [request for request in requests if request.old_size == size]
            if not fit:
                old_sizes = ", ".join(str(request.old_size) for request in requests)
                raise WitnessRefused(
                    HTTPStatus.CONFLICT,
                    f"the file leads from sizes {old_sizes}, but size {size} of"
                    f" {site.ledger_origin} was cosigned last: a later file came before this one"
                    " (make it anew with wg-client statistics), or the ledger was rolled back",
                    last_seen_size=size,
                )
            request = fit[0].encode()
            return self._decide_cosignature(
                site.ledger_origin, site.ledger_key, request, current_time, checkpoint
            )

        with self.store_evidence_on_fork(site.ledger_origin, current_time):
            return self._store.update_checkpoint(site, current_time, decide)

    def renew_cosignature(self, site: StoredSite) -> bytes:
        """Cosign the last cosigned checkpoint again with the current time, and return it.

        Raises:
            ConfigError: No checkpoint of this ledger was cosigned yet.
        """
        current_time = time.time()

        def decide(checkpoint: bytes | None) -> tuple[bytes, int, bytes]:
            if checkpoint is None:
                raise ConfigError(f"site {site.name}: no checkpoint of its ledger was cosigned yet")
            signed = rules.cosign_again(
                WitnessState(checkpoint),
                witness_name=self.name,
                witness_key=self._key,
                current_time=int(current_time),
            )
            return (
                signed.new_state.signed_checkpoint,
                signed.new_state.newest_checkpoint.size,
                signed.new_state.signed_checkpoint,
            )

        return self._store.update_checkpoint(site, current_time, decide)

    def accept_key_rotation(self, site: StoredSite, rotation_data: bytes) -> bytes:
        """Store a site's new ledger key, and cosign the checkpoint that came with it.

        Returns the cosignature lines. The key is accepted if the old key signed for it in the
        site's own log. Repeating the request with a known key is harmless.

        Args:
            site: The site; only its own ledger's key changes.
            rotation_data: A canonical ``KeyRotation``.

        Raises:
            DecodeError: A part of the data is invalid.
            RefusedError: The key belongs to another site.
            VerificationError: The rotation is not validly signed.
            WitnessRefused: The checkpoint is refused, see ``cosign_extension``.
        """
        notice = canonical.decode(
            KeyRotation,
            rotation_data,
            input_name="key rotation",
            max_bytes=protocol.ROTATION_BYTES_LIMIT,
        )
        entry = notice.entry.encode()
        rotation_proof = inclusion_proof.decode(
            notice.proof.encode(), input_name="key rotation: proof"
        )
        body = rotation_proof.extra_data + rotation_proof.note.encode()
        current_time = time.time()

        def decide(known_key: str, checkpoint: bytes | None) -> tuple[bytes, int, bytes]:
            key = bundle_verification.verify_key_rotation(
                entry, rotation_proof, origin=site.ledger_origin, old_key=bytes.fromhex(known_key)
            )
            return self._decide_cosignature(
                site.ledger_origin, key.hex(), body, current_time, checkpoint
            )

        new_key = bundle_verification.read_new_ledger_key(entry)
        with self.store_evidence_on_fork(site.ledger_origin, current_time):
            line = self._store.rotate_ledger_key(site, new_key, current_time, decide)
        log.info("site %s: its ledger is signed by another key now", site.name)
        return line

    def cosign_first_checkpoint(
        self,
        request: EnrolmentRequest,
        first_note: Note,
        current_time: float,
        checkpoint: bytes | None,
    ) -> tuple[bytes, int, bytes]:
        """Cosign the first checkpoint of a ledger, unless a larger one was cosigned already.

        Args:
            request: Request of the site that enrols, which names the ledger and its key.
            first_note: Checkpoint of size 1, signed by the site.
            current_time: Unix time.
            checkpoint: Stored checkpoint, the last one of this ledger that was cosigned, or None.

        Returns:
            The checkpoint to store from now on, its size, and the line with the cosignature. If a
            larger checkpoint was cosigned already, they are this one, its size and an empty line.

        Raises:
            WitnessRefused: The checkpoint contradicts an earlier one of this ledger.
        """
        head = None if checkpoint is None else WitnessState(checkpoint).newest_checkpoint
        if checkpoint is not None and head is not None and head.size > 1:
            return checkpoint, head.size, b""
        witness_request = WitnessRequest(
            old_size=head.size if head else 0, consistency_proof=(), note=first_note
        )
        return self._decide_cosignature(
            request.ledger_origin,
            request.ledger_key,
            witness_request.encode(),
            current_time,
            checkpoint,
        )

    @contextmanager
    def store_evidence_on_fork(self, origin: str, current_time: float) -> Iterator[None]:
        """Run the body; if it raises because of a fork, store the evidence, and raise again."""
        try:
            yield
        except WitnessFork as fork:
            log.error("ledger %s: %s; evidence kept", origin, fork)
            self._store.store_fork_evidence(
                origin,
                fork.evidence.earlier_checkpoint,
                fork.evidence.later_checkpoint,
                current_time,
            )
            raise

    def _decide_cosignature(
        self,
        ledger_origin: str,
        ledger_key: str,
        request: bytes,
        current_time: float,
        checkpoint: bytes | None,
    ) -> tuple[bytes, int, bytes]:
        signed = rules.cosign_extension(
            None if checkpoint is None else WitnessState(checkpoint),
            request,
            log=rules.KnownLog(ledger_origin, signing.public_from_hex(ledger_key)),
            witness=rules.NamedKey(self.name, self._key),
            current_time=int(current_time),
        )
        return (
            signed.new_state.signed_checkpoint,
            signed.new_state.newest_checkpoint.size,
            signed.cosignature_lines,
        )


def witness_key_name(config: ServerConfig) -> str:
    """Return the key name of the server's cosignatures."""
    return f"{config.name}/witness"
