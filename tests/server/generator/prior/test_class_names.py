"""What class names say: equal ones, codes, meanings, and the class means that they foretell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import no_evidence
from wg_common.nets.encoder import sentence_encoder
from wg_server.generator.prior import blup, class_names
from wg_server.generator.prior.class_names import ClassPriors, fit_public_priors
from wg_server.generator.prior.zoo_tasks import ZooTask

D = 6
RNG = np.random.default_rng(4)
MEANINGS = {
    f"thing{chr(97 + i)}{chr(97 + j)}": RNG.normal(size=sentence_encoder.VECTOR_LENGTH)
    for i in range(6)
    for j in range(6)
}
PROJECTION = RNG.normal(size=(sentence_encoder.VECTOR_LENGTH, D)) / 40


def made_up(found: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of made-up words; those of ``MEANINGS`` in another tongue end with ``x``."""
    rows = [
        MEANINGS.get(word.removesuffix("x"), np.ones(sentence_encoder.VECTOR_LENGTH))
        for word in found
    ]
    return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_encoder, "embed_sentences", made_up)
    monkeypatch.setattr(class_names, "_has_sentence_model", lambda: True)
    monkeypatch.setattr(
        class_names, "_name_vector", lambda name: made_up([name])[0].astype(np.float64)
    )


def zoo(says: float) -> list[ZooTask]:
    """Texts whose class means are ``says`` times what their names foretell, and chance."""
    rng, found = np.random.default_rng(5), []
    words = list(MEANINGS)
    for number in range(60):
        labels = tuple(str(word) for word in rng.permutation(words)[:5])
        means = says * made_up(labels) @ PROJECTION + 0.05 * rng.normal(size=(5, D))
        y = np.repeat(np.arange(5), 12)
        x = (means[y] + 0.05 * rng.normal(size=(60, D))).astype(np.float32)
        found.append(ZooTask(f"t{number}", f"family-{number}", labels, x, y))
    return found


@pytest.fixture(scope="module")
def telling() -> ClassPriors:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(class_names, "_has_sentence_model", lambda: True)
        patched.setattr(
            class_names, "_name_vector", lambda name: made_up([name])[0].astype(np.float64)
        )
        return fit_public_priors(zoo(8.0), PROJECTION)


def test_a_name_is_its_words() -> None:
    assert (
        class_names.normalise_name("Pitted_Surface")
        == class_names.normalise_name("pittedSurface")
        == "pitted surface"
    )
    assert class_names.normalise_name("ＰＩＴＴＥＤ  surface") == "pitted surface"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("class-3", False),
        ("B", False),
        ("017", False),
        ("defect 2", False),
        ("傷", True),
        ("scratch", True),
        ("OR007", True),
        ("fault 3 leak", True),
    ],
)
def test_codes_say_nothing(name: str, says: bool) -> None:
    assert class_names.is_descriptive_name(name) == says


def test_equal_names_are_certain_other_words_likely_and_codes_unknown() -> None:
    found = class_names.same_class_log_ratio(
        ["thingaa", "thingbbx", "class-1"], ["Thingaa", "thingbb", "thingcc"]
    )
    assert found[0, 0] == np.inf and 1 < found[1, 1] < np.inf
    assert found[1, 2] < 0 and (found[2] == 0).all()


def test_without_the_extra_only_letters_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_names, "_has_sentence_model", lambda: False)
    found = class_names.same_class_log_ratio(["thingaa", "thingbbx"], ["thingaa", "thingbb"])
    assert found.tolist() == [[np.inf, 0], [0, 0]]


def test_means_of_classes_never_met_are_foretold(telling: ClassPriors) -> None:
    assert telling.name_regression is not None and telling.name_regression.explained.mean() > 0.5
    labels = ("newa", "thingaa", "thingff")
    named = telling.class_prior(labels)
    assert named is not None and (named.variance < telling.model_variances.between).all()
    found = blup.predict_class_means(telling.model_variances, [no_evidence(3, D)], named)
    expected = 8 * made_up(labels) @ PROJECTION
    expected -= expected.mean(axis=0)
    size = np.linalg.norm(expected) * np.linalg.norm(found.deviations)
    assert (expected * found.deviations).sum() > 0.8 * size
    plant = posteriors.predict_class_means(
        blup.posterior_from_sites(telling.model_variances, [], 3, named), no_evidence(3, D)
    )
    np.testing.assert_allclose(plant.deviations, found.deviations)


def test_names_that_say_nothing_change_nothing(telling: ClassPriors) -> None:
    assert telling.class_prior(("thingaa", "class-2")) is None
    assert telling.class_prior(("thingaa", "THINGAA")) is None
    assert fit_public_priors(zoo(0.0), PROJECTION).name_regression is None
    assert fit_public_priors(zoo(8.0)[:2], PROJECTION).name_regression is None
