"""A real server and real plants in one process, with a small synthetic data set at each plant.

Everything between the plant's features and the server's packages is the product's own code; what
is made up is the data set, and a package that offers the public base alone.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tests.bearings import BEARING
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server.generators import install

from wg_client.fleet import enrolment
from wg_common import weights_file, weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers, NodeOptions
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.charging import ReleaseTerms, make_charge_request
from wg_core.ledger.cosigned import LedgerRolledBack
from wg_core.ledger.witness import AskWitness
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.mechanism import noise_scale, release_statistics
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_STATISTICS,
    StatisticsKind,
    StatisticsSchema,
    default_schema,
    machine_schema,
)
from wg_core.site import budget_sharing
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer as Pinned
from wg_core.wire import bundle, canonical, protocol, signing
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.signing import PrivateKey
from wg_core.wire.statistics_file import StatisticsManifest, encode_release, integers_to_bytes
from wg_server.campaigns.packaging import PackageMaker, ReleasePools
from wg_server.campaigns.release import PackageRecipient
from wg_server.campaigns.release_pools import StoredReleasePools
from wg_server.fleet.enrolment import create_join_token
from wg_server.generator import versions
from wg_server.operation.initialise import create_home, free_ports
from wg_server.operation.serve import serve_home
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue, NewCampaign
from wg_server.store.schema import campaign_table as campaigns
from wg_server.store.server_store import ServerStore

LABELS = ("good", "scratch", "pit")
DIMENSION = 8
OF_MACHINE: Mapping[str, Any] = {
    "labels": LABELS,
    "data_sheet": DataSheet(rotating_machine=BEARING),
}
"""What a release of machine statistics states beside them."""
FAST = NodeOptions(
    poll_seconds=0.05, idle_poll_seconds=1.0, backoff_seconds=0.1, backoff_limit_seconds=0.5
)


def make_home(root: Path, *, message_seconds: int = 600, name: str = "central") -> ServerHome:
    """A new server home on free ports, with stand-ins for the packages of encoder and generator."""
    home = ServerHome(root)
    fleet, enrol, admin = free_ports("127.0.0.1", 3)
    config = ServerConfig(
        name=name,
        fleet_port=fleet,
        enrol_port=enrol,
        admin_port=admin,
        message_seconds=message_seconds,
    )
    create_home(home, config)
    home.encoder_file.parent.mkdir(parents=True, exist_ok=True)
    home.encoder_file.write_bytes(b"a public encoder")
    install(home)
    return home


def base_package(
    home: ServerHome, pools: ReleasePools, own: PackageRecipient, request_id: str, generator: str
) -> bytes:
    """A signed package that offers one candidate, the public base."""
    dimension = 64 if own.release is None else own.release.manifest.schema.dimension
    head = np.zeros((len(own.labels), dimension), np.float32)
    return package_of(home, pools, own, request_id, {"base": {"head.weight": head}})


def package_of(
    home: ServerHome,
    pools: ReleasePools,
    own: PackageRecipient,
    request_id: str,
    heads: Mapping[str, Mapping[str, NDArray[np.float32]]],
) -> bytes:
    """A signed package of these candidates, for an hour."""
    tensors = weights_package.pack_tensors(heads)
    current_time = int(time.time())
    assert isinstance(pools, StoredReleasePools)
    others = pools.store.newest_usable_release_ids(
        encoder_sha256=own.encoder_sha256, excluded_site=own.site
    )
    manifest = WeightsManifest(
        package_id=secrets.token_hex(16),
        request_id=request_id,
        site=own.site,
        encoder=own.encoder_sha256,
        generator="0" * 64,
        labels=own.labels,
        own_release=own.release_id,
        pool_root=hashlib.sha256(" ".join(others).encode()).hexdigest(),
        pool_releases=len(others),
        candidates=tuple(
            Candidate(name=name, source="diffusion", architecture="lite0-head") for name in heads
        ),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
        created=current_time,
        expires=current_time + 3600,
    )
    return weights_package.encode_package(manifest, tensors, signing.load(home.signing_key))


@contextmanager
def running(home: ServerHome, make_package: PackageMaker = base_package) -> Iterator[None]:
    """Serve a home on a thread until the block ends."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            serve_home(home, stop_event=stop, make_package=make_package)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        wait_until(lambda: bool(failed) or healthy(home), "the server")
        assert not failed
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def healthy(home: ServerHome) -> bool:
    config = home.read_config()
    url = f"http://{config.admin_host}:{config.admin_port}/healthz"
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


class Died(BaseException):
    """Ends a node as a crash does: nothing catches it, and nothing is tidied up."""


@dataclass
class Plant:
    """One enrolled plant, and what its handlers did."""

    site: str
    home: ClientHome
    steps: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    behind: list[LedgerRolledBack] = field(default_factory=list)
    """Why its node ended, if its ledger was an older copy."""
    asked: list[float] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None
    before_apply: Callable[[], None] = lambda: None

    def answer(
        self,
        home: ClientHome,
        query: StatisticsQuery,
        *,
        witness: AskWitness | None,
        clock: Callable[[], float],
    ) -> bytes:
        self.before_answer()
        self.asked.append(clock())
        return answer_synthetic(
            home, query, witness=witness, on_step=self.steps.append, clock=clock
        )

    def apply(self, home: ClientHome, source: Path) -> object:
        self.before_apply()
        pinned = configuration.load(home).server.signing_key
        key = signing.public_from_hex(Inbox(home).read_stored_server_key(source) or pinned)
        manifest, _ = weights_file.decode_weights_package(source.read_bytes(), key)
        self.applied.append(manifest.request_id)
        return manifest

    @contextmanager
    def running(self, *, once: bool = False) -> Iterator[threading.Thread]:
        """Run the plant's node on a thread until the block ends."""
        stop = threading.Event()
        handlers = NodeHandlers(answer_query=self.answer, apply_package=self.apply)

        def run() -> None:
            try:
                run_node(self.home, handlers, stops_after_package=once, stop=stop, options=FAST)
            except Died:
                pass
            except LedgerRolledBack as error:
                self.behind.append(error)

        thread = threading.Thread(target=run, name=self.site)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def ledger(self) -> Ledger:
        return Ledger.open(self.home.ledger, signing.load(self.home.ledger_key))


def token(server: ServerHome, site: str, *, replace: bool = True) -> str:
    """A join token of ten minutes; ``replace``: also for a site that is enrolled."""
    with ServerStore.open(server) as store:
        return protocol.encode_join_token(
            create_join_token(server, store, site, 600.0, may_replace=replace)
        )


def enrol_plant(
    server: ServerHome, root: Path, site: str, *, budget_of: Plant | None = None
) -> Plant:
    """Enrol a plant with a running server, and write its home as ``wg-client init`` does."""
    home = ClientHome(root)
    data = "line-1"
    if budget_of is not None:
        budget_sharing.join_shared_budget(home, budget_of.home.root)
        data = "line-2"
    word = token(server, site, replace=False)
    done = enrolment.enrol(home, word, ledger_path=home.ledger if budget_of else None)
    config = ClientConfig(
        site=site,
        pin=Pinned(
            fleet_url=done.reply.fleet_url,
            name=done.reply.server_name,
            signing_key=done.reply.server_key,
            witness_name=done.reply.witness_name,
            witness_key=done.reply.witness_key,
        ),
        data=DataConfig(
            name=data,
            path="nowhere",
            labels=LABELS,
            encoder=canonical.sha256_hex(done.encoder_package),
        ),
        privacy=PrivacyConfig(answer_slot_seconds=0.05),
    )
    configuration.save(home, config)
    with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        ledger.register_dataset(
            DatasetRegistration(
                name=data,
                commitment=hashlib.sha256(home.load_site_secret() + data.encode()).hexdigest(),
                cap_epsilon=config.privacy.cap_epsilon,
                cap_delta=config.privacy.cap_delta,
                continued_dataset="line-1" if budget_of else "",
            )
        )
    return Plant(site, home)


def answer_synthetic(
    home: ClientHome,
    query: StatisticsQuery,
    *,
    witness: AskWitness | None,
    on_step: Callable[[str], None] = lambda step: None,
    clock: Callable[[], float] = time.time,
) -> bytes:
    """Charge, sample, record, cosign: a release of synthetic features under the real ledger."""
    config = configuration.load(home)
    encoder = canonical.sha256_hex(home.encoder.read_bytes())
    rng = np.random.default_rng(int(config.site.encode().hex()[-6:], 16))
    if query.statistics == MACHINE_STATISTICS:
        schema, labels = machine_schema(encoder, "record"), np.full(60, -1)
    else:
        schema = default_schema(
            encoder=encoder, dimension=DIMENSION, labels=LABELS, clip_radius=1.0
        )
        labels = np.arange(60) % len(LABELS)
    records = rng.normal(size=(60, schema.dimension)) * 0.3, labels, None
    arrival = int(clock())  # The ledger's clock stands still meanwhile
    ledger_key = signing.load(home.ledger_key)
    with Ledger.open(home.ledger, ledger_key, clock=lambda: arrival) as ledger:
        place = {"dataset": config.data.name, "recipient": config.server.name}
        key = signing.load(home.signing_key)
        seq = release_records(ledger, schema, records, query, key, on_step, **place)
        if witness is not None:
            ledger.request_cosignature(config.server.witness_name, witness)
        return covered_release(ledger, seq, config.server.witness_name)


def release_records(
    ledger: Ledger,
    schema: StatisticsSchema,
    records: tuple[NDArray[np.float64], NDArray[np.int64], None],
    query: StatisticsQuery,
    key: PrivateKey,
    on_step: Callable[[str], None] = lambda step: None,
    *,
    dataset: str,
    recipient: str,
) -> int:
    """Charge a query and record its release, if that was not done before; the charge's entry."""
    sigma = noise_scale(schema, float(query.epsilon), float(query.delta))
    terms: dict[str, Any] = {"epsilon": query.epsilon, "delta": query.delta}
    terms |= {"dataset": dataset, "request_id": query.request_id, "purpose": query.purpose}
    charged = ledger.charge(
        make_charge_request(
            schema, sigma, ReleaseTerms(recipient=recipient, privacy_unit="record", **terms)
        )
    )
    on_step("charged" if charged.is_new else "repeated")
    if charged.is_open:
        integers = release_statistics(
            schema,
            exact_statistics(schema, *records),
            lambda centre: exact_statistics(schema, *records, centre),
            sigma,
        )
        manifest = StatisticsManifest(
            schema=schema,
            site=query.site,
            release_id=secrets.token_hex(16),
            sigma=sigma.hex(),
            sensitivity_squared=str(schema.sensitivity_squared()),
            integers_sha256=canonical.sha256_hex(integers_to_bytes(integers)),
            **terms,
            **({} if schema.release_kind == CLASS_STATISTICS else OF_MACHINE),
        )
        ledger.record_release(charged.seq, encode_release(manifest, integers, key))
        on_step("recorded")
    return charged.seq


def covered_release(ledger: Ledger, seq: int, witness_name: str) -> bytes:
    """A release as it travels, by the entry of its charge, proven by a witness's checkpoint."""
    outbox, released = ledger.released_bytes(seq), ledger.find_release(seq)
    assert outbox is not None and released is not None
    return bundle.encode(
        StatisticsBundle(
            release=outbox,
            charge_entry=ledger.entry_bytes(seq),
            release_entry=ledger.entry_bytes(released.seq),
            charge_proof=ledger.inclusion_proof(seq, witness=witness_name),
            release_proof=ledger.inclusion_proof(released.seq, witness=witness_name),
        )
    )


def start_campaign(
    home: ServerHome,
    sites: Sequence[str],
    *,
    epsilon: str = "1",
    seconds: float = 3600.0,
    grace_seconds: float = 600.0,
    statistics: StatisticsKind = CLASS_STATISTICS,
) -> Campaign:
    version = versions.usable_version(home)
    with ServerStore.open(home) as store:
        return CampaignQueue(store.engine).add_campaign(
            NewCampaign(
                sites=sites,
                generator=version.id,
                epsilon=epsilon,
                delta="1e-5",
                purpose="test",
                encoder=home.encoder_sha256(),
                collect_seconds=seconds,
                deliver_seconds=seconds,
                grace_seconds=grace_seconds,
                statistics=statistics,
            ),
        )


def expire(home: ServerHome, campaign: Campaign) -> None:
    """End the time that sites have for an answer; for their packages they have it."""
    with ServerStore.open(home) as store, store.engine.begin() as connection:
        connection.execute(
            campaigns.update().where(campaigns.c.id == campaign.id).values(collect_seconds=0.0)
        )


def finished(home: ServerHome, campaign: Campaign) -> Campaign:
    """Wait for a campaign to end."""
    with ServerStore.open(home) as store:
        queue = CampaignQueue(store.engine)
        wait_until(lambda: queue.find_campaign(campaign.id).finished is not None, "the campaign")
        return queue.find_campaign(campaign.id)
