"""The operator's families in the zoo: families whose records come from the operator's files.

::

    zoo/families/KEY.json              record of the family, with its object's hash
    zoo/objects/SHA256.safetensors     a ``wg_common.inference.family_head.FamilyHead``, its
                                       ``wg_common.nets.family_network``, and the released
                                       features of the records at each simulated site

KEY is the key of the family's first task. Head and network are trained on the records of all of
the family's sites together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from wg_common.inference import family_head, hostile_tensors
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_common.nets import family_network
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.family_network import FamilyNetwork
from wg_common.weights_package import NO_PRIVACY, PrivacyGuarantee
from wg_core import atomic
from wg_core.errors import DecodeError
from wg_core.wire import canonical
from wg_server.zoo import family_heads, networks, sources
from wg_server.zoo.family_heads import SimulatedSites
from wg_server.zoo.plan import PrivateFamily
from wg_server.zoo.store import ZooStore, read_versioned_record
from wg_server.zoo.task_spec import TaskSpec

TRAINING_VERSION = (
    5  # Version of the training; heads and networks of another version are made again
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyEntry:
    """Stored description of one of the operator's families, with results of its head and network.

    Attributes:
        version: Version of the training, ``TRAINING_VERSION``.
        task: Key of the zoo entry of the family's first task.
        encoder: Id of the encoder, hex.
        family: Name of the family.
        labels: Class names, in the order of the head's rows.
        scaled: Number of local features with a public scale.
        blocks: Sizes of the blocks of the other local features.
        sites: Number of simulated sites.
        head_at_sites: Accuracy of a head on held-out records and sites, 0 to 1, decimal string.
        architecture: Architecture of the network; empty if the plan has no networks.
        network_at_sites: Accuracy of the network on held-out records, 0 to 1, decimal string; empty
            without a network.
        head_found: Area under the ROC curve of a membership attack on a head (``membership``), and
            its standard error, decimal strings; empty if not measured.
        network_found: The same figures for the network.
        privacy: Guarantee for each record of a private family, or ``NO_PRIVACY`` for another one.
        sha256: SHA-256 of the stored tensors, hex.
    """

    version: int = TRAINING_VERSION
    task: str
    encoder: str
    family: str
    labels: tuple[str, ...]
    scaled: int
    blocks: tuple[int, ...]
    sites: int
    head_at_sites: str
    architecture: str = ""
    network_at_sites: str = ""
    head_found: tuple[str, str] = ("", "")
    network_found: tuple[str, str] = ("", "")
    privacy: PrivacyGuarantee = NO_PRIVACY
    sha256: str

    @property
    def layout(self) -> FeatureLayout:
        """Layout of the local features that the head uses."""
        return FeatureLayout(self.scaled, self.blocks)


def first_family_tasks(specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """Return the task of site 0 of each of the operator's families."""
    return [spec for spec in specs if spec.has_operator_records and spec.site == 0]


def has_family(
    zoo: ZooStore, spec: TaskSpec, encoder_sha256: str, site_count: int, architecture: str = ""
) -> bool:
    """Return True if the zoo has a task's family, of this version and with ``site_count`` sites.

    If ``architecture`` is not empty, the family must also have a network of this architecture.
    """
    path = _entry_path(zoo.root, spec.entry_key(encoder_sha256))
    entry = read_versioned_record(path, FamilyEntry, TRAINING_VERSION) if path.is_file() else None
    return (
        entry is not None and entry.sites == site_count and architecture in ("", entry.architecture)
    )


def build_family(
    zoo: ZooStore, encoder: Encoder, spec: TaskSpec, site_count: int, architecture: str = ""
) -> FamilyEntry:
    """Fit the head of one of the operator's families, train its network, and store both.

    Args:
        spec: First task of the family.
        site_count: Number of simulated sites.
        architecture: Architecture of the network; empty: no network.
    """
    task = sources.load_task(replace(spec, sites=1))
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    shown_sites, shown_records = family_heads.simulate_sites(encoder, task, spec, site_count)
    classes = len(task.class_names)

    def fit(_: Sequence[int], at: SimulatedSites) -> FamilyHead:
        return family_heads.fit_family_head(at, classes, layout)

    accuracy, attack = family_heads.evaluate_head_at_sites(shown_sites, shown_records, layout, fit)
    released_features = np.stack(shown_sites.local_features)[:, :, : encoder.dimension]
    tensors: dict[str, NDArray[Any]] = {
        **family_heads.fit_family_head(shown_sites, classes, layout).tensors(),
        _SITES_TENSOR_NAME: released_features.astype(np.float16),
    }
    network_accuracy, network_found = "", ("", "")
    if architecture:
        network, at_sites, network_membership = networks.train_and_evaluate_network(
            spec, architecture
        )
        network_found = network_membership.format_area_and_error()
        tensors |= family_network.pack_network(network)
        network_accuracy = f"{at_sites:.4f}"
    entry = FamilyEntry(
        task=spec.entry_key(encoder.id),
        encoder=encoder.id,
        family=task.family,
        labels=task.class_names,
        scaled=layout.scaled_count,
        blocks=layout.block_sizes,
        sites=site_count,
        head_at_sites=f"{accuracy:.4f}",
        architecture=architecture,
        network_at_sites=network_accuracy,
        head_found=attack.format_area_and_error(),
        network_found=network_found,
        sha256=zoo.write_object(safetensors.numpy.save(tensors)),
    )
    atomic.write_bytes(_entry_path(zoo.root, entry.task), canonical.encode(entry))
    return entry


def has_private_family(zoo: ZooStore, family: PrivateFamily, encoder_sha256: str) -> bool:
    """Return True if the zoo has a private family with the guarantee that the plan states."""
    path = _entry_path(zoo.root, family.task.entry_key(encoder_sha256))
    entry = read_versioned_record(path, FamilyEntry, TRAINING_VERSION) if path.is_file() else None
    return entry is not None and entry.privacy == family.privacy


def build_private_family(zoo: ZooStore, encoder: Encoder, family: PrivateFamily) -> FamilyEntry:
    """Train and store the head of a private family; nothing else made of its records is stored."""
    from wg_server.zoo import private_heads  # Opacus takes seconds to import

    task, head, accuracy, attack = private_heads.train_private_family_head(
        encoder, family.task, family.privacy
    )
    entry = FamilyEntry(
        task=family.task.entry_key(encoder.id),
        encoder=encoder.id,
        family=task.family,
        labels=task.class_names,
        scaled=encoder.scaled_dimension,
        blocks=encoder.local_block_sizes,
        sites=private_heads.SIMULATED_SITE_COUNT,
        head_at_sites=f"{accuracy:.4f}",
        head_found=attack.format_area_and_error(),
        privacy=family.privacy,
        sha256=zoo.write_object(safetensors.numpy.save(head.tensors())),
    )
    atomic.write_bytes(_entry_path(zoo.root, entry.task), canonical.encode(entry))
    return entry


def family_entries(zoo: ZooStore, encoder_sha256: str) -> Iterator[FamilyEntry]:
    """Yield the entries of all families of one encoder in the current version, by file name.

    Raises:
        DecodeError: An entry is damaged; the message names the file.
    """
    for path in sorted((zoo.root / _FAMILIES_FOLDER).glob("*.json")):
        entry = read_versioned_record(path, FamilyEntry, TRAINING_VERSION)
        if entry is not None and entry.encoder == encoder_sha256:
            yield entry


def read_family(
    zoo: ZooStore, entry: FamilyEntry
) -> tuple[FamilyHead, FamilyNetwork | None, NDArray[np.float16]]:
    """Read what the zoo stores of one of the operator's families.

    Returns:
        Its head; its network, None if it has none; and the released features of n of its records
        at each of C simulated sites, float16 ``[C, n, d]``, where C is 0 for a private family.

    Raises:
        VerificationError: The object does not match its hash.
        DecodeError: The object does not belong to a family.
    """
    tensors, packed_network = hostile_tensors.split_prefix(
        zoo.read_object(entry.sha256), family_network.TENSOR_PREFIX
    )
    sites: NDArray[np.generic] = tensors.pop(_SITES_TENSOR_NAME, np.zeros((0, 0, 0), np.float32))
    count, classes = entry.sites if entry.privacy == NO_PRIVACY else 0, len(entry.labels)
    if sites.ndim != 3 or len(sites) != count or not np.isfinite(sites).all():
        raise DecodeError(f"family head: sites {sites.shape}, expected {count}")
    return (
        family_head.family_head_from_tensors(tensors, classes, entry.layout),
        family_network.unpack_network(packed_network, entry.architecture, classes),
        sites.astype(np.float16),
    )


_FAMILIES_FOLDER = "families"
_SITES_TENSOR_NAME = "sites"


def _entry_path(root: Path, task_key: str) -> Path:
    return root / _FAMILIES_FOLDER / f"{task_key}.json"
