"""Evidence from class names: vectors, comparison of names, and prediction of class means.

Name vectors come from the multilingual sentence encoder
(``wg_common.nets.encoder.sentence_encoder``). Without the optional dependencies ``text`` there are
no vectors: names then match only if they are equal after normalisation, and a log message says so
once.

If records are texts, the vector of a name lies in the same space as those of the records, and
predicts the mean of the class. ``NameRegression`` adds a multiple of the name's own features and a
ridge regression of the residual, both fitted on families of the zoo. Its reliability is the share
of explained variance in held-out families, for classes whose names, and all similar names, were
held out too. The BLUP uses the prediction as prior mean (``blup.ClassDeviationPrior``).
"""

import functools
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.nets.encoder import sentence_encoder
from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import ClassDeviationPrior, ModelVariances
from wg_server.generator.prior.zoo_tasks import ZooTask

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_FOLDS = 5
_RIDGE_PENALTIES = (3.0, 30.0, 300.0, 1e6)
_SIMILAR_COSINE = 0.5  # Cosine above which two names may mean the same
_MIN_NAMES = 20  # Smallest number of different class names to fit on
_MIN_EXPLAINED_SHARE = 0.02  # Share of explained variance below which names are not used
_MAX_EXPLAINED_SHARE = 0.9
_SAME_MEANING_COSINE = 0.58, 0.24
_OTHER_MEANING_COSINE = 0.34, 0.12
"""Mean and standard deviation of the cosine between two names of the same class, in other words or
another language, and of different classes, measured on the class names of picture data sets."""
_MAX_LOG_RATIO = 4.0  # Largest magnitude of the log likelihood ratio of two different names
_CAMEL_CASE_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NON_LETTERS = re.compile(r"[\W\d_]+")
_NON_DESCRIPTIVE_WORDS = frozenset(
    {"class", "label", "type", "kind", "category", "group", "code", "id", "no", "number", "defect"}
)
"""Words that describe no class, even together."""


@dataclass(frozen=True, slots=True, eq=False)
class NameRegression:
    """Linear map from the vectors of class names to deviations of class means from their mean.

    Attributes:
        matrix: Map from name vectors, minus their mean over the classes, to class deviations along
            the d eigenvectors of T (``ModelVariances``), ``[512, d]``.
        explained: Share of the variance that the map explains for names that were not used for the
            fit, along each eigenvector, ``[d]``.
    """

    matrix: Floats
    explained: Floats

    def predict_prior(
        self, priors: ModelVariances, labels: Sequence[str]
    ) -> ClassDeviationPrior | None:
        """Return the prior of class deviations that the class names predict.

        Returns None if two names are equal or one describes no class, and without name vectors.
        """
        if not all(map(is_descriptive_name, labels)) or len(set(map(normalise_name, labels))) < len(
            labels
        ):
            return None
        embeddings = name_vectors(labels)
        if embeddings is None:
            return None
        mean = (embeddings - embeddings.mean(axis=0)) @ self.matrix
        return ClassDeviationPrior(mean, priors.between * (1 - self.explained))


@dataclass(frozen=True, slots=True, eq=False)
class ClassPriors:
    """Priors of class means, fitted on public tasks: variances, and the map from class names.

    Attributes:
        model_variances: Variances of the mixed model.
        name_regression: Map from class names to class deviations; None if names predict nothing.
    """

    model_variances: ModelVariances
    name_regression: NameRegression | None = None

    def class_prior(self, labels: Sequence[str]) -> ClassDeviationPrior | None:
        """Return the prior of class deviations; None if these class names predict nothing."""
        return (
            None
            if self.name_regression is None
            else self.name_regression.predict_prior(self.model_variances, labels)
        )


def normalise_name(name: str) -> str:
    """Return a name's words in lower case; ``Pitted_Surface`` and ``pittedSurface`` are equal."""
    words = _CAMEL_CASE_BOUNDARY.sub(" ", unicodedata.normalize("NFKC", name))
    return " ".join(re.sub(r"[_\W]+", " ", words).casefold().split())


def is_descriptive_name(name: str) -> bool:
    """Return True if a name describes a class, unlike ``class-3``, ``B`` or ``17``."""
    words = set(_NON_LETTERS.sub(" ", normalise_name(name)).split()) - _NON_DESCRIPTIVE_WORDS
    return any(len(word) > 1 or not word.isascii() for word in words)


def name_vectors(names: Sequence[str]) -> Floats | None:
    """Return the unit vectors of names, ``[n, 512]``; None without the extra ``text``."""
    if not _has_sentence_model():
        return None
    return np.array([_name_vector(normalise_name(name)) for name in names]).reshape(
        -1, sentence_encoder.VECTOR_LENGTH
    )


def same_class_log_ratio(labels: Sequence[str], other_labels: Sequence[str]) -> Floats:
    """Return the log likelihood ratio that two names mean the same class, for all pairs.

    The result, ``[K, R]``, is for the K names of ``labels`` and the R names of ``other_labels``.
    The ratio is inf for equal names, and otherwise 0 if one of the two describes no class or there
    are no name vectors, which are computed only if a descriptive name of ``labels`` has no equal.
    """
    plain_one, plain_two = (
        np.array([normalise_name(name) for name in names]) for names in (labels, other_labels)
    )
    equal = plain_one[:, None] == plain_two
    telling = np.array([is_descriptive_name(name) for name in labels])
    ratio = np.zeros(equal.shape)
    needs_vectors = bool((telling & ~equal.any(axis=1)).any())
    rows, columns = (
        name_vectors(names) if needs_vectors else None for names in (labels, other_labels)
    )
    if rows is not None and columns is not None:
        (same_mean, same_std), (other_mean, other_std) = _SAME_MEANING_COSINE, _OTHER_MEANING_COSINE
        # A smaller cosine is no stronger evidence.
        cosine = np.maximum(rows @ columns.T, other_mean)
        ratio = ((cosine - other_mean) / other_std) ** 2 / 2 - (
            (cosine - same_mean) / same_std
        ) ** 2 / 2
        ratio = np.clip(ratio + np.log(other_std / same_std), -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
        ratio[~telling] = 0
        ratio[:, ~np.array([is_descriptive_name(name) for name in other_labels])] = 0
    ratio[equal] = np.inf
    return ratio


@functools.cache
def _has_sentence_model() -> bool:
    is_installed = sentence_encoder.is_installed()
    if not is_installed:
        log.info(
            "class names are compared by letters alone: %s is not there",
            sentence_encoder.PACKAGE_REQUIREMENT,
        )
    return is_installed


@functools.lru_cache(maxsize=1 << 14)
def _name_vector(name: str) -> Floats:
    vector: Floats = sentence_encoder.embed_sentences([name])[0].astype(np.float64)
    return vector


def fit_name_regression(
    tasks: Sequence[ZooTask], priors: ModelVariances, projection: NDArray[np.floating]
) -> NameRegression | None:
    """Fit a map that predicts the deviations of class means from the vectors of class names.

    Args:
        tasks: Zoo tasks to fit on, whose records are texts.
        priors: Variances of the mixed model, whose eigenvectors are the directions of the result.
        projection: Map from the sentence vector of any text to its d released features, ``[512,
            d]``; the fitted map contains a multiple of it.

    Returns:
        The map; None if there are too few names, or they explain no variance of held-out classes.
    """
    rows, targets, names, part = [], [], [], []
    families = sorted({task.family for task in tasks})
    for task in tasks:
        embeddings = (
            name_vectors(task.labels) if all(map(is_descriptive_name, task.labels)) else None
        )
        if embeddings is not None:
            rows.append(embeddings - embeddings.mean(axis=0))
            targets.append(task.class_mean_and_deviations()[1] @ priors.basis)
            names += [normalise_name(name) for name in task.labels]
            part += [families.index(task.family) % _FOLDS] * len(embeddings)
    unique_names = sorted(set(names))
    embeddings = name_vectors(unique_names)
    if embeddings is None or len(unique_names) < _MIN_NAMES:
        return None
    x, y = np.concatenate(rows), np.concatenate(targets)
    number = np.array([unique_names.index(name) for name in names])
    direct = projection.astype(np.float64) @ priors.basis
    errors, total = np.zeros((len(_RIDGE_PENALTIES), y.shape[1])), np.zeros(y.shape[1])
    for fold in range(_FOLDS):
        test_names = np.arange(len(unique_names)) % _FOLDS == fold
        near = (embeddings @ embeddings[test_names].T).max(axis=1) > _SIMILAR_COSINE
        test_rows = np.array(part) == fold
        out, fit_rows = test_rows & test_names[number], ~test_rows & ~near[number]
        total += (y[out] ** 2).sum(axis=0)
        for row, penalty in enumerate(_RIDGE_PENALTIES):
            matrix = _fit_name_map(x[fit_rows], y[fit_rows], direct, penalty)
            errors[row] += ((y[out] - x[out] @ matrix) ** 2).sum(axis=0)
    best = int(errors.sum(axis=1).argmin())
    if errors[best].sum() >= (1 - _MIN_EXPLAINED_SHARE) * total.sum():
        return None
    explained_share = np.clip(1 - errors[best] / total, 0, _MAX_EXPLAINED_SHARE)
    return NameRegression(_fit_name_map(x, y, direct, _RIDGE_PENALTIES[best]), explained_share)


def _fit_name_map(x: Floats, y: Floats, direct_map: Floats, penalty: float) -> Floats:
    """Fit the name map: a multiple of ``direct_map``, plus a ridge regression of the residual."""
    direct_fit = x @ direct_map
    share = float((direct_fit * y).sum() / max(float((direct_fit**2).sum()), 1e-12))
    system = x.T @ x + penalty * np.eye(x.shape[1])
    return np.asarray(share * direct_map + np.linalg.solve(system, x.T @ (y - share * direct_fit)))


def fit_public_priors(
    tasks: Sequence[ZooTask], projection: NDArray[np.floating] | None = None
) -> ClassPriors:
    """Fit the priors of class means on public tasks.

    Args:
        tasks: Zoo tasks to fit on.
        projection: If records are texts, map from the sentence vector of a text to its released
            features, ``[512, d]``; otherwise None, and no map from class names is fitted.
    """
    priors = blup.fit_variances([t.features for t in tasks], [t.y for t in tasks])
    names = None if projection is None else fit_name_regression(tasks, priors, projection)
    return ClassPriors(priors, names)
