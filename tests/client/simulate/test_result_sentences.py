"""The verdict of a pilot: a plant's own labels are praised only where they beat the commonest."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from wg_client.simulate import result_sentences
from wg_client.simulate.published_cases import JoiningAdvice
from wg_client.simulate.verdict import pilot_verdict

OFFERS: tuple[Any, ...] = (
    None,
    *(SimpleNamespace(pays=p, machine=m, sites=s) for p, m, s in product((0, 1), (0, 1), (0, 3))),
)


@pytest.mark.parametrize("decision", JoiningAdvice)
@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_own_labels_are_kept_only_where_they_beat_the_commonest_class(
    offer: Any, decision: JoiningAdvice
) -> None:
    for stands in (True, False):
        simulation: Any = SimpleNamespace(
            offer=offer,
            decision=decision,
            verdict=pilot_verdict(offer, decision, stands),
            data=SimpleNamespace(commonest_label_accuracy=0.6),
            sites=3,
            expected=None,
        )
        words = str(result_sentences.verdict_sentence(simulation))
        if "your own" in words and not words.startswith(("wait", "join")):
            assert stands
        pays = offer is not None and (offer.pays or offer.machine)
        assert words.startswith("join") == (pays or decision is JoiningAdvice.JOIN) or (
            offer is not None and not offer.sites
        )
