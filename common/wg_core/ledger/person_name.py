"""What stands for a person on a ledger: a name, or a role."""

from wg_core.errors import DecodeError

NAME_LIMIT = 100  # Longest name of a person who decides, in characters


def check_name(name: str) -> None:
    """Check what stands for a person on a ledger.

    Raises:
        DecodeError: Empty, too long, or not printable.
    """
    if not name or len(name) > NAME_LIMIT or name != name.strip() or not name.isprintable():
        raise DecodeError(
            f"name {name[:40]!r}: expected 1 to {NAME_LIMIT} printable characters without white"
            " space at either end"
        )
