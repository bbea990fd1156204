"""What charges and statements say in words, held against the words that this program knows.

A charge that names a fixed seed as its source of noise, or takes every pixel for public, promises
nothing, however well its arithmetic holds. So a word that is none of ``charge_words`` is a problem
of the verdict. Class names are the plant's own choice, and could say something of its records: each
change of them is a remark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wg_audit import charge_words
from wg_common.language import Text, list_names, text
from wg_core.ledger.entries import Charge, Entry, PublicStatement
from wg_core.privacy.schema import CLASSES

CHANGES_SHOWN = 20  # Most changes of class names that are listed one by one


@dataclass(frozen=True, slots=True)
class NameChange:
    """Class names of a data set that differ from those that its log stated before.

    Attributes:
        seq: Index of the entry.
        dataset: Name of the data set.
        new_names: Names that were not there.
        lost_names: Names that are not there any more.
    """

    seq: int
    dataset: str
    new_names: tuple[str, ...]
    lost_names: tuple[str, ...]

    def line(self) -> Text:
        """The change, with every name."""
        return text(
            "entry {seq}: class names of {dataset} change: new {added}; gone {gone}",
            seq=self.seq,
            dataset=repr(self.dataset),
            added=_names(self.new_names),
            gone=_names(self.lost_names),
        )


@dataclass(slots=True)
class StatedWords:
    """Words of a log's entries, collected one by one.

    Attributes:
        unknown: First entry that states a word which this program does not know, by field and word.
        changes: Changes of class names, in the order of the log.
    """

    unknown: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: list[NameChange] = field(default_factory=list)
    _labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _statements: dict[tuple[str, str], list[PublicStatement]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Keep what an entry says in words."""
        if isinstance(entry, Charge):
            for place, words in _words_of(entry):
                if not charge_words.is_known(place, words):
                    self.unknown.setdefault((place, words), entry.head.seq)
            if entry.mechanism.statistics == CLASSES:  # a charge for a machine names no classes
                self._name(entry.head.seq, entry.dataset, entry.guarantee.labels)
        elif isinstance(entry, PublicStatement):
            self._statements.setdefault((entry.dataset, entry.recipient), []).append(entry)
            self._name(entry.head.seq, entry.dataset, entry.labels)

    def statements_before(self, seq: int, dataset: str, recipient: str) -> list[PublicStatement]:
        """Statements of a data set to a recipient before entry ``seq``, oldest first."""
        statements = self._statements.get((dataset, recipient), [])
        return [statement for statement in statements if statement.head.seq < seq]

    def _name(self, seq: int, dataset: str, labels: tuple[str, ...]) -> None:
        before = self._labels.get(dataset, labels)
        if before != labels:
            new_names = tuple(name for name in labels if name not in before)
            lost_names = tuple(name for name in before if name not in labels)
            self.changes.append(NameChange(seq, dataset, new_names, lost_names))
        self._labels[dataset] = labels

    def problems(self) -> Iterator[Text]:
        """Say of each unknown word where it stands first."""
        for (place, words), seq in self.unknown.items():
            yield text(
                "unknown words: entry {seq} states {field} {words}, which this program does not"
                " know",
                seq=seq,
                field=place,
                words=repr(words),
            )

    def remarks(self) -> Iterator[Text]:
        """List changes of class names, and count those that are too many to list."""
        for change in self.changes[:CHANGES_SHOWN]:
            yield change.line()
        if len(self.changes) > CHANGES_SHOWN:
            yield text(
                "further changes of class names: {count}", count=len(self.changes) - CHANGES_SHOWN
            )


def _words_of(charge: Charge) -> Iterator[tuple[str, str]]:
    """Fields of a charge that hold words of its program, and the words."""
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


def _names(names: Sequence[str]) -> str:
    return list_names([repr(name) for name in names]) if names else text("none")
