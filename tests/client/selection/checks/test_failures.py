"""Each code of the failure catalogue, produced by weights that fail in its way and by no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.client.selection.checks.conftest import Compare

from wg_client.methods.base import SHEET_FIT_LIMIT, DeliveredCandidate, PreparedPackage
from wg_client.methods.method_names import HANDED_ON
from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks import registry
from wg_client.selection.checks.base import ModelComparison
from wg_common.catalogue import POSTERIOR_SOURCE, SAME_FAMILY_SOURCE
from wg_common.inference.posterior import Posterior
from wg_core.errors import ConfigError
from wg_core.site.acceptance import AcceptanceConfig

RNG = np.random.default_rng(1)
LABELS = np.repeat(np.arange(3), 20)
FEATURES = 3 * np.eye(3)[LABELS] + RNG.normal(0, 0.3, (60, 3))
GOOD = np.eye(3)


def found(comparison: ModelComparison) -> dict[str, CheckFinding]:
    """What the checks say, by code."""
    return {finding.code: finding for finding in registry.run_checks([comparison])}


def failed(comparison: ModelComparison) -> set[str]:
    return {code for code, finding in found(comparison).items() if not finding.passed}


def test_good_weights_fail_nothing_but_to_be_better_than_equally_good_ones(
    compare: Compare,
) -> None:
    assert failed(compare(FEATURES, LABELS, GOOD)) == {"WG-F01"}
    assert failed(compare(FEATURES, LABELS, 3 * GOOD, local=0 * GOOD)) == set()


def test_f01_weights_no_better_than_local_only(compare: Compare) -> None:
    assert found(compare(FEATURES, LABELS, 0 * GOOD, local=GOOD))["WG-F01"].blocks_model


def test_f01_one_error_is_asked_where_some_classes_have_no_record(compare: Compare) -> None:
    for classes, asked in ((3, 2), (2, 1), (1, 2)):
        rows = np.flatnonzero(classes > LABELS)
        comparison = compare(FEATURES[rows], LABELS[rows], GOOD, local=0 * GOOD)
        assert comparison.required_standard_errors == asked
        strict = replace(comparison, policy=AcceptanceConfig(standard_errors=8.0))
        assert strict.required_standard_errors == (4 if classes == 2 else 8)


def test_f02_accuracy_that_naming_the_commonest_class_would_have(compare: Compare) -> None:
    labels = np.array([0] * 57 + [1] * 3)
    features = np.ones((60, 2))
    finding = found(compare(features, labels, np.array([[1.0, 0.0], [0.0, 0.0]])))["WG-F02"]
    assert not finding.passed and finding.action == "warn"
    assert finding.figures["accuracy"] == finding.figures["commonest"] == pytest.approx(0.95)
    assert finding.figures["lower"] < 0.95


def test_f02_few_records_prove_little_and_many_prove_more(compare: Compare) -> None:
    few = found(compare(FEATURES[::10], LABELS[::10], GOOD))["WG-F02"].figures
    many = found(compare(FEATURES, LABELS, GOOD))["WG-F02"].figures
    assert few["accuracy"] == many["accuracy"] == 1 and few["lower"] < many["lower"] < 1


def test_f03_a_class_that_is_never_named(compare: Compare) -> None:
    weight = GOOD.copy()
    weight[2] = -1
    finding = found(compare(FEATURES, LABELS, weight))["WG-F03"]
    assert not finding.passed
    assert (finding.figures["class"], finding.figures["recall"]) == (2, 0)
    assert "class 3" in finding.message


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_f08_weights_that_are_not_finite_or_far_too_large(compare: Compare, value: float) -> None:
    weight = GOOD.copy()
    weight[1, 1] = value
    logits = np.eye(3)[LABELS][None]
    finding = found(compare(FEATURES, LABELS, weight, local=GOOD, logits=logits))["WG-F08"]
    assert finding.blocks_model
    assert all(np.isfinite(list(finding.figures.values())))


def test_f11_no_label_to_check_by(compare: Compare) -> None:
    comparison = compare(FEATURES, np.full(60, -1), GOOD)
    assert set(found(comparison)) == {"WG-F08", "WG-F11"}
    assert not found(comparison)["WG-F11"].passed


def test_f12_records_of_another_kind(compare: Compare) -> None:
    comparison = compare(FEATURES, LABELS, GOOD)
    assert "WG-F12" not in found(comparison), "the model is of no kind"
    for unlike in (0.9, 1.1):
        candidate = DeliveredCandidate(
            "kin", SAME_FAMILY_SOURCE, comparison.model.trunk, comparison.model.head
        )
        of_kind = replace(
            comparison,
            model=replace(comparison.model, made_for_plant_kind=True),
            package=PreparedPackage(
                candidates=[replace(candidate, family_unlikeness=unlike)],
                other_sites_released=False,
            ),
        )
        finding = found(of_kind)["WG-F12"]
        assert finding.blocks_model == (unlike > 1) == (not of_kind.package.has_similar_family)
        assert of_kind.package.is_informative


@pytest.mark.parametrize("sites", [0, 1, 2, 3, 9])
def test_f13_few_sites_behind_a_class(compare: Compare, sites: int) -> None:
    own = LABELS < 2  # Of the last class there is no record here
    comparison = compare(FEATURES[own], LABELS[own], GOOD)
    d, classes = FEATURES.shape[1], 3
    precision = np.tile(np.eye(1 + classes), (d, 1, 1))
    precision[:, 3, 3] += 0.5  # Others have released it
    ones = np.ones(d)
    posterior = Posterior(
        np.eye(d),
        ones,
        ones,
        ones,
        np.eye(d),
        precision,
        np.zeros((d, 1 + classes)),
        np.array([0.0, 0.0, sites]),
    )
    delivered = replace(
        comparison,
        model=replace(comparison.model, origin_candidate=POSTERIOR_SOURCE),
        package=replace(comparison.package, posterior=posterior),
    )
    finding = found(delivered)["WG-F13"]
    assert finding.passed == (sites >= 3) and not finding.blocks_model
    assert finding.figures == {"classes": float(sites < 3), "fewest": sites, "needed": 3}
    assert finding.passed or f"class 3: {sites}" in finding.message
    assert "WG-F13" not in found(comparison), "nothing of other sites is in the model"
    every_class = compare(FEATURES, LABELS, GOOD)
    every_class = replace(
        every_class,
        model=replace(every_class.model, origin_candidate=POSTERIOR_SOURCE),
        package=replace(every_class.package, posterior=posterior),
    )
    assert found(every_class)["WG-F13"].passed, "own labels judge it"


def test_f14_a_data_sheet_of_another_machine(compare: Compare) -> None:
    comparison = compare(FEATURES, LABELS, GOOD)
    assert "WG-F14" not in found(comparison), "no sheet is stated"
    for fit, passed in ((SHEET_FIT_LIMIT - 0.1, False), (SHEET_FIT_LIMIT + 0.1, True)):
        package = PreparedPackage(candidates=[], made_for_machine=True, sheet_fit=fit)
        finding = found(replace(comparison, package=package))["WG-F14"]
        assert finding.passed == passed and not finding.blocks_model
        handed_on = replace(comparison, package=package, name=HANDED_ON)
        assert "WG-F14" not in found(handed_on)


def test_the_policy_says_what_a_failure_means(compare: Compare) -> None:
    weight = GOOD.copy()
    weight[2] = -1
    blocked = compare(FEATURES, LABELS, weight, actions={"WG-F01": "warn", "WG-F03": "block"})
    assert (
        not found(blocked)["WG-F01"].blocks_model and found(blocked)["WG-F01"].verdict == "warning"
    )
    assert found(blocked)["WG-F03"].verdict == "failed"
    off = compare(FEATURES, LABELS, weight, actions={"WG-F03": "off"})
    assert "WG-F03" not in found(off)


def test_a_code_that_no_check_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown WG-F99"):
        AcceptanceConfig(checks={"WG-F99": "warn"})
