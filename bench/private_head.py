"""Heads by private gradient descent: ``python -m bench.private_head --home HOME --datasets DIR``.

Heads on the released features of a home's encoder, from ``LABELLED`` records per class or a third
of a class, are trained by logistic regression, and by ``wg_common.nets.private_head`` at several
epsilons; a nearest mean from one release of class statistics at the same epsilons can be computed
by anybody with the release. *Right* is the accuracy on records outside the training; *found* is the
area under the ROC curve of an attack that takes records with low loss for members (Yeom et al.,
*Privacy Risk in Machine Learning*, CSF 2018). *Null* is the same area for the same members and
other records, under a head that was trained on neither: differences between the two groups that
need no memory of members, such as another mixture of classes. So *found* minus *null* is the
information that the head reveals about its records. A guess is .5; a mu-Gaussian private head has
at most Phi(mu / sqrt 2), printed as *bound*. Steps, rate and scale of the private training were
chosen on ``CHOSEN_ON``, so only the other sets count. Results are mean and standard error over
sets, also of the paired difference.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.plants import Floats, Ints, load_images
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from wg_common.nets import private_head
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.privacy import calibration
from wg_core.privacy.gradients import DEFAULT_STEPS, ChargedGradientSums, LabelledFeatures
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.schema import GRID_BITS, default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.site.home import ServerHome

CHOSEN_ON = ("neu_det", "deeppcb_a")
DATASETS = (*CHOSEN_ON, "trashnet", "gtsrb", "cifar10", "magnetic_tile", "fashion_mnist")
EPSILONS = (8.0, 4.0, 1.0)
DELTA = 1e-5
LABELLED, CLASSES, RECORDS, DRAWS = (20, 50), 10, 140, 1
PENALTIES = (1.0, 10.0, 100.0)
NO_PRIVACY = "no privacy"
TEMPERATURE = 20.0  # Factor on the nearest mean's cosines, of features of norm 1
Head = tuple[NDArray[np.floating], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class RecordSplit:
    """Rows of records by their use.

    Attributes:
        members: Training records of the attacked head.
        others_members: Training records of the head for *null*.
        unused: Records in neither training.
    """

    members: Ints
    others_members: Ints
    unused: Ints


def split_records(labels: Ints, count: int, rng: np.random.Generator) -> RecordSplit:
    """Draw rows for two trainings, ``count`` per class or a third of a small one, and the rest."""
    parts: list[list[Ints]] = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        share = min(count, len(rows) // 3)
        for part, piece in zip(parts, np.split(rows, [share, 2 * share]), strict=True):
            part.append(piece)
    return RecordSplit(*(np.concatenate(part) for part in parts))


def train_regression(features: Floats, labels: Ints) -> Head:
    """Train a logistic regression, its penalty chosen by three folds, with a row per class."""
    grid = GridSearchCV(LogisticRegression(max_iter=2000), {"C": PENALTIES}, cv=3)
    fitted = grid.fit(features, labels).best_estimator_
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def measure_head(head: Head, features: Floats, labels: Ints, rows: RecordSplit) -> Floats:
    """Return accuracy on unused records, and area under the attack's ROC curve, ``[2]``."""
    weight, bias = head
    members, others = rows.members, rows.unused
    scores = log_softmax(features @ weight.T + bias, axis=1)
    losses = -scores[np.arange(len(labels)), labels]
    right = (scores[others].argmax(axis=1) == labels[others]).mean()
    is_member = np.repeat([1, 0], [len(members), len(others)])
    found = roc_auc_score(is_member, -losses[np.concatenate([members, others])])
    return np.array([right, found])


def mean_figures(features: Floats, labels: Ints, count: int) -> dict[str, Floats]:
    """Return by head, as means over draws: accuracy, the attack's area, and its area for *null*."""
    table: dict[str, list[Floats]] = {}
    for draw in range(DRAWS):
        rows = split_records(labels, count, np.random.default_rng((draw, count)))
        heads = train_heads(features, labels, rows.members)
        null_heads = train_heads(features, labels, rows.others_members)
        for name, head in heads.items():
            right, found = measure_head(head, features, labels, rows)
            _, null = measure_head(null_heads[name], features, labels, rows)
            table.setdefault(name, []).append(np.array([right, found, null]))
    return {name: np.mean(values, axis=0) for name, values in table.items()}


def train_heads(features: Floats, labels: Ints, rows: Ints) -> dict[str, Head]:
    """Train heads on some rows, without privacy and at each epsilon, by name."""
    x, y = features[rows].astype(np.float32), labels[rows]
    records = LabelledFeatures(features=x, labels=y, class_count=int(labels.max()) + 1)
    heads: dict[str, Head] = {NO_PRIVACY: train_regression(features[rows], y)}
    for epsilon in EPSILONS:
        sigma = DEFAULT_STEPS**0.5 * (1 << GRID_BITS) / calibration.largest_mu(epsilon, DELTA)
        charged = ChargedGradientSums(records.rows_by_unit(), sigma, DEFAULT_STEPS)
        heads[f"epsilon {epsilon:g}"] = private_head.train_private_head(records, charged)
        heads[f"epsilon {epsilon:g}, nearest mean"] = nearest_mean(
            x, y, records.class_count, epsilon
        )
    return heads


def nearest_mean(x: NDArray[np.float32], y: Ints, classes: int, epsilon: float) -> Head:
    """Compute class means, scaled to equal length, from a release with a real one's noise.

    Noise makes the means of small classes long. The bias is the logarithm of the released count.
    """
    schema = default_schema(
        encoder="0" * 64,
        dimension=x.shape[1],
        labels=[str(label) for label in range(classes)],
        clip_radius=1.0,
    )
    sigma = noise_scale(schema, epsilon, DELTA)
    release = simulate_noisy_statistics(schema, x, y, sigma, np.random.default_rng(len(y)))
    sums = release.sums()
    weight = TEMPERATURE * sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    counts = np.maximum(release.counts(), release.count_std)
    return weight, np.log(np.maximum(counts, 1e-12)) - weight @ release.centre()


def attack_bound(head: str) -> str:
    """Largest area under the curve of an attack on one record of a private head, as a text."""
    if head == NO_PRIVACY:
        return ""
    epsilon = float(head.split()[1].rstrip(","))
    return f"{norm.cdf(calibration.largest_mu(epsilon, DELTA) / 2**0.5):.3f}"


def encode_data_set(home: ServerHome, root: Path, name: str) -> tuple[Floats, Ints] | None:
    """Released features and labels of records of a data set; None if it is missing."""
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
    features = encoder.encode([images[row] for row in rows], one_by_one=False)
    return features.astype(np.float64), labels[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    options = parser.parse_args()
    shown: dict[tuple[str, int], list[Floats]] = {}
    print("| set | records a class | head | right | found | null |\n|---|---|---|---|---|---|")
    for name in DATASETS:
        data = encode_data_set(ServerHome(options.home), options.datasets, name)
        if data is None:
            print(f"{name}: not here, left out")
            continue
        for count in LABELLED:
            for head, values in mean_figures(*data, count).items():
                cells = " | ".join(f"{value:.3f}" for value in values)
                print(f"| {name} | {count} | {head} | {cells} |", flush=True)
                if name not in CHOSEN_ON:
                    right, found, null = values
                    row = np.array([right, found, null, found - null])
                    shown.setdefault((head, count), []).append(row)
    print("\n| sets not used for choices | records a class | right | found | null", end="")
    print(" | found less null | bound |\n|---|---|---|---|---|---|---|")
    for (head, count), rows in shown.items():
        mean = np.mean(rows, axis=0)
        error = np.std(rows, axis=0, ddof=1) / len(rows) ** 0.5
        cells = " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))
        print(f"| {head} | {count} | {cells} | {attack_bound(head)} |")


if __name__ == "__main__":
    main()
