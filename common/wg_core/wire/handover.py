"""Hand-overs, by which a retired key signs for its successor, and chains of them to current keys.

Plants pin the server's keys when they enrol. A key that is retired by routine signs a statement
that names its successor, as a root CA does (RFC 4210, section 4.4). A plant that pins the old key
follows such hand-overs to the current key, over up to 16 changes.

*Not guaranteed* if the retired key was stolen: the thief can sign for another key, too. After a
theft a person must confirm the new key.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from wg_core import text_grammars
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey

HANDOVERS_LIMIT = 16  # Most changes of one key that are followed at once
HANDOVER_CONTEXT = "handover"

PACKAGES_USE: Final = "packages"
WITNESS_USE: Final = "witness"
KeyUse = Literal["packages", "witness"]
"""Use of a key: to sign weights packages, or to cosign ledgers."""

Key = TypeVar("Key")
Link = TypeVar("Link")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Statement of a retired key that names its successor for the same use.

    Attributes:
        use: Use of both keys: to sign weights packages, or to cosign ledgers as a witness.
        name: Name of the server (use ``packages``), or key name of the witness (``witness``).
        before: Retired public key, raw, hex.
        now: Public key that succeeds it, raw, hex.
        signature: Signature of the other fields by the retired key, hex.
    """

    use: KeyUse
    name: text_grammars.Origin
    before: text_grammars.Hex
    now: text_grammars.Hex
    signature: text_grammars.Hex

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        key = signing.public_from_hex(self.before, input_name="handover: before")
        signing.public_from_hex(self.now, input_name="handover: now")
        digits = 2 * signing.signature_size(key)
        if len(self.signature) != digits:
            raise DecodeError(f"handover: signature: expected {digits} lower-case hex digits")

    def verify(self) -> None:
        """Verify the signature of the hand-over; raise ``VerificationError`` if it is not valid."""
        key = signing.public_from_hex(self.before)
        signing.check_successor(key, signing.public_from_hex(self.now))
        signed_bytes = handover_signed_bytes(self.use, self.name, self.before, self.now)
        signing.verify(key, HANDOVER_CONTEXT, signed_bytes, bytes.fromhex(self.signature))


def handover_signed_bytes(use: KeyUse, name: str, retired_key: str, successor_key: str) -> bytes:
    """Return the bytes that the retired key signs: use, name, and both public keys in hex."""
    return "\n".join((use, name, retired_key, successor_key)).encode()


def sign_handover(
    use: KeyUse, name: str, retired_key: PrivateKey, successor_key: PrivateKey
) -> Handover:
    """Sign a hand-over from a key to its successor."""
    before = signing.public_bytes(retired_key).hex()
    new_key = signing.public_bytes(successor_key).hex()
    signed_bytes = handover_signed_bytes(use, name, before, new_key)
    signature = signing.sign(retired_key, HANDOVER_CONTEXT, signed_bytes).hex()
    return Handover(use=use, name=name, before=before, now=new_key, signature=signature)


def find_handover_path(
    start_key: Key,
    links: Iterable[Link],
    *,
    next_key: Callable[[Key, Link], Key | None],
    is_destination: Callable[[Key], bool],
) -> list[Link] | None:
    """Return the hand-overs that lead from a key to a destination, in order; None if none do.

    Args:
        links: Hand-overs (or link certificates) in any order, each used at most once.
        next_key: Function of a key and a hand-over that returns the successor; None if the
            hand-over is not by this key.
        is_destination: Function that tells whether a key is the destination.
    """
    current, remaining, path = start_key, list(links), list[Link]()
    while not is_destination(current):
        step = next(
            ((link, to) for link in remaining if (to := next_key(current, link)) is not None), None
        )
        if step is None:
            return None
        link, current = step
        remaining.remove(link)
        path.append(link)
    return path


def find_key_handovers(
    use: KeyUse, name: str, pinned_key: str, current_key: str, handovers: Iterable[Handover]
) -> list[Handover]:
    """Return the hand-overs that lead from a pinned to a current key (hex), after verifying them.

    Raises:
        VerificationError: No chain of hand-overs leads there, or a signature is not valid.
    """

    def follow(key: str, link: Handover) -> str | None:
        if (link.use, link.name, link.before) != (use, name, key):
            return None
        link.verify()
        return link.now

    links = find_handover_path(
        pinned_key, handovers, next_key=follow, is_destination=lambda key: key == current_key
    )
    if links is None or len(links) > HANDOVERS_LIMIT:
        raise VerificationError(
            f"{use} key of {name}: {current_key[:16]}… does not follow from {pinned_key[:16]}…,"
            " which is pinned; nothing was changed. Ask the operator; if it was replaced after a"
            " theft, enrol again with 'wg-client init --replace'"
        )
    return links
