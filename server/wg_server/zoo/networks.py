"""Training of the networks of the operator's families, at simulated sites.

A network starts from published weights. As in LP-FT (Kumar et al., ICLR 2022), first a linear probe
is fitted on its features, and then all weights are fine-tuned, at a learning rate with warm-up and
cosine decay to zero. The result is a network for a typical site, with the values that a site needs
to standardise the network's norms and features by its own records
(``wg_common.inference.family_head.NetworkHead``). A fifth of the records, at most
``HELD_OUT_RECORD_LIMIT``, is held out to measure the network's accuracy.
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
from wg_common.inference.block_scale import SPREAD_FLOOR
from wg_common.inference.family_head import FeatureLayout, NetworkHead
from wg_common.modalities.registry import find_modality
from wg_common.nets import network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.family_network import FamilyNetwork
from wg_common.nets.site_norms import NormModulation, TrunkSiteNorms
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_server.zoo import family_heads, heads, membership, sources
from wg_server.zoo.membership import MembershipAttackResult
from wg_server.zoo.task_spec import TaskSpec

HELD_OUT_RECORD_LIMIT = 64  # Records of a family held out of its network's training
TRAINING_STEP_COUNT = 1000  # Number of fine-tuning steps
_BATCH_SIZE = 48  # Number of records in a batch, of all its sites together
_WARM_UP_STEPS = 30
_PEAK_LEARNING_RATE = 1e-3
"""Peak learning rate after the warm-up; a cosine reduces it to zero."""
_SITES_PER_BATCH = 2
"""Number of simulated sites in a batch."""
_PROBE_SITE_COUNT = 50
"""Number of simulated sites on which the probe is fitted, and whose mean is the typical site."""
_EVALUATION_SITE_COUNT = 20
"""Number of simulated sites on which a network is evaluated."""
_VARIANCE_FLOOR = 1e-6
"""Constant added to a variance before its root is taken."""
_PROBE_PENALTY = 30.0
"""Penalty of the linear probe that fine-tuning starts from: an overconfident probe causes large
first steps."""
Float32Array = NDArray[np.float32]


def train_and_evaluate_network(
    spec: TaskSpec, architecture: str
) -> tuple[FamilyNetwork, float, MembershipAttackResult]:
    """Train the network of one family, and measure its accuracy and a membership attack.

    Both are measured at new simulated sites: accuracy on held-out records, and the attack on these
    and as many training records.

    Args:
        spec: First task of the family.
        architecture: Name of the network's architecture in ``wg_common.catalogue``.

    Raises:
        ConfigError: The architecture has no published weights.
    """
    make = network.network_kind(architecture).published_tensors
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    task = sources.load_task(spec)
    rng = streams.stream_generator(Stream.NETWORK, spec.seed, spec.family, spec.site)
    order = rng.permutation(len(task.labels))
    count = min(len(order) // 5, HELD_OUT_RECORD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]
    sites = simulated_site_batches(architecture, task, train, rng)
    trunk, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.class_names), step_count=TRAINING_STEP_COUNT, rng=rng
    )
    model = FamilyNetwork(architecture, trunk, head)
    return model, *evaluate_network_at_sites(model, task, held_out, np.sort(train[:count]), rng)


def simulated_site_batches(
    architecture: str,
    task: sources.LabelledTask,
    usable_rows: NDArray[np.intp],
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Yield batches of a task's records without end, each batch at a new simulated site.

    The sites differ less (``Modality.augment_retakes``) than those on which heads are fitted and
    networks are evaluated (``sources.simulate_site``), where a network learns less about classes.

    Args:
        architecture: Architecture of the network that is trained.
        task: Task of the family.
        usable_rows: Rows of the records to use; classes are balanced at a site as far as possible.
        rng: Random generator of sites and records.

    Yields:
        A batch ``[m, ...]`` for the network, and its labels ``[m]``.
    """
    labels, kind = task.labels[usable_rows], find_modality(task.modality)
    of_class = [usable_rows[labels == label] for label in np.unique(labels)]
    count = _BATCH_SIZE // _SITES_PER_BATCH
    per_class = -(-count // len(of_class))
    while True:
        drawn_rows = np.concatenate(
            [np.resize(rng.permutation(members), per_class) for members in of_class]
        )
        chosen_rows = rng.permutation(drawn_rows)[:count]
        site_records = kind.augment_retakes(task.records_at(chosen_rows), rng)
        yield network.prepare_batch(architecture, site_records), task.labels[chosen_rows]


def fine_tune_at_sites(
    architecture: str,
    initial_tensors: dict[str, Float32Array],
    site_batches: Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]],
    classes: int,
    *,
    step_count: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Float32Array], NetworkHead]:
    """Train a network by LP-FT, with norms and features standardised by the records of each site.

    Since sites are standardised, the trunk need not learn to ignore their differences, and learns
    more about classes in the same number of steps. Each step uses new sites, because a network
    memorises a set of 200. The norms' affine maps also depend on the first norm's site moments.

    Args:
        initial_tensors: Tensors ``trunk.*`` from which training starts.
        site_batches: Batches ``[m, ...]`` and labels ``[m]`` from ``simulated_site_batches``.
        classes: Number of classes K.
        rng: Random generator of the modulation's weights.

    Returns:
        Tensors ``trunk.*`` for a typical site, and the head, with the values that a site needs to
        standardise trunk and features by its own records.
    """
    trunk = trunks.to_channels_last(network.load_trunk(architecture, initial_tensors))
    norms = site_norms.install_site_norms(trunk)
    layout = FeatureLayout(network.feature_count(architecture), ())
    probed_sites = list(itertools.islice(site_batches, _PROBE_SITE_COUNT))
    features, norm_moments = _features_and_moments(trunk, norms, probed_sites)
    rank = network.network_kind(architecture).modulation_rank
    modulation = _install_modulation(norms, norm_moments, rank, rng)
    site_features = _standardise_by_site(torch.from_numpy(features)).numpy()
    probe_features = site_features.reshape(-1, layout.scaled_count)
    labels = np.concatenate([of for _, of in probed_sites])
    probe = heads.fit_head(probe_features, labels, classes, penalty=_PROBE_PENALTY)
    weight, bias = (torch.from_numpy(part.astype(np.float32)).requires_grad_() for part in probe)
    parameters = [*trunk.parameters(), weight, bias, *modulation.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_PEAK_LEARNING_RATE, weight_decay=1e-4)
    for step in range(step_count):
        _set_learning_rate(optimiser, step, step_count)
        step_batches = itertools.islice(site_batches, _SITES_PER_BATCH)
        loss = _loss_at_sites(trunk, norms, (weight, bias), step_batches)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    features, norm_moments = _features_and_moments(trunk, norms, probed_sites)
    inner_and_outer = {
        name: value.detach().numpy().astype(np.float64)
        for name, value in modulation.named_parameters()
    }
    head = NetworkHead(
        *family_heads.reference_and_record_count(list(features), layout),
        weight=weight.detach().numpy().astype(np.float64) * math.sqrt(layout.scaled_count),
        bias=bias.detach().numpy().astype(np.float64),
        norms=norm_moments.mean(axis=0),
        **inner_and_outer,
    )
    norms.merge_site_statistics(head.norms)
    return network.trunk_tensors(trunk), head


def _loss_at_sites(
    trunk: torch.nn.Module,
    norms: TrunkSiteNorms,
    head: tuple[torch.Tensor, torch.Tensor],
    site_batches: Iterable[tuple[NDArray[np.generic], NDArray[np.int64]]],
) -> torch.Tensor:
    """Return a network's mean cross-entropy at two sites; ``head`` is weight and bias."""
    batches, of = zip(*site_batches, strict=True)
    all_inputs = torch.from_numpy(np.concatenate(batches))
    with norms.site_batches(_SITES_PER_BATCH):
        out = torch.stack(trunk(network.trunk_input(all_inputs)).chunk(_SITES_PER_BATCH))
    logits = _standardise_by_site(out) @ head[0].T + head[1]
    return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(np.concatenate(of)))


def _install_modulation(
    norms: TrunkSiteNorms, norm_moments: NDArray[np.float64], rank: int, rng: np.random.Generator
) -> NormModulation:
    """Add an untrained modulation to norms, given the norms' moments at C sites, ``[C, 2, N]``."""
    channels = norms.norms[0].channels
    modulation = NormModulation(channels, norm_moments.shape[-1], rank, rng)
    modulation.fit_standardisation(
        torch.from_numpy(norm_moments[:, :, :channels].astype(np.float32))
    )
    norms.set_modulation(modulation)
    return modulation


def _features_and_moments(
    trunk: torch.nn.Module,
    norms: TrunkSiteNorms,
    site_batches: Sequence[tuple[NDArray[np.generic], NDArray[np.int64]]],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Run a trunk at C sites; return features ``[C, m, F]`` and norms' moments ``[C, 2, N]``."""
    features, norm_moments = [], []
    for batch, _ in site_batches:
        with torch.no_grad():
            features.append(trunk(network.trunk_input(torch.from_numpy(batch))).numpy())
        norm_moments.append(norms.site_moments())
    return np.stack(features), np.stack(norm_moments)


def _set_learning_rate(optimiser: torch.optim.Optimizer, step: int, step_count: int) -> None:
    """Set a step's learning rate: linear warm-up times half a cosine (Loshchilov, ICLR 2017)."""
    falling = (1 + math.cos(math.pi * step / step_count)) / 2
    for group in optimiser.param_groups:
        group["lr"] = _PEAK_LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * falling


def _standardise_by_site(features: torch.Tensor) -> torch.Tensor:
    """Standardise features ``[C, m, F]`` by site as ``FamilyHead`` does, to total variance F."""
    mean = features.mean(dim=1, keepdim=True)
    spread = (features.var(dim=1, keepdim=True, unbiased=False) + _VARIANCE_FLOOR).sqrt()
    inverse = 1 / (spread + SPREAD_FLOOR * spread.mean(dim=-1, keepdim=True))
    loud = (spread * inverse).square().mean(dim=-1, keepdim=True).sqrt()
    return (features - mean) * inverse / loud


def evaluate_network_at_sites(
    model: FamilyNetwork,
    task: sources.LabelledTask,
    held_out_rows: NDArray[np.intp],
    member_rows: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[float, MembershipAttackResult]:
    """Measure a network's accuracy at new simulated sites, and the result of a membership attack.

    Args:
        model: The network.
        task: Records of the family.
        held_out_rows: Rows of records that training did not use; if there are none, results are
            NaN.
        member_rows: Rows of training records, which the attack compares with the held-out ones.
        rng: Random generator of the sites.
    """
    architecture, rows = model.architecture, np.concatenate([held_out_rows, member_rows])
    layout, labels = FeatureLayout(network.feature_count(architecture), ()), task.labels[rows]
    losses, right = np.zeros(len(rows)), []
    for site in range(_EVALUATION_SITE_COUNT if len(held_out_rows) else 0):
        batch = network.prepare_batch(
            architecture, sources.simulate_site(task.records_at(rows), task.modality, site, rng)
        )
        inputs = network.trunk_input(torch.from_numpy(batch))
        trunk = dict(
            site_norms.adapt_trunk_to_site(architecture, model.trunk_tensors, model.head, inputs)
        )
        features = network.compute_trunk_features(network.load_trunk(architecture, trunk), batch)
        weight, bias = model.head.adapt_to_site(features, layout)
        scores = log_softmax(features @ weight.T + bias, axis=1)
        losses -= scores[np.arange(len(rows)), labels] / _EVALUATION_SITE_COUNT
        right.append((scores.argmax(axis=1) == labels)[: len(held_out_rows)].mean())
    is_member = np.arange(len(rows)) >= len(held_out_rows)
    accuracy = float(np.mean(right)) if right else float("nan")
    return accuracy, membership.attack_by_loss(losses, is_member, labels)
