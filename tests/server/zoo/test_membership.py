"""The membership figure: a guess is .5, its error is that of repeated draws, classes are apart."""

from __future__ import annotations

import numpy as np

from wg_server.zoo import membership


def _draw(seed: int, shift: float, others: int = 40) -> membership.MembershipAttackResult:
    rng = np.random.default_rng(seed)
    is_member = np.arange(60 + others) < 60
    labels = np.arange(60 + others) % 2
    losses = rng.normal(size=60 + others) - shift * is_member + 5.0 * labels
    return membership.attack_by_loss(np.asarray(losses), is_member, labels)


def test_areas_are_those_of_pairs_and_their_error_is_that_of_repeated_draws() -> None:
    for shift, area in ((0.0, 0.5), (1.0, 0.7602)):  # Phi(shift / sqrt 2)
        figures = [_draw(seed, shift) for seed in range(300)]
        areas = np.array([figure.roc_area for figure in figures])
        # four standard errors of 300 draws: false failure below 1e-4
        assert abs(areas.mean() - area) < 4 * areas.std() / 300**0.5
        errors = np.mean([figure.standard_error for figure in figures])
        assert 0.85 < errors / areas.std() < 1.15


def test_another_mixture_of_classes_tells_nothing() -> None:
    losses = np.repeat([0.0, 9.0], 50) + np.random.default_rng(0).normal(size=100)
    labels, is_member = np.repeat([0, 1], 50), np.arange(100) % 50 < np.repeat([40, 10], 50)
    figure = membership.attack_by_loss(losses, is_member, labels)
    assert abs(figure.roc_area - 0.5) < 3 * figure.standard_error


def test_ties_count_half_and_records_without_others_give_no_figure() -> None:
    is_member, labels = np.arange(6) < 3, np.zeros(6, int)
    assert membership.attack_by_loss(np.zeros(6), is_member, labels).roc_area == 0.5
    assert membership.attack_by_loss(np.arange(6.0), is_member, labels).format_area_and_error() == (
        "1.0000",
        "0.0000",
    )
    assert membership.attack_by_loss(
        np.zeros(6), np.ones(6, bool), labels
    ).format_area_and_error() == (
        "",
        "",
    )


def test_views_of_a_record_are_one_record() -> None:
    numbers, losses = membership.mean_loss_by_record(np.array([7, 2, 7]), np.array([1.0, 5.0, 3.0]))
    assert list(numbers) == [2, 7] and list(losses) == [5.0, 2.0]
