"""What was delivered for a stated machine stays unless labels of enough units show it worse."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.discriminants import fit_lda

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import DeliveredCandidate, PlantRecords, PreparedPackage
from wg_client.methods.method_names import GENERATED, GENERATED_FINETUNED, LOCAL_ONLY
from wg_client.selection import precedence
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_client.selection.verdict import SelectionBasis, selection_basis
from wg_core.site.acceptance import AcceptanceConfig

K, D = 4, 12
MEANS = np.random.default_rng(3).normal(size=(K, D))


def _recordings(units: int, records: int) -> tuple[Floats, Ints, list[str]]:
    """Records of units that are each displaced, as recordings of damages of several sizes are."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(K), units * records)
    unit = np.arange(K * units).repeat(records)
    displaced = 1.5 * rng.normal(size=(K * units, D))
    x = MEANS[labels] + displaced[unit] + 0.05 * rng.normal(size=(len(labels), D))
    return x, labels, [str(number) for number in unit]


def _good() -> LinearHead:
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(K), 400)
    return fit_lda(MEANS[labels] + 1.5 * rng.normal(size=(len(labels), D)), labels, K, 0.1)


def _kept(
    head: LinearHead, units: int, records: int, *, fit: float | None = None
) -> SelectionOutcome:
    x, y, names = _recordings(units, records)
    trunk = TrunkFeatures(x)
    made = DeliveredCandidate("sheet-mean", "diffusion", trunk, head, architecture="spectrum-lines")
    return select_model(
        PlantRecords(all_labels=y, class_count=K, encoder_features=trunk, privacy_units=names),
        PreparedPackage(
            candidates=[made], other_sites_released=False, made_for_machine=True, sheet_fit=fit
        ),
        AcceptanceConfig(),
    )


@pytest.mark.parametrize("units", [1, 2])
def test_labels_of_few_units_judge_nothing(units: int) -> None:
    outcome = _kept(_good(), units, 10)
    assert outcome.kept_name == GENERATED and not outcome.comparisons
    assert selection_basis(outcome) == SelectionBasis.TOO_FEW_UNITS
    assert "fewer than" not in outcome.reason and "3 or more units" in outcome.reason


def test_local_only_that_knows_its_own_recordings_does_not_replace_it() -> None:
    outcome = _kept(_good(), 3, 20)
    assert outcome.kept_name == GENERATED
    (finding,) = (f for f in outcome.findings if (f.model, f.code) == (GENERATED, "WG-F01"))
    assert finding.passed and finding.figures["prior"] == precedence.HEAD_START_SCORE


def test_an_average_with_local_only_needs_no_more_than_a_lower_log_loss() -> None:
    good = _good()
    biased = LinearHead(good.weight, good.bias + np.array([1.0, -1.0, 1.0, -1.0]))
    outcome = _kept(biased, 6, 2)
    assert outcome.kept_name == GENERATED_FINETUNED
    gains = {name: comparison.gain for name, comparison in outcome.comparisons.items()}
    gain = gains[GENERATED_FINETUNED].log_loss - gains[GENERATED].log_loss
    assert 0 < gain < 2 * gains[GENERATED_FINETUNED].log_loss_se
    findings = [f for f in outcome.findings if (f.model, f.code) == (outcome.kept_name, "WG-F01")]
    assert [finding.passed for finding in findings] == [True]


def test_a_network_that_labels_show_worse_gives_way() -> None:
    wrong = _good()
    wrong = LinearHead(np.roll(wrong.weight, 1, axis=0), np.roll(wrong.bias, 1))
    outcome = _kept(wrong, 10, 2)
    assert outcome.kept_name in (LOCAL_ONLY, GENERATED_FINETUNED)
    (finding,) = (f for f in outcome.findings if (f.model, f.code) == (GENERATED, "WG-F01"))
    assert finding.blocks_model


def test_records_that_speak_against_the_sheet_are_a_warning() -> None:
    doubted = _kept(_good(), 3, 3, fit=-1.0)
    assert doubted.kept_name == _kept(_good(), 3, 3).kept_name
    warnings = [f for f in doubted.findings if f.code == "WG-F14" and not f.passed]
    assert {f.model for f in warnings} == {GENERATED, GENERATED_FINETUNED}
    assert not any(f.blocks_model for f in warnings)


@pytest.mark.parametrize(("records", "kept"), [(4, GENERATED), (5, LOCAL_ONLY)])
def test_a_doubted_sheet_gives_way_to_ten_labels_of_each_class(records: int, kept: str) -> None:
    outcome = _kept(_good(), 2, records, fit=-1.0)
    assert outcome.kept_name == kept
    assert "the spectral lines that follow from your data sheet" in outcome.reason
    assert _kept(_good(), 2, records, fit=0.0).kept_name == GENERATED


def test_a_network_at_chance_does_not_stay_by_its_word() -> None:
    head = LinearHead(0.01 * _good().weight[::-1], np.zeros(K))
    outcome = _kept(head, 3, 4)
    assert outcome.kept_name != GENERATED
    (finding,) = (f for f in outcome.findings if (f.model, f.code) == (GENERATED, "WG-F01"))
    assert finding.blocks_model
