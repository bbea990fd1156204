"""Sort new pictures or windows: what is sure, what a person should look at, what is new.

    python examples/sort_new_records.py [plant new-pictures]

Without a plant's home: the plant's own learner on features that are made here.
"""

import sys
from collections import Counter

import numpy as np

import weightgate


def of_made_features() -> None:
    """Learns from twenty records, and lists the new ones that it is least sure of."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 8)) + 1.5 * y[:, None]
    learner = weightgate.Classifier().fit(x[:20], y[:20])
    chances = learner.predict_proba(x[20:])
    for row in np.argsort(chances.max(axis=1))[:5]:
        print(f"look at record {row}: {chances[row].argmax()} with {chances[row].max():.2f}?")


def of_plant(home: str, records: str) -> None:
    """Calls of the model in use."""
    predictions = weightgate.Plant.open(home).predict(records)
    print(Counter(one.call or "not known" for one in predictions))
    for one in sorted(predictions, key=lambda one: one.probability):
        if one.call != "sure":
            print(f"look at {one.name}: {one.label} with {one.probability:.2f}? ({one.call})")


if len(sys.argv) > 2:
    of_plant(*sys.argv[1:3])
else:
    of_made_features()
