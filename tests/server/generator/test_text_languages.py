"""Japanese notes with English class names, and the other way round, on the rendered source."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.inference.posterior import posterior_head
from wg_common.nets.encoder import sentence_encoder
from wg_server.generator.prior import blup
from wg_server.generator.prior.class_names import ClassPriors, fit_public_priors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.zoo.procedural_text import families

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sentence_encoder.is_installed(), reason="the extra 'text' is not installed"
    ),
]
D, EACH = 48, 8
Floats = NDArray[np.float32]


def vectors(
    family: families.TextFamily, number: int, language: str | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Sentence vectors and classes of a site that writes in one language."""
    site = families.draw_site(family, number, strength=0.6)
    for _ in range(100):
        if language is None or site.languages == (language,):
            break
        number += 1
        site = families.draw_site(family, number, strength=0.6)
    labels = np.repeat(np.arange(len(family.labels)), EACH)
    texts = families.render_records(family, site, labels, np.random.default_rng(number))
    return sentence_encoder.embed_sentences([str(text) for text in texts]), labels


@pytest.fixture(scope="module")
def known() -> tuple[ClassPriors, Floats, Floats]:
    """Priors of the rendered zoo, the projection, and the public mean."""
    drawn = [families.draw_family((1, number)) for number in range(60)]
    raw = [vectors(family, 0) for family in drawn]
    mean = np.concatenate([x for x, _ in raw]).mean(axis=0)
    inner = np.concatenate([x - x.mean(axis=0) for x, _ in raw])
    projection = np.linalg.svd(inner, full_matrices=False)[2][:D].T
    tasks = [
        ZooTask(family.name, family.name, family.labels, (x - mean) @ projection, y)
        for family, (x, y) in zip(drawn, raw, strict=True)
    ]
    return fit_public_priors(tasks, projection), projection, mean


@pytest.mark.parametrize(("notes", "names"), [("ja", "en"), ("en", "ja")])
def test_names_in_another_language_than_the_notes_tell_classes(
    known: tuple[ClassPriors, Floats, Floats], notes: str, names: str
) -> None:
    fitted, projection, mean = known
    right, chance = [], []
    for number in range(12):
        family = families.draw_family((2, number), "symptoms")
        called = tuple(
            c.japanese_name if names == "ja" else c.english_names[0] for c in family.concepts
        )
        family = dataclasses.replace(family, labels=called)
        x, y = vectors(family, 0, notes)
        features = ((x - mean) @ projection).astype(np.float64)
        named = fitted.class_prior(called)
        assert named is not None
        posterior = blup.posterior_from_sites(fitted.model_variances, [], len(called), named)
        weight, bias = posterior_head(posterior, features, np.full(len(y), -1))
        logits = features @ weight.T + bias
        right.append(float((logits.argmax(axis=1) == y).mean()))
        chance.append(1 / len(called))
    assert np.mean(right) > 2.5 * np.mean(chance), (right, chance)
