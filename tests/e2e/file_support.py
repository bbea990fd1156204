"""What the three modalities have in common, end to end in files: a plant's data, plant, release."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.e2e.fleet_support import make_home, running

from wg_client.fitting.linear_head import LinearHead
from wg_client.fleet.home_initialisation import DataSetChoice, initialise
from wg_common import weights_package
from wg_common.modalities.registry import find_modality
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.release.query_answers import answer_query
from wg_core.site.config import PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.wire import protocol, signing
from wg_core.wire.protocol import StatisticsQuery
from wg_server.fleet.enrolment import create_join_token
from wg_server.generator import versions
from wg_server.generator.pipeline import train_generator
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore
from wg_server.zoo.sources import ProceduralLibrary

SITE = "unit-7"


def without_encoder(root: Path) -> ServerHome:
    """A server's home whose zoo is still to be built."""
    server = make_home(root)
    server.encoder_file.unlink()
    return server


def trained(server: ServerHome, plan: GeneratorPlan) -> GeneratorVersion:
    """Train, and install what came out of it, whatever its card says."""
    card = train_generator(server, plan, progress=lambda *_: None)
    version = versions.read_version(server, card["version"])
    versions.install_version(server, version)
    return version


def plant_data(
    path: Path, families: ProceduralLibrary[Any, Any], kind: str, *, shown: int, held: int
) -> tuple[str, ...]:
    """Records of a plant that no zoo has seen, of each class some to learn from and some held.

    Args:
        path: The ``.npz`` file to write.
        families: The module that renders the modality's families.
        kind: Of the family.
        shown: Records of each class that the plant learns from.
        held: Records of each class that it does not.
    """
    family = families.draw_family((99, 2), kind)
    site = families.draw_site(family, 1, strength=0.3)
    labels = np.arange(len(family.labels)).repeat(shown + held)
    x = families.render_records(family, site, labels, np.random.default_rng(1))
    split = np.tile(np.repeat([0, 1], [shown, held]), len(family.labels))
    np.savez(path, x=np.array(x), y=labels, classes=np.array(family.labels), split=split)
    return tuple(family.labels)


def enrolled(server: ServerHome, root: Path, data: Path) -> ClientHome:
    """A plant that has frozen its data."""
    plant = ClientHome(root)
    with running(server), ServerStore.open(server) as store:
        token = protocol.encode_join_token(create_join_token(server, store, SITE, 600.0))
        choice = DataSetChoice(path=data, dataset_name=SITE)
        initialise(plant, token, choice, PrivacyConfig(answer_slot_seconds=0.05))
    return plant


def release(server: ServerHome, plant: ClientHome, to: Path) -> None:
    """Write the plant's statistics file."""
    query = StatisticsQuery(
        request_id=secrets.token_hex(16),
        site=SITE,
        encoder=server.encoder_sha256(),
        epsilon="4",
        delta="1e-5",
        purpose="file",
        expires=int(time.time()) + 600,
    )
    to.write_bytes(answer_query(plant, query, witness=None))


def head_package(
    server: ServerHome, head: LinearHead, labels: tuple[str, ...], *, site: str, kind: str
) -> bytes:
    """A package of one head for records of a kind, as the server would send it."""
    tensors = weights_package.pack_tensors({"sample-0": head.tensors()})
    current_time = int(time.time())
    manifest = WeightsManifest(
        package_id=secrets.token_hex(16),
        request_id=secrets.token_hex(16),
        site=site,
        encoder=server.encoder_sha256(),
        generator="ab" * 32,
        labels=labels,
        own_release="",
        pool_root="aa" * 32,
        pool_releases=1,
        candidates=(
            Candidate(
                name="sample-0",
                source="diffusion",
                architecture=find_modality(kind).head_architecture,
            ),
        ),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
        created=current_time,
        expires=current_time + 3600,
    )
    return weights_package.encode_package(manifest, tensors, signing.load(server.signing_key))
