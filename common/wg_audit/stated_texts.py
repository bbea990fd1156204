"""Checks on the free texts and class names in charges and public statements.

A charge that names a fixed seed as its source of randomness, or declares every pixel public, gives
no protection, even if its arithmetic is right. So a text that this program never writes
(``charge_texts``) makes the verdict fail. Class names are chosen by the plant, and could leak
information about its records, so each change of class names is reported as a remark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wg_audit import charge_texts
from wg_common.language import Text, list_names, text
from wg_core.ledger.entries import Charge, Entry, PublicStatement
from wg_core.privacy.schema import CLASS_STATISTICS

CHANGES_SHOWN = 20  # Largest number of listed changes of class names


@dataclass(frozen=True, slots=True)
class NameChange:
    """Change of a data set's class names on its log.

    Attributes:
        seq: Index of the entry with the new class names.
        dataset: Name of the data set.
        added_names: Class names that were added.
        removed_names: Class names that were removed.
    """

    seq: int
    dataset: str
    added_names: tuple[str, ...]
    removed_names: tuple[str, ...]

    def describe(self) -> Text:
        """Return a sentence that lists the added and removed class names."""
        return text(
            "entry {seq}: class names of {dataset} change: new {added}; gone {gone}",
            seq=self.seq,
            dataset=repr(self.dataset),
            added=_quote_names(self.added_names),
            gone=_quote_names(self.removed_names),
        )


@dataclass(slots=True)
class StatedTexts:
    """Free texts and class names in a log's charges and statements, collected entry by entry.

    Attributes:
        first_entry_by_unknown_text: Index of the first entry with each text that this program
            does not write, by (field, text).
        name_changes: Changes of class names, in the order of the log.
    """

    first_entry_by_unknown_text: dict[tuple[str, str], int] = field(default_factory=dict)
    name_changes: list[NameChange] = field(default_factory=list)
    _labels_by_dataset: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _statements: dict[tuple[str, str], list[PublicStatement]] = field(default_factory=dict)

    def add_entry(self, entry: Entry) -> None:
        """Record texts that this program does not write, class names and statements of an entry."""
        if isinstance(entry, Charge):
            for place, words in _free_texts(entry):
                if not charge_texts.is_known_text(place, words):
                    self.first_entry_by_unknown_text.setdefault((place, words), entry.head.seq)
            if (
                entry.mechanism.release_kind == CLASS_STATISTICS
            ):  # machine statistics have no classes
                self._record_class_names(entry.head.seq, entry.dataset, entry.guarantee.labels)
        elif isinstance(entry, PublicStatement):
            self._statements.setdefault((entry.dataset, entry.recipient), []).append(entry)
            self._record_class_names(entry.head.seq, entry.dataset, entry.labels)

    def statements_before(self, seq: int, dataset: str, recipient: str) -> list[PublicStatement]:
        """Return a data set's statements to a recipient before entry ``seq``, oldest first."""
        statements = self._statements.get((dataset, recipient), [])
        return [statement for statement in statements if statement.head.seq < seq]

    def _record_class_names(self, seq: int, dataset: str, labels: tuple[str, ...]) -> None:
        before = self._labels_by_dataset.get(dataset, labels)
        if before != labels:
            new_names = tuple(name for name in labels if name not in before)
            lost_names = tuple(name for name in before if name not in labels)
            self.name_changes.append(NameChange(seq, dataset, new_names, lost_names))
        self._labels_by_dataset[dataset] = labels

    def describe_unknown_texts(self) -> Iterator[Text]:
        """Yield a sentence on each text that this program does not write, with its first entry."""
        for (place, words), seq in self.first_entry_by_unknown_text.items():
            yield text(
                "unknown words: entry {seq} states {field} {words}, which this program does not"
                " know",
                seq=seq,
                field=place,
                words=repr(words),
            )

    def describe_name_changes(self) -> Iterator[Text]:
        """Yield a sentence on each change of class names, and one that counts those left out."""
        for change in self.name_changes[:CHANGES_SHOWN]:
            yield change.describe()
        if len(self.name_changes) > CHANGES_SHOWN:
            yield text(
                "further changes of class names: {count}",
                count=len(self.name_changes) - CHANGES_SHOWN,
            )


def _free_texts(charge: Charge) -> Iterator[tuple[str, str]]:
    """Yield (field, text) for each free text of a charge."""
    guarantee, implementation = charge.guarantee, charge.implementation
    yield "variant", guarantee.variant
    for quantity in guarantee.unprotected:
        yield "unprotected", quantity
    yield "accountant", charge.mechanism.accountant
    yield "randomness", implementation.randomness
    yield "floating_point", implementation.floating_point
    yield "timing", implementation.timing
    for library in implementation.libraries:
        yield "library", library.name
    yield "post_processing", charge.use.post_processing


def _quote_names(names: Sequence[str]) -> str:
    return list_names([repr(name) for name in names]) if names else text("none")
