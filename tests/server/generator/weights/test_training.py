"""The loop with an objective of its own: it knows nothing of heads or networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wg_server.generator.weights import training
from wg_server.generator.weights.training import Evaluation, TrainingResult, TrainingSchedule

SCHEDULE = TrainingSchedule(steps=60, learning_rate=0.1, steps_per_evaluation=10, average_decay=0.8)
WANTED = torch.linspace(-1, 1, 12).reshape(4, 3)


class AutoDecoder(nn.Module):
    """Latents and their decoder, learned together: what the loop has never heard of."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.full((4, 2), 0.3))
        self.decoder = nn.Linear(2, 3)
        with torch.no_grad():
            self.decoder.weight.copy_(torch.tensor([[0.1, -0.2], [0.3, 0.1], [-0.1, 0.2]]))
            self.decoder.bias.zero_()

    def forward(self) -> Tensor:
        out: Tensor = self.decoder(self.latents)
        return out


class Reconstruction:
    """Squared error of four rows; loss of evaluation number k, if it is not the real one."""

    def __init__(self, losses: dict[int, float] | None = None) -> None:
        self.model = AutoDecoder()
        self.steps: list[int] = []
        self.judged = 0
        self._losses = losses or {}

    def loss(self, step: int) -> Tensor:
        self.steps.append(step)
        error: Tensor = (self.model() - WANTED).square().mean()
        return error

    def evaluate(self, model: AutoDecoder) -> Evaluation:
        self.judged += 1
        assert not model.training and model is not self.model
        error = float((model().detach() - WANTED).square().mean())
        return Evaluation(self._losses.get(self.judged, error), 0.5)


def _train(
    schedule: TrainingSchedule, losses: dict[int, float]
) -> tuple[Reconstruction, TrainingResult]:
    objective = Reconstruction(losses)
    return objective, training.train_module(objective, schedule, lambda *_: None)


def test_a_new_objective_is_trained_to_its_best_average() -> None:
    objective, state = _train(SCHEDULE, {})
    before = Reconstruction().evaluate(AutoDecoder().eval()).loss
    assert objective.steps == list(range(SCHEDULE.steps))
    assert objective.judged == SCHEDULE.steps // SCHEDULE.steps_per_evaluation
    final = float((objective.model().detach() - WANTED).square().mean())
    assert state.validation_loss == final < 0.2 * before


def test_the_state_of_the_least_loss_is_kept() -> None:
    objective, state = _train(SCHEDULE, {1: 0.0})
    assert state.validation_loss == 0.0
    early = TrainingSchedule(
        steps=60, learning_rate=0.1, steps_per_evaluation=10, average_decay=0.8
    )
    other, _ = _train(early, dict.fromkeys(range(2, 7), 1000000.0))
    for name, value in objective.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value)
