"""Trust anchors: facts about a log that a verifier did not take from the log itself.

A name proves nothing, because a log can enrol any key under any name. So trust is bound to public
keys, and a statement about a witness counts only if its signature is valid under an anchor's key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.errors import ConfigError
from wg_core.ledger import note as notes
from wg_core.wire import signing
from wg_core.wire.handover import Handover
from wg_core.wire.signing import PublicKey


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """Witness whose key was obtained from the witness itself: key name and raw public key."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> str:
        """First of the two key IDs of the witness's cosignatures, hex (c2sp.org/signed-note)."""
        return notes.key_ids(self.name, notes.COSIGNER_ROLE, self.key)[0].hex()

    @property
    def key(self) -> PublicKey:
        """Public key of the witness, decoded."""
        return signing.public_from_bytes(self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchors:
    """Keys and rules that a verifier trusts independently of the log.

    Attributes:
        ledger_key: Signing key of the log, raw, or its SHA-256. The log must be signed by this key,
            or by a key that a chain of signed rotations leads to from it.
        witnesses: Trusted witnesses; the key of a witness that the log names may be given by its
            SHA-256.
        quorum: Number of witnesses that must have cosigned; None: all of them.
        handovers: Hand-overs of witnesses' keys, in addition to those on the log.
        post_quantum: True if only signatures with ML-DSA-44 count.
    """

    ledger_key: bytes | None = None
    witnesses: tuple[TrustedWitness, ...] = ()
    quorum: int | None = None
    handovers: tuple[Handover, ...] = ()
    post_quantum: bool = False

    def __post_init__(self) -> None:
        for handover in self.handovers:
            handover.verify()
        if len(set(self.witnesses)) != len(self.witnesses):
            raise ConfigError("witnesses: one is given twice; each counts once")
        if signing.has_shared_part(witness.key for witness in self.witnesses):
            raise ConfigError("witnesses: two names have one key; it would count twice")
        if self.quorum is not None and self.quorum < 1:
            raise ConfigError(f"witnesses: {self.quorum} must have cosigned, expected 1 or more")

    @property
    def quorum_size(self) -> int:
        """Number of witnesses that must have cosigned."""
        return len(self.witnesses) if self.quorum is None else self.quorum

    def accepts_algorithms(self, key: PublicKey) -> bool:
        """Return whether a key's signatures count, judged by its algorithms."""
        return not self.post_quantum or signing.ML_DSA_44 in key.algorithms

    def witnessed_size(self, sizes: Sequence[int]) -> int:
        """Return the largest log size that enough witnesses cosigned; zero if none.

        Args:
            sizes: Largest size that each witness cosigned; zero if it cosigned none.
        """
        if not 0 < self.quorum_size <= len(sizes):
            return 0
        return sorted(sizes, reverse=True)[self.quorum_size - 1]


NO_ANCHORS = TrustAnchors()  # No independent knowledge of the log
