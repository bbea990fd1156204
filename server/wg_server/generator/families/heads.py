"""Heads for plants of the operator's families, on local features that each plant standardises.

A plant releases 64 numbers of a record and learns on many more, which stay with it. Records of the
operator's own need no noise and no release, so that heads can be fitted on *all* local features of
them, under as many cameras as one likes (``wg_server.zoo.family_heads``). Plants of such a family,
found by ``families.match``, get the head, and standardise their own features for it. Where the
zoo has networks of the family that saw made-up sites, they come with the head
(``wg_common.nets.family_network``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import family_head
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.inference.hostile_tensors import apart
from wg_common.inference.posterior import Means
from wg_common.nets import family_network
from wg_common.nets.family_network import FamilyNetwork
from wg_core.errors import DecodeError
from wg_server.generator.families.match import LIKELY, Entries, match_own_first, measure
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.zoo_tasks import ZooTask

ARRAYS = ("deviations", "entry", "centres")  # Arrays of `Entries`


@dataclass(frozen=True, slots=True, eq=False)
class OperatorFamilies(Entries):
    """All tasks of the zoo, and heads of the families with the operator's own records.

    Attributes:
        layout: Of local features.
        heads: By family.
        networks: By family, of some of those with heads. At least one.
    """

    layout: Layout
    heads: Mapping[str, FamilyHead]
    networks: Mapping[str, Sequence[FamilyNetwork]] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays by name, for a package; names, families and layout are stored beside them."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        for number, family in enumerate(sorted(self.heads)):
            tensors = self.heads[family].tensors()
            if family in self.networks:
                tensors |= family_network.packed(self.networks[family])
            arrays |= {f"heads.{number}.{name}": value for name, value in tensors.items()}
        return arrays


def collect(
    tasks: Sequence[ZooTask],
    heads: Mapping[str, tuple[Layout, FamilyHead]],
    networks: Mapping[str, Sequence[FamilyNetwork]],
) -> OperatorFamilies | None:
    """The operator's families of a zoo; None if it has no heads of any.

    Args:
        heads: By family, with the local features that they stand on; all on the same.
        networks: By family, of these or fewer.
    """
    task_families = {task.family for task in tasks}
    family_heads = {family: head for family, (_, head) in heads.items() if family in task_families}
    if not family_heads:
        return None
    layout = next(iter(heads.values()))[0]
    centres, deviations = zip(*(task.moments() for task in tasks), strict=True)
    return OperatorFamilies(
        deviations=np.concatenate(deviations),
        entry=np.repeat(np.arange(len(tasks)), [len(task.labels) for task in tasks]),
        names=tuple(name for task in tasks for name in task.labels),
        centres=np.array(centres),
        families=tuple(task.family for task in tasks),
        layout=layout,
        heads=family_heads,
        networks={
            family: several
            for family, several in networks.items()
            if family in family_heads
            and all(
                len(network.head.weight) == len(family_heads[family].weight) for network in several
            )
        },
    )


def read(
    arrays: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    families: Sequence[str],
    owned: Sequence[str],
    layout: Layout,
    architectures: Sequence[str],
) -> OperatorFamilies:
    """Read ``OperatorFamilies.arrays``.

    Args:
        owned: Families with heads, in order.
        architectures: That their networks may have.

    Raises:
        DecodeError: They do not fit together.
    """
    wrong = DecodeError("generator: arrays of the operator's families do not fit together")
    rows = {name: arrays[name] for name in ARRAYS}
    entry, entries = rows["entry"], len(rows["centres"])
    if not (
        len(names) == len(entry) == len(rows["deviations"])
        and len(families) == entries
        and np.array_equal(np.unique(entry), np.arange(entries))
        and (np.diff(entry) >= 0).all()
        and list(owned) == sorted(set(owned) & set(families))
    ):
        raise wrong
    heads, networks, unread_names = {}, {}, set(arrays) - set(ARRAYS)
    for number, family in enumerate(owned):
        prefix = f"heads.{number}."
        tensors = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        unread_names -= {prefix + name for name in tensors}
        classes = int((entry == list(families).index(family)).sum())
        tensors, network = apart(tensors, family_network.PREFIX)
        heads[family] = family_head.from_tensors(tensors, classes, layout)
        if network:
            networks[family] = family_network.unpacked(network, architectures, classes)
    if unread_names:
        raise wrong
    return OperatorFamilies(
        **rows,
        names=tuple(names),
        families=tuple(families),
        layout=layout,
        heads=heads,
        networks=networks,
    )


def head_for(
    operator: OperatorFamilies, priors: Priors, estimate: Means, labels: Sequence[str]
) -> tuple[FamilyHead, Sequence[FamilyNetwork]] | None:
    """The head of the plant's family, if the operator has it, and its networks, if there are any.

    Args:
        operator: From ``collect``.
        labels: The plant's class names, K.

    Returns:
        Both of the plant's classes, in its order; None if no family of the operator's is likely.
    """
    entries = [
        number for number, family in enumerate(operator.families) if family in operator.heads
    ]
    arguments = (operator, measure(operator, priors), priors, estimate, labels)
    family_match = match_own_first(*arguments, own_entries=entries)
    if family_match is None or family_match.share < LIKELY:
        return None
    best = int(np.argmax(family_match.weights))
    entry = int(family_match.entries[best])
    family = operator.families[entry]
    head, networks = operator.heads.get(family), operator.networks.get(family, ())
    rows = family_match.matched[best] - operator.bounds[entry]
    if head is None or len(head.weight) <= rows.max():
        return None
    return head.of_classes(rows), [network.of_classes(rows) for network in networks]
