from __future__ import annotations

import numpy as np
import torch

from wg_server.generator.training import noise


def _rngs(numbers: range) -> list[np.random.Generator]:
    return [np.random.default_rng((1, number)) for number in numbers]


def test_an_episodes_noise_does_not_depend_on_its_batch() -> None:
    rows = [3, 5, 2, 4]
    whole = noise.draw(_rngs(range(4)), 0.5, rows, 6)
    for start in (0, 1):
        numbers = range(start, 4, 2)
        part = noise.draw(_rngs(numbers), 0.5, [rows[n] for n in numbers], 6)
        for place, number in enumerate(numbers):
            own = rows[number]
            assert torch.equal(part.latent[place, :own], whole.latent[number, :own])
            assert part.time[place] == whole.time[number]
            assert part.fixed[place] == whole.fixed[number]


def test_padding_and_the_deterministic_answers_have_no_noise() -> None:
    drawn = noise.draw(_rngs(range(200)), 0.4, [1, 3] * 100, 2)
    assert drawn.latent.shape == (200, 3, 2)
    assert not drawn.latent[::2, 1:].any()
    assert not drawn.latent[drawn.fixed].any()
    assert drawn.latent[~drawn.fixed][:, 0].all()
    assert (drawn.time[drawn.fixed] == 1).all()
    assert ((drawn.time[~drawn.fixed] > 0) & (drawn.time[~drawn.fixed] < 1)).all()
    # Of 200 episodes with a chance of .4: outside of this with a probability below 1e-6.
    assert 45 <= int(drawn.fixed.sum()) <= 115
