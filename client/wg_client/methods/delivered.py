"""Delivered heads, as they came and trained on with the plant's records.

Which candidate is taken is chosen by labels like a configuration: for the records of a fold by
those of the others. Candidates that were made from the plant's own release have its labels in them:
there the first of the server's order is taken, and no local record judges it. Samples that are
networks with a trunk each are put in order by all records, with a label or not, before labels
choose.

A head of the plant's family may come with its rows in another order: its classes were matched with
the plant's by names that say little, and by noisy means. The plant's labels know better.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import entr, gammaln, softmax

from wg_client.fitting.assignment import rows_of_labels
from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.fitted import Fitted, cross_validated
from wg_client.fitting.folds import RowIndex
from wg_client.fitting.leave_class_out import BaseHead, of_logits
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, tempered_loss
from wg_client.methods.base import Candidate, LabelledRecords, Model, Package


def fit_delivered(base: BaseHead, features: Floats, records: LabelledRecords) -> Fitted:
    """A head as it came, at the temperature that suits the records.

    Args:
        base: Which head it is, by training records.
        features: Of labelled records, ``[n, d]``.
        records: The records.
    """
    labels = records.labels

    def refit(rows: RowIndex | slice, choice: int = 0) -> LinearHead:
        return base(features[rows], labels[rows])

    def predict(train: RowIndex, held_out: RowIndex) -> list[Floats]:
        return [refit(train).logits(features[held_out])]

    fitted, _ = cross_validated(predict, refit, features, labels, records.folds, np.zeros(1))
    if records.unseen_mass and fitted.out_of_fold is not None:
        judged = fitted.out_of_fold
        leave_class_out = of_logits(
            np.concatenate(judged.logits), np.tile(judged.labels, len(judged.logits))
        )
        return Fitted(fitted.head, judged, leave_class_out=leave_class_out)
    return fitted


def first_or_best(candidates: Sequence[Candidate], classes: int) -> BaseHead:
    """The candidate with the least log loss on records at its best temperature.

    Without records, and among equals, the first. A rank's logarithm is added, nats: the server has
    put the likelier ones first. Heads of the plant's family are also tried in the order of rows
    that labels ask for, and pay for it: all orders of K rows are equally likely.

    Args:
        candidates: At least one.
        classes: K.
    """

    def base(features: Floats, labels: Ints) -> LinearHead:
        first = candidates[0]
        if not len(labels) or (len(candidates) == 1 and not first.of_kind):
            return first.head if first.ordered else reordered(first.head, features, labels, classes)
        heads, prices = [], []
        for rank, candidate in enumerate(candidates, 1):
            price = float(np.log(rank))
            if candidate.ordered:
                heads.append(candidate.head)
                prices.append(price)
            if candidate.of_kind:
                rows = len(candidate.head.bias)
                heads.append(reordered(candidate.head, features, labels, classes))
                prices.append(price + gammaln(1 + rows) - gammaln(1 + rows - classes))
        losses = [tempered_loss(head, features, labels) for head in heads]
        return heads[int(np.argmin(np.add(losses, prices)))]

    return base


def by_information(candidates: Sequence[Candidate], records_needed: int = 20) -> list[Candidate]:
    """Candidates in the order of mutual information between records and answers, most first.

    Needs no label. It is the entropy of the mean answer less the mean entropy of an answer, nats: a
    network that suits the plant is sure of a record, and not of the same class each time (Bridle,
    Heading and MacKay, NIPS 1991). Fewer records than are needed leave the server's order.
    """
    if len(candidates[0].trunk.features) < records_needed:
        return list(candidates)

    def information(candidate: Candidate) -> float:
        answers = softmax(candidate.head.logits(candidate.trunk.features), axis=1)
        return float(entr(answers.mean(axis=0)).sum() - entr(answers).sum(axis=1).mean())

    return sorted(candidates, key=information, reverse=True)


def chosen_network(
    candidates: Sequence[Candidate], records: LabelledRecords
) -> tuple[Candidate, Fitted]:
    """One of several networks, chosen by labels out of fold, and its head as it came."""
    parts = [records.features(candidate.trunk) for candidate in candidates]
    ends = np.cumsum([part.shape[1] for part in parts])
    features = np.hstack(parts)
    network_heads = []  # each head on all features, zero on those of the other networks
    for candidate, part, end in zip(candidates, parts, ends.tolist(), strict=True):
        weight = np.zeros((len(candidate.head.bias), features.shape[1]))
        weight[:, end - part.shape[1] : end] = candidate.head.weight
        network_heads.append(replace(candidate, head=LinearHead(weight, candidate.head.bias)))
    base = first_or_best(network_heads, records.classes)
    fitted, head = fit_delivered(base, features, records), base(features, records.labels)
    number = next(index for index, candidate in enumerate(network_heads) if candidate.head is head)
    columns = slice(int(ends[number]) - parts[number].shape[1], int(ends[number]))
    encoder_head = LinearHead(fitted.head.weight[:, columns], fitted.head.bias)
    return candidates[number], replace(
        fitted, head=encoder_head, held_out=None, chosen_without=None
    )


def reordered(head: LinearHead, features: Floats, labels: Ints, classes: int) -> LinearHead:
    """A head of K classes with its rows in the likeliest order for labelled records."""
    rows = rows_of_labels(head.logits(features), labels, classes)
    return LinearHead(head.weight[rows], head.bias[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredMethod:
    """The best candidate of some sources.

    Attributes:
        sources: Of candidates.
        trained: Whether it is trained on with local records.
        reference: See ``Method``.
    """

    name: str
    title: str
    sources: Collection[str]
    trained: bool = False
    reference: bool = False

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``; made once, since averages stand on it too."""
        if self.name not in package.made:
            package.made[self.name] = self._make(records, package)
        return package.made[self.name]

    def _make(self, records: LabelledRecords, package: Package) -> Model | None:
        """Choose, and train where that is asked.

        The trunk is left alone where a declared class has no records: steps on the others cost what
        the delivered head knows of it.
        """
        eligible = [c for c in package.candidates if c.source in self.sources]
        family = [c for c in eligible if c.of_kind]
        conditioned = package.own_release and not family and len(records.labels) > 0
        if not eligible or (self.trained and (conditioned or not len(records.labels))):
            return None
        if package.own_release:
            eligible = family or eligible[:1]
        trunks = {id(c.trunk) for c in eligible}
        networks = len(trunks) > 1 and all(c.source == "diffusion" for c in eligible)
        if networks:
            eligible = by_information(eligible)
        first_candidate = eligible[0]
        # Candidates with a trunk of their own each: the features of one say nothing of another's.
        base = first_or_best(
            [c for c in eligible if c.trunk is first_candidate.trunk], records.classes
        )
        trunk, features = first_candidate.trunk, records.features(first_candidate.trunk)
        if conditioned:
            fitted = Fitted(first_candidate.head, None)
        elif networks and not self.trained:
            first_candidate, fitted = chosen_network(eligible, records)
            trunk, base = first_candidate.trunk, first_or_best([first_candidate], records.classes)
        elif not self.trained:
            fitted = fit_delivered(base, features, records)
        else:
            fitted = fit_finetuned(
                base, features, records.labels, records.folds, unseen_mass=records.unseen_mass
            )
            if records.every_class_seen:
                trunk, fitted = records.tune(trunk, fitted)
        chosen_head = base(features, records.labels)
        unchecked_rank = 3 if family or not len(records.all_labels) else 1
        return Model(
            trunk=trunk,
            fitted=fitted,
            origin=next((c.name for c in eligible if c.head is chosen_head), first_candidate.name),
            judged=not conditioned,
            of_kind=first_candidate.of_kind,
            unchecked_rank=None if self.trained else unchecked_rank,
        )
