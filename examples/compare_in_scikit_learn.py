"""Cross-validation of the plant's own learner and of an ordinary classifier, on data made here.

    python examples/compare_in_scikit_learn.py [plant labelled.npz]

With a plant's home and a file of records ``x`` and indices ``y`` into ``classes``: also the model
in use, on all of them, and trained on from it on half of them.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split

import weightgate

rng = np.random.default_rng(0)
labels = np.repeat(["ok", "scratch", "dent"], 20)
features = rng.normal(size=(60, 12)) + 1.5 * np.repeat(rng.normal(size=(3, 12)), 20, axis=0)
for name, classifier in (
    ("weightgate alone", weightgate.Classifier()),
    ("logistic regression", LogisticRegression(max_iter=300)),
):
    print(f"{name}: {cross_val_score(classifier, features, labels, cv=3).mean():.3f}")

if len(sys.argv) > 2:
    file = np.load(sys.argv[2])
    X, names = file["x"], file["classes"][file["y"]]
    in_use = weightgate.Classifier(sys.argv[1]).load()
    print(f"in use: {in_use.score(X, names):.3f}")
    first, held, y, y_held = train_test_split(X, names, stratify=names, test_size=0.5)
    further = weightgate.Classifier(sys.argv[1]).fit(first, y)
    print(f"trained further: {further.score(held, y_held):.3f}")
