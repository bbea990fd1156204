"""Answering a statistics query: charge, sample, record, countersign, and only then hand out.

Everything that can fail without a charge fails first: policy, data, encoder, schema. From the
charge on the order is fixed (design: privacy, "Ledger"), and each step has a name that tests stop
a process at:

========== ==================================================================================
step       what is on disk, and what a crash right after it means
========== ==================================================================================
charged    a CHARGE entry. The same request completes it: nothing was written or sent.
sampled    nothing more; the noisy integers die with the process, and are drawn anew.
recorded   RELEASE entry and the exact bytes. These are sent, whatever happens.
cosigned   the witness's cosignature. The same bytes are sent.
========== ==================================================================================

*Guarantee.* A charge is on disk before noise is drawn; one charge covers one release; a repeated
request, or an equal one under another id, gets the stored bytes and charges nothing. A lock keeps
two processes of one plant from sampling for one charge.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wg_client import config as configuration
from wg_client import cosigning
from wg_client import plant as plants
from wg_client.config import ClientConfig
from wg_client.home import ClientHome
from wg_client.policy import check_message_type, check_query
from wg_common import atomic, canonical, protocol, signing
from wg_common.errors import ConfigError, VerificationError
from wg_common.ledger.charging import ChargeRequest, statistics_request
from wg_common.ledger.store import Charged, DatasetRecord, Ledger
from wg_common.privacy.exact import exact_statistics
from wg_common.privacy.mechanism import Sampler, opendp_sampler, release, sigma_for
from wg_common.privacy.schema import StatisticsSchema
from wg_common.protocol import StatisticsQuery
from wg_common.statistics_file import (
    CoveredStatistics,
    StatisticsManifest,
    encode_covered,
    encode_release,
    integers_to_bytes,
)

log = logging.getLogger(__name__)

Witness = Callable[[bytes], bytes]
"""Takes an ``add-checkpoint`` body and returns cosignature lines, or raises ``WitnessRefused``."""
Step = Callable[[str], None]

CHARGED = "charged"
SAMPLED = "sampled"
RECORDED = "recorded"
COSIGNED = "cosigned"
STEPS = (CHARGED, SAMPLED, RECORDED, COSIGNED)


def answer_query(
    home: ClientHome,
    query: StatisticsQuery,
    *,
    witness: Witness | None,
    on_step: Step | None = None,
    sampler: Sampler = opendp_sampler,
    now: Callable[[], float] = time.time,
) -> bytes:
    """Answer a query with a covered statistics file (``.wgs``).

    Args:
        home: The plant's home.
        query: What the server asks.
        witness: Gets the ledger's checkpoint cosigned. None over the air gap: whoever gets the
            file then countersigns the checkpoint that is in it.
        on_step: Called after each of ``STEPS``; for tests.
        sampler: Adds the noise; another one than OpenDP's in tests only.
        now: Unix time, seconds.

    Raises:
        PolicyRefused: The plant's policy forbids it; nothing was charged.
        BudgetExceeded: The cap forbids it; nothing was charged.
        DataError: The data set cannot be used; nothing was charged.
        WitnessRefused: The witness does not cosign. The release is kept, and sent when asked again.
    """
    step = on_step or _ignore
    config = configuration.load(home)
    check_message_type(config, protocol.QUERY_STATISTICS)
    encoder = canonical.sha256_hex(plants.load_encoder_package(home))
    check_query(config, query, encoder=encoder, now=now())
    with alone(home), open_ledger(home) as ledger:
        charged = ledger.find(config.data.name, request_id=query.request_id)
        if charged is None or charged.open:
            if witness is None:
                cosigning.check_room(ledger, config)
            charged = _release(home, ledger, query, step, sampler)
        return _cover(home, config, ledger, charged, witness, step)


def open_ledger(home: ClientHome) -> Ledger:
    """The plant's ledger, for writing. It is never made here: a missing ledger is an error."""
    return Ledger.open(home.ledger, signing.load(home.ledger_key))


def dataset_record(config: ClientConfig, commitment: str) -> DatasetRecord:
    """The data set as the ledger knows it; its name carries the budget."""
    return DatasetRecord(
        name=config.data.name,
        commitment=commitment,
        cap_epsilon=config.privacy.cap_epsilon,
        cap_delta=config.privacy.cap_delta,
    )


def charge_request(
    config: ClientConfig,
    schema: StatisticsSchema,
    *,
    request_id: str,
    epsilon: str,
    delta: str,
    purpose: str,
) -> tuple[ChargeRequest, float]:
    """What a release would be charged as, and its noise scale in grid units.

    Raises:
        PolicyRefused: The noise would be too small to protect anything.
    """
    sigma = sigma_for(schema, float(epsilon), float(delta))
    request = statistics_request(
        schema,
        sigma,
        request_id=request_id,
        dataset=config.data.name,
        epsilon=epsilon,
        delta=delta,
        purpose=purpose,
        recipient=config.server.name,
        unit=config.data.unit_column or "record",
    )
    return request, sigma


def _release(
    home: ClientHome, ledger: Ledger, query: StatisticsQuery, step: Step, sampler: Sampler
) -> Charged:
    """Charge and make the release, unless an equal one was made before."""
    plant = plants.open_plant(home)
    features = plants.encode(home, plant)
    schema = plants.statistics_schema(plant, features)
    request, sigma = charge_request(
        plant.config,
        schema,
        request_id=query.request_id,
        epsilon=plain(query.epsilon),
        delta=plain(query.delta),
        purpose=query.purpose,
    )
    exact = exact_statistics(
        schema, features.values, plant.data.labels, plants.privacy_units(plant)
    )
    ledger.register_dataset(dataset_record(plant.config, plant.commitment))
    assurance = ledger.assurance(request.implementation.code_sha256)
    charged = ledger.charge(dataclasses.replace(request, assurance=assurance))
    if not charged.open:
        log.info("request %s: an equal release was made before", query.request_id)
        return charged
    step(CHARGED)
    integers = release(exact, sigma, sampler)
    step(SAMPLED)
    manifest = StatisticsManifest(
        schema=schema,
        site=plant.config.site,
        dataset=plant.config.data.name,
        request_id=charged.request_id,
        release_id=secrets.token_hex(16),
        epsilon=request.epsilon,
        delta=request.delta,
        sigma=sigma.hex(),
        sensitivity_squared=str(schema.sensitivity_squared()),
        purpose=query.purpose,
        integers_sha256=canonical.sha256_hex(integers_to_bytes(integers)),
    )
    payload = encode_release(manifest, integers, signing.load(home.signing_key))
    ledger.record_release(charged.seq, payload)
    step(RECORDED)
    return charged


def _cover(
    home: ClientHome,
    config: ClientConfig,
    ledger: Ledger,
    charged: Charged,
    witness: Witness | None,
    step: Step,
) -> bytes:
    """The covered file of a release: stored, or made once and stored."""
    name = config.server.witness_name
    cosigned = home.outbox / f"{charged.request_id}.wgs"
    waiting = home.outbox / f"{charged.request_id}.air.wgs"
    if cosigned.is_file():
        return atomic.read_bytes(cosigned, limit=protocol.STATISTICS_LIMIT)
    payload = ledger.outbox(charged.seq)
    released = ledger.release_of(charged.seq)
    if payload is None or released is None:
        raise VerificationError(f"{home.ledger}: charge {charged.seq} has no release to send")
    stored = cosigned
    if witness is not None:
        ledger.countersign(name, witness)
        step(COSIGNED)
    elif not ledger.covered_by(released.seq, name):
        stored = waiting
        if cosigning.leads_to(waiting, ledger.size):
            return atomic.read_bytes(waiting, limit=protocol.STATISTICS_LIMIT)
        cosigning.hand_out(ledger, config)
    covered = CoveredStatistics(
        release=payload,
        charge_entry=ledger.entry(charged.seq),
        release_entry=ledger.entry(released.seq),
        charge_proof=ledger.inclusion_proof(charged.seq, witness=name),
        release_proof=ledger.inclusion_proof(released.seq, witness=name),
    )
    data = encode_covered(covered)
    atomic.write_bytes(stored, data, mode=atomic.PRIVATE)
    return data


def plain(number: str) -> str:
    """One spelling for one number, so that "1" and "1.0", or "1e-5" and "0.00001", are equal."""
    value = configuration.positive_decimal(number, "number").normalize()
    return format(value, "f") if value.adjusted() > -4 else format(value, "e")


@contextmanager
def alone(home: ClientHome) -> Iterator[None]:
    """The lock under which one process of this plant answers; freed when the process ends."""
    try:
        handle = os.open(home.root / ".release.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{home.root}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _ignore(step: str) -> None:
    del step
