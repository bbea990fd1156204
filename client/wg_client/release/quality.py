"""Answering a quality question: how often each candidate of a package is right on frozen records.

The order is that of a statistics release, and so are its steps and what a crash means
(``release.query``). Counted are the heads of the package as they were delivered, on the features
that are released; nothing is fitted, chosen or calibrated with a record, so that one record moves
each count by one at most (``wg_common.privacy.quality``). What a plant finishes with all of its
records (the posterior head, a head of its family) has no such bound, and is not counted.

*Guarantee.* As of ``release.query``. A plant without labels answers as any other: its counts are
zero before noise. *Edge case*: which packages a plant holds is public, since it gave receipts; one
that it lost is refused as whatever befell its disk, and costs nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from wg_client.connection import cosigning
from wg_client.data.snapshot import Snapshot
from wg_client.release import approval
from wg_client.release.query import (
    CHARGED,
    RECORDED,
    SAMPLED,
    Form,
    Step,
    Witness,
    cover,
    current_snapshot,
    open_ledger,
    plain,
)
from wg_client.site import config as configuration
from wg_client.site import encoder_pin, locks
from wg_client.site.config import ClientConfig
from wg_client.site.home import ClientHome
from wg_client.site.policy import check_message_type, check_quality
from wg_common import catalogue, numbers
from wg_common.errors import DecodeError, PolicyRefused, VerificationError
from wg_common.ledger import entries
from wg_common.ledger.charging import ChargeRequest, quality_request
from wg_common.ledger.store import Charged, Ledger
from wg_common.modalities.registry import modality
from wg_common.privacy import mechanism
from wg_common.privacy.mechanism import Sampler, opendp_sampler, sigma_for
from wg_common.privacy.quality import QualityLayout, exact_counts, right_answers
from wg_common.wire import (
    canonical,
    protocol,
    quality_file,
    signing,
    statistics_file,
    weights_file,
    weights_package,
)
from wg_common.wire.protocol import QualityQuery
from wg_common.wire.quality_file import QualityManifest
from wg_common.wire.weights_package import Tensors

log = logging.getLogger(__name__)

FORM = Form("wgq", protocol.QUALITY_LIMIT, quality_file.encode_covered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A package's heads that are counted.

    Attributes:
        package_id: The package.
        sha256: Of its file, hex.
        names: Of candidates.
        heads: Weight ``[C, d]`` and bias ``[C]`` of each.
    """

    package_id: str
    sha256: str
    names: tuple[str, ...]
    heads: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


def answer_quality(
    home: ClientHome,
    query: QualityQuery,
    *,
    witness: Witness | None,
    on_step: Step = lambda step: None,
    sampler: Sampler = opendp_sampler,
    now: Callable[[], float] = time.time,
) -> bytes:
    """Answer a quality question with a covered report (``.wgq``).

    Args and errors are those of ``query.answer_query``, and:

    Raises:
        ConfigError: The package is not there; nothing was charged.
        DecodeError: It holds whole networks, or no head that is counted; nothing was charged.
        VerificationError: It is not the one that was asked for; nothing was charged.
    """
    arrived = now()
    config = configuration.load(home)
    check_message_type(config, protocol.EVALUATE_METRICS)
    encoder = canonical.sha256_hex(encoder_pin.load(home, config))
    check_quality(config, query, encoder=encoder, now=arrived)
    asked = on_the_ledger(query)
    with locks.release(home), open_ledger(home, at=arrived) as ledger:
        cosigning.enrol(ledger, config)
        charged = ledger.find(config.data.name, request_id=query.request_id)
        if charged is None:
            approval.check(home, config, ledger, asked, arrived)
        else:
            _check_charge(ledger, charged, query)
        if charged is None or charged.open:
            charged = _release(home, config, ledger, asked, on_step, sampler, encoder)
        return cover(home, config, ledger, charged, witness, on_step, FORM)


def on_the_ledger(query: QualityQuery) -> QualityQuery:
    """The question with the purpose that ledger and decisions give it."""
    purpose = protocol.quality_purpose(query.package_sha256, query.purpose)
    return dataclasses.replace(query, purpose=purpose)


def counted(
    home: ClientHome, config: ClientConfig, snapshot: Snapshot, query: QualityQuery
) -> Counted:
    """The heads of a delivered package that are counted.

    Raises:
        ConfigError: The package is not there.
        DecodeError: It holds whole networks, or no head that is counted, or too many.
        VerificationError: It is not the one that was asked for.
    """
    path = home.waiting / f"{query.delivery_id}.wgw"
    if not path.is_file():  # it is copied before it is taken away there
        path = home.packages / f"{query.package_id}.wgw"
    sha256 = weights_file.sha256(path)
    if sha256 != query.package_sha256:
        raise VerificationError(f"{path}: hash {sha256}, asked was {query.package_sha256}")
    key = signing.public_from_bytes(bytes.fromhex(config.server.signing_key))
    manifest, tensors = weights_file.read(path, key)
    schema = snapshot.manifest.schema
    for what, got, want in (
        ("package", manifest.package_id, query.package_id),
        ("site", manifest.site, config.site),
        ("encoder", manifest.encoder, schema.encoder),
        ("labels", manifest.labels, schema.labels),
        ("architecture", manifest.architecture, modality(snapshot.manifest.modality).head),
    ):
        if got != want:
            raise VerificationError(f"{path}: {what} is {got!r}, expected {want!r}")
    names = weights_package.counted(manifest)
    shape = (len(schema.labels), schema.dimension)
    heads = tuple(_head(path, name, tensors[name], shape) for name in names)
    return Counted(package_id=manifest.package_id, sha256=sha256, names=names, heads=heads)


def charge_request(
    config: ClientConfig, snapshot: Snapshot, found: Counted, query: QualityQuery
) -> tuple[ChargeRequest, QualityLayout]:
    """What a report would be charged as, and its layout; ``query`` is from ``on_the_ledger``.

    Raises:
        PolicyRefused: The noise would be too small to protect anything.
    """
    schema = snapshot.manifest.schema
    layout = QualityLayout(
        candidates=len(found.names), unit_rule=schema.unit_rule, unit_cap=schema.unit_cap
    )
    epsilon, delta = plain(query.epsilon), plain(query.delta)
    request = quality_request(
        layout,
        sigma_for(layout, float(epsilon), float(delta)),
        encoder=schema.encoder,
        package=found.sha256,
        labels=schema.labels,
        request_id=query.request_id,
        dataset=config.data.name,
        epsilon=epsilon,
        delta=delta,
        purpose=query.purpose,
        recipient=config.server.name,
        unit=config.data.unit_column or "record",
    )
    return request, layout


def exact(snapshot: Snapshot, found: Counted, layout: QualityLayout) -> NDArray[np.int64]:
    """Exact counts of a snapshot, int64 ``[K + 1]``. Private.

    Raises:
        VerificationError: The snapshot is damaged.
    """
    schema, records = snapshot.manifest.schema, snapshot.records()
    released = snapshot.features()[:, : schema.dimension]
    right = right_answers(found.heads, released, records.labels, schema.radius)
    units = None
    if schema.unit_rule != "record":
        units = [digest.tobytes().hex() for digest in records.units]
    return exact_counts(layout, right, records.labels, units)


def _release(
    home: ClientHome,
    config: ClientConfig,
    ledger: Ledger,
    query: QualityQuery,
    step: Step,
    sampler: Sampler,
    encoder: str,
) -> Charged:
    """Charge and make the report, unless an equal one was made before."""
    snapshot = current_snapshot(home, config, ledger, encoder=encoder)
    snapshot.check()  # a damaged one is found before it costs anything
    found = counted(home, config, snapshot, query)
    request, layout = charge_request(config, snapshot, found, query)
    assurance = ledger.assurance(request.implementation.code_sha256)
    charged = ledger.charge(dataclasses.replace(request, assurance=assurance))
    if not charged.open:
        log.info("request %s: an equal report was made before", query.request_id)
        ledger.record_reuse(charged.seq, request.use)
        return charged
    step(CHARGED)
    request = dataclasses.replace(request, request_id=charged.request_id)
    sigma = numbers.hex_float(request.mechanism.sigma, what="charge: sigma")
    noisy = mechanism.release(exact(snapshot, found, layout), sigma, sampler)
    key = signing.load(home.signing_key)
    payload = _packed(config, request, layout, found, noisy, key)
    step(SAMPLED)
    ledger.record_release(charged.seq, payload)
    step(RECORDED)
    return charged


def _packed(
    config: ClientConfig,
    request: ChargeRequest,
    layout: QualityLayout,
    found: Counted,
    noisy: NDArray[np.int64],
    key: Ed25519PrivateKey,
) -> bytes:
    manifest = QualityManifest(
        layout=layout,
        site=config.site,
        dataset=config.data.name,
        request_id=request.request_id,
        release_id=secrets.token_hex(16),
        encoder=request.mechanism.encoder,
        package_id=found.package_id,
        package_sha256=found.sha256,
        candidates=found.names,
        epsilon=request.epsilon,
        delta=request.delta,
        sigma=request.mechanism.sigma,
        sensitivity_squared=request.mechanism.sensitivity_squared,
        purpose=request.use.purpose,
        integers_sha256=canonical.sha256_hex(statistics_file.integers_to_bytes(noisy)),
    )
    return quality_file.encode_report(manifest, noisy, key)


def _check_charge(ledger: Ledger, charged: Charged, query: QualityQuery) -> None:
    """Refuse a request that was charged for something else."""
    entry = entries.decode(ledger.entry(charged.seq))
    package = f" of package {query.package_sha256}"
    if not isinstance(entry, entries.Charge) or not entry.mechanism.name.endswith(package):
        raise PolicyRefused(f"request {query.request_id}: was charged for something else")


def _head(
    path: Path, name: str, tensors: Tensors, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    expected: Mapping[str, tuple[int, ...]] = {
        catalogue.HEAD_WEIGHT: shape,
        catalogue.HEAD_BIAS: shape[:1],
    }
    values = {key: tensors[key] for key in tensors}
    if {key: value.shape for key, value in values.items()} != expected:
        raise DecodeError(f"{path}: candidate {name!r} is no head on this plant's features")
    return values[catalogue.HEAD_WEIGHT], values[catalogue.HEAD_BIAS]
