"""LP-FT: after a head is fitted on a fixed trunk, train trunk and head together, a little.

Kumar et al., *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*,
ICLR 2022: full fine-tuning from a fitted head (linear probing, then fine-tuning) moves the trunk
less than from a random one. Here: AdamW, a linear warm-up, cross-entropy at temperature 1 from a
head whose logits are brought to that temperature first; without both the first steps undo the head.

How long to train is chosen by nested cross-validation with a prior, and not at all is among the
choices: from a trunk that was made for the plant, steps on a handful of labels can lose more than
they win. One run serves every length: its network is looked at on the way.

Pure: tensors, records, labels and a seed in, tensors out; the same on every run, on one thread.
Not guaranteed: that the chosen length is the best on future records.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from wg_client.fitting.backbone import Tensors, network_trunk
from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.folds import Folds, RowIndex, nested
from wg_client.fitting.linear_head import NEVER, Floats, Ints, LinearHead
from wg_common.nets import network
from wg_common.nets.encoder import isolation

LENGTHS: Mapping[int, float] = {0: 0.0, 20: 0.0, 60: 0.0, 100: 1.0}
"""Steps that are tried, with the nats of evidence that each must show; more for many records."""
_RECORDS = 400  # Beyond so many labelled records lengths grow in proportion, up to four times

Progress = Callable[[int, int], None]  # Called with (steps done, steps in all)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A network on its way.

    Attributes:
        steps: Steps trained.
        trunk: Its ``trunk.*`` tensors.
        head: Its head.
    """

    steps: int
    trunk: Tensors
    head: LinearHead


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NetworkTuner:
    """Fine-tunes networks on one plant's records.

    Attributes:
        architecture: Name in the catalogue.
        inputs: All local records, n of them, from ``network.prepared``.
        labels: int64 ``[n]``, -1 = unlabelled.
        seed: Of the order of records.
        progress: Told of the steps.
    """

    architecture: str
    inputs: network.Batch
    labels: Ints
    seed: int
    progress: Progress | None = None

    def tune(self, trunk: Tensors, fitted: Fitted, folds: Folds) -> tuple[Tensors, Fitted]:
        """Fine-tune a trunk and the head that was fitted on it.

        Args:
            trunk: ``trunk.*`` tensors to start from.
            fitted: The head on them, fitted on the labelled records.
            folds: Of the labelled records; the first repeat is used.

        Returns:
            The trunk after the chosen number of steps, and its head: logits scaled to the least
            out-of-fold loss, judged in one repeat. Rows of classes without records are not
            trained.
        """
        if fitted.chosen_without is None or not folds.usable:
            return trunk, fitted
        labelled = self.labels >= 0
        inputs, labels = self.inputs[labelled], self.labels[labelled]
        lengths = lengths_for(len(labels))
        first_repeat = Folds(folds.assignment[:1], folds.count, folds.rows)
        unseen = np.setdiff1d(np.arange(len(fitted.head.bias)), labels)
        runs = itertools.count()
        total = (folds.count * (folds.count + 1) // 2 + 1) * lengths[-1]
        chosen_without = fitted.chosen_without

        def run(train: RowIndex, test: RowIndex, stops: Sequence[int]) -> Iterator[Floats]:
            # The head's choices are those of a fold that is held out here, too.
            of_held = first_repeat.assignment[0, np.searchsorted(folds.rows, test)]
            head, done = chosen_without(train, 0, int(of_held.min())), next(runs)
            for snapshot in self._run(trunk, head, inputs[train], labels[train], stops, done):
                self._tell(done * lengths[-1] + snapshot.steps, total)
                features = network_trunk(self.architecture, snapshot.trunk, inputs[test]).features
                logits = snapshot.head.logits(features)
                logits[:, unseen] = NEVER
                yield logits

        def predict(train: RowIndex, test: RowIndex) -> list[Floats]:
            return list(run(train, test, lengths))

        def judge(train: RowIndex, test: RowIndex, choice: int) -> Floats:
            return next(run(train, test, (lengths[choice],)))

        with isolation.one_thread():  # the order of sums must not depend on the machine
            search = nested(predict, judge, labels, first_repeat, np.array(list(LENGTHS.values())))
            steps = lengths[search.chosen]
            end = next(self._run(trunk, fitted.head, inputs, labels, (steps,), next(runs)))
        self._tell(total, total)
        judged = OutOfFold(logits=search.logits, inner=search.inner, labels=labels[folds.rows])
        return end.trunk, Fitted(
            end.head.scaled(search.factor),
            judged,
            fitted.settings | {"steps": str(steps)},
            leave_class_out=fitted.leave_class_out,
        )

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def _run(
        self,
        trunk: Tensors,
        head: LinearHead,
        inputs: network.Batch,
        labels: Ints,
        stops: Sequence[int],
        stream: int,
    ) -> Iterator[Snapshot]:
        rng = np.random.default_rng((self.seed, stream))
        return fine_tune(self.architecture, trunk, head, inputs, labels, stops, rng)


def lengths_for(records: int) -> tuple[int, ...]:
    """Numbers of steps that are tried with so many labelled records."""
    factor = min(max(records / _RECORDS, 1.0), 4.0)
    return tuple(round(steps * factor) for steps in LENGTHS)


def fine_tune(
    architecture: str,
    trunk: Tensors,
    head: LinearHead,
    inputs: network.Batch,
    labels: Ints,
    stops: Sequence[int],
    rng: np.random.Generator,
    *,
    learning_rate: float = 5e-4,
    warm_up: int = 30,
    weight_decay: float = 1e-4,
) -> Iterator[Snapshot]:
    """Train trunk and head together; yields the network at each stop.

    Args:
        trunk: ``trunk.*`` tensors to start from.
        head: Over K classes, at temperature 1. Rows of classes that do not occur are left alone,
            and have no part in the loss.
        inputs: From ``network.prepared``, n records, at least 1.
        labels: ``[n]`` in 0..K-1.
        stops: Numbers of steps, rising; 0 is the start itself.
        rng: Orders the records.
    """
    rows, dense = np.unique(labels, return_inverse=True)
    module = network.load_trunk(architecture, trunk).train()
    weight = torch.from_numpy(head.weight[rows].astype(np.float32)).requires_grad_()
    bias = torch.from_numpy(head.bias[rows].astype(np.float32)).requires_grad_()
    parameters = [*module.parameters(), weight, bias]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    targets = torch.from_numpy(dense.astype(np.int64))
    size = min(32, len(labels))
    order = np.zeros(0, dtype=np.intp)
    steps = 0
    for stop in stops:
        while steps < stop:
            if len(order) < size:
                order = np.concatenate([order, rng.permutation(len(labels))])
            chosen, order = order[:size], order[size:]
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * min(1.0, (steps + 1) / warm_up)
            logits = module(torch.from_numpy(inputs[chosen]).float()) @ weight.T + bias  # [b, k]
            loss = F.cross_entropy(logits, targets[torch.from_numpy(chosen)])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            steps += 1
        yield Snapshot(steps, network.trunk_tensors(module), _replaced(head, rows, weight, bias))


def _replaced(
    head: LinearHead, rows: NDArray[np.intp], weight: torch.Tensor, bias: torch.Tensor
) -> LinearHead:
    replacement = LinearHead(head.weight.copy(), head.bias.copy())
    replacement.weight[rows] = weight.detach().numpy()
    replacement.bias[rows] = bias.detach().numpy()
    return replacement
