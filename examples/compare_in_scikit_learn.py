"""The model in use, trained on from it, and an ordinary classifier, on records held out.

    python examples/compare_in_scikit_learn.py plant labelled.npz

The file has arrays ``x`` (records) and ``y`` (indices into ``classes``), as plants have them.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

import weightgate

file = np.load(sys.argv[2])
names = file["classes"][file["y"]]
X, X_held, y, y_held = train_test_split(file["x"], names, stratify=names, random_state=0)

in_use = weightgate.Classifier(sys.argv[1]).load()
print(f"in use:          {accuracy_score(y_held, in_use.predict(X_held)):.3f}")
further = weightgate.Classifier(sys.argv[1]).fit(X, y)
print(f"trained further: {accuracy_score(y_held, further.predict(X_held)):.3f}")
pixels = X.reshape(len(X), -1) / 255, X_held.reshape(len(X_held), -1) / 255
plain = LogisticRegression(max_iter=300).fit(pixels[0], y)
print(f"on pixels:       {accuracy_score(y_held, plain.predict(pixels[1])):.3f}")
