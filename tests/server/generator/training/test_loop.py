"""The loop with an objective of its own: it knows nothing of heads or networks."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wg_server.generator.training import loop
from wg_server.generator.training.checkpoint import TrainingState
from wg_server.generator.training.objective import Evaluation
from wg_server.generator.training.plan import TrainingPlan

PLAN = TrainingPlan(steps=60, batch=4, learning_rate=0.1, evaluate_every=10, average=0.8)
WANTED = torch.linspace(-1, 1, 12).reshape(4, 3)


class Interrupted(Exception):
    """Raised in the middle of a training."""


class AutoDecoder(nn.Module):
    """Latents and their decoder, learned together: what the loop has never heard of."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.full((4, 2), 0.3))
        self.decoder = nn.Linear(2, 3)
        with torch.no_grad():
            self.decoder.weight.copy_(torch.tensor([[0.1, -0.2], [0.3, 0.1], [-0.1, 0.2]]))
            self.decoder.bias.zero_()

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.latents[rows])
        return out


class Reconstruction:
    """Squared error of four rows, one of them a step for each number of the batch."""

    keeps_initial = True

    def __init__(self) -> None:
        self.model = AutoDecoder()
        self.judged = 0

    def batches(self, steps: range) -> Generator[Tensor, None, None]:
        for step in steps:
            yield torch.tensor([(step + number) % len(WANTED) for number in range(PLAN.batch)])

    def loss(self, batch: Tensor, step: int) -> Tensor:
        assert int(batch[0]) == step % len(WANTED)
        return (self.model(batch) - WANTED[batch]).square().sum() / PLAN.batch  # type: ignore[no-any-return]

    def evaluate(self, model: AutoDecoder) -> Evaluation:
        self.judged += 1
        assert not model.training and model is not self.model
        error = (model(torch.arange(4)).detach() - WANTED).square().mean()
        return Evaluation(float(error), 0.5)


def _train(path: Path, stop: int = -1) -> tuple[Reconstruction, TrainingState]:
    def progress(step: int, _words: str) -> None:
        if step == stop:
            raise Interrupted

    objective = Reconstruction()
    return objective, loop.train(objective, PLAN, path, "mine", progress)


def test_a_new_objective_is_trained_to_its_best_average(tmp_path: Path) -> None:
    objective, state = _train(tmp_path / "c")
    before = Reconstruction().evaluate(AutoDecoder().eval()).loss
    assert state.step == PLAN.steps
    assert objective.judged == 1 + PLAN.steps // PLAN.evaluate_every
    assert state.best == objective.evaluate(_copied(objective.model)).loss
    assert state.best < 0.2 * before


def _copied(model: AutoDecoder) -> AutoDecoder:
    other = AutoDecoder()
    other.load_state_dict(model.state_dict())
    return other.eval()


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    straight, state = _train(tmp_path / "one")
    with pytest.raises(Interrupted):
        _train(tmp_path / "two", stop=30)
    again, there = _train(tmp_path / "two")
    assert again.judged == 3, "it does not begin again"
    assert there.best == state.best
    for name, value in straight.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_learns_nothing_ends_early_with_the_best_that_may_be_kept(
    tmp_path: Path, keeps: bool
) -> None:
    class Worse(Reconstruction):
        keeps_initial = keeps

        def evaluate(self, model: AutoDecoder) -> Evaluation:
            self.judged += 1
            return Evaluation(float(self.judged), 0.0)

    objective = Worse()
    plan = TrainingPlan(steps=60, batch=4, evaluate_every=10, patience=2)
    state = loop.train(objective, plan, tmp_path / "c", "mine", lambda *_: None)
    assert (state.step, state.stale, state.best) == ((20, 2, 1.0) if keeps else (30, 2, 2.0))
    initial, found = AutoDecoder().state_dict(), objective.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in initial.items()) == keeps
