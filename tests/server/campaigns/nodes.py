"""Campaigns without a network: the worker, the queue and the packer are the product's own.

Flower's side, and what is in releases and packages, are made up: sites are online or not, and
answer at once, as a test likes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS
from tests.server.rows import add_sites, release_of

from wg_core.wire import canonical
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Delivery, Receipt, Refusal, StatisticsQuery
from wg_server.campaigns import release_intake, worker
from wg_server.campaigns.worker import CampaignWorker
from wg_server.fleet.adapter import NodeReply
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue, NewCampaign
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

SITES = ("plant-a", "plant-b", "plant-c")
Answer = Callable[[Envelope], Envelope | None]


class Nodes:
    """Flower's side: sites that are online answer at once, honestly or as ``answers`` says.

    Attributes:
        answers: What a site answers, in place of an honest answer; None: nothing comes.
        away: Sites that are not online.
        asked: Site and kind of every message, in order.
        runs: How many runs are open.
    """

    def __init__(self, **answers: Answer) -> None:
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.away: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.queries: list[StatisticsQuery] = []
        self.runs = 0
        self._waiting: dict[str, NodeReply] = {}

    @contextlib.contextmanager
    def open_run(self) -> Iterator[Nodes]:
        self.runs += 1
        try:
            yield self
        finally:
            self.runs -= 1

    def online_sites(self, sites: Iterable[StoredSite]) -> set[str]:
        return {site.name for site in sites} - self.away

    def last_activation_time(self, site: str) -> float:
        return 0.0

    def send_message(self, site: StoredSite, kind: str, envelope: Envelope, seconds: float) -> str:
        message_id = f"{site.name} {len(self.asked)}"
        self.asked.append((site.name, envelope.kind))
        if envelope.kind == "query":
            self.queries.append(
                canonical.decode(StatisticsQuery, envelope.record, input_name="query")
            )
        found = self.answers.get(site.name, honest)(envelope)
        if found is not None:
            self._waiting[message_id] = NodeReply(message_id, found)
        return message_id

    def poll_replies(self, message_ids: set[str]) -> list[NodeReply]:
        return [self._waiting.pop(each) for each in sorted(message_ids) if each in self._waiting]

    def withdraw_message(self, message_id: str) -> None:
        self._waiting.pop(message_id, None)


def honest(envelope: Envelope) -> Envelope:
    if envelope.kind == "query":
        return Envelope("statistics", b"", b"honest")
    asked = canonical.decode(Delivery, envelope.record, input_name="delivery")
    receipt = Receipt(request_id=asked.request_id, package_sha256=asked.package_sha256)
    return Envelope("receipt", canonical.encode(receipt))


def refusal(code: str) -> Envelope:
    return Envelope("refusal", canonical.encode(Refusal(request_id="0" * 32, code=code)))


class Held:
    def is_held(self) -> bool:
        return True


@dataclasses.dataclass
class Stage:
    """A server's campaigns over made-up sites.

    Attributes:
        packages: Site, delivery and others' sites of every package that was made, in order.
        generators: What each of them was made with.
    """

    home: ServerHome
    store: ServerStore
    nodes: Nodes
    packages: list[tuple[str, str, tuple[str, ...]]] = dataclasses.field(default_factory=list)
    generators: list[str] = dataclasses.field(default_factory=list)
    before_package: Callable[[str], None] = lambda site: None

    @property
    def queue(self) -> CampaignQueue:
        return CampaignQueue(self.store.engine)

    def start(
        self, sites: Sequence[str] = SITES, *, current_time: float | None = None, **values: Any
    ) -> Campaign:
        return self.queue.add_campaign(
            NewCampaign(
                sites=sites,
                **{
                    "epsilon": "1",
                    "delta": "1e-5",
                    "purpose": "test",
                    "encoder": "e",
                    "collect_seconds": 60.0,
                    "deliver_seconds": 60.0,
                    "grace_seconds": 0.0,
                    **values,
                },
            ),
            current_time=current_time,
        )

    def make(
        self, home: ServerHome, pools: Any, own: Any, request_id: str, generator: str
    ) -> bytes:
        self.before_package(own.site)
        store = pools.store
        ids = store.newest_usable_release_ids(encoder_sha256="e", excluded_site=own.site)
        names = tuple(sorted(store.require_release(release_id).site for release_id in ids))
        self.packages.append((own.site, request_id, names))
        self.generators.append(generator)
        return b"package"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """The worker works until the block ends."""
        found = CampaignWorker(
            self.home,
            self.home.read_config(),
            self.store,
            self.nodes,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            [self.make],
            Held(),  # type: ignore[arg-type]
        )
        found.start()
        try:
            yield
        finally:
            found.stop()

    def wait(self, campaign: Campaign, done: Callable[[Campaign], bool]) -> Campaign:
        """The campaign when it is so; what a busy machine takes for it does not matter."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not done(found := self.queue.find_campaign(campaign.id)):
            assert time.monotonic() < limit, found
            time.sleep(0.005)
        return found

    def ended(self, campaign: Campaign) -> dict[str, tuple[str, str]]:
        """State and code of each site at the end."""
        return states(self.wait(campaign, lambda found: found.finished is not None))


def states(campaign: Campaign) -> dict[str, tuple[str, str]]:
    return {task.site: (task.state, task.code) for task in campaign.tasks}


def stored(site: str, **values: Any) -> StoredRelease:
    release_id = canonical.sha256_hex(site.encode())[:32]
    return release_of(site, release_id, **{"received": time.time(), **values})


def make_stage(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch, nodes: Nodes
) -> Stage:
    """Three enrolled sites; what they release is taken as it is."""
    add_sites(store, SITES)
    monkeypatch.setattr(worker, "POLL_INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(worker, "QUEUE_CHECK_INTERVAL_SECONDS", 0.005)
    monkeypatch.setattr(
        release_intake, "accept_release", lambda site, *rest, **more: stored(site.name)
    )
    monkeypatch.setattr(
        release_intake,
        "decode_stored_release",
        lambda release: SimpleNamespace(manifest=SimpleNamespace(site=release.site)),
    )
    monkeypatch.setattr(
        release_intake, "load_recipient", lambda release: SimpleNamespace(site=release.site)
    )
    return Stage(home, store, nodes)
