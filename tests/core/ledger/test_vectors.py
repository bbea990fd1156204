"""JSON vectors for every decoder of the ledger: what is read, and why the rest is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wg_core.errors import DecodeError
from wg_core.ledger import checkpoint, entries, inclusion_proof, signed_note, witness

VECTORS = Path(__file__).with_name("vectors")


def encode_checkpoint(found: Any) -> bytes:
    encoded: bytes = found[1].encode()
    return encoded


DECODERS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "note": (signed_note.decode, signed_note.Note.encode),
    "checkpoint": (checkpoint.decode, encode_checkpoint),
    "proof": (inclusion_proof.decode, inclusion_proof.Proof.encode),
    "witness_request": (witness.decode_request, witness.WitnessRequest.encode),
    "entry": (entries.decode, entries.encode),
}
CASES = [
    pytest.param(kind, case, id=f"{kind}: {case['name']}")
    for kind in DECODERS
    for case in json.loads((VECTORS / f"{kind}.json").read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_vector(kind: str, case: dict[str, Any]) -> None:
    decode, encode = DECODERS[kind]
    data = case["input"].encode()
    if case["want_error"] is None:
        assert encode(decode(data)) == data
        return
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert re.search(case["want_error"], str(caught.value)), str(caught.value)
