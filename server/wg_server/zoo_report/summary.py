"""The zoo in numbers: what it holds, how diverse it is, and what it has too much of."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wg_common.inference.discriminants import unit_rows
from wg_server.zoo_report import domains as points
from wg_server.zoo_report.domains import Domain, Floats
from wg_server.zoo_report.plants import Plant

LISTED = 12
COPY = 0.02  # Distance below which two entries of different families are called copies
_MUCH = 1.5
_NARROW = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Entries of one source or kind.

    Attributes:
        name: Of the source or kind.
        licences: Terms of its entries.
        entries: How many.
        families: How many families.
        records: How many records.
        classes: Fewest, median and most classes of an entry.
        accuracy: Tenth, fiftieth and ninetieth percentile of held-out accuracy.
        balance: Least, over entries, of the fewest over the most records of a class.
        effective: Effective number of its families alone.
        share: Share of all entries.
        effective_share: Share of the sum of all groups' effective numbers.
        adds: Effective number of all families minus that without the group.
        nearest: Median distance of an entry to the nearest other family.
    """

    name: str
    licences: tuple[str, ...]
    entries: int
    families: int
    records: int
    classes: tuple[int, int, int]
    accuracy: tuple[float, float, float]
    balance: float
    effective: float
    share: float
    effective_share: float
    adds: float
    nearest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """What one family adds to the others.

    Attributes:
        family: Its name.
        distance: Of its entries to the nearest other family, mean.
        nearest: That family, most often.
        adds: Effective number with it minus that without it.
    """

    family: str
    distance: float
    nearest: str
    adds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One class name over the zoo."""

    name: str
    entries: int
    families: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """The whole report, but for pictures.

    Attributes:
        encoder: Id of the encoder, hex.
        entries: How many.
        families: How many.
        records: How many.
        effective_families: Effective number of families.
        effective_sites: Effective number of site means.
        sources: By source.
        kinds: By kind.
        labels: The most frequent class names.
        label_count: Number of different class names.
        newest: Families that add most, first.
        least: Families that add least, first.
        copies: Pairs of entries of different families nearer than ``COPY``.
        nearest_median: Median distance of an entry to the nearest other family.
        same_family_median: Median distance of an entry to the nearest other one of its family.
        plants: Releases against the zoo.
        remarks: What deserves a look.
    """

    encoder: str
    entries: int
    families: int
    records: int
    effective_families: float
    effective_sites: float
    sources: tuple[Group, ...]
    kinds: tuple[Group, ...]
    labels: tuple[Label, ...]
    label_count: int
    newest: tuple[Novelty, ...]
    least: tuple[Novelty, ...]
    copies: int
    nearest_median: float
    same_family_median: float
    plants: tuple[Plant, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For machines: all but the plants' vectors."""
        document = asdict(self)
        for row, plant in zip(document["plants"], self.plants, strict=True):
            del row["centre"], row["deviations"]
            row["verdict"] = plant.verdict
        # The key of reports that are already read by machines.
        median = document.pop("same_family_median")
        document["sister_median"] = None if np.isnan(median) else median
        return document


def summarise(
    domains: Sequence[Domain], likeness: Floats, own: Floats, plants: Sequence[Plant] = ()
) -> Summary:
    """Measure a zoo.

    Args:
        likeness: From ``domains.kernel``, ``[n, n]``.
        own: Distance of each entry to its nearest other family, ``[n]``.
        plants: Releases placed in it.
    """
    names, families = points.by_family(domains, likeness)
    new = _novelty(domains, likeness, names, families)
    copies = _copies(domains, likeness)
    sources = tuple(_groups(domains, names, families, own, lambda d: d.entry.task.name))
    kinds = tuple(_groups(domains, names, families, own, lambda d: d.kind))
    labels = _labels(domains)
    return Summary(
        encoder=domains[0].entry.encoder,
        entries=len(domains),
        families=len(names),
        records=sum(domain.entry.records for domain in domains),
        effective_families=points.effective_number(families),
        effective_sites=points.effective_number(_cosine(np.stack([d.centre for d in domains]))),
        sources=sources,
        kinds=kinds,
        labels=tuple(labels[:LISTED]),
        label_count=len(labels),
        newest=tuple(new[:LISTED]),
        least=tuple(new[: -LISTED - 1 : -1]),
        copies=copies,
        nearest_median=float(np.median(own)),
        same_family_median=_median(points.same_family(domains, likeness)),
        plants=tuple(plants),
        remarks=tuple(_remarks(sources, kinds, labels, copies, float(np.median(own)), plants)),
    )


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _cosine(rows: Floats) -> Floats:
    away = unit_rows(rows - rows.mean(axis=0))
    # Squared: two sites on opposite sides differ along one direction.
    return np.asarray((away @ away.T) ** 2)


def _groups(
    domains: Sequence[Domain],
    names: Sequence[str],
    families: Floats,
    own: Floats,
    key: Callable[[Domain], str],
) -> Iterator[Group]:
    members: dict[str, list[int]] = defaultdict(list)
    for row, domain in enumerate(domains):
        members[key(domain)].append(row)
    number = {name: row for row, name in enumerate(names)}
    whole = points.effective_number(families)
    rows_of = {
        name: np.array(sorted({number[domains[row].entry.family] for row in rows}))
        for name, rows in members.items()
    }
    effective = {
        name: points.effective_number(families[np.ix_(rows, rows)])
        for name, rows in rows_of.items()
    }
    for name, rows in sorted(members.items()):
        entries = [domains[row].entry for row in rows]
        rest = np.setdiff1d(np.arange(len(names)), rows_of[name])
        counts = [domains[row].counts for row in rows]
        sizes = np.array([len(count) for count in counts])
        accuracy = np.quantile([float(entry.accuracy) for entry in entries], (0.1, 0.5, 0.9))
        yield Group(
            name=name,
            licences=tuple(sorted({entry.licence for entry in entries})),
            entries=len(rows),
            families=len(rows_of[name]),
            records=sum(entry.records for entry in entries),
            classes=(int(sizes.min()), int(np.median(sizes)), int(sizes.max())),
            accuracy=(float(accuracy[0]), float(accuracy[1]), float(accuracy[2])),
            balance=float(min(count.min() / max(count.max(), 1) for count in counts)),
            effective=effective[name],
            share=len(rows) / len(domains),
            effective_share=effective[name] / sum(effective.values()),
            adds=whole - points.effective_number(families[np.ix_(rest, rest)]),
            nearest=float(np.median(own[rows])),
        )


def _novelty(
    domains: Sequence[Domain], likeness: Floats, names: Sequence[str], families: Floats
) -> list[Novelty]:
    own, which = points.nearest(domains, likeness)
    adds = points.added(families)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, domain in enumerate(domains):
        rows[domain.entry.family].append(row)
    found = []
    for name, gain in zip(names, adds, strict=True):
        close = Counter(domains[which[row]].entry.family for row in rows[name])
        found.append(
            Novelty(
                family=name,
                distance=float(own[rows[name]].mean()),
                nearest=close.most_common(1)[0][0],
                adds=float(gain),
            )
        )
    return sorted(found, key=lambda one: -one.adds)


def _copies(domains: Sequence[Domain], likeness: Floats) -> int:
    families = np.array([domain.entry.family for domain in domains])
    close = (1 - likeness < COPY) & (families[:, None] != families[None, :])
    return int(close.sum()) // 2


def _labels(domains: Sequence[Domain]) -> list[Label]:
    entries: Counter[str] = Counter()
    families: dict[str, set[str]] = defaultdict(set)
    for domain in domains:
        for label in domain.entry.labels:
            entries[label] += 1
            families[label].add(domain.entry.family)
    return [
        Label(name=name, entries=count, families=len(families[name]), share=count / len(domains))
        for name, count in entries.most_common()
    ]


def _remarks(
    sources: Sequence[Group],
    kinds: Sequence[Group],
    labels: Sequence[Label],
    copies: int,
    nearest: float,
    plants: Sequence[Plant],
) -> Iterator[str]:
    for title, groups in (("Source", sources), ("Kind", kinds)):
        for group in groups:
            if len(groups) > 1 and group.share > _MUCH * group.effective_share:
                yield (
                    f"{title} {group.name} is over-represented: {group.share:.0%} of the entries,"
                    f" {group.effective_share:.0%} of the diversity."
                )
            if group.nearest < _NARROW * nearest:
                yield (
                    f"{title} {group.name} has entries that are too similar: half have another"
                    f" family within {group.nearest:.3f}; over the zoo it is {nearest:.3f}."
                )
            if group.accuracy[1] < 1.5 / max(group.classes[1], 1):
                yield f"{title} {group.name}: half of its tasks are hardly better than guessing."
            if group.balance < 0.2:
                yield (
                    f"{title} {group.name} has an entry in which one class has"
                    f" {1 / max(group.balance, 1e-3):.0f} times the records of another."
                )
    yield from (
        f"Class name {label.name!r} is in {label.share:.0%} of the entries."
        for label in labels
        if label.share > 0.25
    )
    if copies:
        yield f"{copies} pairs of entries of different families are all but copies."
    yield from (f"Release {plant.name}: {plant.verdict}." for plant in plants)
