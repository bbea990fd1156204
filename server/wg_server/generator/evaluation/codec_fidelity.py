"""Functional fidelity of the codec of networks: what decoded networks are worth on records.

Reconstructed weights are not the aim; networks that answer right are. The codec is fitted without a
group of families and judged on that group's networks, which it decodes to run them on the records
that were held out of their training: the zoo's own heads, on each decoded trunk. Every family is
held out once. The delivered codec is measured on networks that it was fitted on as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common import streams
from wg_common.nets import network as whole_networks
from wg_common.streams import Stream
from wg_server.generator.statistics import clustered
from wg_server.generator.weights.codec import Array, fit_layer_codec
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.weight_plan import WeightPlan
from wg_server.generator.weights.zoo_network import ZooNetwork

FOLDS = 3
MOST = 60  # Networks of an architecture that are run, at most


def report(
    networks: Sequence[ZooNetwork], decoder: Decoder, *, latent: int, seed: int, limit: int = MOST
) -> dict[str, Any]:
    """What stands on the model card of one architecture.

    Args:
        decoder: With the codec that was fitted on all of them.
        limit: Networks that are run, at most.

    Returns:
        Mean accuracy and cross-entropy, over families, of the networks as trained, of their heads
        on the base's trunk, and after a codec that was fitted without the family; ``on_fitted`` has
        the same after the codec itself.
    """
    cross_scores = cross_fitted(
        networks, decoder.plan, decoder.base, latent=latent, seed=seed, limit=limit
    )
    fitted_scores = fitted(networks, decoder, limit)
    return {"latent": latent, **summary(cross_scores), "on_fitted": summary(fitted_scores)}


class Scores:
    """Accuracy and cross-entropy of networks by way of decoding, in one order of networks."""

    def __init__(self) -> None:
        self.families: list[str] = []
        self.values: dict[str, list[tuple[float, float]]] = {}

    def judge(self, network: ZooNetwork, decoder: Decoder) -> None:
        """Add one network's by all ways, on its held-out records."""
        base, delta = decoder.base, decoder.plan.delta(network.tokens)
        latents = torch.from_numpy(decoder.codec.encode(network.tokens))
        trunks = {
            "as_trained": {**base, **{name: base[name] + value for name, value in delta.items()}},
            "head_on_base": base,
            "after_codec": decoder.trunk(latents),
        }
        self.families.append(network.task.family)
        for way, trunk in trunks.items():
            value = measure(network, decoder.plan.architecture, trunk)
            self.values.setdefault(way, []).append(value)

    def of(self, way: str) -> NDArray[np.float64]:
        """``[N, 2]``."""
        return np.array(self.values[way])


def cross_fitted(
    networks: Sequence[ZooNetwork],
    plan: WeightPlan,
    base: Mapping[str, Array],
    *,
    latent: int,
    seed: int,
    limit: int = MOST,
) -> Scores:
    """Scores of networks by codecs that were fitted without their families.

    Empty with fewer families than folds, or without parts to decode.
    """
    scores = Scores()
    families = sorted({network.task.family for network in networks})
    if len(families) < FOLDS or not plan.parts:
        return scores
    order = streams.rng(Stream.CODEC_FOLDS, seed).permutation(len(families))
    every = -(-len(networks) // limit)
    for fold in range(FOLDS):
        gone = {families[number] for number in order[fold::FOLDS]}
        tokens = [n.tokens for n in networks if n.task.family not in gone]
        codec = fit_layer_codec([part.name for part in plan.parts], tokens, latent)
        for network in [n for n in networks if n.task.family in gone][::every]:
            scores.judge(network, Decoder(plan, codec, base))
    return scores


def fitted(networks: Sequence[ZooNetwork], decoder: Decoder, limit: int = MOST) -> Scores:
    """Scores of networks by a codec that was fitted on them: what the index holds."""
    scores = Scores()
    every = -(-len(networks) // limit)
    for network in networks[::every] if decoder.plan.parts else ():
        scores.judge(network, decoder)
    return scores


def measure(
    network: ZooNetwork, architecture: str, trunk: Mapping[str, Array]
) -> tuple[float, float]:
    """Accuracy and cross-entropy of a trunk under the network's own head, on held-out records."""
    features = whole_networks.features(
        whole_networks.load_trunk(architecture, trunk), network.inputs
    )
    logits = (features - network.centre) @ network.rows[:, :-1].T + network.rows[:, -1]
    answers = network.task.y[network.held]
    logits = logits - logits.max(axis=1, keepdims=True)
    chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    right = (logits.argmax(axis=1) == answers).mean()
    return float(right), float(-chances[np.arange(len(answers)), answers].mean())


def summary(scores: Scores) -> dict[str, Any]:
    """Means over families."""
    means: dict[str, Any] = {"networks": len(scores.families)}
    for way in scores.values:
        accuracy, loss = scores.of(way).T
        means[way] = {
            "accuracy": clustered(accuracy, scores.families)[0],
            "cross_entropy": clustered(loss, scores.families)[0],
        }
    return means
