"""Fuzzing: no decoder leaks another error than ours, whatever the bytes.

Hypothesis mutates valid documents and makes up others. ``WEIGHTGATE_FUZZ_EXAMPLES`` sets how many
examples each decoder gets (200 by default; ``make fuzz`` takes more).
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wg_common import (
    canonical,
    container,
    protocol,
    statistics_file,
    weights_file,
    weights_package,
)
from wg_common.errors import WgError
from wg_common.ledger import checkpoint, entries, history, note, proof, verify, witness

EXAMPLES = int(os.environ.get("WEIGHTGATE_FUZZ_EXAMPLES", "200"))
VECTORS = Path(__file__).resolve().parents[1] / "ledger" / "vectors"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def seeds(kind: str) -> list[bytes]:
    cases = json.loads((VECTORS / f"{kind}.json").read_text(encoding="utf-8"))
    return [case["input"].encode() for case in cases]


def release(data: bytes) -> Any:
    return statistics_file.decode_release(data, KEY.public_key())


def weights(data: bytes) -> Any:
    return weights_package.decode(data, KEY.public_key())


def token(data: bytes) -> Any:
    return protocol.decode_token(data.decode("latin-1"))


def weights_in_a_file(data: bytes) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".wgw") as file:
        file.write(data)
        file.flush()
        return weights_file.read(Path(file.name), KEY.public_key())


def offer(data: bytes) -> Any:
    return canonical.decode(protocol.PackageOffer, data, what="offer")


def boxed(kind: str, names: tuple[str, ...]) -> list[bytes]:
    full = container.encode(kind, 1, dict.fromkeys(names, b"{}"))
    return [full, container.encode(kind, 1, {}), full[:40]]


JOIN = protocol.encode_token(
    protocol.JoinToken(
        site="a", enrol_url="https://x:1", ca_sha256="00", encoder="0" * 64, secret="00", expires=0
    )
)
OFFER = canonical.encode(
    protocol.PackageOffer(request_id="0" * 32, site="a", package_sha256="0" * 64, size=10, chunk=5)
)
TARGETS: dict[str, tuple[Callable[[bytes], Any], list[bytes]]] = {
    "note": (note.decode, seeds("note")),
    "checkpoint": (checkpoint.decode, seeds("checkpoint")),
    "proof": (proof.decode, seeds("proof")),
    "witness request": (witness.decode_request, seeds("witness_request")),
    "entry": (entries.decode, seeds("entry")),
    "release": (release, boxed("wgs", ("manifest", "signature", "integers"))),
    "covered": (
        statistics_file.decode_covered,
        boxed(
            "wgs-covered",
            ("release", "charge_entry", "release_entry", "charge_proof", "release_proof"),
        ),
    ),
    "weights": (weights, boxed("wgw", ("manifest", "signature", "tensors"))),
    "weights file": (weights_in_a_file, boxed("wgw", ("manifest", "signature", "tensors"))),
    "offer": (offer, [OFFER]),
    "rotation": (verify.read_new_key, seeds("entry")),
    "token": (token, [JOIN.encode(), b"wgj1.", b"wgj1." + base64.urlsafe_b64encode(b"{}")]),
}


@st.composite
def mutated(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """A seed with bytes changed, cut, doubled, or spliced with another; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        action = draw(st.integers(0, 4))
        if action == 0 and place < len(data):
            data[place] = draw(st.integers(0, 255))
        elif action == 1:
            data[place:place] = draw(st.binary(max_size=8))
        elif action == 2:
            del data[place : place + draw(st.integers(1, 40))]
        elif action == 3:
            end = place + draw(st.integers(1, 40))
            data[place:place] = data[place:end]
        else:
            other = draw(st.sampled_from(corpus))
            data[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_raises_nothing_but_our_errors(name: str) -> None:
    decode, corpus = TARGETS[name]

    @fuzzed
    @given(mutated(corpus))
    def check(data: bytes) -> None:
        try:
            decode(data)
        except WgError:
            return

    check()


def test_an_export_reader_raises_nothing_but_our_errors(tmp_path: Path) -> None:
    path = tmp_path / "fuzzed.wgl"
    corpus = boxed("wgl", ("manifest", "entries", "hashes", "heads", "proofs"))

    @fuzzed
    @given(mutated(corpus))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            source = history.open_source(path)
            try:
                history.read(source)
            finally:
                source.close()
        except WgError:
            return

    check()
