"""Networks of the operator's families: LP-FT at made-up sites.

LP-FT (Kumar et al., ICLR 2022) is a linear probe first, then everything, here at a rate that warms
up and falls to nothing. A network sees a family's records at made-up sites, from published weights
on, and is there for a typical site, with all that a site needs to standardise its norms and its
features by its own records (``wg_common.inference.family_head.NetworkHead``). A fifth of the
records, at most ``HELD_LIMIT``, are held out of the training: its accuracy is measured on them.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import log_softmax

from wg_common import streams
from wg_common.inference.block_scale import FLOOR
from wg_common.inference.family_head import Layout, NetworkHead
from wg_common.modalities.registry import modality
from wg_common.nets import network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.family_network import FamilyNetwork
from wg_common.nets.site_norms import Modulation, SiteNorms
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_server.zoo import family_heads, heads, membership, sources
from wg_server.zoo.membership import Membership
from wg_server.zoo.task_spec import TaskSpec

HELD_LIMIT = 64
STEPS = 1000  # Of the fine-tuning
_BATCH = 48
_WARM_UP = 30
_RATE = 1e-3
"""Peak, after the warm-up; a cosine takes it to nothing."""
_TOGETHER = 2
"""Made-up sites in a batch."""
_PROBED = 50
"""Made-up sites of a probe, which also say what a typical one is."""
_JUDGED = 20
"""Made-up sites that a network of such is judged at."""
_TINY = 1e-6
"""Added to a variance before its root is taken."""
_PENALTY = 30.0
"""Of the probe that fine-tuning starts from: an overconfident one throws the first steps off."""
Array = NDArray[np.float32]


def train_network(spec: TaskSpec, architecture: str) -> tuple[FamilyNetwork, float, Membership]:
    """The network of a family, its accuracy, and what an attack finds of its records.

    Both are of records held out of its training, at sites of their own; as many others are attacked
    beside them.

    Args:
        spec: The family's first task.
        architecture: Name in the catalogue.

    Raises:
        ConfigError: The architecture has no published weights.
    """
    make = network.kind(architecture).published
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    task = sources.load(spec)
    rng = streams.rng(Stream.NETWORK, spec.seed, spec.family, spec.site)
    order = rng.permutation(len(task.labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]
    sites = made_up_sites(architecture, task, train, rng)
    trunk, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.names), steps=STEPS, rng=rng
    )
    model = FamilyNetwork(architecture, trunk, head)
    return model, *figures_at_sites(model, task, held_out, np.sort(train[:count]), rng)


def made_up_sites(
    architecture: str, task: sources.Task, rows: NDArray[np.intp], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Some of a task's records, varied, at one made-up site after another, without end.

    Args:
        architecture: Architecture of the network that they are for.
        task: The task.
        rows: Records that may be seen; classes are equally often at a site, as far as possible.
        rng: Draws sites and records.

    Yields:
        A batch ``[m, ...]`` and its labels ``[m]``.
    """
    labels, kind = task.labels[rows], modality(task.modality)
    of_class = [rows[labels == label] for label in np.unique(labels)]
    count = _BATCH // _TOGETHER
    per_class = -(-count // len(of_class))
    for site in itertools.count():
        drawn_rows = np.concatenate(
            [np.resize(rng.permutation(members), per_class) for members in of_class]
        )
        chosen_rows = rng.permutation(drawn_rows)[:count]
        varied_records = [
            kind.augment_record(record, rng) for record in task.records_at(chosen_rows)
        ]
        site_records = sources.at_site(varied_records, task.modality, site, rng)
        yield network.prepare_batch(architecture, site_records), task.labels[chosen_rows]


def fine_tune_at_sites(
    architecture: str,
    start: dict[str, Array],
    sites: Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]],
    classes: int,
    *,
    steps: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], NetworkHead]:
    """LP-FT from a trunk, with norms and features that each site standardises by its own records.

    So the trunk need not make features that are the same at all sites, and learns more of classes
    in as many steps. No step sees a site again: a network learns 200 sites by heart. Norms are also
    changed by what the first one says of a site.

    Args:
        architecture: Architecture of the trunk.
        start: Tensors to start from.
        sites: Batches ``[m, ...]`` and labels ``[m]``; from ``made_up_sites``.
        classes: K.
        steps: Steps of the fine-tuning.
        rng: Draws the weights of what changes norms.

    Returns:
        The trunk's tensors, in which all sites are taken for a typical one, and the head, with
        what a site needs to standardise both by its own records.
    """
    trunk = trunks.channels_last(network.load_trunk(architecture, start))
    norms = site_norms.install(trunk)
    layout = Layout(network.feature_count(architecture), ())
    probed_sites = list(itertools.islice(sites, _PROBED))
    features, norm_moments = _site_inputs(trunk, norms, probed_sites)
    modulation = _modulate(norms, norm_moments, network.kind(architecture).site_norms, rng)
    probe_features = _standardise(torch.from_numpy(features)).numpy().reshape(-1, layout.scaled)
    labels = np.concatenate([of for _, of in probed_sites])
    probe = heads.fit_head(probe_features, labels, classes, penalty=_PENALTY)
    weight, bias = (torch.from_numpy(part.astype(np.float32)).requires_grad_() for part in probe)
    parameters = [*trunk.parameters(), weight, bias, *modulation.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-4)
    for step in range(steps):
        _pace(optimiser, step, steps)
        loss = _loss_at_sites(trunk, norms, (weight, bias), itertools.islice(sites, _TOGETHER))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    features, norm_moments = _site_inputs(trunk, norms, probed_sites)
    inner_and_outer = {
        name: value.detach().numpy().astype(np.float64)
        for name, value in modulation.named_parameters()
    }
    head = NetworkHead(
        *family_heads.typical_site(list(features), layout),
        weight=weight.detach().numpy().astype(np.float64) * math.sqrt(layout.scaled),
        bias=bias.detach().numpy().astype(np.float64),
        norms=norm_moments.mean(axis=0),
        **inner_and_outer,
    )
    norms.fold(head.norms)
    return network.trunk_tensors(trunk), head


def _loss_at_sites(
    trunk: torch.nn.Module,
    norms: SiteNorms,
    head: tuple[torch.Tensor, torch.Tensor],
    sites: Iterable[tuple[NDArray[np.generic], NDArray[np.int64]]],
) -> torch.Tensor:
    """Cross-entropy of a trunk and a head, weight and bias, at ``_TOGETHER`` sites."""
    batches, of = zip(*sites, strict=True)
    all_losses = torch.from_numpy(np.concatenate(batches))
    with norms.together(_TOGETHER):
        out = torch.stack(trunk(network.as_input(all_losses)).chunk(_TOGETHER))
    logits = _standardise(out) @ head[0].T + head[1]
    return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(np.concatenate(of)))


def _modulate(
    norms: SiteNorms, norm_moments: NDArray[np.float64], rank: int, rng: np.random.Generator
) -> Modulation:
    """Have norms changed by the first; at some sites they are ``[C, 2, N]``."""
    channels = norms.norms[0].channels
    modulation = Modulation(channels, norm_moments.shape[-1], rank, rng)
    modulation.look_at(torch.from_numpy(norm_moments[:, :, :channels].astype(np.float32)))
    norms.modulate(modulation)
    return modulation


def _site_inputs(
    trunk: torch.nn.Module,
    norms: SiteNorms,
    sites: Sequence[tuple[NDArray[np.generic], NDArray[np.int64]]],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features ``[C, m, F]`` at each site, and what norms ``[C, 2, N]`` are there."""
    features, norm_moments = [], []
    for batch, _ in sites:
        with torch.no_grad():
            features.append(trunk(network.as_input(torch.from_numpy(batch))).numpy())
        norm_moments.append(norms.site_moments())
    return np.stack(features), np.stack(norm_moments)


def _pace(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Warm up, then follow half a cosine down (Loshchilov and Hutter, ICLR 2017, equation 5)."""
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    for group in optimiser.param_groups:
        group["lr"] = _RATE * min(1.0, (step + 1) / _WARM_UP) * falling


def _standardise(features: torch.Tensor) -> torch.Tensor:
    """Features ``[C, m, F]``, standardised by site as ``FamilyHead`` does; of variance F."""
    mean = features.mean(dim=1, keepdim=True)
    spread = (features.var(dim=1, keepdim=True, unbiased=False) + _TINY).sqrt()
    inverse = 1 / (spread + FLOOR * spread.mean(dim=-1, keepdim=True))
    loud = (spread * inverse).square().mean(dim=-1, keepdim=True).sqrt()
    return (features - mean) * inverse / loud


def figures_at_sites(
    model: FamilyNetwork,
    task: sources.Task,
    held_out: NDArray[np.intp],
    members: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[float, Membership]:
    """Accuracy of a network of made-up sites at some more of them, and what an attack finds.

    Args:
        model: The network.
        task: Records of the family.
        held_out: Rows that no training saw; all figures are NaN without them.
        members: Rows of the training that stand beside them at the same sites.
        rng: Draws the sites.
    """
    architecture, rows = model.architecture, np.concatenate([held_out, members])
    layout, labels = Layout(network.feature_count(architecture), ()), task.labels[rows]
    losses, right = np.zeros(len(rows)), []
    for site in range(_JUDGED if len(held_out) else 0):
        batch = network.prepare_batch(
            architecture, sources.at_site(task.records_at(rows), task.modality, site, rng)
        )
        inputs = network.as_input(torch.from_numpy(batch))
        trunk = dict(site_norms.at_site(architecture, model.trunk, model.head, inputs))
        features = network.features(network.load_trunk(architecture, trunk), batch)
        weight, bias = model.head.at(features, layout)
        scores = log_softmax(features @ weight.T + bias, axis=1)
        losses -= scores[np.arange(len(rows)), labels] / _JUDGED
        right.append((scores.argmax(axis=1) == labels)[: len(held_out)].mean())
    is_member = np.arange(len(rows)) >= len(held_out)
    accuracy = float(np.mean(right)) if right else float("nan")
    return accuracy, membership.attack(losses, is_member, labels)
