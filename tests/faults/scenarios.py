"""What is done on a disk that fails, and what must hold afterwards; run by ``sweep``."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from tests.core.ledger.conftest import ORIGIN, Site
from tests.faults.exchange import GeneratorExchange
from tests.faults.sweep import Scenario, World
from tests.server.enrolling import beginning, empty_request
from tests.server.rows import release_of

from wg_audit import verification
from wg_client.models import adoption
from wg_client.models import store as models
from wg_client.models.manifest import ModelEntry, ModelsManifest
from wg_client.release.home_freeze import inspect_home_data
from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.fleet.inbox import Inbox
from wg_core.ledger import witness as witnesses
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.witness import WitnessState
from wg_core.release.freeze import freeze
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site import identity
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire import canonical, signing
from wg_core.wire.protocol import Delivery, StatisticsQuery
from wg_server.fleet.witness import LedgerWitness
from wg_server.operation.initialise import create_home
from wg_server.site.home import ServerConfig as Central
from wg_server.site.home import ServerHome
from wg_server.store.ledger_succession import checkpoint_size
from wg_server.store.queue import CampaignQueue, NewCampaign
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore

REQUEST = "12" * 16


class RemoteSite(Site):
    """A ledger on the disk that fails; its witness remembers elsewhere."""

    def __init__(self, world: World) -> None:
        super().__init__(world.disk)
        self._kept = world.elsewhere / "witness"

    def call(self, request: bytes) -> bytes:
        self.memory = WitnessState(self._kept.read_bytes()) if self._kept.exists() else None
        line = super().call(request)
        assert self.memory is not None
        self._kept.write_bytes(self.memory.signed_checkpoint)
        return line


class LedgerAnswers:
    """A charge, its release, the witness, the covered file."""

    def prepare(self, world: World) -> None:
        RemoteSite(world).create().close()

    def act(self, world: World) -> bytes:
        site = RemoteSite(world)
        request = site.request()
        with site.open() as ledger:
            charged = ledger.charge(request)
            if charged.is_open:
                ledger.record_release(charged.seq, site.payload(request))
            site.cosign(ledger)
            return site.covered(ledger).release

    def check(self, world: World, given: bytes | None) -> None:
        site = RemoteSite(world)
        with site.open() as ledger:
            charges, stored = (
                ledger.read_spending("parts").charge_count,
                ledger.released_bytes("r1"),
            )
        assert charges == 1 or (given is None and stored is None and charges == 0)
        released = self.act(world)
        assert given in (None, released) and stored in (None, released)
        assert self.act(world) == released
        finding = verification.audit_log(site.path)
        assert finding.accounts[0].charges == 1 and not finding.burned


class _PublicEncoder:
    """An encoder without torch: eight features of a record by its bytes."""

    modality = "images"
    dimension = 8
    scaled_dimension = 0
    local_dimension = 8
    clip_radius = 1.0
    machine_kinds: tuple[str, ...] = ()

    def machine_features(self, records: Any, data_sheet: Any) -> NDArray[np.float32]:
        raise NotImplementedError

    def encode_local(self, records: Any) -> NDArray[np.float32]:
        rows = [hashlib.sha256(np.asarray(each).tobytes()).digest()[:8] for each in records]
        return np.array([list(row) for row in rows], np.float32) / np.float32(1000)


class PlantAnswers:
    """A plant's answer to a question, from its snapshot to the covered file in its outbox."""

    def prepare(self, world: World) -> None:
        home = ClientHome(world.disk / "plant")
        home.root.mkdir()
        rng = np.random.default_rng(1)
        np.savez(
            world.elsewhere / "data.npz",
            x=rng.integers(0, 256, (12, 8, 8), np.uint8),
            y=np.arange(12) % 2,
            classes=np.array(["bad", "good"]),
        )
        home.encoder.write_bytes(b"a public encoder")
        public = identity.create_identity(home, "plant-a")
        server, witness = signing.generate_key(), signing.generate_hybrid_key()
        signing.save(world.elsewhere / "witness.pem", witness)
        config = ClientConfig(
            site="plant-a",
            pin=PinnedServer(
                fleet_url="https://127.0.0.1:1",
                name="central",
                signing_key=signing.public_bytes(server).hex(),
                witness_name="central/witness",
                witness_key=signing.public_bytes(witness).hex(),
            ),
            data=DataConfig(
                name="line-1",
                path=str(world.elsewhere / "data.npz"),
                labels=("bad", "good"),
                encoder=canonical.sha256_hex(b"a public encoder"),
            ),
            privacy=PrivacyConfig(answer_slot_seconds=0.05),
        )
        key = signing.load(home.ledger_key)
        with Ledger.create(
            home.ledger, origin=public.ledger_origin, key=key, site="plant-a"
        ) as ledger:
            ledger.enrol_witness("central/witness", signing.public_bytes(witness))
        configuration.save(home, config)
        self.freeze(world)

    def act(self, world: World) -> bytes:
        home = ClientHome(world.disk / "plant")
        query = StatisticsQuery(
            request_id=REQUEST,
            site="plant-a",
            encoder=canonical.sha256_hex(b"a public encoder"),
            epsilon="1",
            delta="1e-5",
            purpose="test",
            expires=int(time.time()) + 600,
        )
        return answer_query(home, query, witness=self._witness(world))

    def check(self, world: World, given: bytes | None) -> None:
        home = ClientHome(world.disk / "plant")
        snapshots.load_current(home).verify_files()
        with Ledger.open(home.ledger) as ledger:
            charges, stored = (
                ledger.read_spending("line-1").charge_count,
                ledger.released_bytes(REQUEST),
            )
        assert charges == 1 or (given is None and stored is None and charges == 0)
        answer = self.act(world)
        assert given in (None, answer) and self.act(world) == answer
        finding = verification.audit_log(home.ledger)
        assert finding.accounts[0].charges == 1 and not finding.burned

    def freeze(self, world: World) -> int:
        """Freeze, and say which version it is."""
        home = ClientHome(world.disk / "plant")

        def load(_: bytes) -> _PublicEncoder:
            return _PublicEncoder()

        return freeze(
            home, inspect_home_data(home, load_encoder=load), load_encoder=load
        ).snapshot.manifest.number

    def _witness(self, world: World) -> Callable[[bytes], bytes]:
        kept = world.elsewhere / "seen"
        home = ClientHome(world.disk / "plant")
        public = identity.read_public_identity(home, "plant-a")

        def cosign(body: bytes) -> bytes:
            signed = witnesses.cosign_extension(
                WitnessState(kept.read_bytes()) if kept.exists() else None,
                body,
                log=witnesses.KnownLog(
                    public.ledger_origin, signing.load(home.ledger_key).public_key()
                ),
                witness=witnesses.NamedKey(
                    "central/witness", signing.load(world.elsewhere / "witness.pem")
                ),
                current_time=int(time.time()),
            )
            kept.write_bytes(signed.new_state.signed_checkpoint)
            return signed.cosignature_lines

        return cosign


class PlantFreezes(PlantAnswers):
    """The next version of a data set is frozen."""

    def act(self, world: World) -> bytes:
        return b"%d" % self.freeze(world)

    def check(self, world: World, given: bytes | None) -> None:
        number = snapshots.load_current(ClientHome(world.disk / "plant")).manifest.number
        assert number == 2 if given else number in (1, 2)
        PlantAnswers().check(world, None)
        assert self.freeze(world) > number
        snapshots.load_current(ClientHome(world.disk / "plant")).verify_files()


class Deliveries:
    """Packages arrive, are applied, set aside."""

    def __init__(self) -> None:
        self.payloads = {f"{number:032x}": bytes([number]) * 10_000 for number in (1, 2, 3)}

    def prepare(self, world: World) -> None:
        del world

    def act(self, world: World) -> bytes:
        inbox = Inbox(ClientHome(world.disk))
        given = []
        for request, payload in self.payloads.items():
            receipt = inbox.store_package(self._delivery(request), payload)
            given.append(receipt.request_id)
        first, second, _ = sorted(inbox.waiting_packages())
        inbox.delete_applied_package(first)
        inbox.reject_package(second)
        return json.dumps(given).encode()

    def check(self, world: World, given: bytes | None) -> None:
        inbox = Inbox(ClientHome(world.disk))
        self._all_whole(inbox)
        before = {request for request in self.payloads if inbox.find_receipt(request)}
        gone = before - {path.stem for path in inbox.waiting_packages()}
        assert gone <= set(sorted(self.payloads)[:2])  # the first was done, the second rejected
        for request, payload in self.payloads.items():
            receipt = inbox.store_package(self._delivery(request), payload)
            assert receipt.package_sha256 == hashlib.sha256(payload).hexdigest()
        self._all_whole(inbox)
        assert {path.stem for path in inbox.waiting_packages()} == self.payloads.keys() - gone
        assert given is None or len(gone) == 2

    def _all_whole(self, inbox: Inbox) -> None:
        for path in inbox.waiting_packages():
            assert path.read_bytes() == self.payloads[path.stem]

    def _delivery(self, request: str) -> Delivery:
        digest = hashlib.sha256(self.payloads[request]).hexdigest()
        return Delivery(request_id=request, site="plant-a", package_sha256=digest)


class Installation:
    """Models of a package are written beside an earlier one's, and put in use."""

    def prepare(self, world: World) -> None:
        self._write(world, 1)

    def act(self, world: World) -> bytes:
        self._write(world, 2)
        return b"installed"

    def check(self, world: World, given: bytes | None) -> None:
        home = ClientHome(world.disk)
        self._all_whole(home)
        before, _ = adoption.model_in_use(home)
        assert before.package_id in (("2" * 32,) if given else ("1" * 32, "2" * 32))
        self.act(world)
        self._all_whole(home)
        assert adoption.model_in_use(home)[0].package_id == "2" * 32

    def _all_whole(self, home: ClientHome) -> None:
        for manifest in models.all_manifests(home):
            for entry in manifest.models:
                assert models.load_model_tensors(home, manifest, entry.name)

    def _write(self, world: World, number: int) -> None:
        tensors = {
            name: {"head.weight": np.full((3, 8), number, np.float32)} for name in ("one", "two")
        }
        home, manifest = ClientHome(world.disk), self._manifest(number, tensors)
        if models.read_manifest(home, manifest.package_id) is None:
            models.write_models(home, manifest, tensors)
        adoption.decide_adoption(home, manifest)

    def _manifest(self, number: int, tensors: Any) -> ModelsManifest:
        entries = tuple(
            ModelEntry(
                name=name,
                sha256=canonical.sha256_hex(models.encode_tensors(values)),
                origin="",
                source="",
                settings={},
                accuracy=0.5,
                error=0.1,
            )
            for name, values in tensors.items()
        )
        return ModelsManifest(
            package_id=str(number) * 32,
            package_sha256="0" * 64,
            request_id=REQUEST,
            architecture="lite0-head",
            encoder=str(number) * 64,  # the earlier model cannot work: this one is used at once
            generator="0" * 64,
            labels=("bad", "good"),
            own_release="",
            pool_root="",
            pool_releases=0,
            commitment="0" * 64,
            applied=number,
            kept="one",
            reason="test",
            gain=float(number),
            models=entries,
            findings=(),
            candidates=(),
        )


class Files:
    """Files are replaced, copied and moved."""

    def prepare(self, world: World) -> None:
        for name in ("written", "copied", "moved"):
            (world.disk / name).write_bytes(b"old" * 5_000)
        (world.elsewhere / "source").write_bytes(b"new" * 5_000)
        (world.disk / "incoming").write_bytes(b"new" * 5_000)

    def act(self, world: World) -> bytes:
        atomic.write_bytes(world.disk / "written", b"new" * 5_000)
        atomic.copy_file(world.elsewhere / "source", world.disk / "copied")
        atomic.rename_file(world.disk / "incoming", world.disk / "moved")
        return b"done"

    def check(self, world: World, given: bytes | None) -> None:
        for name in ("written", "copied", "moved"):
            found = (world.disk / name).read_bytes()
            assert found == b"new" * 5_000 or (given is None and found == b"old" * 5_000), name
        if not (world.disk / "incoming").exists():
            (world.disk / "incoming").write_bytes(b"new" * 5_000)
        self.act(world)


class _Asked(Exception):
    """The witness's question is known."""


class ServerStoreFaults:
    """The server cosigns a checkpoint, keeps a release, and queues a campaign."""

    def prepare(self, world: World) -> None:
        home = ServerHome(world.disk / "server")
        create_home(home, Central(name="central", fleet_port=1, enrol_port=2, admin_port=3))
        site = Site(world.elsewhere)
        ledger = site.create()
        ledger_key = signing.public_bytes(site.key).hex()
        request = empty_request(ledger_origin=ORIGIN, ledger_key=ledger_key)
        with ServerStore.open(home) as store, ledger:
            store.store_join_token("plant-a", "s", time.time() + 600)
            store.enrol_site(
                request,
                "node",
                "tls",
                time.time(),
                lambda: ("f", time.time() + 600, None),
                beginning(ledger),
            )
            witness = LedgerWitness.open(home, store)
            ledger.enrol_witness(witness.name, signing.public_bytes(witness.public_key))
            site.release(ledger)
            with suppress(_Asked):
                ledger.request_cosignature(witness.name, partial(self._ask, world, witness, store))

    def _ask(self, world: World, witness: LedgerWitness, store: ServerStore, body: bytes) -> bytes:
        """Keep the body that the witness would cosign, and do not let it."""
        if not body.startswith(b"old 0"):  # else it answers how much it has seen
            (world.elsewhere / "body").write_bytes(body)
            raise _Asked
        return witness.cosign_extension(store.require_site("plant-a"), body)

    def act(self, world: World) -> bytes:
        with self._store(world) as store:
            self._cosign(world, store)
            store.add_release(self._release())
            campaign = CampaignQueue(store.engine).add_campaign(
                NewCampaign(
                    sites=["plant-a"],
                    epsilon="1",
                    delta="1e-5",
                    purpose="test",
                    encoder="0" * 64,
                    collect_seconds=60,
                    deliver_seconds=60,
                ),
            )
        return campaign.id.encode()

    def check(self, world: World, given: bytes | None) -> None:
        with self._store(world) as store:
            found = [each.id for each in CampaignQueue(store.engine).newest_campaigns()]
            assert len(found) <= 1
            kept = store.find_release("ab" * 16)
            assert kept in (None, self._release())
            if given is not None:
                assert found == [given.decode()] and kept is not None
                assert self._seen(store) == 6
            self._cosign(world, store)
            assert self._seen(store) == 6 and store.list_fork_evidence() == []
            with store.engine.connect() as connection:
                assert connection.execute(sa.text("pragma integrity_check")).scalar() == "ok"
        self.act(world)
        with self._store(world) as store:
            assert len(CampaignQueue(store.engine).newest_campaigns()) == len(found) + 1
            assert store.find_release("ab" * 16) == self._release()

    def _store(self, world: World) -> ServerStore:
        return ServerStore.open(ServerHome(world.disk / "server"))

    def _cosign(self, world: World, store: ServerStore) -> None:
        """Cosign the ledger of six entries, unless that was done."""
        witness = LedgerWitness.open(ServerHome(world.disk / "server"), store)
        body = (world.elsewhere / "body").read_bytes()
        if self._seen(store) < 6:
            witness.cosign_extension(store.require_site("plant-a"), body)

    def _seen(self, store: ServerStore) -> int:
        checkpoint = store.last_cosigned_checkpoint(ORIGIN)
        assert checkpoint is not None
        return checkpoint_size(checkpoint)

    def _release(self) -> StoredRelease:
        data = b"a release" * 5_000
        return release_of("plant-a", "ab" * 16, encoder="0" * 64, data=data)


class Careless:
    """What a sweep must find: a file that is half written, and an error that says nothing."""

    def prepare(self, world: World) -> None:
        (world.disk / "file").write_bytes(b"old" * 5_000)

    def act(self, world: World) -> bytes:
        (world.disk / "file").write_bytes(b"new" * 5_000)
        return b"done"

    def check(self, world: World, given: bytes | None) -> None:
        del given
        assert (world.disk / "file").read_bytes() in (b"old" * 5_000, b"new" * 5_000)


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "files": Files,
    "ledger": LedgerAnswers,
    "answer": PlantAnswers,
    "freeze": PlantFreezes,
    "inbox": Deliveries,
    "models": Installation,
    "store": ServerStoreFaults,
    "generator": GeneratorExchange,
    "careless": Careless,
}
