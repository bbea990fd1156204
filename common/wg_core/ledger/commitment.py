"""Keyed commitments to data sets; only the site, which has the key, can tell that data are equal.

A plain hash of the data would let anyone who guesses the data confirm the guess. The secret never
leaves the site; without it a commitment says nothing about the data (HMAC, RFC 2104).
"""

import hashlib
import hmac
from collections.abc import Iterable

_COMMITMENT_CONTEXT = b"weightgate/v1/data-commitment\n"


def commit_to_data(site_secret: bytes, data_parts: Iterable[bytes]) -> str:
    """Return the commitment to a data set, given as byte strings in a fixed order.

    The length of each part is hashed before it, so that moving a byte from one part to the next
    changes the commitment.

    Args:
        site_secret: Secret of the site, at least 32 random bytes.
        data_parts: Names, labels and contents, in an order that does not depend on the file system.

    Returns:
        HMAC-SHA-256 in hex.

    Raises:
        ValueError: The secret is too short.
    """
    if len(site_secret) < 32:
        raise ValueError(f"site secret: {len(site_secret)} bytes, expected at least {32}")
    mac = hmac.new(site_secret, _COMMITMENT_CONTEXT, hashlib.sha256)
    for part in data_parts:
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.hexdigest()
