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

from wg_core import grammar
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey

LINKS_LIMIT = 16  # Most changes of one key that are followed at once
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
        use: Use of both keys.
        name: Name of the server (use ``packages``), or key name of the witness (``witness``).
        before: Retired public key, raw, hex.
        now: Public key that succeeds it, raw, hex.
        signature: Signature of the other fields by the retired key, hex.
    """

    use: KeyUse
    name: grammar.Origin
    before: grammar.Hex
    now: grammar.Hex
    signature: grammar.Hex

    def __post_init__(self) -> None:
        grammar.check_text_fields(self)
        key = signing.public_from_hex(self.before, subject="handover: before")
        signing.public_from_hex(self.now, subject="handover: now")
        digits = 2 * signing.signature_size(key)
        if len(self.signature) != digits:
            raise DecodeError(f"handover: signature: expected {digits} lower-case hex digits")

    def verify(self) -> None:
        """Verify the signature of the hand-over; raise ``VerificationError`` if it is not valid."""
        key = signing.public_from_hex(self.before)
        signing.check_successor(key, signing.public_from_hex(self.now))
        signed_bytes = signed_statement(self.use, self.name, self.before, self.now)
        signing.verify(key, HANDOVER_CONTEXT, signed_bytes, bytes.fromhex(self.signature))


def signed_statement(use: KeyUse, name: str, before: str, successor: str) -> bytes:
    """Return the bytes that the retired key signs: use, name, and both public keys in hex."""
    return "\n".join((use, name, before, successor)).encode()


def sign(use: KeyUse, name: str, key: PrivateKey, successor: PrivateKey) -> Handover:
    """Sign a hand-over from a key to its successor."""
    before, new_key = signing.public_bytes(key).hex(), signing.public_bytes(successor).hex()
    signature = signing.sign(
        key, HANDOVER_CONTEXT, signed_statement(use, name, before, new_key)
    ).hex()
    return Handover(use=use, name=name, before=before, now=new_key, signature=signature)


def find_path(
    start: Key,
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
    current, remaining, path = start, list(links), list[Link]()
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
    use: KeyUse, name: str, start: str, end: str, handovers: Iterable[Handover]
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

    links = find_path(start, handovers, next_key=follow, is_destination=lambda key: key == end)
    if links is None or len(links) > LINKS_LIMIT:
        raise VerificationError(
            f"{use} key of {name}: {end[:16]}… does not follow from {start[:16]}…, which is pinned;"
            " nothing was changed. Ask the operator; if it was replaced after a theft, enrol again"
            " with 'wg-client init --replace'"
        )
    return links
