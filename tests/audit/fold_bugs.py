"""Twenty bugs for the fold that writes and refuses a plant's ledger, as patches of its sources.

Each makes the plant believe that less was spent, or that a budget is another one. ``fold`` gives a
``LedgerState`` of the patched sources; the installed one stays as it is.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from wg_core.ledger import lineage, log_state
from wg_core.ledger.log_state import LedgerState


@dataclass(frozen=True)
class PlantedBug:
    """A bug: what it does, in which module, and which lines become which."""

    name: str
    module: ModuleType
    before: str
    after: str


BUGS = (
    PlantedBug(
        "a merge forgets what the merged lineage had spent",
        log_state,
        "        for event in source.composed_events():\n            target.add_event(event)\n",
        "",
    ),
    PlantedBug(
        "a merge forgets how often the merged lineage was charged",
        log_state,
        "        target.charge_count += source.charge_count\n",
        "",
    ),
    PlantedBug(
        "a merge forgets the names of the merged lineage",
        log_state,
        "        target.dataset_names |= source.dataset_names\n",
        "",
    ),
    PlantedBug(
        "a merge forgets the contents of the merged lineage",
        log_state,
        "        target.commitments |= source.commitments\n",
        "        for commitment in source.commitments:\n            del self._owners[commitment]\n",
    ),
    PlantedBug(
        "an entry that merges lineages merges none",
        log_state,
        "            self._merge_lineages(self.lineage_by_id(identifier), lineage)\n",
        "            pass\n",
    ),
    PlantedBug(
        "inherited spend is not added",
        log_state,
        "            for event in spend.events:\n                lineage.add_event(event)\n",
        "",
    ),
    PlantedBug(
        "of inherited spend one charge in two is added",
        log_state,
        "            for event in spend.events:\n",
        "            for event in spend.events[:1]:\n",
    ),
    PlantedBug(
        "inherited charges are not counted",
        log_state,
        "                charge_count=spend.charges,\n",
        "",
    ),
    PlantedBug(
        "names are not inherited",
        log_state,
        "                dataset_names=dict.fromkeys(spend.names),\n",
        "",
    ),
    PlantedBug(
        "contents are not inherited",
        log_state,
        "                *spend.commitments,\n",
        "",
    ),
    PlantedBug(
        "one lineage is inherited, and no other",
        log_state,
        "        for spend in entry.predecessor.spends:\n",
        "        for spend in entry.predecessor.spends[:1]:\n",
    ),
    PlantedBug(
        "content under a new name is a new budget",
        log_state,
        '        keys = (f"name {name}", commitment)\n',
        '        keys = (f"name {name}",)\n',
    ),
    PlantedBug(
        "new content under a name is a new budget",
        log_state,
        '        keys = (f"name {name}", commitment)\n',
        "        keys = (commitment,)\n",
    ),
    PlantedBug(
        "a lineage does not remember the names of its data sets",
        log_state,
        "        lineage.dataset_names[entry.name] = None\n",
        "",
    ),
    PlantedBug(
        "a lineage does not remember the contents of its data sets",
        log_state,
        'fromkeys((f"name {entry.name}", entry.commitment), lineage.lineage_id)\n',
        'fromkeys((f"name {entry.name}",), lineage.lineage_id)\n',
    ),
    PlantedBug(
        "each version of a data set begins a budget anew",
        log_state,
        "        self.datasets[entry.name] = entry\n",
        "        self.datasets[entry.name] = entry\n        lineage.mu_squared_units = 0\n",
    ),
    PlantedBug(
        "a release gives half of the budget back",
        log_state,
        "        charge.release_seq = self.size\n",
        "        charge.release_seq = self.size\n"
        "        self.lineage_by_id(charge.lineage_id).mu_squared_units //= 2\n",
    ),
    PlantedBug(
        "charges are not counted",
        log_state,
        "        lineage.charge_count += 1\n",
        "",
    ),
    PlantedBug(
        "the largest charge stands for all",
        lineage,
        "        self.mu_squared_units += int(event.mu_squared)\n",
        "        self.mu_squared_units = max(self.mu_squared_units, int(event.mu_squared))\n",
    ),
    PlantedBug(
        "a charge is rounded down",
        lineage,
        "        self.mu_squared_units += int(event.mu_squared)\n",
        "        self.mu_squared_units += int(event.mu_squared) >> 24 << 24\n",
    ),
)


def fold(bug: PlantedBug) -> LedgerState:
    """An empty fold with a bug in it."""
    patched = {module: _patched(module, bug) for module in (lineage, log_state)}
    names = vars(patched[log_state])
    names["LineageState"] = vars(patched[lineage])["LineageState"]
    empty: LedgerState = names["LedgerState"]()
    return empty


def _patched(module: ModuleType, bug: PlantedBug) -> ModuleType:
    """A module of its own from a module's source, with the bug if it belongs there."""
    path = Path(str(module.__file__))
    source = path.read_text()
    if module is bug.module:
        assert source.count(bug.before) == 1, f"{bug.name}: {path.name} has other lines by now"
        source = source.replace(bug.before, bug.after)
    copy = ModuleType(f"patched_{path.stem}")
    sys.modules[copy.__name__] = copy  # where dataclasses look for the names of annotations
    exec(compile(source, str(path), "exec"), vars(copy))
    return copy
