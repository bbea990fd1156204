"""Command-line options of ``wg-audit verify`` for evidence from sources other than the log.

Large modules are imported only when a command runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from wg_core.errors import UsageError

if TYPE_CHECKING:
    from wg_audit.verification import VerificationResult
    from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness

Command = TypeVar("Command", bound=Callable[..., Any])


class EvidenceOptions(TypedDict):
    """Values of the evidence options, by parameter name; ``--help`` describes each."""

    ledger_key: str | None
    witness_keys: tuple[str, ...]
    quorum: int | None
    post_quantum: bool
    checkpoints: tuple[Path, ...]
    max_age: str | None
    server: Path | None
    statistics: tuple[Path, ...]
    previous: tuple[Path, ...]


_PATH_TYPE = click.Path(path_type=Path)
_AGE_PATTERN = re.compile(r"([1-9][0-9]{0,4})(d|h|min)", re.ASCII)
_SECONDS_PER_UNIT = {"d": 86_400, "h": 3_600, "min": 60}

_EVIDENCE_OPTIONS = (
    click.option(
        "--ledger-key",
        metavar="HEX",
        help="The site's ledger key or its SHA-256, as the server knows it.",
    ),
    click.option(
        "--witness-key",
        "witness_keys",
        metavar="NAME=HEX",
        multiple=True,
        help="A witness's name and key or its SHA-256, as it publishes them; only cosignatures "
        "under this key count. Repeat it for further witnesses.",
    ),
    click.option(
        "--witnesses",
        "quorum",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of known witnesses that must have cosigned.  [default: all]",
    ),
    click.option(
        "--post-quantum",
        is_flag=True,
        help="Count only what is signed under ML-DSA-44: no log and no cosignature under Ed25519 "
        "alone.",
    ),
    click.option(
        "--checkpoint",
        "checkpoints",
        type=_PATH_TYPE,
        multiple=True,
        help="A checkpoint of the site that came by another way (from the server, or a "
        "witness): this log must extend it.",
    ),
    click.option(
        "--max-age",
        metavar="AGE",
        help="Refuse if the newest cosignature by known witnesses is older, such as 7d or 12h.",
    ),
    click.option(
        "--server",
        type=_PATH_TYPE,
        help="The folder that wg-server export wrote: keys, checkpoints, received files and "
        "earlier logs of the site, by the server's word.",
    ),
    click.option(
        "--statistics",
        type=_PATH_TYPE,
        multiple=True,
        help="A file that the server received (.wgs), or a folder of them: each must "
        "be covered, and be what its charge says.",
    ),
    click.option(
        "--previous",
        type=_PATH_TYPE,
        multiple=True,
        help="The log that this one replaced: its spend must be inherited. Repeat it for the one "
        "before that, or for a log of a copied home.",
    ),
)


def evidence_options(command: Command) -> Command:
    """Decorate a command with all evidence options, for ``verify_with_evidence``."""
    for option in reversed(_EVIDENCE_OPTIONS):
        command = option(command)
    return command


def verify_with_evidence(path: Path, options: EvidenceOptions) -> VerificationResult:
    """Verify the log at ``path`` with the evidence that the options name.

    Raises:
        UsageError: The value of an option is invalid.
        WgError: As in ``verification.audit_log``.
    """
    from wg_audit import verification

    return verification.audit_log(
        path,
        _trust_anchors(options),
        checkpoints=options["checkpoints"],
        max_age=None if options["max_age"] is None else _parse_age_seconds(options["max_age"]),
        server=options["server"],
        statistics=options["statistics"],
        previous=options["previous"],
    )


def _trust_anchors(options: EvidenceOptions) -> TrustAnchors:
    from wg_core.ledger.trust_anchors import TrustAnchors

    ledger_key = options["ledger_key"]
    return TrustAnchors(
        ledger_key=None if ledger_key is None else _parse_key(ledger_key, "--ledger-key"),
        witnesses=tuple(map(_parse_witness, options["witness_keys"])),
        quorum=options["quorum"],
        requires_post_quantum=options["post_quantum"],
    )


def _parse_key(text: str, option: str) -> bytes:
    from wg_core.errors import DecodeError
    from wg_core.wire import signing

    try:
        return signing.public_from_hex(text.lower(), input_name=option).raw
    except DecodeError as error:
        raise UsageError(str(error)) from error


def _parse_witness(text: str) -> TrustedWitness:
    from wg_core.ledger.trust_anchors import TrustedWitness

    name, separator, key = text.rpartition("=")
    if not separator or not name:
        raise UsageError(f"--witness-key: {text[:80]!r}, expected NAME=HEX")
    return TrustedWitness(name, _parse_key(key, "--witness-key"))


def _parse_age_seconds(text: str) -> int:
    match = _AGE_PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"--max-age: {text[:80]!r}, expected a number and d, h or min, such as 7d")
    return int(match[1]) * _SECONDS_PER_UNIT[match[2]]
