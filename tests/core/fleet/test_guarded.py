"""What a handler's error becomes on the wire: a word that is known to depend on no data."""

import pytest

from wg_core.errors import ApprovalPending, BudgetExceeded, DataError, WgError
from wg_core.fleet.answers import guarded
from wg_core.wire import fleet
from wg_core.wire.fleet import Envelope

ID = "ab" * 16


def _refused(error: Exception, words: frozenset[str]) -> Envelope:
    def action() -> Envelope:
        raise error

    return guarded(ID, action, words)


@pytest.mark.parametrize("error", [ApprovalPending("x"), BudgetExceeded("x")])
def test_a_word_is_sent_where_it_may_be(error: WgError) -> None:
    assert _refused(error, fleet.ANSWER_WORDS) == _refused(error, frozenset({error.code}))
    assert _refused(error, fleet.ANSWER_WORDS) != _refused(error, frozenset())


@pytest.mark.parametrize("error", [ApprovalPending("x"), DataError("x"), ValueError("x")])
def test_all_else_is_unavailable(error: Exception) -> None:
    assert _refused(error, fleet.DELIVERY_WORDS) == _refused(RuntimeError("y"), frozenset())
