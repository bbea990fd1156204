"""Heads by private gradient descent: ``python -m bench.private_head --home HOME --datasets DIR``.

A head on the released features of a home's encoder, of ``LABELLED`` records a class: by logistic
regression, and by ``wg_common.nets.private_head`` at several epsilons. *Right* is the share of
records outside the training that it names; *found* is the area under the curve of an attack that
takes records of low loss for members (Yeom et al., *Privacy Risk in Machine Learning*, CSF 2018):
.5 is a guess. Steps, rate and scale of the private training were chosen on ``CHOSEN_ON``, so only
the other sets count. Mean and standard error over sets.
"""

import argparse
from pathlib import Path

import numpy as np
from bench.plants import Floats, Ints, load_images
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from wg_common.nets import private_head
from wg_common.nets.encoder.module import load_encoder
from wg_common.nets.private_head import LabelledFeatures
from wg_core.privacy import calibration, gradients
from wg_server.site.home import ServerHome

CHOSEN_ON = ("neu_det", "deeppcb_a")
DATASETS = (*CHOSEN_ON, "trashnet", "gtsrb", "cifar10", "magnetic_tile", "fashion_mnist")
EPSILONS = (8.0, 4.0, 1.0)
DELTA = 1e-5
LABELLED, CLASSES, RECORDS, DRAWS = (20, 50), 10, 90, 2
PENALTIES = (1.0, 10.0, 100.0)
PLAIN = "no privacy"
Head = tuple[NDArray[np.floating], NDArray[np.floating]]


def cut(labels: Ints, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows of the training, so many of each class, and the other rows."""
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return (
        np.concatenate([members[:count] for members in rows]),
        np.concatenate([members[count:] for members in rows]),
    )


def regression(features: Floats, labels: Ints) -> Head:
    """Head of a logistic regression, its penalty chosen by three folds, with a row a class."""
    grid = GridSearchCV(LogisticRegression(max_iter=2000), {"C": PENALTIES}, cv=3)
    fitted = grid.fit(features, labels).best_estimator_
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def measured(head: Head, features: Floats, labels: Ints, cuts: tuple[Ints, Ints]) -> Floats:
    """Share right of other records, and the area under the attack's curve, ``[2]``."""
    weight, bias = head
    members, others = cuts
    scores = log_softmax(features @ weight.T + bias, axis=1)
    losses = -scores[np.arange(len(labels)), labels]
    right = (scores[others].argmax(axis=1) == labels[others]).mean()
    is_member = np.repeat([1, 0], [len(members), len(others)])
    found = roc_auc_score(is_member, -losses[np.concatenate([members, others])])
    return np.array([right, found])


def figures(features: Floats, labels: Ints, count: int) -> dict[str, Floats]:
    """Mean over draws of both figures, by head."""
    table: dict[str, list[Floats]] = {}
    for draw in range(DRAWS):
        cuts = cut(labels, count, np.random.default_rng((draw, count)))
        x, y = features[cuts[0]], labels[cuts[0]]
        records = LabelledFeatures(
            features=x.astype(np.float32), labels=y, classes=int(labels.max()) + 1
        )
        heads: dict[str, Head] = {PLAIN: regression(x, y)}
        for epsilon in EPSILONS:
            squared = gradients.sensitivity_squared(private_head.STEPS)
            sigma = squared**0.5 / calibration.mu(epsilon, DELTA)
            heads[f"epsilon {epsilon:g}"] = private_head.private_head(records, None, sigma)
        for name, head in heads.items():
            table.setdefault(name, []).append(measured(head, features, labels, cuts))
    return {name: np.mean(values, axis=0) for name, values in table.items()}


def encoded(home: ServerHome, root: Path, name: str) -> tuple[Floats, Ints] | None:
    """Released features and labels of some records of a set; None if it is not there."""
    data = load_images(root, name)
    if data is None:
        return None
    images, labels, _ = data
    rng = np.random.default_rng(0)
    names, labels = np.unique(labels, return_inverse=True)
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == k))[:RECORDS]
            for k in range(min(CLASSES, len(names)))
        ]
    )
    encoder = load_encoder(home.read_encoder())
    features = encoder.encode([images[row] for row in rows], alone=False)
    return features.astype(np.float64), labels[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    options = parser.parse_args()
    shown: dict[tuple[str, int], list[Floats]] = {}
    print("| set | records a class | head | right | found |\n|---|---|---|---|---|")
    for name in DATASETS:
        data = encoded(ServerHome(options.home), options.datasets, name)
        if data is None:
            print(f"{name}: not here, left out")
            continue
        for count in LABELLED:
            for head, (right, found) in figures(*data, count).items():
                print(f"| {name} | {count} | {head} | {right:.3f} | {found:.3f} |", flush=True)
                if name not in CHOSEN_ON:
                    shown.setdefault((head, count), []).append(np.array([right, found]))
    print(
        "\n| sets without part in a choice | records a class | right | found |\n|---|---|---|---|"
    )
    for (head, count), values in shown.items():
        mean = np.mean(values, axis=0)
        error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
        right, found = (f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))
        print(f"| {head} | {count} | {right} | {found} |")


if __name__ == "__main__":
    main()
