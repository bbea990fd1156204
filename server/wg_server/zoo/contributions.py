"""Checkpoints that plants trained with DP-SGD and offered to the zoo.

::

    zoo/contributions/SHA256.json   who gave it, under which terms, and the key that verified it
    zoo/contributions/SHA256.wgc    the file as it came

A contribution is a head and nothing else: it has neither records nor features, so no episode can
be drawn from it and no distance measured in its features. It therefore stands apart from
``zoo/entries`` and training does not see it.

*Guarantee.* What stands here was signed by the key of a site that was enrolled when the file came,
fits the encoder and architecture of the zoo, and claims no less than its event costs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import catalogue
from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.nets.encoder import module as encoders
from wg_core import atomic
from wg_core.errors import ConfigError, DataError, VerificationError
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import canonical, contribution_file, protocol, signing
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store
from wg_server.zoo.plan import CONTRIBUTIONS, SourcePlan, ZooPlan

SUFFIX = ".wgc"
RECORD_LIMIT = 1 << 20

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContribution:
    """Where a contributed checkpoint came from.

    Attributes:
        sha256: Of the file, hex; its name.
        name: Name of the source in the plan.
        licence: Terms under which the site gave it.
        site: The site that signed it.
        signing_key: The key that verified it, hex: the site may have another one by now.
        dataset: Public name of the data set it was trained on.
        request_id: The request under which it was charged.
        contribution_id: Its random identifier, hex.
        architecture: Architecture of the weights.
        encoder: Id of the encoder, hex.
        labels: Class names, in the order of rows.
        event: The DP-SGD run, as charged.
        epsilon: Epsilon of the run alone, decimal string.
        delta: Its delta, decimal string.
        purpose: What the site lets it be used for.
    """

    version: int = 1
    sha256: str
    name: str
    licence: str
    site: str
    signing_key: str
    dataset: str
    request_id: str
    contribution_id: str
    architecture: str
    encoder: str
    labels: tuple[str, ...]
    event: PrivacyEvent
    epsilon: str
    delta: str
    purpose: str


def take_in(home: ServerHome, plan: ZooPlan, encoder: str) -> int:
    """Verify and keep every contribution that the plan names and the zoo does not have.

    All are verified before the first is written.

    Returns:
        How many were taken in now.

    Raises:
        ConfigError: The site of a file is not known, or not enrolled.
        DataError: A folder is missing or has no such file.
        DecodeError: A file is not a contribution.
        VerificationError: It does not hold, or does not fit this zoo.
    """
    wanted = [source for source in plan.sources if source.kind == CONTRIBUTIONS]
    if not wanted:
        return 0
    known = {one.sha256 for one in stored(home.zoo)}
    new: dict[str, tuple[StoredContribution, bytes]] = {}
    dimension = 0
    with Store.open(home) as store:
        for source in wanted:
            for path in _files(source):
                data = atomic.read_bytes(path, limit=protocol.CONTRIBUTION_LIMIT)
                name = canonical.sha256_hex(data)
                if name in known or name in new:
                    continue
                manifest, tensors, record = _verify(store, source, path, data)
                # Loading takes a second, and most builds bring nothing new.
                dimension = dimension or encoders.load_encoder(home.read_encoder()).dimension
                _check_fit(path, manifest, tensors, plan.architecture, encoder, dimension)
                new[name] = (record, data)
    for record, data in new.values():
        atomic.write_bytes(_path(home.zoo, record.sha256, SUFFIX), data)
        atomic.write_bytes(_path(home.zoo, record.sha256, ".json"), canonical.encode(record))
    return len(new)


def stored(zoo: Path) -> list[StoredContribution]:
    """All contributions that a zoo keeps, by name.

    Raises:
        DecodeError: A record is damaged; the message names the file.
    """
    return [
        canonical.decode(
            StoredContribution, atomic.read_bytes(path, limit=RECORD_LIMIT), what=str(path)
        )
        for path in sorted((zoo / CONTRIBUTIONS).glob("*.json"))
    ]


def read(zoo: Path, record: StoredContribution) -> Tensors:
    """Tensors of a contribution, verified again.

    Raises:
        VerificationError: The file is not the one that was taken in.
        DecodeError: The file is damaged.
    """
    key = signing.public_from_bytes(bytes.fromhex(record.signing_key))
    return contribution_file.decode_contribution(file(zoo, record), key)[1]


def file(zoo: Path, record: StoredContribution) -> bytes:
    """A contribution as it came.

    Raises:
        VerificationError: The file is not the one that was taken in.
    """
    path = _path(zoo, record.sha256, SUFFIX)
    data = atomic.read_bytes(path, limit=protocol.CONTRIBUTION_LIMIT)
    found = canonical.sha256_hex(data)
    if found != record.sha256:
        raise VerificationError(f"{path}: SHA-256 {found}, expected {record.sha256}")
    return data


def _files(source: SourcePlan) -> list[Path]:
    folder = Path(source.path)
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: expected a folder of {SUFFIX} files")
    return found


def _verify(
    store: Store, source: SourcePlan, path: Path, data: bytes
) -> tuple[contribution_file.ContributionManifest, Tensors, StoredContribution]:
    site = store.site(contribution_file.FILE.read_manifest(data).site)
    if site.state != "enrolled":
        raise ConfigError(f"{path}: site {site.name} is {site.state}, expected enrolled")
    key = signing.public_from_bytes(bytes.fromhex(site.signing_key))
    try:
        manifest, tensors = contribution_file.decode_contribution(data, key)
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from error
    record = StoredContribution(
        sha256=canonical.sha256_hex(data),
        name=source.name or source.kind,
        licence=source.licence,
        site=site.name,
        signing_key=site.signing_key,
        dataset=manifest.dataset,
        request_id=manifest.request_id,
        contribution_id=manifest.contribution_id,
        architecture=manifest.architecture,
        encoder=manifest.encoder,
        labels=manifest.labels,
        event=manifest.event,
        epsilon=manifest.epsilon,
        delta=manifest.delta,
        purpose=manifest.purpose,
    )
    return manifest, tensors, record


def _check_fit(
    path: Path,
    manifest: contribution_file.ContributionManifest,
    tensors: Tensors,
    architecture: str,
    encoder: str,
    dimension: int,
) -> None:
    """Check that a head fits this zoo."""
    classes = len(manifest.labels)
    for field, found, expected in (
        ("encoder", manifest.encoder, encoder),
        ("architecture", manifest.architecture, architecture),
        ("plan", manifest.plan, catalogue.HEAD_PLAN),
        (
            "tensors",
            {name: value.shape for name, value in tensors.items()},
            {HEAD_WEIGHT: (classes, dimension), HEAD_BIAS: (classes,)},
        ),
    ):
        if found != expected:
            raise VerificationError(f"{path}: {field} is {found}, this zoo's is {expected}")


def _path(zoo: Path, sha256: str, suffix: str) -> Path:
    return zoo / CONTRIBUTIONS / f"{sha256}{suffix}"
