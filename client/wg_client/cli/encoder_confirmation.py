"""Confirmation of a server's encoder by the plant's owner: on a terminal, or by its hash."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from wg_common.cli import print_line
from wg_common.language import Text, current_language, text
from wg_core.errors import RefusedError

if TYPE_CHECKING:
    from wg_common.nets.encoder.package import EncoderDescription

_NOT_STORED_MESSAGE = text(
    "the encoder was not confirmed, and was not stored. When you have checked its "
    "hash, run this command again; the join token stays valid for this home until "
    "it expires"
)

encoder_option = click.option(
    "--encoder",
    metavar="HASH",
    help="The encoder that you want: its SHA-256, or 16 or more of its first hex digits.",
)


def is_interactive(encoder_hash: str | None, as_json: bool) -> bool:
    """Return True if the owner can be asked on a terminal, and did not name the encoder's hash."""
    return encoder_hash is None and not as_json and sys.stdin.isatty()


def confirm_encoder(
    description: EncoderDescription, refusal_message: Text = _NOT_STORED_MESSAGE
) -> None:
    """Show an encoder, and ask the owner to confirm it; errors as for ``confirm_encoder_hash``."""
    print_line(text("encoder {encoder}", encoder=description.encoder_sha256))
    sources = ", ".join(description.source_names) or text("nothing")
    print_line(
        text(
            "for {modality}; built on {trunks}; fitted, by its own statement, on {sources}",
            modality=description.modality,
            trunks=", ".join(description.trunk_names),
            sources=sources,
        )
    )
    confirm_encoder_hash(refusal_message)


def confirm_encoder_hash(refusal_message: Text = _NOT_STORED_MESSAGE) -> None:
    """Ask the owner whether the encoder's hash, printed before, is the one the operator told.

    Raises:
        RefusedError: The owner says no; ``refusal_message`` is the error's message.
    """
    question = text("Is this the hash that you received from the server's operator?")
    if not click.confirm(current_language()(question), default=False):
        raise RefusedError(refusal_message)
