import numpy as np

from wg_client.fitting.folds import stratified
from wg_client.fitting.local_models import fit_local
from wg_common.modalities.registry import modality

K = 3


def _records() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(K), 10)
    return rng.normal(size=(30, 8)) + 2 * np.eye(K, 8)[labels], labels


def test_a_modality_says_what_its_plants_choose_from() -> None:
    """Logistic regressions for texts, discriminants for others."""
    assert modality("texts").learners == ("logistic",)
    assert modality("images").learners == modality("windows").learners == ("lda",)


def test_only_the_kinds_that_are_named_are_chosen_from() -> None:
    x, labels = _records()
    folds = stratified(labels, np.random.default_rng(1))
    for kinds in (("lda",), ("logistic",)):
        found = fit_local(x, labels, K, folds, kinds)
        assert found.settings["learner"].split("-")[0] in kinds
        assert (found.head.logits(x).argmax(axis=1) == labels).mean() > 0.8
