"""The contribution file (``.wgc``): a checkpoint that a plant trained with DP-SGD, for the zoo.

A container (``wg_core.wire.container``) of a canonical manifest, the site's signature of it, and
one safetensors file. The manifest says what was charged; decoding recomputes what that costs, and
refuses a file that claims less. Like a release, its bytes are made once and stand in the ledger's
outbox. Whether the ledger covers them is checked in ``wg_core.ledger``.

*Not guaranteed*: that training was done as the event says. That is the site's word, as it is for
a release; the site's own code checks it (``wg_client.release.dp_training``).
"""

import functools
import io
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from numpy.typing import NDArray

from wg_core import __version__, numbers
from wg_core.errors import DecodeError, VerificationError, WgError
from wg_core.privacy import accounting
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import container, protocol
from wg_core.wire import tensors as tensors_files
from wg_core.wire.signed_file import SignedFile

VERSION = 1
MANIFEST_LIMIT = 1 << 20
SIGNATURE_CONTEXT = "contribution"
SOFTWARE = f"weightgate/{__version__}"

_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionManifest:
    """What the checkpoint is, and what it cost.

    Attributes:
        site: The site that trained it.
        dataset: Public name of the data set.
        request_id: The request under which it was charged.
        contribution_id: Random identifier, hex.
        architecture: Name of the architecture.
        plan: Name of the weight plan: which parts the tensors are.
        encoder: SHA-256 of the public encoder, hex.
        labels: Public label domain, in the order of class rows.
        event: The DP-SGD run, as charged.
        sampler: How batches were drawn.
        epsilon: Epsilon of the run alone, decimal string.
        delta: Delta of the run alone, decimal string.
        purpose: What the checkpoint may be used for.
        tensors_sha256: SHA-256 of the safetensors file, hex.
        software: Name and version of the software that made it.
    """

    version: int = VERSION
    site: str
    dataset: str
    request_id: str
    contribution_id: str
    architecture: str
    plan: str
    encoder: str
    labels: tuple[str, ...]
    event: PrivacyEvent
    sampler: str
    epsilon: str
    delta: str
    purpose: str
    tensors_sha256: str
    software: str = SOFTWARE

    def __post_init__(self) -> None:
        protocol.check_site_name(self.site)
        for name in (
            "dataset",
            "request_id",
            "contribution_id",
            "architecture",
            "plan",
            "encoder",
            "sampler",
            "software",
        ):
            value = getattr(self, name)
            _require(0 < len(value) <= _TEXT_LIMIT, name, value[:80], "a text that is not empty")
        _require(len(self.purpose) <= _TEXT_LIMIT, "purpose", "longer", f"at most {_TEXT_LIMIT}")
        unique = len(set(self.labels)) == len(self.labels) > 0
        _require(unique, "labels", self.labels, "unique names, at least one")
        _require(self.event.mechanism == "dp-sgd", "event", self.event.mechanism, "dp-sgd")
        for name in ("epsilon", "delta"):
            try:
                numbers.decimal(getattr(self, name))
            except DecodeError as error:
                raise DecodeError(f"contribution manifest: {name}: {error}") from error


FILE = SignedFile(
    kind=protocol.CONTRIBUTION_KIND,
    version=VERSION,
    body="tensors",
    limit=protocol.CONTRIBUTION_LIMIT,
    manifest=ContributionManifest,
    manifest_limit=MANIFEST_LIMIT,
    what="contribution manifest",
    context=SIGNATURE_CONTEXT,
)


def encode_contribution(
    manifest: ContributionManifest, tensors: bytes, key: Ed25519PrivateKey
) -> bytes:
    """Sign and pack.

    Raises:
        VerificationError: ``tensors`` are not those the manifest names, or the event costs more
            than the manifest claims.
    """
    _check_tensors(tensors, manifest.tensors_sha256)
    _check_cost(manifest)
    return FILE.pack(manifest, tensors, key)


def decode_contribution(
    data: bytes, key: Ed25519PublicKey
) -> tuple[ContributionManifest, dict[str, NDArray[np.float32]]]:
    """Verify and unpack: manifest, and tensors by name.

    Raises:
        DecodeError: The bytes are not a contribution.
        VerificationError: The signature or a hash does not hold, or the event costs more than the
            manifest claims.
    """
    manifest, body = FILE.verified(data, key)
    _check_tensors(body, manifest.tensors_sha256)
    _check_cost(manifest)
    stream, what = io.BytesIO(body), "contribution"
    places = tensors_files.places(stream, 0, len(body), what=what)
    tensors_files.check_finite(stream, places, what=what)
    if not places:
        raise DecodeError("contribution: no tensors")
    tensors = {name: tensors_files.read(stream, place, what=what) for name, place in places.items()}
    return manifest, tensors


_TOLERANCE = 1e-9


def _check_cost(manifest: ContributionManifest) -> None:
    claimed = numbers.decimal(manifest.epsilon)
    try:
        found = accounting.epsilon([manifest.event], numbers.decimal(manifest.delta))
    except WgError as error:
        raise VerificationError(f"contribution: its event has no cost: {error}") from error
    if found > claimed * (1 + _TOLERANCE):
        raise VerificationError(
            f"contribution: the event costs epsilon {found:.6g}, the manifest claims {claimed:.6g}"
        )


_require = functools.partial(container.require, "contribution manifest")
_check_tensors = functools.partial(container.check_hash, "contribution: tensors")
