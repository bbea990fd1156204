"""Fuzzing: no decoder leaks another error than ours, whatever the bytes.

Hypothesis mutates valid documents and makes up others. ``WEIGHTGATE_FUZZ_EXAMPLES`` sets how many
examples each decoder gets (100 by default). ``make fuzz`` runs the same targets by coverage.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.common.fuzz.targets import TARGETS, corpus

from wg_core.errors import WgError

EXAMPLES = int(os.environ.get("WEIGHTGATE_FUZZ_EXAMPLES", "100"))

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def mutated(draw: st.DrawFn, documents: list[bytes]) -> bytes:
    """A seed with bytes changed, cut, doubled, or spliced with another; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(draw(st.sampled_from(documents)))
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
            other = draw(st.sampled_from(documents))
            data[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_raises_nothing_but_our_errors(name: str) -> None:
    documents = corpus(name)

    def decode(data: bytes) -> None:
        try:
            TARGETS[name].decode(data)
        except WgError:
            return

    for data in documents:
        decode(data)

    @fuzzed
    @given(mutated(documents))
    def check(data: bytes) -> None:
        decode(data)

    check()
