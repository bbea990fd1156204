"""Generators of a server in tests: packages of any bytes, with a card that passes or fails."""

from __future__ import annotations

from typing import Any

from wg_core.wire import canonical
from wg_server.generator import versions
from wg_server.generator.card_checks import CardCheck
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome

GOOD = CardCheck(name="novelty", value=0.9, bound=0.25)
BAD = CardCheck(name="gain", value=0.1, bound=0.9)


def card(home: ServerHome, heads: bytes, *, passes: bool = True) -> dict[str, Any]:
    """What must stand on a model card, and one check."""
    return {
        "generator": canonical.sha256_hex(heads),
        "encoder": home.encoder_sha256(),
        "architecture": "lite0-head",
        "checks": [(GOOD if passes else BAD).to_document()],
    }


def candidate(
    home: ServerHome, heads: bytes = b"heads", *, passes: bool = True, **more: Any
) -> GeneratorVersion:
    """A new version that is not installed, as a training leaves one whose card fails."""
    document = card(home, heads, passes=passes) | more
    return versions.write_version(home, document, heads)


def install(
    home: ServerHome, heads: bytes = b"heads", *, passes: bool = True, **more: Any
) -> GeneratorVersion:
    """A new version that is installed."""
    version = candidate(home, heads, passes=passes, **more)
    versions.install_version(home, version)
    return version
