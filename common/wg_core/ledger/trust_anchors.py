"""Trust anchors: facts about a log that a verifier did not take from the log itself.

A log can enrol any key under any name, so a name alone proves nothing. Trust is therefore bound to
public keys: a cosignature counts only under an anchor's key, or one that was handed over from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.errors import ConfigError
from wg_core.ledger import signed_note as notes
from wg_core.wire import signing
from wg_core.wire.handover import Handover
from wg_core.wire.signing import PublicKey


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """Witness whose key the verifier got from the witness itself: key name and raw public key."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> str:
        """Key ID of the witness's key, hex; if the key has two algorithms, that of the first."""
        return notes.key_ids(self.name, notes.COSIGNER_ROLE, self.decoded_key)[0].hex()

    @property
    def decoded_key(self) -> PublicKey:
        """Public key of the witness, decoded."""
        return signing.public_from_bytes(self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchors:
    """Keys and rules that a verifier trusts independently of the log.

    Attributes:
        ledger_key: Raw signing key of the log, or its SHA-256; None: any key. The log must be
            signed by this key, or by a key that replaced it through signed rotations.
        witnesses: Trusted witnesses. For a witness that is enrolled on the log, the SHA-256 of its
            key is enough.
        quorum: Number of witnesses that must have cosigned the log; None: all of them.
        handovers: Hand-overs of witnesses' keys, in addition to those on the log.
        requires_post_quantum: True if only keys with ML-DSA-44 count.
    """

    ledger_key: bytes | None = None
    witnesses: tuple[TrustedWitness, ...] = ()
    quorum: int | None = None
    handovers: tuple[Handover, ...] = ()
    requires_post_quantum: bool = False

    def __post_init__(self) -> None:
        for handover in self.handovers:
            handover.verify()
        if len(set(self.witnesses)) != len(self.witnesses):
            raise ConfigError("witnesses: one is given twice; each counts once")
        if signing.has_shared_part(witness.decoded_key for witness in self.witnesses):
            raise ConfigError("witnesses: two names have one key; it would count twice")
        if self.quorum is not None and self.quorum < 1:
            raise ConfigError(f"witnesses: {self.quorum} must have cosigned, expected 1 or more")

    @property
    def quorum_size(self) -> int:
        """Number of witnesses that must have cosigned the log: the quorum, or all witnesses."""
        return len(self.witnesses) if self.quorum is None else self.quorum

    def accepts_algorithms(self, key: PublicKey) -> bool:
        """Return whether a key has ML-DSA-44, or these anchors do not ask for it."""
        return not self.requires_post_quantum or signing.ML_DSA_44 in key.algorithms

    def witnessed_size(self, cosigned_sizes: Sequence[int]) -> int:
        """Return the largest log size that a quorum of witnesses cosigned; 0 if there is none.

        Args:
            cosigned_sizes: Largest size that each trusted witness cosigned; 0 if it cosigned none.
        """
        if not 0 < self.quorum_size <= len(cosigned_sizes):
            return 0
        return sorted(cosigned_sizes, reverse=True)[self.quorum_size - 1]


NO_ANCHORS = TrustAnchors()  # No independent knowledge of the log
