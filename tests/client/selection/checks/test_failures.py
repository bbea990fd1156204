"""Each code of the failure catalogue, produced by weights that fail in its way and by no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.client.selection.checks.conftest import Compare, ToySight, pictures

from wg_client.methods.base import Candidate, Package
from wg_client.models.manifest import Finding
from wg_client.selection.checks import cost, registry, robustness
from wg_client.selection.checks.base import Comparison
from wg_common.catalogue import SAME_FAMILY
from wg_common.modalities.registry import modality
from wg_core.errors import ConfigError
from wg_core.site.acceptance import AcceptanceConfig

RNG = np.random.default_rng(1)
LABELS = np.repeat(np.arange(3), 20)
FEATURES = 3 * np.eye(3)[LABELS] + RNG.normal(0, 0.3, (60, 3))
GOOD = np.eye(3)


def found(comparison: Comparison) -> dict[str, Finding]:
    """Of all checks, also of those that are not made of a model that is out already."""
    every = (*registry.CHECKS, *registry.PROBING)
    return {finding.code: finding for finding in registry.made(every, comparison)}


def failed(comparison: Comparison) -> set[str]:
    return {code for code, finding in found(comparison).items() if not finding.passed}


def test_good_weights_fail_nothing_but_to_be_better_than_equally_good_ones(
    compare: Compare,
) -> None:
    assert failed(compare(FEATURES, LABELS, GOOD)) == {"WG-F01"}
    assert failed(compare(FEATURES, LABELS, 3 * GOOD, local=0 * GOOD)) == set()


def test_f01_weights_no_better_than_local_only(compare: Compare) -> None:
    assert found(compare(FEATURES, LABELS, 0 * GOOD, local=GOOD))["WG-F01"].blocks


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


def test_f04_weights_that_are_sure_and_wrong(compare: Compare) -> None:
    logits = 50 * np.eye(3)[RNG.permutation(LABELS)][None]
    finding = found(compare(FEATURES, LABELS, GOOD, logits=logits))["WG-F04"]
    assert not finding.passed and finding.figures["overconfidence"] > 0.3


def test_f04_chance_alone_does_not_fail_a_handful_of_records(compare: Compare) -> None:
    sure = np.full((1, 6, 3), 0.0)
    sure[0, :, 0] = 1.5  # 69 % sure, right in two of six
    labels = np.array([0, 0, 1, 1, 2, 2])
    finding = found(compare(np.ones((6, 3)), labels, GOOD, logits=sure))["WG-F04"]
    assert finding.figures["error"] > finding.figures["limit"] and finding.passed


def test_f05_weights_that_read_the_light(compare: Compare) -> None:
    labels = np.tile([0, 1], 20)
    records = pictures(labels)
    features = ToySight().inputs(records)
    middle = features[:, 0].mean()
    light = np.array([[-1.0, 0.0], [1.0, 0.0]])
    tilt = np.array([[0.0, -1.0], [0.0, 1.0]])
    bad = compare(
        features, labels, light, local=tilt, bias=np.array([middle, -middle]), pictures=records
    )
    # local-only reads the tilt, which stays; its bias would upset it
    finding = found(bad)["WG-F05"]
    assert not finding.passed and finding.figures["loss, brighter"] > 0.4
    assert "brighter" in finding.message or "darker" in finding.message
    assert finding.figures["loss, noise"] < 0.1
    good = compare(features, labels, tilt, local=tilt, pictures=records)
    assert found(good)["WG-F05"].passed


def test_f07_predictions_that_two_runs_do_not_share(compare: Compare) -> None:
    runs = np.stack([np.eye(3)[RNG.permutation(LABELS)] for _ in range(3)])
    finding = found(compare(FEATURES, LABELS, GOOD, logits=runs))["WG-F07"]
    assert not finding.passed and finding.figures["disagreement"] > 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_f08_weights_that_are_not_finite_or_far_too_large(compare: Compare, value: float) -> None:
    weight = GOOD.copy()
    weight[1, 1] = value
    logits = np.eye(3)[LABELS][None]
    finding = found(compare(FEATURES, LABELS, weight, local=GOOD, logits=logits))["WG-F08"]
    assert finding.blocks
    assert all(np.isfinite(list(finding.figures.values())))


def test_f09_a_model_that_is_too_slow_and_large_here(compare: Compare) -> None:
    labels = np.tile([0, 1], 4)
    records = pictures(labels)
    features = ToySight().inputs(records)
    weight = np.array([[0.0, -1.0], [0.0, 1.0]])
    assert found(compare(features, labels, weight, pictures=records))["WG-F09"].passed
    for limit, value in (("_SECONDS", 1e-6), ("_MEBIBYTES", 0.5)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cost, limit, value)
            refused = compare(features, labels, weight, pictures=records)
            assert not found(refused)["WG-F09"].passed


def test_records_are_seen_once_and_heads_fitted_once_for_all_changes_and_models(
    compare: Compare,
) -> None:
    labels = np.arange(40) % 2
    records = pictures(labels)
    comparison = compare(ToySight().inputs(records), labels, GOOD[:2, :2], pictures=records)
    probe, asked, fitted = comparison.probe, [], []
    assert probe is not None

    class Counting(ToySight):
        def inputs(self, records: Any) -> Any:
            found = super().inputs(records)
            asked.append(len(found))
            return found

    probe.sight = Counting()  # type: ignore[assignment]
    head = comparison.model.fitted.head

    def held_out(repeat: int, fold: int) -> Any:
        fitted.append(fold)
        return head

    model = replace(comparison.model, fitted=replace(comparison.model.fitted, held_out=held_out))
    for _ in range(2):
        assert robustness.check(replace(comparison, model=model, local=model)) is not None
        assert cost.check(comparison) is not None
    changes = len(modality("images").changes())
    assert sorted(asked) == [1, 1, 1, 40, 40 * changes]
    assert sorted(fitted) == list(range(5))


def test_f10_classes_that_were_exchanged(compare: Compare) -> None:
    finding = found(compare(FEATURES, LABELS, GOOD[[1, 0, 2]]))["WG-F10"]
    assert finding.blocks and finding.figures["moved"] == 2
    assert "class 1, class 2" in finding.message


def test_f10_chance_exchanges_nothing(compare: Compare) -> None:
    for seed in range(10):
        calls = np.eye(3)[np.random.default_rng(seed).integers(0, 3, 60)][None]
        assert found(compare(FEATURES, LABELS, GOOD, logits=calls))["WG-F10"].passed


def test_f11_no_label_to_check_by(compare: Compare) -> None:
    comparison = compare(FEATURES, np.full(60, -1), GOOD)
    assert set(found(comparison)) == {"WG-F08", "WG-F11"}
    assert not found(comparison)["WG-F11"].passed


def test_f12_records_of_another_kind(compare: Compare) -> None:
    comparison = compare(FEATURES, LABELS, GOOD)
    assert "WG-F12" not in found(comparison), "the model is of no kind"
    for unlike in (0.9, 1.1):
        candidate = Candidate("kin", SAME_FAMILY, comparison.model.trunk, comparison.model.head)
        of_kind = replace(
            comparison,
            model=replace(comparison.model, of_kind=True),
            package=Package(
                candidates=[replace(candidate, unlikeness=unlike)], others_released=False
            ),
        )
        finding = found(of_kind)["WG-F12"]
        assert finding.blocks == (unlike > 1) == (not of_kind.package.family)
        assert of_kind.package.informed


def test_the_policy_says_what_a_failure_means(compare: Compare) -> None:
    weight = GOOD[[1, 0, 2]]
    warned = compare(FEATURES, LABELS, weight, actions={"WG-F10": "warn", "WG-F03": "block"})
    assert not found(warned)["WG-F10"].blocks and found(warned)["WG-F10"].verdict == "warning"
    assert found(warned)["WG-F03"].verdict == "failed"
    off = compare(FEATURES, LABELS, weight, actions={"WG-F10": "off"})
    assert "WG-F10" not in found(off)


def test_a_code_that_no_check_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown WG-F99"):
        AcceptanceConfig(checks={"WG-F99": "warn"})


def test_a_model_that_is_out_already_is_not_looked_at_again(compare: Compare) -> None:
    labels = np.tile([0, 1], 20)
    records = pictures(labels)
    features = ToySight().inputs(records)
    tilt = np.array([[0.0, -1.0], [0.0, 1.0]])
    equal = compare(features, labels, tilt, local=tilt, pictures=records)
    codes = {finding.code for finding in registry.findings([equal])}
    assert "WG-F01" in codes and not codes & {"WG-F05", "WG-F09"}
