from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import pytest
from tests.core.ledger.conftest import key

from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import canonical, handover, signing
from wg_core.wire.handover import PACKAGES_USE, WITNESS_USE, Handover

KEYS = [key(number) for number in range(1, 5)]
A, B, C, THIEF = (signing.public_bytes(key).hex() for key in KEYS)
NAME = "hq/witness"
AB, BC = (handover.sign_handover(WITNESS_USE, NAME, KEYS[i], KEYS[i + 1]) for i in (0, 1))


def follow(start: str, end: str, links: Sequence[Handover]) -> list[Handover]:
    return handover.find_key_handovers(WITNESS_USE, NAME, start, end, links)


@pytest.mark.parametrize("links", [[AB, BC], [BC, AB]])
def test_words_lead_from_any_earlier_key_to_the_one_of_today(links: Sequence[Handover]) -> None:
    assert follow(A, C, links) == [AB, BC]
    assert follow(B, C, links) == [BC]
    assert follow(C, C, links) == follow(A, A, []) == []


def forged() -> Handover:
    """The thief's word for his own key, said to be that of the key that is pinned."""
    return dataclasses.replace(
        handover.sign_handover(WITNESS_USE, NAME, KEYS[3], KEYS[3]), before=A
    )


@pytest.mark.parametrize(
    ("end", "links"),
    [
        (THIEF, lambda: []),
        (THIEF, lambda: [forged()]),
        (THIEF, lambda: [AB, BC]),
        (C, lambda: [BC]),  # the first word is missing
        (C, lambda: [AB, AB]),
        (B, lambda: [handover.sign_handover(WITNESS_USE, NAME, KEYS[1], KEYS[0])]),  # backwards
        (B, lambda: [dataclasses.replace(AB, name="other/witness")]),
        (B, lambda: [handover.sign_handover(PACKAGES_USE, NAME, KEYS[0], KEYS[1])]),
        (B, lambda: [dataclasses.replace(AB, signature=BC.signature)]),
        (
            THIEF,
            lambda: [AB, handover.sign_handover(WITNESS_USE, NAME, KEYS[1], KEYS[0])],
        ),  # a ring ends
    ],
)
def test_nothing_else_leads_to_a_key(end: str, links: Callable[[], list[Handover]]) -> None:
    with pytest.raises(VerificationError):
        follow(A, end, links())


def test_a_word_of_one_use_or_name_is_not_one_of_another() -> None:
    for other in (
        dataclasses.replace(AB, use=PACKAGES_USE),
        dataclasses.replace(AB, name="hq/witness2"),
        dataclasses.replace(AB, now=C),
    ):
        with pytest.raises(VerificationError):
            other.verify()
    AB.verify()


def test_more_changes_than_are_followed_at_once_are_refused() -> None:
    keys = [signing.generate_key() for _ in range(handover.HANDOVERS_LIMIT + 2)]
    links = [handover.sign_handover(WITNESS_USE, NAME, *pair) for pair in itertools.pairwise(keys)]
    first, second, last = (signing.public_bytes(keys[i]).hex() for i in (0, 1, -1))
    assert follow(second, last, links) == links[1:]
    with pytest.raises(VerificationError):
        follow(first, last, links)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 300},
        {"name": "two\nlines"},
        {"before": "zz" * 32},
        {"now": B.upper()},
        {"now": B[:-2]},
        {"signature": ""},
        {"use": "ledger"},
    ],
)
def test_a_damaged_word_is_refused_when_it_is_read(change: dict[str, str]) -> None:
    data = canonical.encode({**canonical.to_builtins(AB), **change})
    with pytest.raises(DecodeError):
        canonical.decode(Handover, data, input_name="handover")
    good = canonical.encode(AB)
    assert canonical.decode(Handover, good, input_name="handover") == AB
