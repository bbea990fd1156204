"""What the codec of layer parts keeps: decoded networks, run on records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.server.generator.weights.conftest import network_of

from wg_common.nets import network as whole_networks
from wg_server.generator.evaluation import codec_fidelity
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.codec import Array, LayerCodec, fit_layer_codec
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.weight_plan import weight_plan
from wg_server.generator.weights.zoo_network import ZooNetwork

PLAN = weight_plan("cnn-s", "whole")
PARTS = [part.name for part in PLAN.parts]
FAMILIES = frozenset(f"family-{i}" for i in range(10))


@pytest.fixture(scope="module")
def base() -> dict[str, Array]:
    return whole_networks.draw_trunk("cnn-s", np.random.default_rng(5))


@pytest.fixture(scope="module")
def networks(zoo_tasks: list[ZooTask], base: dict[str, Array]) -> list[ZooNetwork]:
    """Networks that are right about everything, and of which little is right without the delta."""
    found = []
    for task in [t for t in zoo_tasks if t.key.endswith("-1")]:
        network = network_of(task, "cnn-s")
        network = replace(network, tokens={k: 8 * v for k, v in network.tokens.items()})
        delta = PLAN.delta(network.tokens)
        trunk = whole_networks.load_trunk("cnn-s", {k: v + delta[k] for k, v in base.items()})
        features = whole_networks.features(trunk, network.inputs)
        mean = features.mean(axis=0)
        rows = np.random.default_rng(6).normal(size=network.rows.shape).astype(np.float32)
        rows[:, -1] = rows[:, :-1] @ (network.centre - mean)
        answers = ((features - network.centre) @ rows[:, :-1].T + rows[:, -1]).argmax(axis=1)
        y = task.y.copy()
        y[network.held] = answers
        found.append(replace(network, rows=rows, task=replace(task, y=y)))
    return found


def _decoder(networks: list[ZooNetwork], base: dict[str, Array], latent: int) -> Decoder:
    return Decoder(PLAN, fit_layer_codec(PARTS, [n.tokens for n in networks], latent), base)


def test_a_codec_that_keeps_everything_keeps_every_answer(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    """As many directions as networks: the codec is exact on those that it was fitted on."""
    scores = codec_fidelity.fitted(networks, _decoder(networks, base, len(networks)))
    found = codec_fidelity.summary(scores)
    assert found["as_trained"]["accuracy"] == 1
    assert found["after_codec"]["accuracy"] == 1
    assert found["head_on_base"]["accuracy"] < 0.9


def test_a_codec_that_keeps_nothing_is_the_base(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    decoder = _decoder(networks, base, 2)
    nothing = tuple(codec.shrunk(0) for codec in decoder.codec.codecs)
    empty = replace(decoder, codec=replace(decoder.codec, codecs=nothing))
    found = codec_fidelity.summary(codec_fidelity.fitted(networks, empty))
    assert found["after_codec"] == found["head_on_base"]


def test_codecs_are_judged_on_families_that_they_were_not_fitted_on(
    networks: list[ZooNetwork], base: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    family_of = {id(network.tokens): network.task.family for network in networks}
    fitted: list[set[str]] = []
    judged: list[str] = []

    def fit(parts: Sequence[str], tokens: Sequence[Mapping[str, Array]], latent: int) -> LayerCodec:
        fitted.append({family_of[id(one)] for one in tokens})
        return fit_layer_codec(parts, tokens, latent)

    class Watched(codec_fidelity.Scores):
        def judge(self, network: ZooNetwork, decoder: Decoder) -> None:
            assert network.task.family not in fitted[-1]
            judged.append(network.task.family)
            super().judge(network, decoder)

    monkeypatch.setattr(codec_fidelity, "fit_layer_codec", fit)
    monkeypatch.setattr(codec_fidelity, "Scores", Watched)
    mine = [n for n in networks if n.task.family in sorted(FAMILIES)[:7]]
    scores = codec_fidelity.cross_fitted(mine, PLAN, base, latent=1, seed=1)
    assert sorted(judged) == sorted(scores.families) == sorted(FAMILIES)[:7]


def test_a_report_says_what_is_kept_of_other_families_and_of_its_own(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    decoder = _decoder(networks, base, 2)
    report = codec_fidelity.report(networks, decoder, latent=2, seed=1)
    assert report["networks"] == report["on_fitted"]["networks"] == len(networks)
    for part in (report, report["on_fitted"]):
        assert set(part) >= {"as_trained", "head_on_base", "after_codec"}
    few = codec_fidelity.report(networks[:2], decoder, latent=2, seed=1)
    assert few["networks"] == 0
    assert few["on_fitted"]["networks"] == 2
