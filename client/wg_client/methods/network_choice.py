"""Which of several delivered networks a plant takes: by all its records, then by its labels.

They are put in order by all records, with a label or not. Labels then choose among them like among
configurations: for the records of a fold by those of the others.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import entr, softmax

from wg_client.fitting.backbone import Trunk, with_network
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.base import Candidate, LabelledRecords
from wg_client.methods.delivered import first_or_best, fit_delivered


def choose(
    networks: Sequence[Candidate], records: LabelledRecords, encoder: Trunk
) -> tuple[int, Candidate]:
    """The network that a plant takes.

    Args:
        networks: Candidates with a trunk each, of the same number of features.
        records: The plant's.
        encoder: The encoder's trunk, which the network's features come to stand behind.

    Returns:
        Its place in ``networks``, and the candidate on encoder and network together, judged with
        the choice of it.
    """
    order = by_information(networks)
    parts = [candidate.trunk.features for candidate in order]
    side_by_side = Trunk(np.hstack(parts))
    heads = [
        replace(candidate, head=_at(candidate.head, number, len(order)))
        for number, candidate in enumerate(order)
    ]
    base, features = first_or_best(heads, records.classes), records.features(side_by_side)
    fitted, head = fit_delivered(base, features, records), base(features, records.labels)
    number = next(index for index, candidate in enumerate(heads) if candidate.head is head)
    chosen = order[number]
    width = parts[number].shape[1]
    columns = slice(number * width, (number + 1) * width)
    front = np.zeros((len(head.bias), encoder.features.shape[1]))
    weight = np.hstack([front, fitted.head.weight[:, columns]])
    full_head = LinearHead(weight, fitted.head.bias)
    judged = replace(fitted, head=full_head)
    trunk = with_network(encoder, parts[number])
    return networks.index(chosen), replace(chosen, trunk=trunk, head=full_head, fitted=judged)


def _at(head: LinearHead, number: int, count: int) -> LinearHead:
    """A head on the features of ``count`` networks side by side, of which one is its own."""
    classes, width = head.weight.shape
    weight = np.zeros((classes, count, width))
    weight[:, number] = head.weight
    return LinearHead(weight.reshape(classes, -1), head.bias)


def by_information(candidates: Sequence[Candidate], records_needed: int = 20) -> list[Candidate]:
    """Candidates in the order of mutual information between records and answers, most first.

    Needs no label. It is the entropy of the mean answer less the mean entropy of an answer, nats: a
    network that suits the plant is sure of a record, and not of the same class each time (Bridle,
    Heading and MacKay, NIPS 1991). Fewer records than are needed leave the server's order.
    """
    if not candidates or len(candidates[0].trunk.features) < records_needed:
        return list(candidates)

    def information(candidate: Candidate) -> float:
        answers = softmax(candidate.head.logits(candidate.trunk.features), axis=1)
        return float(entr(answers.mean(axis=0)).sum() - entr(answers).sum(axis=1).mean())

    return sorted(candidates, key=information, reverse=True)
