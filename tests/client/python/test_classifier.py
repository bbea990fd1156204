"""Classifier and regressor keep scikit-learn's rules, on features, where all of them apply."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from weightgate.classifier import Classifier
from weightgate.regressor import Regressor

CHECKS: dict[str, list[tuple[Any, Any]]] = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for _kind in (Classifier, Regressor):
        for _estimator, _check in estimator_checks_generator(_kind(), mark=None):
            _name = getattr(_check, "func", _check).__name__
            CHECKS.setdefault(_name, []).append((_estimator, _check))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_scikit_learn_s_own_checks(name: str) -> None:
    for estimator, check in CHECKS[name]:
        check(estimator)
