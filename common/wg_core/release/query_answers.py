"""Answers to statistics queries: charged, sampled, recorded and cosigned before they leave.

A query at epsilon 0 is answered with the plant's public statement, a STATEMENT entry, alone.

A release is made from the plant's snapshot (``snapshot``) alone. No data folder is opened, so no
answer depends on one. Everything that can fail without a charge is checked first: policy, snapshot,
encoder, schema. From the charge on the order is fixed (docs/privacy-argument.md), and each step has
a name, at which tests stop a process:

========== ==================================================================================
step       state on disk, and the effect of a crash right after the step
========== ==================================================================================
charged    a CHARGE entry. The same request completes it: nothing was written or sent.
sampled    nothing more; the noisy integers are lost with the process, and are drawn anew.
recorded   RELEASE entry and the exact bytes. These are sent, whatever happens.
cosigned   the witness's cosignature. The same bytes are sent.
========== ==================================================================================

*Guarantee.* A charge is on disk before noise is drawn; one charge covers one release; a repeated
request, or an equal request under another id, gets the stored bytes and charges nothing. A lock
prevents two processes of one plant from sampling for one charge. Entries have the time at which the
query arrived, not the time of the work.
"""

import dataclasses
import functools
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET

from wg_core import atomic, number_parsers
from wg_core import snapshot as snapshots
from wg_core.connection import cosigning
from wg_core.errors import ConfigError, InternalError, PolicyRefused, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger, RecordedCharge
from wg_core.ledger.charging import ChargeRequest, ReleaseTerms, make_charge_request
from wg_core.ledger.witness import AskWitness
from wg_core.privacy import time_slots
from wg_core.privacy.gradients import GradientSchema
from wg_core.privacy.mechanism import Sampler, add_opendp_noise, noise_scale, release_statistics
from wg_core.privacy.schema import GRADIENTS, MACHINE_STATISTICS, StatisticsSchema, statistics_kind
from wg_core.release import approval, budget_history, readiness
from wg_core.release.approval import release_recipient
from wg_core.site import budget_sharing, encoder_pin, locks
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.policy import check_message_type, check_query
from wg_core.snapshot import Snapshot
from wg_core.wire import bundle, canonical, protocol, signing, statistics_file
from wg_core.wire.bundle import StatementBundle, StatisticsBundle
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.signing import PrivateKey

log = logging.getLogger(__name__)

StepHook = Callable[[str], None]  # Called with the name of each of ``RELEASE_STEPS``

CHARGED_STEP = "charged"
SAMPLED_STEP = "sampled"
RECORDED_STEP = "recorded"
COSIGNED_STEP = "cosigned"
RELEASE_STEPS = (CHARGED_STEP, SAMPLED_STEP, RECORDED_STEP, COSIGNED_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrder:
    """Order for one release: request id (hex), epsilon and delta (decimal strings), purpose."""

    request_id: str
    epsilon: str
    delta: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHooks:
    """Functions by which an answer is made; replaced only in tests and audits.

    Attributes:
        sampler: Function that adds the noise.
        on_step: Function called after each of ``RELEASE_STEPS``.
    """

    sampler: Sampler = add_opendp_noise
    on_step: StepHook = lambda step: None


DEFAULT_HOOKS = ReleaseHooks()

MakeReleaseBytes = Callable[[ChargeRequest], bytes]
"""Function that draws noise and returns a release's bytes; called once, after the charge."""


def answer_query(
    home: ClientHome,
    query: StatisticsQuery,
    *,
    witness: AskWitness | None,
    hooks: ReleaseHooks = DEFAULT_HOOKS,
    clock: Callable[[], float] = time.time,
) -> bytes:
    """Answer a statistics query with a ``.wgs`` file: the release and its ledger proofs.

    Args:
        witness: Function that asks the server to cosign the ledger. None over the air gap: the
            recipient of the file then cosigns the checkpoint in it.
        hooks: Noise sampler and step callback; replaced only in tests.
        clock: Function that returns the query's time of arrival, used for ledger entries.

    Raises:
        PolicyRefused: The plant's policy forbids the query, a person denied it, or its request id
            was charged for another kind of release; nothing was charged.
        NoMachineStatistics: There are no machine statistics to answer with; nothing was charged.
        ApprovalPending: A person must decide first; nothing was charged.
        BudgetExceeded: The cap forbids the charge; nothing was charged.
        ConfigError: No snapshot fits ``client.yaml``; nothing was charged.
        RefusedError: The request was charged for an earlier version of the data and left open.
        WitnessRefused: The server does not cosign. The release is kept, and sent when asked again.
        TooFewWitnesses: Too few other witnesses cosign; the release is kept likewise.
    """
    arrival, start_time = clock(), time.monotonic()
    config = configuration.load(home)
    check_message_type(config, protocol.QUERY_MESSAGE_TYPE)
    encoder = canonical.sha256_hex(encoder_pin.load(home, config))
    check_query(config, query, encoder_sha256=encoder, current_time=arrival)
    with locks.lock_ledger(home), open_ledger(home, entry_time=arrival) as ledger:
        cosigning.enrol_witnesses(ledger, config)
        if query.asks_only_statement:
            return _answer_with_statement(ledger, config, encoder, witness)
        charge = ledger.find_charge(config.data.name, request_id=query.request_id)
        if charge is None:
            if query.statistics == MACHINE_STATISTICS:  # before a person is asked to decide
                readiness.check_machine_unchanged(config, snapshots.load_current(home))
            approval.require_approval(home, config, ledger, query, arrival)
        else:
            _check_charged_kind(ledger, charge, query)
        if charge is None or charge.is_open:
            if witness is None:
                cosigning.check_uncosigned_limit(ledger, config)
            snapshot = current_snapshot(home, config, ledger, encoder_sha256=encoder)
            schema = snapshot.schema(statistics_kind(query.statistics))
            request, _ = price_release(config, schema, query)
            key = signing.load(home.signing_key)
            pack = functools.partial(make_release, config, snapshot, key=key, sampler=hooks.sampler)
            if config.data_sheet is not None:
                _record_statement(ledger, config, encoder)
            charge = charge_and_release(ledger, request, pack, hooks.on_step)
        if witness is None and config.witnesses:  # they see when they are asked; ``slot``
            time_slots.wait_for_slot_end(start_time, config.privacy.answer_slot_seconds)
        return make_bundle(home, config, ledger, charge, witness, hooks.on_step)


def _record_statement(ledger: Ledger, config: ClientConfig, encoder_sha256: str) -> int:
    """Return the ledger index of the plant's public statement; record the statement if new."""
    return ledger.record_statement(
        dataset_name=config.data.name,
        recipient=config.server.name,
        encoder_sha256=encoder_sha256,
        labels=config.data.labels,
        data_sheet=config.data_sheet,
    )


def _answer_with_statement(
    ledger: Ledger, config: ClientConfig, encoder_sha256: str, witness: AskWitness | None
) -> bytes:
    """Return the plant's public statement with its ledger proof; no record is involved.

    Raises:
        WitnessRefused, TooFewWitnesses: As for ``answer_query``.
    """
    name, seq = config.server.witness_name, _record_statement(ledger, config, encoder_sha256)
    cosigning.collect_cosignatures(ledger, config, witness)
    if not ledger.is_entry_cosigned(seq, name):
        cosigning.mark_checkpoint_sent(ledger, config)
    statement = StatementBundle(ledger.entry_bytes(seq), ledger.inclusion_proof(seq, witness=name))
    return bundle.encode(statement)


def open_ledger(home: ClientHome, *, entry_time: float | None = None) -> Ledger:
    """Open the plant's existing ledger for writing.

    New entries have the time ``entry_time``, Unix seconds; None: the current time.

    Raises:
        ConfigError: The home shares a ledger whose key or origin its server does not know yet.
    """
    clock = None if entry_time is None else lambda: int(entry_time)
    ledger = Ledger.open(home.ledger, signing.load(home.ledger_key), clock=clock)
    try:
        budget_sharing.check_known_ledger(home, ledger)
    except ConfigError:
        ledger.close()
        raise
    return ledger


def current_snapshot(
    home: ClientHome, config: ClientConfig, ledger: Ledger, *, encoder_sha256: str
) -> Snapshot:
    """Return the snapshot in use, after registering it on the ledger if it is not registered.

    Raises:
        ConfigError: No snapshot fits ``client.yaml`` and the encoder.
        VerificationError: The snapshot changed since the freeze.
    """
    snapshot = snapshots.load_current(home)
    readiness.check_snapshot_settings(config, snapshot, encoder_sha256=encoder_sha256)
    budget_history.register_dataset_version(ledger, config, snapshot.manifest.commitment)
    snapshot.verify_files()  # detects a damaged snapshot before it costs anything
    return snapshot


def price_release(
    config: ClientConfig,
    schema: StatisticsSchema | GradientSchema,
    order: ReleaseOrder | StatisticsQuery,
) -> tuple[ChargeRequest, float]:
    """Return the charge request for a release, and sigma of its noise; nothing is charged.

    Raises:
        PolicyRefused: The noise would be too small to protect anything.
    """
    epsilon, delta = canonical_decimal(order.epsilon), canonical_decimal(order.delta)
    sigma = noise_scale(schema, float(epsilon), float(delta))
    terms = ReleaseTerms(
        request_id=order.request_id,
        dataset=config.data.name,
        epsilon=epsilon,
        delta=delta,
        purpose=order.purpose,
        recipient=release_recipient(config, schema.release_kind),
        privacy_unit=config.data.unit_column or "record",
    )
    return make_charge_request(schema, sigma, terms), sigma


def make_release(
    config: ClientConfig,
    snapshot: Snapshot,
    request: ChargeRequest,
    *,
    key: PrivateKey,
    sampler: Sampler = add_opendp_noise,
    release_id: str | None = None,
) -> bytes:
    """Return one release's bytes from a snapshot: statistics, noise, signature; charges nothing.

    To be called once per charge, after ``request`` was charged, or on simulated data.

    Args:
        request: Charge request from ``price_release`` with a schema of the snapshot.
        sampler: Function that adds the noise; replaced only in tests and audits.
        release_id: Public id of the release; None: random.

    Raises:
        InternalError: The request is not for the snapshot's schema.
        NoMachineStatistics: The request is for machine statistics, and the snapshot has none.
        VerificationError: The snapshot is damaged.
    """
    statistics = request.mechanism.release_kind
    if statistics == GRADIENTS:
        raise InternalError("release: the charge is for a private head")
    schema = snapshot.schema(statistics)
    sigma = number_parsers.parse_hex_float(request.mechanism.sigma, input_name="charge: sigma")
    if request.mechanism.sensitivity_squared != str(schema.sensitivity_squared()):
        raise InternalError("release: the charge is not for the schema of the snapshot")
    integers = release_statistics(
        schema, snapshot.statistics(statistics), snapshot.statistics_about_centre, sigma, sampler
    )
    manifest = statistics_file.StatisticsManifest(
        schema=schema,
        site=config.site,
        dataset=config.data.name,
        request_id=request.request_id,
        release_id=release_id or secrets.token_hex(16),
        epsilon=request.epsilon,
        delta=request.delta,
        sigma=sigma.hex(),
        sensitivity_squared=str(schema.sensitivity_squared()),
        purpose=request.use.purpose,
        data_sheet=snapshot.machine_statistics.data_sheet
        if statistics == MACHINE_STATISTICS
        else config.data_sheet,
        labels=config.data.labels if statistics == MACHINE_STATISTICS else UNSET,
        integers_sha256=canonical.sha256_hex(statistics_file.integers_to_bytes(integers)),
    )
    return statistics_file.encode_release(manifest, integers, key)


def _check_charged_kind(ledger: Ledger, charge: RecordedCharge, query: StatisticsQuery) -> None:
    """Raise ``PolicyRefused`` if a query's request id was charged for another kind of release."""
    entry = entries.decode(ledger.entry_bytes(charge.seq))
    statistics = statistics_kind(query.statistics)
    if not isinstance(entry, entries.Charge) or entry.mechanism.release_kind != statistics:
        raise PolicyRefused(f"request {query.request_id}: was charged for something else")


def charge_and_release(
    ledger: Ledger, request: ChargeRequest, make_release_bytes: MakeReleaseBytes, on_step: StepHook
) -> RecordedCharge:
    """Return the charge of an equal earlier release, or else charge, make and record this one."""
    charge = ledger.charge(request)
    if not charge.is_open:
        log.info("request %s: an equal release was made before", request.request_id)
        ledger.record_reuse(charge.seq, request.use)
        return charge
    on_step(CHARGED_STEP)
    payload = make_release_bytes(dataclasses.replace(request, request_id=charge.request_id))
    on_step(SAMPLED_STEP)
    ledger.record_release(charge.seq, payload)
    on_step(RECORDED_STEP)
    return charge


def make_bundle(
    home: ClientHome,
    config: ClientConfig,
    ledger: Ledger,
    charge: RecordedCharge,
    witness: AskWitness | None,
    on_step: StepHook,
) -> bytes:
    """Return a release bundled with its ledger proofs, made once and then stored.

    Raises:
        VerificationError: The charge has no release.
        WitnessRefused: The server does not cosign; the release is kept.
    """
    name = config.server.witness_name
    cosigned_file = home.outbox / f"{charge.request_id}.wgs"
    waiting = home.outbox / f"{charge.request_id}.air.wgs"
    if cosigned_file.is_file():
        return atomic.read_bytes(cosigned_file, limit=protocol.STATISTICS_BYTES_LIMIT)
    payload = ledger.released_bytes(charge.seq)
    release = ledger.find_release(charge.seq)
    if payload is None or release is None:
        raise VerificationError(f"{home.ledger}: charge {charge.seq} has no release to send")
    stored_file = cosigned_file
    cosigning.collect_cosignatures(ledger, config, witness)
    if witness is not None:
        on_step(COSIGNED_STEP)
    elif not ledger.is_entry_cosigned(release.seq, name):
        stored_file = waiting
        if cosigning.has_proof_at_size(waiting, ledger.size):
            return atomic.read_bytes(waiting, limit=protocol.STATISTICS_BYTES_LIMIT)
        cosigning.mark_checkpoint_sent(ledger, config)
    statistics = StatisticsBundle(
        release=payload,
        charge_entry=ledger.entry_bytes(charge.seq),
        release_entry=ledger.entry_bytes(release.seq),
        charge_proof=ledger.inclusion_proof(charge.seq, witness=name),
        release_proof=ledger.inclusion_proof(release.seq, witness=name),
    )
    data = bundle.encode(statistics)
    atomic.write_private_bytes(stored_file, data)
    return data


def canonical_decimal(number: str) -> str:
    """Return a decimal text in canonical spelling, which is the same for "1" and "1.0"."""
    value = configuration.positive_decimal(number, "number").normalize()
    return format(value, "f") if value.adjusted() > -4 else format(value, "e")
