"""Networks that a plant takes of those delivered for its machine.

The server puts the likeliest first: its mean. Where the first is there for inputs as they are read
and for standardised ones, the plant's records say whether the second takes part: it errs on other
records than the first, and the mean of both in log odds is better than either at most mixtures of
conditions, but where conditions are missing its inputs are standardised by too few. Labels then
may put one network by itself in its place (``fitting.replacement``): for the records of a fold
those of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, softmax

from wg_client.fitting.backbone import Trunk, with_network
from wg_client.fitting.folds import RowIndex
from wg_client.fitting.linear_head import LinearHead, best_temperature, log_loss
from wg_client.fitting.replacement import replacing
from wg_client.methods.base import Candidate, LabelledRecords
from wg_client.methods.delivered import fit_delivered


@dataclass(frozen=True, slots=True, eq=False)
class ChosenNetworks:
    """Networks that a plant takes.

    Attributes:
        numbers: Place of each among those delivered.
        candidate: Their mean on encoder and networks together, judged with the choice of it.
    """

    numbers: tuple[int, ...]
    candidate: Candidate


def choose(
    networks: Sequence[Candidate], records: LabelledRecords, encoder: Trunk
) -> ChosenNetworks:
    """Choose the networks that a plant takes.

    Args:
        networks: Candidates with a trunk each, of one architecture.
        records: The plant's.
        encoder: The encoder's trunk, which the networks' features come to stand behind.
    """
    leading = by_records(networks)
    sets = [leading, *((number,) for number in range(len(networks)) if (number,) != leading)]
    parts = [candidate.trunk.features for candidate in networks]
    side_by_side = Trunk(np.hstack(parts))
    heads = [_mean_head(networks, members) for members in sets]
    features, labels = records.features(side_by_side), records.labels

    def rank(rows: RowIndex | slice) -> int:
        x, y = features[rows], labels[rows]
        if not len(y):
            return 0
        losses = []
        for head in heads:
            logits = head.logits(x)
            losses.append(log_loss(logits * best_temperature(logits, y), y))
        return replacing(np.array(losses), records.groups[rows])

    fitted_model = fit_delivered(lambda rows: heads[rank(rows)], features, records)
    best = rank(slice(None))
    head, members, width = heads[best], sets[best], parts[0].shape[1]
    columns = np.concatenate(
        [np.arange(number * width, (number + 1) * width) for number in members]
    )
    front = np.zeros((len(head.bias), encoder.features.shape[1]))
    full_head = LinearHead(
        np.hstack([front, fitted_model.head.weight[:, columns]]), fitted_model.head.bias
    )
    judged_model = replace(fitted_model, head=full_head)
    trunk = with_network(encoder, np.hstack([parts[number] for number in members]))
    candidate = replace(networks[members[0]], trunk=trunk, head=full_head, fitted=judged_model)
    return ChosenNetworks(members, candidate)


def by_records(networks: Sequence[Candidate]) -> tuple[int, ...]:
    """Place of the networks that stand first, by all records, with a label or not.

    These are the first network on inputs as they are read, and the first on standardised inputs
    where its answers say more of which record it is. One of these alone is first where the other
    was not delivered.
    """
    leaders = {candidate.inputs: number for number, candidate in reversed([*enumerate(networks)])}
    if len(leaders) == 1:
        return (0,)
    raw, second = leaders["raw"], leaders["standardised"]
    if information(networks[second]) > information(networks[raw]):
        return (raw, second)
    return (raw,)


def information(candidate: Candidate) -> float:
    """Mutual information between a plant's records and a network's answers, nats; needs no label.

    It is the entropy of the mean answer less the mean entropy of an answer: a network that suits
    the plant is sure of a record, and not of the same class each time (Bridle, Heading and MacKay,
    NIPS 1991).
    """
    answers = softmax(candidate.head.logits(candidate.trunk.features), axis=1)
    if not len(answers):
        return 0.0
    return float(entr(answers.mean(axis=0)).sum() - entr(answers).sum(axis=1).mean())


def _mean_head(networks: Sequence[Candidate], members: Sequence[int]) -> LinearHead:
    """The mean in log odds of some networks, on the features of all side by side."""
    classes, width = networks[0].head.weight.shape
    weight: NDArray[np.float64] = np.zeros((classes, len(networks), width))
    for number in members:
        weight[:, number] = networks[number].head.weight / len(members)
    bias = np.mean([networks[number].head.bias for number in members], axis=0)
    return LinearHead(weight.reshape(classes, -1), bias)
