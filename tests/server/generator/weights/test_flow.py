"""The flow: sampling follows its straight lines."""

from __future__ import annotations

import torch

from wg_server.generator.weights import flow


def test_sampling_with_the_right_answer_ends_there() -> None:
    """A prediction that is always right is reached exactly, from any noise and in any steps."""
    clean = torch.linspace(-1, 1, 12).reshape(2, 3, 2), torch.ones(2, 1, 4)
    noise = torch.full((2, 3, 2), 5.0), torch.full((2, 1, 4), -3.0)
    for steps in (1, 8):
        found = flow.sample(lambda _noisy, _time: clean, noise, steps)
        assert all(torch.equal(one, two) for one, two in zip(found, clean, strict=True))


def test_sampling_follows_the_straight_line_of_the_flow() -> None:
    """Each state that the network sees is a mixture of its clean answer and the noise."""
    clean, noise, seen = torch.zeros(1, 2, 2), torch.ones(1, 2, 2), []

    def predict(noisy: flow.State, time: torch.Tensor) -> flow.State:
        torch.testing.assert_close(noisy[0], (1 - time) * clean + time * noise)
        seen.append(float(time[0]))
        return (clean,)

    flow.sample(predict, (noise,), 4)
    assert seen == [1.0, 0.75, 0.5, 0.25]
