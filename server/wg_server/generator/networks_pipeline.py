"""Making the generator of whole networks, after that of heads: fit, train, measure, pack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common import atomic, streams
from wg_common.nets import network, registry
from wg_common.nets.encoder import package as encoder_package
from wg_common.streams import Stream
from wg_common.wire import canonical
from wg_server.generator.evaluation import checks, codec_fidelity, network_card
from wg_server.generator.evaluation.retrieval_trust import measure_trust
from wg_server.generator.families import match
from wg_server.generator.networks import package, sampler, train
from wg_server.generator.networks.condition import NetworkPriors
from wg_server.generator.networks.decoder import Decoder
from wg_server.generator.networks.denoiser import NetworkDenoiser, collate
from wg_server.generator.networks.entries import ZooNetwork, load_networks
from wg_server.generator.networks.episodes import Zoo, draw
from wg_server.generator.networks.feature_regression import fit_regression
from wg_server.generator.networks.generate import median_nearest, novelty
from wg_server.generator.networks.neighbours import build_index
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.networks.weight_plan import WeightPlan, weight_plan
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.zoo_tasks import Split, ZooTask
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.training.compute import CPU, Compute
from wg_server.site.home import ServerHome
from wg_server.zoo import bases
from wg_server.zoo import store as stores

FEWEST = 8
"""Networks of an architecture below which there is nothing to learn from."""


def make(
    home: ServerHome,
    plan: NetworkTraining,
    *,
    seed: int,
    tasks: Sequence[ZooTask],
    split: Split,
    fitted_priors: FittedPriors,
    encoder: str,
    heads: str,
    progress: train.Progress,
    how: Compute = CPU,
) -> dict[str, Any] | None:
    """Train on the zoo's networks, and write package and card; None without networks.

    Args:
        home: The server's home.
        plan: How.
        seed: Of everything random.
        tasks: The zoo's tasks.
        split: The families' split that the generator of heads was trained on.
        fitted_priors: What it knows.
        encoder: Id of the encoder.
        heads: Id of the generator of heads.
        progress: Called by the first rank with steps done and a few words.
        how: Where it is computed. Of several ranks only the first writes, and has a card.
    """
    holdings = _holdings(home, plan, tasks)
    if not holdings:
        if how.process_group.first:
            home.networks.unlink(missing_ok=True)
        return None
    have = {n.task.family for holding in holdings.values() for n in holding.networks}
    groups = [frozenset(set(names) & have) for names in (split.train, split.validation, split.test)]
    if not all(groups):
        groups = _cut(sorted(have), seed)
    if how.process_group.first:
        progress(0, "fitting the codec of whole networks")
    deciding = groups[0] | groups[1]
    zoos, codecs = _zoos(holdings, plan, fitted_priors, deciding, seed)
    plants = [
        Plants(
            tasks, dict.fromkeys(sorted(names), fitted_priors), encoder, encoder_package.CLIP_RADIUS
        )
        for names in (*groups, deciding)
    ]
    trusts = {}
    for name, zoo in zoos.items():
        trust, trusts[name] = measure_trust(
            zoo, name, plants[3], deciding, train.SCENARIO, episodes=2 * plan.episodes, seed=seed
        )
        zoos[name] = replace(zoo, fitted_priors=replace(zoo.fitted_priors, trust=trust))
    identity = canonical.sha256_hex(
        canonical.encode(
            {
                "plan": {k: str(v) for k, v in canonical.to_builtins(plan).items()},
                "heads": heads,
                "networks": {
                    name: list(zoo.fitted_priors.retrieval_index.keys) for name, zoo in zoos.items()
                },
                "trust": {name: repr(zoo.fitted_priors.trust) for name, zoo in zoos.items()},
            }
        )
    )
    kinds = {n: (zoo.decoder.codec.kind, zoo.fitted_priors.trust) for n, zoo in zoos.items()}
    how.process_group.check_same("networks of the zoo, codecs or trust", f"{identity} {kinds}")
    model, figures = train.fit(
        plan,
        seed,
        zoos,
        (plants[0], plants[1]),
        (groups[0], groups[1]),
        home.networks.with_suffix(".checkpoint"),
        identity,
        progress,
        how,
    )
    if not how.process_group.first:
        return None
    bundles = {
        name: package.ArchitectureBundle(
            zoo.fitted_priors,
            zoo.decoder,
            median_nearest(zoo.fitted_priors.retrieval_index.latents),
        )
        for name, zoo in zoos.items()
    }
    packed = package.pack(package.NetworkParts(heads, plan.weight_plan, model, bundles))
    progress(plan.steps, "writing the card of whole networks")
    document: dict[str, Any] = {
        "generator": canonical.sha256_hex(packed),
        "heads": heads,
        "weight_plan": plan.weight_plan,
        "architectures": {name: len(zoo.networks) for name, zoo in zoos.items()},
        "parameters": sum(p.numel() for p in model.parameters()),
        "families": [len(names) for names in groups],
        "training": figures,
        "codec": codecs,
        "trust": {
            name: {"chosen": zoo.fitted_priors.trust, "accuracy": trusts[name]}
            for name, zoo in zoos.items()
        },
        "diversity": _diversity(model, zoos, bundles, plants[2], groups[2], seed),
        **network_card.evaluate(
            model, zoos, plants[2], groups[2], episodes=2 * plan.episodes // 3, seed=seed
        ),
    }
    document["checks"] = [check.document() for check in network_card.checks(document)]
    document["passes"] = all(check["passed"] for check in document["checks"])
    document["alarms"] = checks.alarms(document)
    atomic.write_bytes(home.networks, packed)
    text = json.dumps(document, indent=2, sort_keys=True)
    atomic.write_bytes(home.networks_card, text.encode())
    home.networks.with_suffix(".checkpoint").unlink(missing_ok=True)
    return document


@dataclass(frozen=True, slots=True, eq=False)
class _Holding:
    """What the zoo has of one architecture."""

    plan: WeightPlan
    base: dict[str, NDArray[np.float32]]
    networks: Sequence[ZooNetwork]
    elsewhere: Sequence[ZooNetwork] = ()


def _holdings(
    home: ServerHome, plan: NetworkTraining, tasks: Sequence[ZooTask]
) -> dict[str, _Holding]:
    """Architectures of which the zoo has enough networks."""
    found = {}
    for name in sorted(network.KINDS):
        if not bases.base_path(home.zoo, name).is_file():
            continue
        base, base_id = bases.read_base(home.zoo, name)
        wanted = weight_plan(name, registry.known(name).widest(plan.weight_plan))
        networks, elsewhere = load_networks(stores.Zoo(home.zoo), tasks, wanted, base, base_id)
        if len(networks) >= FEWEST:
            found[name] = _Holding(wanted, base, networks, elsewhere)
    return found


def _zoos(
    holdings: Mapping[str, _Holding],
    plan: NetworkTraining,
    fitted_priors: FittedPriors,
    deciding: frozenset[str],
    seed: int,
) -> tuple[dict[str, Zoo], dict[str, Any]]:
    """Codec, bridge and shelf of each architecture, and what the card says of the codecs."""
    found, reports = {}, {}
    for name, own in holdings.items():
        codec, reports[name] = codec_fidelity.fit_codec(
            own.networks,
            own.plan,
            own.base,
            latent=plan.latent,
            kind=plan.codec,
            deciding=deciding,
            seed=seed,
        )
        retrieval_index = build_index(own.networks, codec)
        known = NetworkPriors(
            fitted_priors.priors,
            fit_regression(own.networks),
            retrieval_index,
            match.measure(retrieval_index, fitted_priors.priors),
            elsewhere=build_index(own.elsewhere, codec) if own.elsewhere else None,
        )
        found[name] = Zoo(own.networks, known, Decoder(own.plan, codec, own.base))
    return found, reports


def _cut(families: Sequence[str], seed: int) -> list[frozenset[str]]:
    """A split of families with networks, where the heads' split leaves a part without any."""
    order = [
        families[i] for i in streams.rng(Stream.NETWORK_SPLIT, seed).permutation(len(families))
    ]
    held = max(1, len(order) // 6)
    return [
        frozenset(order[2 * held :] or order),
        frozenset(order[:held]),
        frozenset(order[held : 2 * held] or order),
    ]


def _diversity(
    model: NetworkDenoiser,
    zoos: dict[str, Zoo],
    bundles: dict[str, package.ArchitectureBundle],
    plants: Plants,
    families: frozenset[str],
    seed: int,
) -> dict[str, float]:
    """Novelty of sampled trunks, and their distance from each other."""
    rng = streams.rng(Stream.NETWORK_DIVERSITY, seed)
    novel, between = [], []
    names = sorted(zoos)
    for _ in range(12):
        episode = draw(plants, zoos, families, rng, Scenario())
        bundle = bundles[episode.architecture]
        number = names.index(episode.architecture)
        noise = sampler.named_noise(
            episode.plant.labels, bundle.decoder.codec.parts, model.config, 3, 2
        )
        batch = collate([episode.condition] * 3, [number] * 3, model.config)
        with torch.inference_mode():
            drawn = sampler.sample(model, batch, noise)
        flat = drawn.latents[:, : len(bundle.decoder.codec.parts)].numpy()
        novel += [novelty(bundle, one) for one in flat]
        between += [
            float(np.linalg.norm(flat[i] - flat[j])) / bundle.nearest
            for i in range(3)
            for j in range(i)
        ]
    return {
        "nearest_zoo_distance_median": float(np.median(novel)),
        "nearest_zoo_distance_minimum": float(np.min(novel)),
        "between_samples_median": float(np.median(between)),
    }
