"""Decoders of the privacy records against JSON vectors.

Each file has a good document, cases that change some of its fields, and raw texts. ``want_error``
is a part of the message, or null where the document is good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_core.errors import DecodeError
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import StatisticsSchema
from wg_core.wire import canonical
from wg_core.wire.statistics_file import StatisticsManifest

KINDS: dict[str, type[Any]] = {
    "privacy_event": PrivacyEvent,
    "statistics_schema": StatisticsSchema,
    "statistics_manifest": StatisticsManifest,
}
FOLDER = Path(__file__).parent / "vectors"


def cases() -> Iterator[Any]:
    for kind in KINDS:
        vectors = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
        for case in vectors["cases"]:
            data = canonical.encode(vectors["base"] | case["changes"])
            yield pytest.param(kind, data, case["want_error"], id=f"{kind}: {case['name']}")
        for case in vectors["raw"]:
            data = case["text"].encode("utf-8", "surrogatepass")
            yield pytest.param(kind, data, case["want_error"], id=f"{kind}: {case['name']}")


@pytest.mark.parametrize(("kind", "data", "want_error"), list(cases()))
def test_a_decoder_takes_and_refuses_what_its_vectors_say(
    kind: str, data: bytes, want_error: str | None
) -> None:
    if want_error is None:
        record = canonical.decode(KINDS[kind], data, input_name=kind)
        assert canonical.encode(record) == data
        return
    with pytest.raises(DecodeError) as caught:
        canonical.decode(KINDS[kind], data, input_name=kind)
    assert want_error in str(caught.value)
