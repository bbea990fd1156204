"""Benefit of more plants of a kind: ``python -m bench.more_plants --home HOME``.

A development set of images is cut by groups into test records and records of plants. Every plant
has a camera of its own and ``RECORDS`` records per class, and releases once. No two plants share a
camera, but they share records, since no set has enough for a hundred plants. A plant without labels
receives the sums of 1 to 100 others, as packages are made
(``wg_server.generator.prior.evidence_pools``), and classifies test records with them: *no labels*.
With five labels for each of half of the classes it completes the sums, and classifies records of
the other half: *classes never seen*. Results are accuracy in percent, mean and standard error over
data sets.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from bench.plants import Floats, Images, Ints, load_images, photograph, simulate_release
from bench.plants import split_groups as cut_by_groups
from numpy.typing import NDArray

from wg_common.inference.posterior import Posterior, mean_aligned_head_fitter, posterior_head
from wg_common.modalities import cameras
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_server.generator.pipeline import load_tasks
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.class_names import fit_public_priors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.zoo.store import ZooStore

DATASETS = ("fashion_mnist", "deeppcb_a", "gtsrb", "mnist10k", "trashnet", "neu_det")
PLANTS = (1, 3, 8, 30, 100)
EPSILONS = (1.0, 4.0)
RECORDS, CLASSES, TESTS = 10, 8, 200


def plant_features(
    encoder: Encoder, images: Images, labels: Ints, rows: Ints, number: int, records: int
) -> tuple[Floats, Ints]:
    """Encode a plant's records: ``records`` per class, seen through its own camera."""
    rng = np.random.default_rng((number, 5))
    camera = cameras.draw_camera(rng, strength=0.6, may_turn=False)
    of_class = [rng.permutation(rows[labels[rows] == k])[:records] for k in np.unique(labels[rows])]
    chosen = np.concatenate(of_class)
    pictures = [photograph(images[row], camera, rng) for row in chosen]
    return encoder.encode(pictures).astype(np.float64), labels[chosen]


def measure_data_set(
    encoder: Encoder, priors: ModelVariances, root: Path, name: str
) -> dict[str, float] | None:
    """Measure accuracy by cell on one data set; None if it is missing."""
    data = load_images(root, name)
    if data is None:
        return None
    images, labels, groups = data
    part_of, usable = cut_by_groups(labels, groups, np.random.default_rng((1, 1)))
    chosen = np.sort(np.random.default_rng(2).permutation(usable)[:CLASSES])
    dense = np.full(labels.max() + 1, -1)
    dense[chosen] = np.arange(len(chosen))
    labels, names = dense[labels], tuple(f"class-{k}" for k in chosen)
    rows = np.flatnonzero((part_of > 0) & (labels >= 0))
    tests = np.flatnonzero((part_of == 0) & (labels >= 0))
    others = [
        plant_features(encoder, images, labels, rows, i, RECORDS) for i in range(1, 1 + max(PLANTS))
    ]
    x, y = plant_features(encoder, images, labels, rows, 0, RECORDS)
    test_x, test_y = plant_features(encoder, images, labels, tests, 0, TESTS // len(chosen))
    found = {}
    for epsilon in EPSILONS:
        pool = evidence_pools.empty_pool(names, encoder.dimension)
        order = np.array([pool.labels.index(each) for each in names])
        for number, (other_x, other_y) in enumerate(others, 1):
            rng = np.random.default_rng((number, int(epsilon)))
            released = simulate_release("ab" * 32, other_x, other_y, names, epsilon, rng)
            site = site_evidence(released, pool.labels)
            pool = pool + evidence_pools.single_site_pool(priors, pool.labels, site)
            if number in PLANTS:
                known = evidence_pools.posterior_from_pools(priors, [pool], pool.labels)
                values = cell_accuracies(known, (x, order[y]), (test_x, order[test_y]))
                for cell, value in values.items():
                    found[f"{cell}, epsilon {epsilon:g}, {number} plants"] = value
    return found


def cell_accuracies(
    pooled_posterior: Posterior, own: tuple[Floats, Ints], test: tuple[Floats, Ints]
) -> dict[str, float]:
    """Accuracy without labels, and accuracy on classes of which the plant has no labels."""
    (x, y), (test_x, test_y) = own, test

    def right(head: tuple[NDArray[np.floating], NDArray[np.floating]], rows: Ints) -> float:
        logits = test_x[rows] @ head[0].T + head[1]
        return float((logits.argmax(axis=1) == test_y[rows]).mean())

    everything = np.arange(len(test_y))
    nothing = np.full(len(y), -1)
    half = np.where((y % 2 == 0) & (np.arange(len(y)) % 2 == 0), y, -1)
    return {
        "no labels": right(mean_aligned_head_fitter(pooled_posterior)(x, nothing), everything),
        "classes never seen": right(
            posterior_head(pooled_posterior, x, half), np.flatnonzero(test_y % 2 == 1)
        ),
    }


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True, help="A server's home with a zoo.")
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--datasets", default=",".join(DATASETS))
    asked = parser.parse_args()
    home = ServerHome(asked.home)
    encoder, encoder_id = load_encoder(home.read_encoder()), home.encoder_sha256()
    priors = fit_public_priors(load_tasks(ZooStore(home.zoo_folder), encoder_id)).model_variances
    found = defaultdict(list)
    for name in asked.datasets.split(","):
        accuracies = measure_data_set(encoder, priors, asked.data, name)
        if accuracies is None:
            print(f"{name}: not here, left out")
            continue
        for cell, value in accuracies.items():
            found[cell].append(value)
            print(f"{name}: {cell}: {100 * value:.1f}", flush=True)
    print("| cell | " + " | ".join(f"{n} plants" for n in PLANTS) + " | 30 - 8 | 100 - 8 |")
    print("|---|" + "---|" * (len(PLANTS) + 2))
    for cell in sorted({key.rsplit(",", 1)[0] for key in found}):
        by_count = {n: 100 * np.array(found[f"{cell}, {n} plants"]) for n in PLANTS}
        shown = [f"{by_count[n].mean():.1f}" for n in PLANTS]
        for more in (30, 100):
            gain = by_count[more] - by_count[8]
            error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
            shown.append(f"{gain.mean():+.1f} ± {error:.1f}")
        print(f"| {cell} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
