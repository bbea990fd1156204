"""Selection among the networks that were delivered for a plant's machine.

The server lists the likeliest network first. If it is delivered for raw and for standardised
inputs, the plant's records decide whether the second one is included. The two err on different
records, and the average of their logits is better than either if the plant has records of most
conditions; if conditions are missing, the inputs of the second are standardised wrongly. Labels may
then replace this choice by a single network (``fitting.network_replacement``). To evaluate that,
the choice is repeated for the records of each fold with the labels of the other folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, softmax

from wg_client.fitting.folds import RowIndices
from wg_client.fitting.linear_head import LinearHead, best_inverse_temperature, log_loss
from wg_client.fitting.network_replacement import choose_network_index
from wg_client.fitting.trunk_features import TrunkFeatures, append_network_features
from wg_client.methods.base import DeliveredCandidate, PlantRecords
from wg_client.methods.delivered_head import evaluate_delivered_head


@dataclass(frozen=True, slots=True, eq=False)
class ChosenNetworks:
    """Networks that a plant selected among those delivered for its machine.

    Attributes:
        indices: Index of each selected network among those delivered.
        averaged_candidate: Average of the selected networks, as a head on encoder and networks
            together; its evaluation includes the selection.
    """

    indices: tuple[int, ...]
    averaged_candidate: DeliveredCandidate


def choose_networks(
    networks: Sequence[DeliveredCandidate], records: PlantRecords, encoder_trunk: TrunkFeatures
) -> ChosenNetworks:
    """Select networks among those delivered for a plant's machine.

    Args:
        networks: Candidates of one architecture, each with its own trunk.
        records: The plant's records.
        encoder_trunk: The encoder's trunk, to which the networks' features are appended.
    """
    leading = choose_networks_without_labels(networks)
    sets = [leading, *((number,) for number in range(len(networks)) if (number,) != leading)]
    parts = [candidate.trunk.features for candidate in networks]
    side_by_side = TrunkFeatures(np.hstack(parts))
    heads = [_average_network_heads(networks, members) for members in sets]
    features, labels = records.labelled_features(side_by_side), records.labels

    def rank(rows: RowIndices | slice) -> int:
        x, y = features[rows], labels[rows]
        if not len(y):
            return 0
        losses = []
        for head in heads:
            logits = head.logits(x)
            losses.append(log_loss(logits * best_inverse_temperature(logits, y), y))
        return choose_network_index(np.array(losses), records.unit_indices[rows])

    fitted_model = evaluate_delivered_head(lambda rows: heads[rank(rows)], features, records)
    best = rank(slice(None))
    head, members, width = heads[best], sets[best], parts[0].shape[1]
    columns = np.concatenate(
        [np.arange(number * width, (number + 1) * width) for number in members]
    )
    front = np.zeros((len(head.bias), encoder_trunk.features.shape[1]))
    full_head = LinearHead(
        np.hstack([front, fitted_model.head.weight[:, columns]]), fitted_model.head.bias
    )
    judged_model = replace(fitted_model, head=full_head)
    trunk = append_network_features(encoder_trunk, np.hstack([parts[number] for number in members]))
    candidate = replace(
        networks[members[0]], trunk=trunk, head=full_head, evaluated_model=judged_model
    )
    return ChosenNetworks(members, candidate)


def choose_networks_without_labels(networks: Sequence[DeliveredCandidate]) -> tuple[int, ...]:
    """Return the indices of the networks selected without labels, by all records.

    These are the first network on raw inputs, and the first on standardised inputs if its answers
    have a higher mutual information with the records. If all delivered networks take the same kind
    of inputs, only the first is selected.
    """
    leaders = {
        candidate.input_scaling: number for number, candidate in reversed([*enumerate(networks)])
    }
    if len(leaders) == 1:
        return (0,)
    raw, second = leaders["raw"], leaders["standardised"]
    if mutual_information(networks[second]) > mutual_information(networks[raw]):
        return (raw, second)
    return (raw,)


def mutual_information(candidate: DeliveredCandidate) -> float:
    """Return the mutual information between records and a network's answers, nats, without labels.

    It is the entropy of the mean answer minus the mean entropy of an answer: a network that suits
    the plant is confident about each record, and predicts several classes (Bridle, Heading and
    MacKay, NIPS 1991).
    """
    answers = softmax(candidate.head.logits(candidate.trunk.features), axis=1)
    if not len(answers):
        return 0.0
    return float(entr(answers.mean(axis=0)).sum() - entr(answers).sum(axis=1).mean())


def _average_network_heads(
    networks: Sequence[DeliveredCandidate], member_indices: Sequence[int]
) -> LinearHead:
    """Return a head on the features of all networks whose logits are the average of some."""
    classes, width = networks[0].head.weight.shape
    weight: NDArray[np.float64] = np.zeros((classes, len(networks), width))
    for number in member_indices:
        weight[:, number] = networks[number].head.weight / len(member_indices)
    bias = np.mean([networks[number].head.bias for number in member_indices], axis=0)
    return LinearHead(weight.reshape(classes, -1), bias)
