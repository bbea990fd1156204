"""What a charge says of the unit it protects follows from the rule, whatever the caller says."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest

from wg_audit import charge_texts
from wg_common import translations
from wg_core.errors import ConfigError
from wg_core.ledger import charge_parts, charging
from wg_core.ledger.charging import ChargeRequest
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.schema import default_schema

Rule = Literal["record", "weight"]


def _request(rule: Rule, **unit: str) -> ChargeRequest:
    schema = default_schema(
        encoder="ab" * 32, dimension=4, labels=("a", "b"), clip_radius=1.0, unit_rule=rule
    )
    terms: dict[str, Any] = {"request_id": "r", "dataset": "d", "purpose": "p", "recipient": "s"}
    sigma = noise_scale(schema, 1.0, 1e-5)
    return charging.make_charge_request(
        schema, sigma, charging.ReleaseTerms(epsilon="1", delta="1e-5", **terms, **unit)
    )


def test_a_charge_never_names_a_unit_that_its_rule_does_not_protect() -> None:
    with pytest.raises(ConfigError, match="the unit is 'part', but the rule protects single"):
        _request("record", privacy_unit="part")
    with pytest.raises(ConfigError, match="name the unit"):
        _request("weight")
    with pytest.raises(ConfigError, match="name the unit"):
        _request("weight", privacy_unit="")


def test_a_charge_names_the_unit_that_its_rule_protects() -> None:
    assert _request("record").guarantee.unit == "record"
    guarantee = _request("weight", privacy_unit="part").guarantee
    assert guarantee.unit == "part" and guarantee.adjacency == "add-remove"


def test_a_charge_says_where_its_randomness_comes_from() -> None:
    found = _request("record").implementation
    assert isinstance(found, charge_parts.Implementation)
    assert "user space" in found.randomness and "seeded by the operating system" in found.randomness


@pytest.mark.parametrize("rule", ["record", "weight"])
def test_a_japanese_auditor_reads_the_words_of_a_charge_in_japanese(rule: Rule) -> None:
    charge = _request(rule, **({} if rule == "record" else {"privacy_unit": "part"}))
    mechanism, promise, program = charge.mechanism, charge.guarantee, charge.implementation
    words = [promise.records_per_unit, promise.variant, *promise.unprotected]
    words += [mechanism.name, mechanism.accountant]
    words += [program.randomness, program.floating_point, program.timing]
    japanese = translations.shared_language("ja")
    for each in words:
        assert re.search("[ぁ-んァ-ヶ一-龥]", japanese(charge_texts.translatable_sentence(each))), (
            each
        )
    assert charge_texts.translatable_sentence(*words) == ", ".join(words)
    assert (
        japanese(charge_texts.translatable_sentence("words of {another} program"))
        == "words of {another} program"
    )
