"""A contribution to the zoo: a head that is trained privately on site, signed, and put in a file.

The order is that of a statistics release (``release.query``): policy and snapshot; the charge;
training with DP-SGD (``release.dp_training``); the RELEASE entry with the exact bytes.

*Guarantee.* A charge is on disk before a record is trained on, and covers one checkpoint. An equal
request gets the stored bytes and charges nothing; it completes a charge whose training was cut
short. Records without a label are left out. *Edge case*: a data set without labels is trained on,
too, and gives noise: a refusal would say that there are none.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wg_client.data import plant as plants
from wg_client.data.plant import Plant
from wg_client.release import dp_training
from wg_client.release.dp_training import DpTrainingPlan, plan_for
from wg_common.modalities.registry import modality
from wg_core.errors import InternalError, VerificationError
from wg_core.ledger.charging import ChargeRequest, DpSgdMechanism, dp_sgd_request
from wg_core.ledger.store import Charged, Ledger
from wg_core.privacy import mechanism
from wg_core.privacy.events import PrivacyEvent
from wg_core.release import approval
from wg_core.release.query import current_snapshot, open_ledger, plain
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.policy import check_release
from wg_core.wire import canonical, signing
from wg_core.wire.contribution_file import ContributionManifest, encode_contribution
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.tensors import pack as pack_tensors

log = logging.getLogger(__name__)

PLAN = "head"
PURPOSE = "contribution to the zoo"

Trainer = Callable[..., dp_training.DpCheckpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionRequest:
    """What to train, at which price. All of it is public.

    Attributes:
        epsilon: Epsilon of the run alone, decimal string.
        delta: Its delta, decimal string.
        steps: Number of steps.
        sampling_probability: Probability with which a privacy unit enters a step.
        units: A public guess of the number of privacy units, never their count: it bounds the
            step, and scales a rate that is given.
        clip_norm: L2 norm to which a unit's gradient is clipped.
        learning_rate: Of plain SGD on the noisy mean gradient; 0: by ``dp_training.plan_for``.
        purpose: What the checkpoint may be used for.
        by: Who approves it, where a person must.
    """

    epsilon: str
    delta: str
    steps: int = dp_training.STEPS
    sampling_probability: float = dp_training.SAMPLING_PROBABILITY
    units: float = 1000.0
    clip_norm: float = 1.0
    learning_rate: float = 0.0
    purpose: str = PURPOSE
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A contribution as it stands in the outbox.

    Attributes:
        data: The ``.wgc`` file.
        request_id: The request under which it was charged.
        charged: Whether it was charged now; if not, it was made or charged before.
        event: What it was charged as.
    """

    data: bytes
    request_id: str
    charged: bool
    event: PrivacyEvent


def contribute(
    home: ClientHome,
    request: ContributionRequest,
    *,
    train: Trainer = dp_training.train,
    sampler: mechanism.Sampler = mechanism.opendp_sampler,
    now: Callable[[], float] = time.time,
) -> Contribution:
    """Train a head privately and sign it for the zoo.

    Args:
        train: Trains; another one than ``dp_training.train`` in tests only.
        sampler: Adds the noise; another one than OpenDP's in tests only.
        now: Unix time, seconds. Charge and release bear the time at which the command began: how
            long training took says how many records there are.

    Raises:
        PolicyRefused: The plant's policy forbids it; nothing was charged.
        BudgetExceeded: The cap forbids it; nothing was charged.
        ConfigError: The plan cannot be, or no snapshot fits ``client.yaml``; nothing was charged.
        InternalError: Sampling was not as charged; the charge stands, and nothing was released.
    """
    config = configuration.load(home)
    plan = _plan(config, request)
    with (
        locks.training(home),
        ExitStack() as until_charged,
        open_ledger(home, at=now()) as ledger,
    ):
        until_charged.enter_context(locks.release(home))
        plant = plants.open_plant(home)
        current_snapshot(home, config, ledger, encoder=plant.encoder)
        asked = _charge_request(plant, request, plan)
        charged = ledger.find(config.data.name, fingerprint=asked.fingerprint(plant.commitment))
        new = charged is None
        if charged is None:
            approval.by_hand(config, ledger, _as_query(plant, request, asked), request.by)
        if charged is None or charged.open:
            # How long training takes depends on the records: no answer waits for it.
            key, run = signing.load(home.signing_key), partial(train, plan, sampler=sampler)
            charged = _make(ledger, plant, asked, run, key, until_charged.close)
        else:
            log.info("contribution: an equal one was made before")
        data = ledger.outbox(charged.seq)
        if data is None:
            raise VerificationError(f"{home.ledger}: charge {charged.seq} has no release")
        return Contribution(data=data, request_id=charged.request_id, charged=new, event=plan.event)


def _as_query(plant: Plant, request: ContributionRequest, asked: ChargeRequest) -> StatisticsQuery:
    """What is asked for, in the words that a decision is made in."""
    return StatisticsQuery(
        request_id=asked.request_id,
        site=plant.config.site,
        encoder=plant.encoder,
        epsilon=asked.epsilon,
        delta=asked.delta,
        purpose=request.purpose,
        expires=0,
    )


def _plan(config: ClientConfig, request: ContributionRequest) -> DpTrainingPlan:
    """How to train within the policy, with as little noise as the price allows."""
    epsilon, delta = request.epsilon, request.delta
    check_release(
        config, epsilon=epsilon, delta=delta, purpose=request.purpose, what="contribution"
    )
    return plan_for(
        float(epsilon),
        float(delta),
        sampling_probability=request.sampling_probability,
        steps=request.steps,
        expected_batch=request.sampling_probability * request.units,
        clip_norm=request.clip_norm,
        learning_rate=request.learning_rate,
    )


def _charge_request(
    plant: Plant, request: ContributionRequest, plan: DpTrainingPlan
) -> ChargeRequest:
    config = plant.config
    run = DpSgdMechanism(
        event=plan.event,
        encoder=plant.encoder,
        dimension=plant.features.dimension,
        labels=config.data.labels,
        clip_norm=plan.clip_norm,
        bits=dp_training.GRID_BITS,
        recipe=(
            f"learning rate {plan.learning_rate!r}, expected batch {plan.expected_batch!r}, "
            "from zeros, mean of the second half of iterates"
        ),
        sampler=dp_training.SAMPLER,
        unit_rule=config.privacy.unit_rule,
    )
    return dp_sgd_request(
        run,
        request_id=secrets.token_hex(16),
        dataset=config.data.name,
        epsilon=plain(request.epsilon),
        delta=plain(request.delta),
        purpose=request.purpose,
        recipient=config.server.name,
        unit=config.data.unit_column or "record",
    )


def _make(
    ledger: Ledger,
    plant: Plant,
    asked: ChargeRequest,
    train: Trainer,
    key: Ed25519PrivateKey,
    let_go: Callable[[], None],
) -> Charged:
    """Charge, train, sign and record; ``let_go`` is called once the charge is on disk."""
    charges: list[Charged] = []

    def charge(event: PrivacyEvent) -> None:
        if event != asked.event:
            raise InternalError("contribution: the run to be trained is not the one to be charged")
        charges.append(ledger.charge(asked))
        let_go()

    config, labels = plant.config, plant.data.labels
    rows = np.flatnonzero(labels >= 0)
    units = plants.privacy_units(plant)
    checkpoint = train(
        plant.features.values[rows],
        labels[rows],
        len(config.data.labels),
        charge=charge,
        units=None if units is None else [units[row] for row in rows],
    )
    if len(charges) != 1 or not charges[0].open:
        raise InternalError("contribution: training did not charge its one open charge")
    (charged,) = charges
    tensors = pack_tensors(checkpoint.tensors)
    manifest = ContributionManifest(
        site=config.site,
        dataset=config.data.name,
        request_id=charged.request_id,
        contribution_id=secrets.token_hex(16),
        architecture=modality(plant.data.modality).head,
        plan=PLAN,
        encoder=plant.encoder,
        labels=config.data.labels,
        event=checkpoint.event,
        sampler=checkpoint.log.sampler,
        epsilon=asked.epsilon,
        delta=asked.delta,
        purpose=asked.use.purpose,
        tensors_sha256=canonical.sha256_hex(tensors),
    )
    ledger.record_release(charged.seq, encode_contribution(manifest, tensors, key))
    return charged
