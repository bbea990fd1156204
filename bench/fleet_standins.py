"""Cost of a campaign for the server, per site and per package, with 100 to 10,000 sites.

Run ``python -m bench.fleet_standins --home HOME [--sites 100,1000,10000]``; with ``--kills 10
--campaigns 20`` the server is killed ten times in each of twenty campaigns; with ``--packages 5
--sites 100,10000`` only packages are made, in five blocks for each number of sites in turn, each in
a new process. Intake, witness, queue, sums, packages and deliveries are the product's, on SQLite
and PostgreSQL, with the generator of HOME. Plants are stand-ins: each made one release in advance,
with its own ledger and real charge, noise, signatures and proofs, from simulated features
(``CLASSES`` classes at ``EPSILON``), and answers within ``--pause`` seconds. Flower and TLS are not
involved; their cost per message is measured by ``bench.fleet``. Only the server is measured,
including the stand-ins' answers.
"""

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import measure
from tests.server import postgres

from wg_core.ledger import witness
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.ledger.witness import WitnessRefused, WitnessState
from wg_core.privacy.schema import RELEASED_DIMENSION, default_schema
from wg_core.wire import canonical, signing
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Delivery, Receipt, StatisticsQuery

CLASSES, RECORDS, EPSILON, DELTA = 10, 20, "4", "1e-5"
LIFETIME_SECONDS = 2.0, 14.0  # Seconds that a server lives which is killed
SECONDS = 7200.0
PACKAGES = 100  # Whose processor time is measured at a time: one a site, as in a campaign


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="A server's home, trained.")
    parser.add_argument("--sites", default="100,1000,10000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--fleet", type=Path, help="A folder to keep, and to go on with.")
    parser.add_argument("--pause", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--packages", type=int, default=0, help="Blocks of packages, no campaign.")
    parser.add_argument("--campaigns", type=int, default=1)
    parser.add_argument("--be", type=Path, help="Used by the bench: the home to serve.")
    words = parser.parse_args()
    if words.be:
        row = {} if words.packages else serve_campaign(words.be, int(words.sites), words.pause)
        row |= {} if words.kills else package_cost(words.be, int(words.sites))
        print(json.dumps(row))
        return
    name = "fleet_kills" if words.kills else "fleet_standins"
    path = measure.RESULTS / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as temporary:
        folder = words.fleet or Path(temporary)
        sizes = [int(size) for size in words.sites.split(",")]
        prepare(words.home, folder, max(sizes))
        for database in words.databases.split(","):
            if words.packages:
                row = measure_packages(folder, sizes, database, words)
                document[f"{database} packages"] = row
                print(database, json.dumps(row), flush=True)
                measure.save_result(name, document)
                continue
            for size, number in itertools.product(sizes, range(words.campaigns)):
                seed = f" {number}" if words.kills else ""
                with prepare_campaign(folder, size, database, words) as (home, command):
                    lives = np.random.default_rng(number).uniform(*LIFETIME_SECONDS, words.kills)
                    row = run_killed_campaign(home, command, list(lives))
                document[f"{database} {size}{seed}"] = row
                print(database, size, seed, json.dumps(row), flush=True)
                measure.save_result(name, document)


def prepare(trained_home: Path, folder: Path, count: int) -> None:
    """Make a server's home with another's generator, and releases of ``count`` plants."""
    from tests.e2e.fleet_support import make_home

    from wg_server.generator import versions

    home = folder / "server"
    if not home.exists():
        made = make_home(home)
        for name in ("zoo", "generator"):
            shutil.rmtree(home / name, ignore_errors=True)
        shutil.copytree(trained_home / "generator", home / "generator")
        made.encoder_file.parent.mkdir()
        shutil.copy(trained_home / "zoo" / made.encoder_file.name, made.encoder_file)
        versions.install_version(made, versions.list_versions(made)[0])  # Whatever its card says
    missing = [n for n in range(count) if not (folder / "plants" / f"{n:05}.json").exists()]
    (folder / "plants").mkdir(exist_ok=True)
    with ProcessPoolExecutor(2) as executor:
        for _ in executor.map(partial(make_plant, folder), missing, chunksize=20):
            pass


def make_plant(folder: Path, number: int) -> None:  # long: one release, from keys to files
    """Make one release of a plant, and the server's and the witness's data on the plant."""
    from tests.e2e.fleet_support import covered_release, release_records

    encoder, recipient, name, witness_key = server_identity(folder)
    site, origin = f"plant-{number:05}", f"weightgate/plant-{number:05}/{number:08x}"
    signing_key, ledger_key = signing.generate_key(), signing.generate_hybrid_key()
    schema = default_schema(
        encoder=encoder,
        dimension=RELEASED_DIMENSION,
        labels=tuple(f"class {n}" for n in range(CLASSES)),
        clip_radius=1.0,
    )
    bodies: list[bytes] = []
    memory: list[WitnessState] = []

    def call(body: bytes) -> bytes:
        bodies.append(body)
        signed = witness.cosign_extension(
            memory[-1] if memory else None,
            body,
            log=witness.KnownLog(origin, ledger_key.public_key()),
            witness=witness.NamedKey(name, witness_key),
            current_time=int(time.time()),
        )
        memory.append(signed.new_state)
        return signed.cosignature_lines

    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        path = Path(place) / "ledger.sqlite"
        with Ledger.create(path, origin=origin, key=ledger_key, site=site) as ledger:
            ledger.enrol_witness(name, signing.public_bytes(witness_key))
            ledger.register_dataset(
                DatasetRegistration(
                    name="parts",
                    commitment=hashlib.sha256(site.encode()).hexdigest(),
                    cap_epsilon="8",
                    cap_delta=DELTA,
                )
            )
            query = StatisticsQuery(
                request_id=secrets.token_hex(16),
                site=site,
                encoder=encoder,
                epsilon=EPSILON,
                delta=DELTA,
                purpose="bench",
                expires=0,
            )
            drawn = draw_records(number)
            seq = release_records(
                ledger, schema, drawn, query, signing_key, dataset="parts", recipient=recipient
            )
            ledger.request_cosignature(name, call)
            covered = covered_release(ledger, seq, name)
    (folder / "plants" / f"{number:05}.wgs").write_bytes(covered)
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


@lru_cache(1)
def server_identity(folder: Path) -> tuple[str, str, str, Any]:
    from wg_server.fleet.witness import witness_key_name
    from wg_server.site.home import ServerHome

    home = ServerHome(folder / "server")
    config, key = home.read_config(), signing.load(home.witness_key)
    return home.encoder_sha256(), config.name, witness_key_name(config), key


def draw_records(number: int) -> tuple[Any, Any, None]:
    """Draw simulated records: the same classes at all plants, each plant with its own shift."""
    rng = np.random.default_rng((1, number))
    means = np.random.default_rng(0).normal(0, 0.08, (CLASSES, RELEASED_DIMENSION))
    y = np.arange(CLASSES * RECORDS) % CLASSES
    shift = rng.normal(0, 0.04, RELEASED_DIMENSION)
    x = means[y] + shift + rng.normal(0, 0.06, (len(y), RELEASED_DIMENSION))
    return x, y, None


class StandIns:
    """Replacement for Flower: all plants are online, and answer after a pause with stored releases.

    The methods replace those of ``FlowerLink`` and ``FlowerRun``.
    """

    def __init__(self, folder: Path, witness: Any, pause: float) -> None:
        self._pause = pause
        self._log = (folder / "answers").open("a", buffering=1)
        self._plants = folder / "plants"
        self._witness = witness
        self._waiting: dict[str, tuple[float, Any]] = {}
        self._random = np.random.default_rng(0)

    @contextmanager
    def open_run(self) -> Iterator["StandIns"]:
        """Yield this object as the open run."""
        yield self

    def online_sites(self, sites: Iterable[Any]) -> set[str]:
        """Return the names of all sites."""
        return {site.name for site in sites}

    def last_activation_time(self, site: str) -> float:
        """Return 0: no node was activated again."""
        return 0.0

    def send_message(self, site: Any, kind: str, envelope: Envelope, seconds: float) -> str:
        """Schedule a site's answer to a message, within the pause; return the message's id."""
        message_id = secrets.token_hex(16)
        asked = None
        if envelope.kind == "delivery":
            asked = canonical.decode(Delivery, envelope.record, input_name="delivery")
        due = time.monotonic() + self._random.uniform(0, self._pause)
        self._waiting[message_id] = due, (site, asked)
        request = asked or canonical.decode(StatisticsQuery, envelope.record, input_name="query")
        digest = hashlib.sha256(envelope.payload).hexdigest() if asked else ""
        print(site.name, request.request_id, digest, file=self._log)
        return message_id

    def poll_replies(self, message_ids: set[str]) -> list[Any]:
        """Return the replies that are due to the messages with these ids."""
        current_time = time.monotonic()
        due = [
            key
            for key, (when, _) in self._waiting.items()
            if when <= current_time and key in message_ids
        ]
        return [self._answer(key) for key in due]

    def withdraw_message(self, message_id: str) -> None:
        """Cancel the reply to a message."""
        self._waiting.pop(message_id, None)

    def _answer(self, message_id: str) -> Any:
        from wg_server.fleet.adapter import NodeReply

        site, asked = self._waiting.pop(message_id)[1]
        if asked is not None:
            receipt = Receipt(request_id=asked.request_id, package_sha256=asked.package_sha256)
            return NodeReply(message_id, Envelope("receipt", canonical.encode(receipt)))
        path = self._plants / f"{site.name.removeprefix('plant-')}.wgs"
        with suppress(WitnessRefused):  # it was cosigned before the server was killed
            self._witness.countersign(site, path.with_suffix(".checkpoint").read_bytes())
        return NodeReply(message_id, Envelope("statistics", b"", path.read_bytes()))


@contextmanager
def prepare_campaign(
    folder: Path, size: int, database: str, words: Any
) -> Iterator[tuple[Any, list[str]]]:
    """Prepare a home for ``size`` sites; return it with the command that serves one campaign."""
    from wg_server.site.home import ServerHome

    with tempfile.TemporaryDirectory(prefix="wg-bench-") as temporary:
        root = Path(temporary) / "server"
        shutil.copytree(folder / "server", root)
        (Path(temporary) / "plants").symlink_to((folder / "plants").resolve())
        home = ServerHome(root)
        clusters = {"postgresql": postgres.cluster(durable=True)}
        with clusters.get(database, nullcontext("")) as url:
            home.write_config(dataclasses.replace(home.read_config(), database=url))
            command = [sys.executable, "-m", "bench.fleet_standins", "--be", str(root)]
            for name in ("pause", "kills", "packages"):
                command += [f"--{name}", str(getattr(words, name))]
            yield home, [*command, "--sites", str(size)]


def run_killed_campaign(home: Any, command: list[str], lifetimes: list[float]) -> dict[str, Any]:
    """Run one campaign whose server is killed after each of the given numbers of seconds."""
    began, killed, machine = time.monotonic(), 0, measure.describe_machine()
    for life in lifetimes:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            process.wait(life)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        if process.wait() == 0:
            break
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    if lifetimes:
        seconds = round(time.monotonic() - began)
        row = {"kills": killed, "seconds": seconds, **count_irregular_sites(home)}
    return {"machine": machine, **row}


def measure_packages(folder: Path, sizes: list[int], database: str, words: Any) -> dict[str, Any]:
    """Measure a package's processor time by number of sites, and its ratio of most to fewest."""
    blocks: defaultdict[int, list[float]] = defaultdict(list)
    machine = measure.describe_machine()
    with ExitStack() as stack:
        contexts = {n: prepare_campaign(folder, n, database, words) for n in sizes}
        homes = {n: stack.enter_context(context) for n, context in contexts.items()}
        for number, (size, home) in itertools.product(range(words.packages + 1), homes.items()):
            done = subprocess.run(home[1], check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            print(size, number, row, os.getloadavg(), flush=True)
            if number:  # in the first one the home is filled
                blocks[size].append(row["package_processor_ms"])
    medians = {size: statistics.median(figures) for size, figures in blocks.items()}
    ratios = [b / a for a, b in zip(blocks[min(sizes)], blocks[max(sizes)], strict=True)]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    row = {"package_processor_ms": blocks, "medians": medians}
    return {"machine": machine, **row, "ratio": statistics.mean(ratios), "ratio_error": error}


def count_irregular_sites(home: Any) -> dict[str, Any]:
    """Count sites without a release or package in a campaign, and sites that have one twice."""
    from wg_server.generator import versions
    from wg_server.store.pools import PoolTable
    from wg_server.store.queue import CampaignQueue
    from wg_server.store.server_store import ServerStore

    sent: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in (home.root.parent / "answers").read_text().splitlines():
        site, request, digest = line.split(" ")
        sent[site][request].add(digest)
    lost, twice = [], []
    with ServerStore.open(home) as store:
        [campaign] = CampaignQueue(store.engine).newest_campaigns()
        generator = versions.read_version(home, campaign.generator).summary.generator
        pools = PoolTable(store.engine, generator)
        present = pools.pooled_releases_by_id().values()
        sums = Counter(row.site for row in present)
        for task in campaign.tasks:
            digests, releases = sent[task.site], len(list(store.releases_of_site(task.site)))
            if task.state != "delivered" or not (releases and sums[task.site]):
                lost.append(task.site)
            query, package = digests.pop(task.query_id, None), digests.get(task.delivery_id)
            changed = any("" in sizes or len(sizes) > 1 for sizes in digests.values())
            single = (releases, sums[task.site]) == (1, 1) and query == {""}
            if changed or not single or package != {task.package_sha256}:
                twice.append(task.site)
        lacking = sum(row.used for row in present) - sum(pool.sites for pool in pools.list_pools())
        states, forks = Counter(task.state for task in campaign.tasks), store.count_fork_evidence()
    row = {"state": campaign.state, "sites": dict(states), "forks": forks}
    return {**row, "lost": lost, "twice": twice, "sums_lack": lacking}


def serve_campaign(  # long: a campaign, its row
    root: Path, size: int, pause: float
) -> dict[str, Any]:
    """Serve one campaign; return times, memory, bytes, and numbers of sites by state."""
    import logging

    from wg_server.campaigns.packaging_process import PackagingProcess
    from wg_server.campaigns.worker import CampaignWorker
    from wg_server.fleet.witness import LedgerWitness
    from wg_server.generator import versions
    from wg_server.site.home import ServerHome
    from wg_server.store.database import ServingLock
    from wg_server.store.queue import CampaignQueue, NewCampaign
    from wg_server.store.server_store import ServerStore

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    home = ServerHome(root)
    with ServerStore.open(home) as store, ServingLock(store.engine) as serving_lock:
        if not list(store.sites()):
            enrol(store, root.parent / "plants", size)
        witness = LedgerWitness.open(home, store)
        fleet: Any = StandIns(root.parent, witness, pause)
        queue = CampaignQueue(store.engine)
        makers = [PackagingProcess()]  # As on two cores
        config = home.read_config()
        worker = CampaignWorker(home, config, store, fleet, witness, makers, serving_lock)
        began, used = time.monotonic(), processor_seconds()
        [queued] = queue.newest_campaigns() or [
            queue.add_campaign(
                NewCampaign(
                    sites=[site.name for site in store.sites()],
                    generator=versions.usable_version(home).id,
                    epsilon=EPSILON,
                    delta=DELTA,
                    purpose="bench",
                    encoder=home.encoder_sha256(),
                    collect_seconds=SECONDS,
                    deliver_seconds=SECONDS,
                ),
            )
        ]
        worker.start()
        peaks = [0.0]
        threading.Thread(target=watch_memory, args=(peaks,), daemon=True).start()
        while queue.find_campaign(queued.id, site="plant-00000").finished is None:
            time.sleep(0.5)
        seconds = time.monotonic() - began
        worker.stop()
        spent, peak = processor_seconds() - used, peaks[0]
        campaign = queue.find_campaign(queued.id)
        packages = [path.stat().st_size for path in home.packages_folder.glob("*.wgw")]
        database_mb = 0.0 if config.database else home.database_file.stat().st_size / 1e6
    return {
        "sites": dict(Counter(task.state for task in campaign.tasks)),
        "state": campaign.state,
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "processor_ms_a_site": round(1e3 * spent / size, 2),
        "server_peak_mb": round(peak, 1),
        "packages": len(packages),
        "package_bytes": round(statistics.median(packages)),
        "bytes_received_a_site": sum(task.bytes_received for task in campaign.tasks) // size,
        "bytes_sent_a_site": sum(task.bytes_sent for task in campaign.tasks) // size,
        "database_mb": round(database_mb, 1),
        "load_average_at_end": os.getloadavg(),
    }


def package_cost(root: Path, size: int) -> dict[str, float]:
    """Measure the processor time of a package, from the stored release to signed bytes."""
    from wg_server.campaigns.packaging import make_package
    from wg_server.campaigns.release_intake import QueryTerms, accept_release, load_recipient
    from wg_server.campaigns.release_pools import StoredReleasePools
    from wg_server.fleet.witness import LedgerWitness
    from wg_server.generator import versions
    from wg_server.site.home import ServerHome
    from wg_server.store.server_store import ServerStore

    home = ServerHome(root)
    generator = versions.usable_version(home).id
    terms = QueryTerms(encoder_sha256=home.encoder_sha256(), epsilon=EPSILON, delta=DELTA)
    with ServerStore.open(home) as store:
        if not list(store.sites()):
            enrol(store, root.parent / "plants", size)
            witness = LedgerWitness.open(home, store)
            for number, site in enumerate(store.sites()):
                data = (root.parent / "plants" / f"{number:05}.wgs").read_bytes()
                store.add_release(
                    accept_release(site, data, terms, witness=witness, current_time=number)
                )
        pools = StoredReleasePools(home, store)
        for number in range(PACKAGES):
            stored = next(store.releases_of_site(f"plant-{number % size:05}"))
            make_package(home, pools, load_recipient(stored), f"{number:032x}", generator)
            if not number:  # torch is loaded, and the sums are of today
                began = time.process_time()
    return {"package_processor_ms": round(1e3 * (time.process_time() - began) / (PACKAGES - 1), 3)}


def enrol(store: Any, plants: Path, size: int) -> None:
    from wg_server.store import schema

    rows = [json.loads((plants / f"{n:05}.json").read_text()) for n in range(size)]
    with store.engine.begin() as connection:
        connection.execute(schema.site_table.insert(), rows)


def watch_memory(peaks: list[float]) -> None:
    """Store the peak memory of this process and its children together, in MB, in ``peaks``."""
    while True:
        resident = 0.0
        for pid in [os.getpid(), *child_processes()]:
            with suppress(OSError, SystemExit):  # it has just ended
                resident += measure.resident_memory(pid)
        peaks[0] = max(peaks[0], resident)
        time.sleep(0.2)


def child_processes() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def processor_seconds() -> float:
    """Processor time of this process and its children, including ended ones, in seconds."""
    times = os.times()
    ended = times.user + times.system + times.children_user + times.children_system
    return ended + sum(measure.cpu_seconds(pid) for pid in child_processes())


if __name__ == "__main__":
    main()
