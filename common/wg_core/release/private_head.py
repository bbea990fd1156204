"""Release of a private head: charged as gradients, trained from the snapshot, recorded, bundled.

The order of steps and the effect of a crash are as in ``query_answers``: a charge without a release
is completed by the next equal order, and an existing release is handed out again bit for bit. The
settings for servers (``privacy.noisy_statistics``, ``purposes``) do not apply, since no server can
request a head: a command of the plant makes it, within ``max_request_epsilon``, and with a person's
name if ``privacy.approve`` is ``human``.

If the plant has a server, training takes a fixed number of time slots, during which no question is
answered: neither that pause nor the time at which witnesses are asked reveals how many records
there are, unless training takes longer.
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wg_core import number_parsers
from wg_core.connection import cosigning
from wg_core.errors import ConfigError, InternalError
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.witness import AskWitness
from wg_core.privacy import time_slots
from wg_core.privacy.gradients import (
    ChargedGradientSums,
    GradientSchema,
    LabelledFeatures,
    TrainHead,
)
from wg_core.privacy.schema import GRADIENTS
from wg_core.release import approval, query_answers
from wg_core.release.query_answers import DEFAULT_HOOKS, ReleaseHooks, ReleaseOrder
from wg_core.site import config as configuration
from wg_core.site import encoder_pin, locks, policy
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import Snapshot
from wg_core.wire import canonical, head_file, signing
from wg_core.wire.signing import PrivateKey

HEAD_PURPOSE = "exported model"
TRAINING_SLOTS = 30  # With slots of two seconds it suffices for 10,000 records of six classes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOrder(ReleaseOrder):
    """Order for one privately trained head, given by a command of the plant.

    Attributes:
        approver: Name of the approving person, if ``privacy.approve`` is ``human``.
    """

    purpose: str = HEAD_PURPOSE
    approver: str | None = None

    @property
    def statistics(self) -> Literal["gradients"]:
        """Kind of release that the charge states: always ``gradients``."""
        return GRADIENTS


def release_private_head(
    home: ClientHome,
    order: HeadOrder,
    train_head: TrainHead,
    *,
    witness: AskWitness | None,
    hooks: ReleaseHooks = DEFAULT_HOOKS,
) -> bytes:
    """Charge, train and record one private head; return its file with ledger proofs.

    If an equal head was released before, its bytes are returned and nothing is charged.

    Args:
        train_head: Function that trains the head, from labelled records and noisy sums alone.
        witness: Function that asks the server to cosign the ledger. None over the air gap: the
            recipient of the file then cosigns the checkpoint in it.
        hooks: Noise sampler and step callback; replaced only in tests.

    Raises:
        PolicyRefused: The price exceeds the limit, or nobody approves; nothing was charged.
        BudgetExceeded: The cap forbids the charge; nothing was charged.
        ConfigError: No snapshot fits, or no label is declared; nothing was charged.
        WitnessRefused, TooFewWitnesses: As for ``query_answers.answer_query``; the release is kept.
    """
    start_time, config = time.monotonic(), configuration.load(home)
    encoder = canonical.sha256_hex(encoder_pin.load(home, config))
    policy.check_price(config, order, f"head {order.request_id}")
    if not config.data.labels:
        raise ConfigError(f"{home.config}: data.labels is empty, and a head needs classes")
    with locks.lock_ledger(home), query_answers.open_ledger(home, entry_time=time.time()) as ledger:
        cosigning.enrol_witnesses(ledger, config)
        snapshot = query_answers.current_snapshot(home, config, ledger, encoder_sha256=encoder)
        schema = GradientSchema(
            encoder=snapshot.encoder_sha256,
            dimension=snapshot.manifest.schema.dimension,
            labels=config.data.labels,
            unit_rule=config.data.unit_rule,
        )
        request, _ = query_answers.price_release(config, schema, order)
        fingerprint = request.fingerprint(snapshot.manifest.commitment)
        if ledger.find_charge(config.data.name, fingerprint=fingerprint) is None:
            approval.approve_by_command(config, ledger, order, order.approver)
        if witness is None:
            cosigning.check_uncosigned_limit(ledger, config)
        key = signing.load(home.signing_key)

        def pack(charged_request: ChargeRequest) -> bytes:
            records = labelled_features(snapshot)
            sigma = number_parsers.parse_hex_float(charged_request.mechanism.sigma)
            steps = ChargedGradientSums(records.rows_by_unit(), sigma, schema.steps, hooks.sampler)
            body = head_file.head_bytes(train_head(records, steps))
            if steps.remaining_sums or len(body) != 4 * schema.parameter_count:
                raise InternalError("private head: was not trained by all steps of its charge")
            if config.pin is not None:
                slots = TRAINING_SLOTS * config.privacy.answer_slot_seconds
                time_slots.wait_for_slot_end(start_time, slots)
            return _encode_head_file(config, schema, charged_request, body, key)

        charge = query_answers.charge_and_release(ledger, request, pack, hooks.on_step)
        return query_answers.make_bundle(home, config, ledger, charge, witness, hooks.on_step)


def _encode_head_file(
    config: ClientConfig,
    schema: GradientSchema,
    request: ChargeRequest,
    body: bytes,
    key: PrivateKey,
) -> bytes:
    """Encode a privately trained head as a signed file."""
    manifest = head_file.HeadManifest(
        schema=schema,
        site=config.site,
        dataset=config.data.name,
        request_id=request.request_id,
        epsilon=request.epsilon,
        delta=request.delta,
        sigma=request.mechanism.sigma,
        sensitivity_squared=request.mechanism.sensitivity_squared,
        purpose=request.use.purpose,
        head_sha256=canonical.sha256_hex(body),
    )
    return head_file.encode(manifest, body, key)


def labelled_features(snapshot: Snapshot) -> LabelledFeatures:
    """Return the snapshot's labelled records, with the features used for releases."""
    schema, frozen = snapshot.manifest.schema, snapshot.records()
    rows = np.flatnonzero(frozen.labels >= 0)
    units = [digest.tobytes().hex() for digest in frozen.units[rows]]
    return LabelledFeatures(
        features=np.array(snapshot.features()[rows, : schema.dimension], dtype=np.float32),
        labels=frozen.labels[rows],
        class_count=len(schema.labels),
        privacy_units=None if schema.unit_rule == "record" else units,
    )
