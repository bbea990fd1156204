from __future__ import annotations

import numpy as np
import torch

from wg_server.generator.weights import flow


def _rngs(numbers: range) -> list[np.random.Generator]:
    return [np.random.default_rng((1, number)) for number in numbers]


def test_an_episodes_noise_does_not_depend_on_its_batch() -> None:
    rows = [3, 5, 2, 4]
    whole = flow.draw(_rngs(range(4)), 0.5, rows, 6)
    for start in (0, 1):
        numbers = range(start, 4, 2)
        part = flow.draw(_rngs(numbers), 0.5, [rows[n] for n in numbers], 6)
        for place, number in enumerate(numbers):
            own = rows[number]
            assert torch.equal(part.latent[place, :own], whole.latent[number, :own])
            assert part.time[place] == whole.time[number]
            assert part.fixed[place] == whole.fixed[number]


def test_padding_and_the_deterministic_answers_have_no_noise() -> None:
    drawn = flow.draw(_rngs(range(200)), 0.4, [1, 3] * 100, 2)
    assert drawn.latent.shape == (200, 3, 2)
    assert not drawn.latent[::2, 1:].any()
    assert not drawn.latent[drawn.fixed].any()
    assert drawn.latent[~drawn.fixed][:, 0].all()
    assert (drawn.time[drawn.fixed] == 1).all()
    assert ((drawn.time[~drawn.fixed] > 0) & (drawn.time[~drawn.fixed] < 1)).all()
    # Of 200 episodes with a chance of .4: outside of this with a probability below 1e-6.
    assert 45 <= int(drawn.fixed.sum()) <= 115


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
        torch.testing.assert_close(noisy[0], flow.mix(clean, noise, time))
        seen.append(float(time[0]))
        return (clean,)

    flow.sample(predict, (noise,), 4)
    assert seen == [1.0, 0.75, 0.5, 0.25]


def test_named_noise_follows_names_and_not_their_order() -> None:
    one = flow.named_noise(["a", "b", "c"], 5, 2, seed=1)
    two = flow.named_noise(["c", "a", "b"], 5, 2, seed=1)
    assert torch.equal(one[:, [2, 0, 1]], two)
    assert not torch.equal(one, flow.named_noise(["a", "b", "c"], 5, 2, seed=2))
