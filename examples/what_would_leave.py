"""What would leave the plant, and what would it cost? Sends nothing, charges nothing.

python examples/what_would_leave.py plant
"""

import sys

import weightgate

plant = weightgate.Plant.open(sys.argv[1])
print(f"{plant.site}: {', '.join(plant.labels)}")
for epsilon in ("1", "2", "4"):
    found = plant.check(epsilon=epsilon)
    blocks = {block.name: block.noise_std for block in found.would_leave.blocks}
    left = found.cost.releases_left
    print(f"epsilon {epsilon}: noise {blocks['counts']} on each count; {left} of these would fit")
for hint in plant.check().hints:
    print(f"hint: {hint}")
