"""Functional fidelity of codecs: what decoded networks are worth on records, and which is chosen.

Reconstructed weights are not the aim; networks that answer right are. Both codecs are fitted
without a group of families and judged on that group's networks, which they decode to run them on
the records that were held out of their training: the zoo's own heads, on each decoded trunk. Every
network that may decide is left out once. PCA is chosen unless the VAE's networks get more right by
more than the standard error of the paired difference, without losing in cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common import streams
from wg_common.nets import network as whole_networks
from wg_common.streams import Stream
from wg_server.generator.networks.codec import Array, Codec, fit_layer_codec
from wg_server.generator.networks.decoder import Decoder
from wg_server.generator.networks.entries import ZooNetwork
from wg_server.generator.networks.vae import fit_vae_codec
from wg_server.generator.networks.weight_plan import WeightPlan
from wg_server.generator.statistics import clustered

FOLDS = 3
MOST = 60
"""Networks of an architecture that are run, at most."""

Fit = Callable[[Sequence[str], Sequence[Mapping[str, Array]], int, int], Codec]
KINDS: Mapping[str, Fit] = {
    "pca": lambda parts, tokens, latent, _: fit_layer_codec(parts, tokens, latent),
    "vae": fit_vae_codec,
}
AUTO = "auto"


def fit_codec(
    networks: Sequence[ZooNetwork],
    plan: WeightPlan,
    base: Mapping[str, Array],
    *,
    latent: int,
    kind: str,
    deciding: frozenset[str],
    seed: int,
) -> tuple[Codec, dict[str, Any]]:
    """Choose a codec on the families that may decide, and fit it on all networks.

    Args:
        networks: Of one architecture.
        plan: Its parts.
        base: The base's trunk tensors.
        latent: Size of a part's latent.
        kind: ``pca``, ``vae``, or ``auto`` to choose.
        deciding: Families that may decide; the model card's test families are not among them.
        seed: Of folds and of the VAE's training.

    Returns:
        The codec, and what stands on the model card: for each way the mean accuracy and
        cross-entropy on left-out families, what was chosen, and the paired differences;
        ``on_fitted`` has the same of the codec itself, on networks that it was fitted on.
    """
    parts = [part.name for part in plan.parts]
    tokens = [network.tokens for network in networks]
    kinds = list(KINDS) if kind == AUTO else [kind]
    found = left_out(
        [n for n in networks if n.task.family in deciding],
        plan,
        base,
        {name: KINDS[name] for name in kinds},
        latent=latent,
        seed=seed,
    )
    report: dict[str, Any] = {"latent": latent, "wanted": kind, **summary(found)}
    chosen = kind if kind != AUTO else ("vae" if better(report) else "pca")
    codec = KINDS[chosen](parts, tokens, latent, seed)
    own = fitted(networks, plan, base, codec)
    return codec, {**report, "chosen": chosen, "on_fitted": summary(own)}


class Scores:
    """Accuracy and cross-entropy of networks by way of decoding, in one order of networks."""

    def __init__(self) -> None:
        self.families: list[str] = []
        self.values: dict[str, list[tuple[float, float]]] = {}

    def add(self, way: str, value: tuple[float, float]) -> None:
        """One network's."""
        self.values.setdefault(way, []).append(value)

    def judge(
        self, network: ZooNetwork, base: Mapping[str, Array], decoders: Mapping[str, Decoder]
    ) -> None:
        """One network's by all ways, on its held-out records."""
        plan = next(iter(decoders.values())).plan
        delta = plan.delta(network.tokens)
        trunks = {
            "as_trained": {**base, **{name: base[name] + value for name, value in delta.items()}},
            "head_on_base": base,
        }
        for name, decoder in decoders.items():
            latents = torch.from_numpy(decoder.codec.encode(network.tokens))
            trunks[f"after_{name}"] = decoder.trunk(latents)
        self.families.append(network.task.family)
        for way, trunk in trunks.items():
            self.add(way, measure(network, plan.architecture, trunk))

    def of(self, way: str) -> NDArray[np.float64]:
        """``[N, 2]``."""
        return np.array(self.values[way])


def left_out(
    networks: Sequence[ZooNetwork],
    plan: WeightPlan,
    base: Mapping[str, Array],
    fits: Mapping[str, Fit],
    *,
    latent: int,
    seed: int,
    most: int = MOST,
) -> Scores:
    """Scores of networks by codecs that were fitted without their families.

    Empty with fewer families than folds, or without parts to decode.
    """
    scores = Scores()
    families = sorted({network.task.family for network in networks})
    if len(families) < FOLDS or not plan.parts:
        return scores
    order = streams.rng(Stream.CODEC_FOLDS, seed).permutation(len(families))
    every = -(-len(networks) // most)
    for fold in range(FOLDS):
        gone = {families[number] for number in order[fold::FOLDS]}
        rest = [n.tokens for n in networks if n.task.family not in gone]
        codecs = {
            name: fit([p.name for p in plan.parts], rest, latent, seed)
            for name, fit in fits.items()
        }
        decoders = {name: Decoder(plan, codec, base) for name, codec in codecs.items()}
        for network in [n for n in networks if n.task.family in gone][::every]:
            scores.judge(network, base, decoders)
    return scores


def fitted(
    networks: Sequence[ZooNetwork],
    plan: WeightPlan,
    base: Mapping[str, Array],
    codec: Codec,
    most: int = MOST,
) -> Scores:
    """Scores of networks by a codec that was fitted on them: what the shelf holds."""
    scores = Scores()
    every = -(-len(networks) // most)
    for network in networks[::every] if plan.parts else ():
        scores.judge(network, base, {codec.kind: Decoder(plan, codec, base)})
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
    """Means over families, and the VAE less PCA with its standard error."""
    found: dict[str, Any] = {"networks": len(scores.families)}
    for way in scores.values:
        accuracy, loss = scores.of(way).T
        found[way] = {
            "accuracy": clustered(accuracy, scores.families)[0],
            "cross_entropy": clustered(loss, scores.families)[0],
        }
    if {"after_pca", "after_vae"} <= set(scores.values):
        paired = scores.of("after_vae") - scores.of("after_pca")
        gain, error = clustered(paired[:, 0], scores.families)
        more, more_error = clustered(paired[:, 1], scores.families)
        found["vae_minus_pca"] = {
            "accuracy": gain,
            "accuracy_error": error,
            "cross_entropy": more,
            "cross_entropy_error": more_error,
        }
    return found


def better(report: Mapping[str, Any]) -> bool:
    """Whether a summary says that the VAE is to be chosen."""
    paired = report.get("vae_minus_pca")
    if paired is None or math.isnan(paired["accuracy_error"]):
        return False
    return bool(paired["accuracy"] > paired["accuracy_error"] and paired["cross_entropy"] <= 0)
