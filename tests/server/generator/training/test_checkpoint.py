from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from wg_server.generator.training import checkpoint
from wg_server.generator.training.checkpoint import TrainingState


def _trained() -> tuple[nn.Linear, torch.optim.AdamW]:
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return model, optimiser


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Linear, TrainingState]:
    model, optimiser = _trained()
    state = TrainingState(step=5, best=0.5, stale=1, seconds=2.5)
    states = {"average": model.state_dict()}
    checkpoint.save(tmp_path / "c", "mine", state, model, states, optimiser)
    return tmp_path / "c", model, state


def _load(path: Path, identity: str = "mine") -> tuple[TrainingState, nn.Linear]:
    model, optimiser = _trained()
    states = {"average": dict(model.state_dict())}
    return checkpoint.load(path, identity, model, states, optimiser), model


def test_a_checkpoint_remembers_how_far_it_was(
    saved: tuple[Path, nn.Linear, TrainingState],
) -> None:
    path, model, state = saved
    found, again = _load(path)
    assert found == state
    assert torch.equal(again.weight, model.weight)


def test_one_of_another_training_or_version_is_not_used(
    saved: tuple[Path, nn.Linear, TrainingState],
) -> None:
    path, _, _ = saved
    assert _load(path, "another")[0] == TrainingState()
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["checkpoint"])
    del document["stale"]
    tensors = safetensors.torch.load(data)
    path.write_bytes(safetensors.torch.save(tensors, {"checkpoint": json.dumps(document)}))
    assert _load(path)[0] == TrainingState()
    path.write_bytes(data[:-1])
    assert _load(path)[0] == TrainingState()
