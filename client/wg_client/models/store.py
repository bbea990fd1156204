"""Storage of models at the plant: one folder for each package, written atomically.

::

    models/PACKAGE/manifest.json          provenance, findings, the kept model and the reason
    models/PACKAGE/MODEL.safetensors      weights of each model
    models/PACKAGE/novelty.safetensors    novelty test
    models/PACKAGE/judged.safetensors     out-of-fold logits, for the pass rule
    models/PACKAGE/network.safetensors    trunk of a network alongside the encoder, if there is one
    models/PACKAGE/trunk.safetensors      trunk fitted at the plant, if there is one
    models/adoption.json                  the model in use; see ``adoption``

Everything here is private to the plant: accuracies and findings come from its records.
"""

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_client.models.manifest import VERSION, ModelsManifest
from wg_core import atomic
from wg_core.errors import DecodeError, StorageError, VerificationError, reraise_os_errors
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

MANIFEST_FILE = "manifest.json"
_PACKAGE_ID_PATTERN = re.compile(r"[0-9a-f]{16,128}")
_MANIFEST_BYTES_LIMIT = 16 << 20
_TENSORS_BYTES_LIMIT = 4 << 30
NOVELTY_NAME = "novelty"
OUT_OF_FOLD_NAME = "judged"
NETWORK_NAME = "network"
PLANT_TRUNK_NAME = "trunk"
_COMPANION_BYTES_LIMIT = 64 << 20


def models_folder(home: ClientHome, package_id: str) -> Path:
    """Return the folder of a package's models."""
    return home.models / check_package_id(package_id)


def check_package_id(package_id: str) -> str:
    """Return a package id, which becomes a folder's name; ``DecodeError`` if it is not hex."""
    if not _PACKAGE_ID_PATTERN.fullmatch(package_id):
        raise DecodeError(
            f"package id {package_id[:40]!r}: expected 16 to 128 lower-case hex digits"
        )
    return package_id


def write_models(
    home: ClientHome,
    manifest: ModelsManifest,
    tensors_by_file: dict[str, dict[str, NDArray[np.float32]]],
) -> None:
    """Store the models of one package in a new folder atomically.

    Raises:
        StorageError: The disk is full or cannot be written; earlier files stay.
    """
    target = models_folder(home, manifest.package_id)
    with reraise_os_errors(StorageError, f"{home.models}: cannot be written"):
        home.models.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=home.models))
    try:
        for name, values in tensors_by_file.items():
            if not values:
                continue
            atomic.write_bytes(
                draft / f"{name}.safetensors", encode_tensors(values), mode=atomic.PRIVATE_FILE_MODE
            )
        atomic.write_bytes(
            draft / MANIFEST_FILE, canonical.encode(manifest), mode=atomic.PRIVATE_FILE_MODE
        )
        try:
            draft.rename(target)
        except OSError as error:
            if not (target / MANIFEST_FILE).is_file():
                raise StorageError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def encode_tensors(tensors: dict[str, NDArray[np.float32]]) -> bytes:
    """Encode a model's tensors as canonical safetensors bytes."""
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
    )


def read_manifest(home: ClientHome, package_id: str) -> ModelsManifest | None:
    """Read the manifest of a package's models, also of an earlier version; None if missing.

    Version 1 has no condition of networks, version 2 no plant trunk, version 3 no number of
    evaluated calls, and version 4 no file for the pass rule. Versions 5 and 6 have a novelty test
    that is not read any more: novelty is unknown until models are fitted again.
    """
    path = models_folder(home, package_id) / MANIFEST_FILE
    if not path.is_file():
        return None
    data = atomic.read_bytes(path, limit=_MANIFEST_BYTES_LIMIT)
    if canonical.stated_version(data, input_name=str(path)) < VERSION:
        earlier = canonical.decode_known_fields(ModelsManifest, data, input_name=str(path))
        return replace(earlier, version=VERSION, novelty="")
    return canonical.decode(
        ModelsManifest, data, input_name=str(path), max_bytes=_MANIFEST_BYTES_LIMIT
    )


def all_manifests(home: ClientHome) -> list[ModelsManifest]:
    """Return the manifests of all applied packages, oldest first."""
    manifests = []
    for path in home.models.glob(f"*/{MANIFEST_FILE}"):
        manifest = read_manifest(home, path.parent.name) if path.parent.name[0] != "." else None
        if manifest is not None:
            manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: (manifest.applied, manifest.package_id))


def sensor_package_paths(home: ClientHome) -> list[Path]:
    """Return the paths of the home's packages with a soft sensor, oldest first."""
    return sorted(home.soft_sensor_packages.glob("*.wgw"))


def load_model_tensors(
    home: ClientHome, manifest: ModelsManifest, name: str
) -> dict[str, NDArray[np.float32]]:
    """Load the tensors of a model, checked against the manifest's hash.

    Raises:
        VerificationError: The file differs from the one that was stored.
    """
    entry = manifest.find_entry(name)
    path = models_folder(home, manifest.package_id) / f"{entry.name}.safetensors"
    return _load_verified_tensors(path, entry.sha256, _TENSORS_BYTES_LIMIT)


def load_companion_tensors(
    home: ClientHome, manifest: ModelsManifest, name: str
) -> dict[str, NDArray[np.float32]] | None:
    """Load the tensors of a file stored beside a package's models; None if there is no such file.

    Args:
        name: ``NOVELTY_NAME``, ``OUT_OF_FOLD_NAME``, ``NETWORK_NAME`` or ``PLANT_TRUNK_NAME``.

    Raises:
        VerificationError: The file differs from the one that was stored.
    """
    sha256 = {
        NOVELTY_NAME: manifest.novelty,
        OUT_OF_FOLD_NAME: manifest.judged_file,
        NETWORK_NAME: "" if manifest.network is None else manifest.network.sha256,
        PLANT_TRUNK_NAME: manifest.plant_trunk,
    }[name]
    path = models_folder(home, manifest.package_id) / f"{name}.safetensors"
    return _load_verified_tensors(path, sha256, _COMPANION_BYTES_LIMIT) if sha256 else None


def _load_verified_tensors(
    path: Path, sha256: str, bytes_limit: int
) -> dict[str, NDArray[np.float32]]:
    data = atomic.read_bytes(path, limit=bytes_limit)
    if canonical.sha256_hex(data) != sha256:
        raise VerificationError(f"{path}: does not match its hash in {MANIFEST_FILE}")
    try:
        return dict(safetensors.numpy.load(data))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise DecodeError(f"{path}: not a safetensors file: {error}") from error
