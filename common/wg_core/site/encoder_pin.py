"""Pinning of the encoder that a plant's owner confirmed, by its hash.

The server makes the encoder, which processes every record before any noise is added. So the owner
confirms it: its SHA-256 is in the join token, which the operator hands over outside the network;
``init`` shows it, or takes it as an option; ``client.yaml`` stores it (``data.encoder``), and the
file is checked against it at every use. Enrolling again replaces the encoder only if the owner
states the new hash.

Not guaranteed: that a confirmed encoder is a good one. Its range is bounded
(``wg_common.nets.encoder.package``), and its features are clipped and noised like any other's.
"""

import re

from wg_core import atomic
from wg_core.errors import UsageError, VerificationError
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

ENCODER_BYTES_LIMIT = 256 << 20
PREFIX_DIGITS_MINIMUM = 16
"""Fewest hex digits that confirm a hash: 64 bits resist a search for another encoder."""

_HASH_OR_PREFIX = re.compile(rf"[0-9a-f]{{{PREFIX_DIGITS_MINIMUM},64}}")


def check_owner_hash(
    owner_sha256_prefix: str | None,
    encoder_sha256: str,
    *,
    source_name: str = "join token",
    consequence: str = "nothing was sent, and the token is not spent",
) -> None:
    """Check the encoder hash in a join token or offer against a hash or prefix from the owner.

    Args:
        owner_sha256_prefix: Hash or prefix from the owner; None: nothing is checked.
        source_name: Name of the token or file, for the message.
        consequence: State after a mismatch, for the message.

    Raises:
        UsageError: The text is not a hash or prefix.
        VerificationError: The hash is another encoder's.
    """
    if owner_sha256_prefix is None:
        return
    if not _HASH_OR_PREFIX.fullmatch(owner_sha256_prefix):
        raise UsageError(
            f"--encoder: {owner_sha256_prefix!r}, expected {PREFIX_DIGITS_MINIMUM} to 64 lower-case"
            " hex digits"
        )
    if not encoder_sha256.startswith(owner_sha256_prefix):
        raise VerificationError(
            f"{source_name}: encoder {encoder_sha256}, --encoder names {owner_sha256_prefix};"
            f" {consequence}"
        )


def check_encoder_unchanged(
    confirmed_sha256: str, encoder_sha256: str, owner_sha256_prefix: str | None
) -> None:
    """Check that enrolling again keeps the confirmed encoder, unless the owner names a new one.

    Raises:
        UsageError, VerificationError: As for ``check_owner_hash``, or an unnamed encoder differs.
    """
    check_owner_hash(owner_sha256_prefix, encoder_sha256)
    if owner_sha256_prefix is None and encoder_sha256 != confirmed_sha256:
        raise VerificationError(
            f"join token: encoder {encoder_sha256}, this home's owner confirmed {confirmed_sha256}."
            " Another encoder asks your records anew; if you want that, compare the hash with the"
            f" operator's and give --encoder {encoder_sha256}. Nothing was sent; the token is not"
            " spent"
        )


def load(home: ClientHome, config: ClientConfig) -> bytes:
    """Load the home's encoder package; the package's SHA-256 is the encoder's id.

    Raises:
        VerificationError: The package is not the encoder that the owner confirmed.
    """
    package = atomic.read_bytes(home.encoder, limit=ENCODER_BYTES_LIMIT)
    encoder = canonical.sha256_hex(package)
    if config.data.encoder != encoder:
        raise VerificationError(
            f"{home.encoder}: encoder {encoder}, {home.config.name} has {config.data.encoder} as"
            " confirmed (data.encoder): bring the file back, or enrol again"
        )
    return package
