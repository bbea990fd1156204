"""Sort new pictures or windows: what is sure, what a person should look at, what is new.

python examples/sort_new_records.py plant new-pictures
"""

import sys
from collections import Counter

import weightgate

plant = weightgate.Plant.open(sys.argv[1])
predictions = plant.predict(sys.argv[2])
print(Counter(one.call or "not known" for one in predictions))
for one in sorted(predictions, key=lambda one: one.probability):
    if one.call != "sure":
        print(f"look at {one.name}: {one.label} with {one.probability:.2f}? ({one.call})")
