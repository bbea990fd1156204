from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import (
    Posterior,
    equal_length_discriminants,
    exact_evidence,
    mean_aligned_head_fitter,
    no_evidence,
    posterior_from_tensors,
    posterior_head,
    predict_class_means,
)
from wg_core.errors import DecodeError, VerificationError

K, D = 4, 6
Floats = NDArray[np.float64]


def _posterior(seed: int = 0) -> Posterior:
    """Something that other sites might have said: a prior and a few noisy class means."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(D, D)))[0]
    between, within = rng.uniform(0.5, 2, D), rng.uniform(0.2, 1, D)
    root = rng.normal(size=(D, K + 1, K + 1))
    precision = root @ root.transpose(0, 2, 1) / (K + 1) + np.eye(K + 1) / between[:, None, None]
    return Posterior(
        basis=basis,
        within=within,
        ratio=0.3 * between,
        between=between,
        covariance=basis @ np.diag(within) @ basis.T + 0.1 * np.eye(D),
        precision=precision,
        weighted=rng.normal(size=(D, K + 1)),
        sites=np.arange(K, dtype=np.float64),
    )


def _records(seed: int, counts: tuple[int, ...]) -> tuple[Floats, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), counts)
    return rng.normal(size=(K, D))[y] * 2 + rng.normal(size=(len(y), D)), y


def _reference(
    posterior: Posterior, x: Floats, y: NDArray[np.int64], coordinate: int
) -> tuple[float, Floats]:
    """Bayes' rule for one coordinate, record by record, the obvious way: g, delta and eta."""
    size = 1 + 2 * K
    precision, weighted = np.zeros((size, size)), np.zeros(size)
    precision[: 1 + K, : 1 + K] = posterior.precision[coordinate]
    weighted[: 1 + K] = posterior.weighted[coordinate]
    precision[1 + K :, 1 + K :] = np.eye(K) / posterior.ratio[coordinate]
    for record, label in zip(x @ posterior.basis[:, coordinate], y, strict=True):
        row = np.zeros(size)
        row[[0, 1 + label, 1 + K + label]] = 1
        precision += np.outer(row, row) / posterior.within[coordinate]
        weighted += row * record / posterior.within[coordinate]
    u = np.linalg.solve(precision, weighted)
    return float(u[0]), u[1 : 1 + K] + u[1 + K :]


def test_exact_records_are_conditioned_on_by_bayes_rule() -> None:
    posterior = _posterior()
    x, y = _records(1, (3, 0, 5, 1))
    found = predict_class_means(posterior, exact_evidence(x, y, K))
    for coordinate in range(D):
        centre, deviations = _reference(posterior, x, y, coordinate)
        axis = posterior.basis[:, coordinate]
        assert found.centre @ axis == pytest.approx(centre)
        np.testing.assert_allclose(found.deviations @ axis, deviations, rtol=1e-8, atol=1e-10)


def test_without_own_records_the_posterior_speaks() -> None:
    posterior = _posterior()
    found = predict_class_means(posterior, no_evidence(K, D))
    expected = np.linalg.solve(posterior.precision, posterior.weighted[..., None])[..., 0]
    np.testing.assert_allclose(found.deviations @ posterior.basis, expected[:, 1:].T)
    np.testing.assert_allclose(found.centre @ posterior.basis, expected[:, 0])


def test_permuting_the_classes_permutes_the_rows() -> None:
    posterior, order = _posterior(), np.array([2, 0, 3, 1])
    x, y = _records(2, (4, 2, 0, 3))
    inner = np.concatenate([[0], 1 + order])
    turned = dataclasses.replace(
        posterior,
        precision=posterior.precision[:, inner][:, :, inner],
        weighted=posterior.weighted[:, inner],
    )
    weight, bias = posterior_head(posterior, x, y)
    again = posterior_head(turned, x, np.argsort(order)[y])
    np.testing.assert_allclose(again[0], weight[order], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(again[1], bias[order], rtol=1e-8, atol=1e-10)


def test_many_records_outweigh_what_others_said() -> None:
    x, y = _records(3, (400,) * K)
    heads = [posterior_head(_posterior(seed), x, y) for seed in (0, 1)]
    answers = [(x @ weight.T + bias).argmax(axis=1) for weight, bias in heads]
    assert (answers[0] == answers[1]).mean() > 0.97
    assert (answers[0] == y).mean() > 0.8


def test_records_without_a_label_move_the_centre_and_nothing_private_is_needed() -> None:
    posterior = _posterior()
    x, _ = _records(4, (20,) * K)
    found = predict_class_means(posterior, exact_evidence(x, np.full(len(x), -1), K))
    before = np.linalg.norm(
        predict_class_means(posterior, no_evidence(K, D)).centre - x.mean(axis=0)
    )
    moved = found.centre + found.deviations.mean(axis=0)
    assert np.linalg.norm(moved - x.mean(axis=0)) < 0.5 * before


def test_logits_count_how_frequent_a_class_is_and_absent_ones_as_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posteriors, "PSEUDO_RECORDS", 1e12)  # the public covariance alone
    posterior = _posterior()
    x, y = _records(5, (2, 9, 4, 0))
    means = predict_class_means(posterior, exact_evidence(x, y, K))
    whitener = np.asarray(np.linalg.inv(posterior.covariance))
    weight, bias = equal_length_discriminants(means.deviations, whitener, np.inf)
    prior = np.log(np.array([2, 9, 4, 5]) + 1)
    expected = (x - means.centre) @ weight.T + bias + prior
    found = x @ posterior_head(posterior, x, y)[0].T + posterior_head(posterior, x, y)[1]
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found - found.mean(axis=1, keepdims=True), expected, atol=1e-6)


def test_the_spread_of_one_class_alone_says_nothing_of_others() -> None:
    posterior = _posterior()
    x, y = _records(7, (12, 0, 0, 0))
    wide = x.mean(axis=0) + 5 * (x - x.mean(axis=0))
    np.testing.assert_allclose(
        posterior_head(posterior, x, y)[0], posterior_head(posterior, wide, y)[0]
    )
    x, y = _records(7, (12, 12, 0, 0))
    centre = np.stack([x[y == k].mean(axis=0) for k in (0, 1)])[y]
    wide = centre + 5 * (x - centre)
    assert not np.allclose(
        posterior_head(posterior, x, y)[0], posterior_head(posterior, wide, y)[0]
    )


def test_moved_classes_are_those_of_others_wherever_the_plant_lies() -> None:
    posterior = _posterior()
    x, y = _records(8, (5, 3, 4, 0))
    weight, bias = mean_aligned_head_fitter(posterior)(x, y)
    others = mean_aligned_head_fitter(posterior)(x[:0], y[:0])
    np.testing.assert_allclose(weight, others[0])
    assert not np.allclose(bias, others[1])
    # All records moved by one vector: with many of them, logits stay what they were.
    many, said = _records(9, (4000,) * K)
    shift = np.linspace(-1, 1, D)
    before, after = (
        mean_aligned_head_fitter(posterior)(many, said),
        mean_aligned_head_fitter(posterior)(many + shift, said),
    )
    one = many @ before[0].T + before[1]
    two = (many + shift) @ after[0].T + after[1]
    np.testing.assert_allclose(one, two, atol=0.05 * float(np.abs(one).max()))


def test_tensors_come_back_as_they_were() -> None:
    posterior = _posterior()
    again = posterior_from_tensors(posterior.tensors(), K, D)
    x, y = _records(6, (3, 3, 3, 3))
    np.testing.assert_allclose(
        posterior_head(again, x, y)[0], posterior_head(posterior, x, y)[0], rtol=1e-3
    )


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Posterior)])
@pytest.mark.parametrize("kind", ["missing", "shape", "nan"])
def test_damaged_tensors_are_refused(name: str, kind: str) -> None:
    tensors = dict(_posterior().tensors())
    if kind == "missing":
        del tensors[name]
        if name == "sites":  # a server of 0.1.0 sends none: nobody is known to stand behind a class
            assert not posterior_from_tensors(tensors, K, D).sites.any()
            return
    elif kind == "shape":
        tensors[name] = tensors[name][..., :-1]
    else:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[0] = np.nan
    with pytest.raises(DecodeError, match=name):
        posterior_from_tensors(tensors, K, D)


def test_a_number_of_sites_is_not_negative() -> None:
    tensors = {**_posterior().tensors(), "sites": np.full(K, -1, np.float32)}
    with pytest.raises(DecodeError, match="sites"):
        posterior_from_tensors(tensors, K, D)


@pytest.mark.parametrize("name", ["within", "ratio", "between", "covariance", "precision"])
def test_variances_that_are_not_positive_are_refused(name: str) -> None:
    tensors = dict(_posterior().tensors())
    tensors[name] = -tensors[name]
    with pytest.raises(DecodeError, match=name):
        posterior_from_tensors(tensors, K, D)


def test_more_or_other_tensors_are_refused() -> None:
    tensors = dict(_posterior().tensors())
    tensors["more"] = np.zeros(1, np.float32)
    with pytest.raises(DecodeError, match="more"):
        posterior_from_tensors(tensors, K, D)


def test_a_singular_posterior_is_an_error_of_ours() -> None:
    good = _posterior()
    singular = dataclasses.replace(good, precision=np.zeros_like(good.precision))
    with pytest.raises(VerificationError, match="singular"):
        predict_class_means(singular, no_evidence(K, D))
    with pytest.raises(VerificationError, match="singular"):
        mean_aligned_head_fitter(dataclasses.replace(good, covariance=np.zeros((D, D))))
