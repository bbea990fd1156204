"""Offer file with which plants try the server's models before they join (``wg-server offer``)."""

import time
from collections import Counter
from pathlib import Path

import numpy as np

from wg_common.offer import FAMILIES_LIMIT, Offer, OfferedFamily, encode_offer, pack_tensors
from wg_core import atomic
from wg_core.wire import canonical, signing
from wg_server.campaigns import packaging
from wg_server.generator import versions
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome
from wg_server.store.pools import PoolTable
from wg_server.store.server_store import ServerStore


def write_offer(home: ServerHome, offer_file: Path) -> Offer:
    """Write the signed offer file: encoder and heads that a plant can try without a release.

    Raises:
        ConfigError: No usable generator is installed.
        DecodeError, VerificationError: The generator is damaged.
    """
    version = versions.usable_version(home)
    generator = packaging.load_head_generator_cached(version.heads_path, version.summary.generator)
    operator = generator.package.operator_families if version.uses_heads else None
    families = [] if operator is None else list(operator.families.items())[:FAMILIES_LIMIT]
    heads = [family.candidate_tensors(np.arange(len(family.labels))) for _, family in families]
    with ServerStore.open(home) as store:
        class_names = PoolTable(store.engine, generator.id).class_names_by_release_id()
    sites = Counter(name for names in class_names.values() for name in names)
    encoder, tensors = home.encoder_file.read_bytes(), pack_tensors(heads)
    key = signing.load(home.signing_key)
    offer = Offer(
        server=home.read_config().name,
        key=signing.public_bytes(key).hex(),
        encoder=canonical.sha256_hex(encoder),
        tensors=canonical.sha256_hex(tensors),
        kinds=tuple(OfferedFamily(name=name, labels=kind.labels) for name, kind in families),
        machines=_served_machine_kinds(version),
        sites=dict(sites),
        created=int(time.time()),
    )
    atomic.write_bytes(offer_file, encode_offer(offer, encoder, tensors, key))
    return offer


def _served_machine_kinds(version: GeneratorVersion) -> tuple[str, ...]:
    """Return the kinds of machines for whose data sheets the version makes networks."""
    if version.summary.sheets is None or not version.uses_networks:
        return ()
    # torch is slow to import
    from wg_server.generator.weights import data_sheet_generation

    data = atomic.read_bytes(version.sheets_path, limit=data_sheet_generation.PACKAGE_LIMIT)
    sheets = data_sheet_generation.unpack_sheet_generator(data)
    return (*sheets.machine_generators, *sheets.sensor_networks)
