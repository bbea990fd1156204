"""Method that uses a delivered head, unchanged or fine-tuned on the plant's records.

Among several candidates, labels select one. To evaluate that selection, it is repeated for the
records of each fold with the labels of the other folds.

The rows of a family head may be in another order, because class names were matched wrongly or
because the family has classes of its own. The plant's labels then determine the order.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.fitted_model import FittedModel, select_and_fit
from wg_client.fitting.folds import RowIndices, single_configuration
from wg_client.fitting.leave_class_out import BaseHeadFitter, evaluate_logits
from wg_client.fitting.linear_assignment import assign_likeliest_rows
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, total_tempered_loss
from wg_client.fitting.model_averages import average_models
from wg_client.methods.base import DeliveredCandidate, FittedMethod, PlantRecords, PreparedPackage


def evaluate_delivered_head(
    select_head: Callable[[RowIndices | slice], LinearHead], features: Floats, records: PlantRecords
) -> FittedModel:
    """Evaluate a delivered head out of fold, at the temperature that fits the training records.

    Args:
        select_head: Function from indices of labelled records to the head that they select.
        features: Features of labelled records, ``[n, d]``.
        records: The plant's records.
    """

    def refit(rows: RowIndices | slice, choice: int = 0) -> LinearHead:
        return select_head(rows)

    def predict(train: RowIndices, held_out: RowIndices) -> Floats:
        return select_head(train).logits(features[held_out])

    fitted_model, _ = select_and_fit(
        single_configuration(predict), refit, records.labels, records.folds
    )
    if records.unseen_mass and fitted_model.out_of_fold is not None:
        predictions = fitted_model.out_of_fold
        leave_class_out = evaluate_logits(
            np.concatenate(predictions.logits), np.tile(predictions.labels, len(predictions.logits))
        )
        return FittedModel(fitted_model.head, predictions, leave_class_out=leave_class_out)
    return fitted_model


def candidate_selector(
    candidates: Sequence[DeliveredCandidate], class_count: int
) -> BaseHeadFitter:
    """Return a function that picks the candidate with the least log loss on the training records.

    Without records, and on ties, it picks the first. The logarithm of a candidate's rank is added
    to its loss, in nats, since the server lists likelier candidates first. A family head is also
    tried with K of its rows in the order that fits the labels best; the logarithm of the number of
    possible orders is then added to its loss.

    Args:
        candidates: Candidates, at least one.
        class_count: Number K of the plant's declared classes.
    """

    def base(features: Floats, labels: Ints) -> LinearHead:
        first_candidate = candidates[0]
        if not len(labels) or (len(candidates) == 1 and not first_candidate.is_family_head):
            return (
                first_candidate.head
                if first_candidate.has_declared_row_order
                else match_rows_to_classes(first_candidate.head, features, labels, class_count)
            )
        heads, prices = [], []
        for rank, candidate in enumerate(candidates, 1):
            price = float(np.log(rank))
            if candidate.has_declared_row_order:
                heads.append(candidate.head)
                prices.append(price)
            if candidate.is_family_head:
                rows = len(candidate.head.bias)
                heads.append(match_rows_to_classes(candidate.head, features, labels, class_count))
                prices.append(price + gammaln(1 + rows) - gammaln(1 + rows - class_count))
        losses = [total_tempered_loss(head, features, labels) for head in heads]
        return heads[int(np.argmin(np.add(losses, prices)))]

    return base


def match_rows_to_classes(
    head: LinearHead, features: Floats, labels: Ints, class_count: int
) -> LinearHead:
    """Return K of a head's rows, in the order of the plant's K classes that fits labels best."""
    rows = assign_likeliest_rows(head.logits(features), labels, class_count)
    return LinearHead(head.weight[rows], head.bias[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredMethod:
    """Method that uses the best delivered head among the candidates of some sources.

    Attributes:
        name: Name of the method in manifests and commands.
        title: Title of the method in reports.
        candidate_sources: Sources of the candidates that the method may use.
        fine_tunes: True if the method fine-tunes the candidate on the plant's records.
        is_reference: True if the method is the baseline; see ``Method``.
    """

    name: str
    title: str
    candidate_sources: Collection[str]
    fine_tunes: bool = False
    is_reference: bool = False

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Return the best delivered head, unchanged or fine-tuned; None without its inputs."""
        eligible = [c for c in package.candidates if c.source in self.candidate_sources]
        if not eligible or (self.fine_tunes and not len(records.labels)):
            return None
        first_candidate = eligible[0]
        # Heads on different trunks cannot be compared on the features of one trunk.
        base = candidate_selector(
            [c for c in eligible if c.trunk is first_candidate.trunk], records.class_count
        )
        trunk, features = first_candidate.trunk, records.labelled_features(first_candidate.trunk)
        if first_candidate.evaluated_model is not None:
            of_network = self._average_with_local_only(first_candidate.evaluated_model, records)
            if of_network is None:
                return None
            fitted_model = of_network
        elif not self.fine_tunes:
            fitted_model = evaluate_delivered_head(
                lambda rows: base(features[rows], records.labels[rows]), features, records
            )
        else:
            fitted_model = fit_finetuned(
                base, features, records.labels, records.folds, unseen_mass=records.unseen_mass
            )
        chosen_head = base(features, records.labels)
        is_network = bool(first_candidate.architecture)
        return FittedMethod(
            trunk=trunk,
            fitted_model=fitted_model,
            origin_candidate=next(
                (c.name for c in eligible if c.head is chosen_head), first_candidate.name
            ),
            made_for_plant_kind=first_candidate.is_family_head or is_network,
            made_for_machine=is_network and not self.fine_tunes,
            priority_without_labels=None
            if self.fine_tunes
            else _priority_without_labels(first_candidate, package),
        )

    def _average_with_local_only(
        self, network_model: FittedModel, records: PlantRecords
    ) -> FittedModel | None:
        """Return the model itself, or if the method fine-tunes, its average with local-only.

        None if there is no local-only model, a class has fewer than two labelled records, or
        nothing was held out.
        """
        if (
            not self.fine_tunes
            or records.local_only_model is None
            or not records.has_two_records_per_class
        ):
            return None if self.fine_tunes else network_model
        return average_models((records.local_only_model, network_model), records.folds)


def _priority_without_labels(candidate: DeliveredCandidate, package: PreparedPackage) -> int:
    """Return a candidate's priority if no label can check a model; pooled models have 2.

    A model made for this kind of plant has 4. A network for a declared machine has 3 if no other
    site has released statistics, otherwise 1.
    """
    if candidate.is_family_head or not len(candidate.trunk.features):
        return 4
    return 3 if candidate.architecture and not package.other_sites_released else 1
