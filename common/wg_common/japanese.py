"""Japanese for what all commands say; English template -> Japanese one (``language``)."""

from __future__ import annotations

from collections.abc import Mapping

SHARED: Mapping[str, str] = {}
