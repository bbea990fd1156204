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

from wg_core import atomic
from wg_core.errors import VerificationError
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import canonical, contribution_file, protocol, signing

SUFFIX = ".wgc"
_FOLDER = "contributions"
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


def keep(zoo: Path, record: StoredContribution, data: bytes) -> None:
    """Write a contribution that has been verified."""
    atomic.write_bytes(_path(zoo, record.sha256, SUFFIX), data)
    atomic.write_bytes(_path(zoo, record.sha256, ".json"), canonical.encode(record))


def stored(zoo: Path) -> list[StoredContribution]:
    """All contributions that a zoo keeps, by name.

    Raises:
        DecodeError: A record is damaged; the message names the file.
    """
    return [
        canonical.decode(
            StoredContribution, atomic.read_bytes(path, limit=RECORD_LIMIT), what=str(path)
        )
        for path in sorted((zoo / _FOLDER).glob("*.json"))
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


def _path(zoo: Path, sha256: str, suffix: str) -> Path:
    return zoo / _FOLDER / f"{sha256}{suffix}"
