"""What a verifier knows of a log from elsewhere; all else is the log's own word.

A name proves nothing: a log can enrol any key under any name. So trust is bound to public keys, and
a statement about a witness counts only where its signature holds under the key that was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.errors import ConfigError
from wg_core.ledger import note as notes
from wg_core.wire import signing
from wg_core.wire.handover import Handover
from wg_core.wire.signing import PublicKey


@dataclass(frozen=True, slots=True)
class KnownWitness:
    """A witness whose key was got from the witness itself: key name, raw public key."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> str:
        """Key ID of its cosignatures, the first of two, hex (c2sp.org/signed-note)."""
        return notes.key_ids(self.name, notes.COSIGNER, self.key)[0].hex()

    @property
    def key(self) -> PublicKey:
        """The public key, read."""
        return signing.public_from_bytes(self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Keys that were not taken from the log.

    Attributes:
        ledger_key: A signing key of the log, raw, or its SHA-256. The log must be signed by it, or
            by a key that rotations lead to from it, each signed by the key before.
        witnesses: Witnesses by name and key; one that the log names may be given by the SHA-256 of
            its key.
        quorum: How many of them must have cosigned; all of them if it is not given.
        handovers: Words of witnesses' keys that others take their place, beside those on the log.
        post_quantum: Whether only what is signed under ML-DSA-44 counts.
    """

    ledger_key: bytes | None = None
    witnesses: tuple[KnownWitness, ...] = ()
    quorum: int | None = None
    handovers: tuple[Handover, ...] = ()
    post_quantum: bool = False

    def __post_init__(self) -> None:
        for handover in self.handovers:
            handover.verify()
        if len(set(self.witnesses)) != len(self.witnesses):
            raise ConfigError("witnesses: one is given twice; each counts once")
        if signing.overlap(witness.key for witness in self.witnesses):
            raise ConfigError("witnesses: two names have one key; it would count twice")
        if self.quorum is not None and self.quorum < 1:
            raise ConfigError(f"witnesses: {self.quorum} must have cosigned, expected 1 or more")

    @property
    def quorum_size(self) -> int:
        """Number of witnesses that must have cosigned."""
        return len(self.witnesses) if self.quorum is None else self.quorum

    def counts(self, key: PublicKey) -> bool:
        """Return whether signatures of a key count, by its algorithms."""
        return not self.post_quantum or signing.ML_DSA_44 in key.algorithms

    def covered_size(self, sizes: Sequence[int]) -> int:
        """Up to which size enough witnesses have cosigned; zero if they have not.

        Args:
            sizes: For each witness, the largest size that it cosigned; zero if none.
        """
        if not 0 < self.quorum_size <= len(sizes):
            return 0
        return sorted(sizes, reverse=True)[self.quorum_size - 1]


NOTHING = Anchors()  # Nothing is known from elsewhere
