"""Answering a quality question: how often each candidate of a package is right on frozen records.

The order is that of every answer, and so are its steps and what a crash means
(``release.query``). Counted are the heads of the package as they were delivered, on the features
that are released; nothing is fitted, chosen or calibrated with a record, so that one record moves
each count by one at most (``wg_core.privacy.quality``). What a plant finishes with all of its
records (the posterior head, a head of its family) has no such bound, and is not counted.

*Guarantee.* As of ``release.query``. A plant without labels answers as any other: its counts are
zero before noise. *Edge case*: which packages a plant holds is public, since it gave receipts; one
that it lost is refused as whatever befell its disk, and costs nothing.
"""

import dataclasses
import functools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from wg_common import catalogue, weights_file, weights_package
from wg_common.modalities.registry import modality
from wg_common.weights_package import Tensors
from wg_core import numbers
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.charging import ChargeRequest, quality_request
from wg_core.privacy import mechanism
from wg_core.privacy.mechanism import Sampler, sigma_for
from wg_core.privacy.quality import QualityLayout, exact_counts, right_answers
from wg_core.release.query import Kind, Pack, answer, plain
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.policy import check_quality
from wg_core.snapshot import Snapshot
from wg_core.wire import canonical, protocol, quality_file, signing, statistics_file
from wg_core.wire.protocol import QualityQuery
from wg_core.wire.quality_file import QualityManifest


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


def _report(
    home: ClientHome, config: ClientConfig, snapshot: Snapshot, query: QualityQuery
) -> tuple[ChargeRequest, Pack]:
    found = counted(home, config, snapshot, query)
    request, layout = charge_request(config, snapshot, found, query)

    def pack(charged: ChargeRequest, sampler: Sampler) -> bytes:
        sigma = numbers.hex_float(charged.mechanism.sigma, what="charge: sigma")
        noisy = mechanism.release(exact(snapshot, found, layout), sigma, sampler)
        return _packed(config, charged, layout, found, noisy, signing.load(home.signing_key))

    return request, pack


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


QUALITY = Kind(
    message_type=protocol.EVALUATE_METRICS,
    check=check_quality,
    on_the_ledger=on_the_ledger,
    charged_for=lambda mechanism, query: mechanism.name.endswith(
        f" of package {query.package_sha256}"
    ),
    price=_report,
    suffix="wgq",
    limit=protocol.QUALITY_LIMIT,
    encode=quality_file.encode_covered,
)
answer_quality = functools.partial(answer, QUALITY)
"""Answers a quality question with a covered report (``.wgq``).

Raises, besides what ``answer`` does, ``ConfigError`` if the package is not there, ``DecodeError``
if it holds whole networks or no head that is counted, and ``VerificationError`` if it is not the
one that was asked for; nothing was charged then.
"""
