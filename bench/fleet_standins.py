"""What a campaign costs a server, a site and a package, with 100 to 10,000 sites.

Run ``python -m bench.fleet_standins --home HOME [--sites 100,1000,10000]``. Intake, witness, queue,
sums, packages and deliveries are the product's, on SQLite and PostgreSQL, with the generator of
HOME. Plants are stand-ins: each made one release in advance, under a ledger of its own with real
charge, noise, signatures and proofs, of made-up features (``CLASSES`` classes at ``EPSILON``), and
answers as a node does whose pauses are a minute at most. No Flower and no TLS is between them:
what a message costs there is in ``bench.fleet``. The server's processes are measured, stand-ins
apart from their answers among them.
"""

import argparse
import cProfile
import dataclasses
import hashlib
import json
import math
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import measure
from tests.server import postgres

from wg_core.ledger import charging, witness
from wg_core.ledger.store import DatasetRecord, Ledger
from wg_core.ledger.witness import WitnessState
from wg_core.privacy import calibration
from wg_core.privacy.events import MU_SQUARED_UNIT
from wg_core.privacy.exact import exact_statistics
from wg_core.privacy.mechanism import release_statistics, sigma_for
from wg_core.privacy.schema import DIMENSION, default_schema
from wg_core.wire import canonical, signing
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.fleet import Envelope
from wg_core.wire.protocol import Delivery, Receipt
from wg_core.wire.statistics_file import (
    StatisticsManifest,
    encode_covered,
    encode_release,
    integers_to_bytes,
)

CLASSES, RECORDS, EPSILON, DELTA = 10, 20, "4", "1e-5"
PAUSE_SECONDS = 60.0
PACKERS = 1  # As on two cores


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="A server's home, trained.")
    parser.add_argument("--sites", default="100,1000,10000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--fleet", type=Path, help="A folder to keep, and to go on with.")
    parser.add_argument("--be", type=Path, help="Used by the bench: the home to serve.")
    parser.add_argument("--profile", type=Path, help="Where a profile of the worker is written.")
    words = parser.parse_args()
    if words.be:
        print(json.dumps(be_server(words.be, int(words.sites), words.profile)))
        return
    name = "fleet_standins"
    path = measure.RESULTS / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as temporary:
        folder = words.fleet or Path(temporary)
        sizes = [int(size) for size in words.sites.split(",")]
        prepare(words.home, folder, max(sizes))
        for database in words.databases.split(","):
            for size in sizes:
                row = measured(folder, size, database, words.profile)
                document[f"{database} {size}"] = row
                measure.save(name, document)


# The plants


def prepare(trained: Path, folder: Path, count: int) -> None:
    """A server's home with the generator of another, and the releases of so many plants."""
    from tests.e2e.fleet_support import make_home

    from wg_server.generator import versions

    home = folder / "server"
    if not home.exists():
        made = make_home(home)
        for name in ("zoo", "generator"):
            shutil.rmtree(home / name, ignore_errors=True)
        shutil.copytree(trained / "generator", home / "generator")
        made.encoder.parent.mkdir()
        shutil.copy(trained / "zoo" / made.encoder.name, made.encoder)
        versions.use(made, versions.present(made)[0])  # Whatever its card says
    missing = [n for n in range(count) if not (folder / "plants" / f"{n:05}.json").exists()]
    (folder / "plants").mkdir(exist_ok=True)
    with ProcessPoolExecutor(2) as executor:
        for _ in executor.map(partial(make_plant, folder), missing, chunksize=20):
            pass


def make_plant(folder: Path, number: int) -> None:  # long: one release, from keys to files
    """One release of a plant, and what the server and its witness are told of the plant."""
    from wg_server.fleet.witness import witness_name
    from wg_server.site.home import ServerHome

    home = ServerHome(folder / "server")
    name, witness_key = witness_name(home.config()), signing.load(home.witness_key)
    site, origin = f"plant-{number:05}", f"weightgate/plant-{number:05}/{number:08x}"
    signing_key, ledger_key = signing.generate(), signing.generate_pair()
    schema = default_schema(
        encoder=home.encoder_id(),
        dimension=DIMENSION,
        labels=tuple(f"class {n}" for n in range(CLASSES)),
        clip_radius=1.0,
    )
    sigma = sigma_for(schema, float(EPSILON), float(DELTA))
    bodies: list[bytes] = []
    memory: list[WitnessState] = []

    def call(body: bytes) -> bytes:
        bodies.append(body)
        signed = witness.countersign(
            memory[-1] if memory else None,
            body,
            origin=origin,
            log_key=ledger_key.public_key(),
            witness_name=name,
            witness_key=witness_key,
            now=int(time.time()),
        )
        memory.append(signed.state)
        return signed.lines

    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        path = Path(place) / "ledger.sqlite"
        with Ledger.create(path, origin=origin, key=ledger_key, site=site) as ledger:
            ledger.accountant = closed_form
            ledger.enrol_witness(name, signing.public_bytes(witness_key))
            ledger.register_dataset(
                DatasetRecord(
                    name="parts",
                    commitment=hashlib.sha256(site.encode()).hexdigest(),
                    cap_epsilon="8",
                    cap_delta=DELTA,
                )
            )
            request = charging.statistics_request(
                schema,
                sigma,
                request_id=secrets.token_hex(16),
                dataset="parts",
                epsilon=EPSILON,
                delta=DELTA,
                purpose="bench",
                recipient=home.config().name,
                unit="record",
            )
            charged = ledger.charge(request)
            integers = release_statistics(schema, *exact(schema, number), sigma)
            manifest = StatisticsManifest(
                schema=schema,
                site=site,
                dataset="parts",
                request_id=request.request_id,
                release_id=secrets.token_hex(16),
                epsilon=EPSILON,
                delta=DELTA,
                sigma=sigma.hex(),
                sensitivity_squared=str(schema.sensitivity_squared()),
                purpose="bench",
                integers_sha256=canonical.sha256_hex(integers_to_bytes(integers)),
            )
            payload = encode_release(manifest, integers, signing_key)
            released = ledger.record_release(charged.seq, payload)
            ledger.countersign(name, call)
            covered = CoveredStatistics(
                release=payload,
                charge_entry=ledger.entry(charged.seq),
                release_entry=ledger.entry(released.seq),
                charge_proof=ledger.inclusion_proof(charged.seq, witness=name),
                release_proof=ledger.inclusion_proof(released.seq, witness=name),
            )
    (folder / "plants" / f"{number:05}.wgs").write_bytes(encode_covered(covered))
    (folder / "plants" / f"{number:05}.checkpoint").write_bytes(bodies[-1])
    row = {
        "name": site,
        "state": "enrolled",
        "signing_key": signing.public_bytes(signing_key).hex(),
        "ledger_key": signing.public_bytes(ledger_key).hex(),
        "ledger_origin": origin,
        "node_key": "-" * 178,
        "enrolled": time.time(),
        "last_seen": time.time(),
    }
    (folder / "plants" / f"{number:05}.json").write_text(json.dumps(row))


def exact(schema: Any, number: int) -> tuple[Any, Any]:
    """Sums over made-up records: all plants know the same classes, each with a shift of its own."""
    rng = np.random.default_rng((1, number))
    means = np.random.default_rng(0).normal(0, 0.08, (CLASSES, DIMENSION))
    y = np.arange(CLASSES * RECORDS) % CLASSES
    x = means[y] + rng.normal(0, 0.04, DIMENSION) + rng.normal(0, 0.06, (len(y), DIMENSION))
    records = x, y, None
    return exact_statistics(schema, *records), lambda centre: exact_statistics(
        schema, *records, centre
    )


def closed_form(events: Any, delta: float) -> float:
    """Composed epsilon of Gaussians, without loading dp-accounting."""
    units = sum(int(event.mu_squared) for event in events)
    return calibration.gaussian_epsilon(math.sqrt(float(units * MU_SQUARED_UNIT)), delta)


class StandIns:
    """Flower's side: all plants are online, and answer within a pause what they made before.

    The methods are those of ``FleetState`` and ``FleetRun``.
    """

    def __init__(self, folder: Path, witness: Any) -> None:
        self._plants = folder / "plants"
        self._witness = witness
        self._waiting: dict[str, tuple[float, Any]] = {}
        self._random = np.random.default_rng(0)

    @contextmanager
    def run(self) -> Iterator["StandIns"]:
        """See ``FleetState``."""
        yield self

    def online(self, sites: Iterable[Any]) -> set[str]:
        """See ``FleetState``: all are."""
        return {site.name for site in sites}

    def activated(self, site: str) -> float:
        """See ``FleetState``."""
        return 0.0

    def send(self, site: Any, kind: str, envelope: Envelope, seconds: float) -> str:
        """See ``FleetRun``."""
        message_id = secrets.token_hex(16)
        asked = None
        if envelope.kind == "delivery":
            asked = canonical.decode(Delivery, envelope.record, subject="delivery")
        due = time.monotonic() + self._random.uniform(0, PAUSE_SECONDS)
        self._waiting[message_id] = due, (site, asked)
        return message_id

    def poll(self, message_ids: set[str]) -> list[Any]:
        """See ``FleetRun``."""
        now = time.monotonic()
        due = [key for key, (when, _) in self._waiting.items() if when <= now]
        return [self._answer(key) for key in due]

    def forget(self, message_id: str) -> None:
        """See ``FleetRun``."""
        self._waiting.pop(message_id, None)

    def _answer(self, message_id: str) -> Any:
        from wg_server.fleet.adapter import Reply

        site, asked = self._waiting.pop(message_id)[1]
        if asked is not None:
            receipt = Receipt(request_id=asked.request_id, package_sha256=asked.package_sha256)
            return Reply(message_id, Envelope("receipt", canonical.encode(receipt)))
        path = self._plants / f"{site.name.removeprefix('plant-')}.wgs"
        self._witness.countersign(site, path.with_suffix(".checkpoint").read_bytes())
        return Reply(message_id, Envelope("statistics", b"", path.read_bytes()))


# The server


def measured(folder: Path, size: int, database: str, profile: Path | None) -> dict[str, Any]:
    """One campaign over so many sites, on a store of its own."""
    from wg_server.site.home import ServerHome

    with tempfile.TemporaryDirectory(prefix="wg-bench-") as temporary:
        root = Path(temporary) / "server"
        shutil.copytree(folder / "server", root)
        (Path(temporary) / "plants").symlink_to((folder / "plants").resolve())
        home = ServerHome(root)
        with postgres_or_not(database) as url:
            home.write_config(dataclasses.replace(home.config(), database=url))
            words = [sys.executable, "-m", "bench.fleet_standins", "--be", str(root)]
            words += ["--sites", str(size)] + (["--profile", str(profile)] if profile else [])
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return {"machine": measure.machine(), **json.loads(done.stdout.splitlines()[-1])}


@contextmanager
def postgres_or_not(database: str) -> Iterator[str]:
    if database == "sqlite":
        yield ""
        return
    with postgres.cluster(durable=True) as url:
        yield url


def be_server(  # long: one campaign, and a row of what it cost
    root: Path, size: int, profile: Path | None
) -> dict[str, Any]:
    """Serve one campaign; what it cost."""
    import logging

    from wg_core import logs
    from wg_server.campaigns.making import MakingProcess
    from wg_server.campaigns.worker import CampaignWorker
    from wg_server.fleet.witness import Witness
    from wg_server.generator import versions
    from wg_server.site.home import ServerHome
    from wg_server.store.database import Holder
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.sites import Store

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logs.use(logs.JSON)
    home = ServerHome(root)
    with Store.open(home) as store, Holder(store.engine) as holder:
        enrol(store, root.parent / "plants", size)
        witness = Witness.of(home, store)
        fleet: Any = StandIns(root.parent, witness)
        queue = CampaignQueue(store.engine)
        makers = [MakingProcess() for _ in range(PACKERS)]
        worker = CampaignWorker(home, home.config(), store, fleet, witness, makers, holder)
        profiler = cProfile.Profile()
        if profile:
            run = worker._run
            worker._thread = threading.Thread(target=profiler.runcall, args=(run,))
        idle_mb = measure.resident(os.getpid())
        began, used = time.monotonic(), processor_seconds()
        queued = queue.add(
            [site.name for site in store.sites()],
            generator=versions.ready(home).id,
            epsilon=EPSILON,
            delta=DELTA,
            purpose="bench",
            encoder=home.encoder_id(),
            collect_seconds=7200.0,
            deliver_seconds=7200.0,
        )
        worker.start()
        peaks = [0.0]
        threading.Thread(target=watch, args=(peaks,), daemon=True).start()
        seconds = waited(queue, queued.id, began)
        worker.stop()
        if profile:
            profiler.dump_stats(profile)
        spent = processor_seconds() - used
        campaign = queue.show(queued.id)
        packages = [path.stat().st_size for path in home.packages.glob("*.wgw")]
        database_mb = 0.0 if home.config().database else home.database.stat().st_size / 1e6
    return {
        "sites": dict(Counter(task.state for task in campaign.tasks)),
        "state": campaign.state,
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "processor_ms_a_site": round(1e3 * spent / size, 2),
        "server_idle_mb": round(idle_mb, 1),
        "server_peak_mb": round(peaks[0], 1),
        "packages": len(packages),
        "package_bytes": round(statistics.median(packages)),
        "bytes_received_a_site": sum(task.bytes_received for task in campaign.tasks) // size,
        "bytes_sent_a_site": sum(task.bytes_sent for task in campaign.tasks) // size,
        "database_mb": round(database_mb, 1),
        "load_average_at_end": os.getloadavg(),
    }


def enrol(store: Any, plants: Path, size: int) -> None:
    """Enter so many plants, as if they had enrolled."""
    from wg_server.store import schema

    rows = [json.loads((plants / f"{n:05}.json").read_text()) for n in range(size)]
    with store.engine.begin() as connection:
        connection.execute(schema.site.insert(), rows)


def waited(queue: Any, campaign_id: str, began: float) -> float:
    """Seconds until a campaign has ended; a few sites are looked at, not all."""
    while queue.show(campaign_id, site="plant-00000").finished is None:
        time.sleep(0.5)
    return time.monotonic() - began


def watch(peaks: list[float]) -> None:
    """Keep the largest memory of this process and its children together, MB."""
    while True:
        pids = [os.getpid(), *children()]
        resident = 0.0
        for pid in pids:
            try:
                resident += measure.resident(pid)
            except (OSError, SystemExit):
                continue  # it has just ended
        peaks[0] = max(peaks[0], resident)
        time.sleep(0.2)


def children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def processor_seconds() -> float:
    """Of this process and its children, those that have ended among them."""
    times = os.times()
    ended = times.user + times.system + times.children_user + times.children_system
    return ended + sum(measure.cpu_seconds(pid) for pid in children())


if __name__ == "__main__":
    main()
