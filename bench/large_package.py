"""Peak memory of server and node while a large weights package travels between them.

Run ``python -m bench.large_package [--megabytes N]``. The server is a real ``wg-server serve``;
the node is the product's node in a process of its own. Made up are the plant's features (the
synthetic handler of ``tests/e2e/fleet_support``) and the package, which is signed by the server's
key, laid where the generator lays packages, and full of random numbers. The node verifies it as
``wg-client`` does before model selection, and reads each tensor once; no model is fitted.
"""

import argparse
import hashlib
import json
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from bench import measure
from tests.e2e.fleet_support import (
    LABELS,
    answer_synthetic,
    enrol_plant,
    healthy,
    make_home,
    start_campaign,
)

from wg_common import weights_file, weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.fleet.interface import Handlers
from wg_core.fleet.node import run_node
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, container, signing
from wg_core.wire.protocol import WEIGHTS_KIND
from wg_server.campaigns.phases import CHUNK_LIMIT
from wg_server.operation.serve import signals
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

SITE = "plant-a"
TENSOR_BYTES = 16 << 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--node", type=Path, help="Be the node of this home (used by the bench).")
    words = parser.parse_args()
    if words.node is not None:
        node(ClientHome(words.node))
    else:
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
            bench(Path(folder), words.megabytes * 10**6)


def bench(folder: Path, size: int) -> None:
    document: dict[str, object] = {"machine": measure.machine()}
    home = make_home(folder / "server")
    package = write_package(home, folder / "package.wgw", size)
    server = start(
        [str(Path(sys.executable).with_name("wg-server")), "serve", "--home", str(home.root)]
    )
    measure.wait(lambda: healthy(home), "the server", 60)
    plant = enrol_plant(home, folder / SITE, SITE)
    client = start([sys.executable, "-m", "bench.large_package", "--node", str(plant.home.root)])
    try:
        measure.wait(lambda: online(home), "the node", 60)
        # One whole campaign with a small package first: what is loaded once counts as idle.
        small = write_package(home, folder / "small.wgw", 10**6)
        deliver(home, plant.home, small)
        time.sleep(3)
        idle = {"server": measure.resident(server.pid), "node": measure.resident(client.pid)}
        measure.reset_peak(server.pid)
        measure.reset_peak(client.pid)
        bytes_ = package.stat().st_size
        seconds = deliver(home, plant.home, package)
        peak = {"server": measure.peak(server.pid), "node": measure.peak(client.pid)}
    finally:
        for process in (client, server):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    document |= {
        "package_bytes": bytes_,
        "configuration": {"chunk_bytes": CHUNK_LIMIT, "tensor_bytes": TENSOR_BYTES},
        "seconds_from_campaign_to_verified": round(seconds, 1),
        "idle_mb": {side: round(value, 1) for side, value in idle.items()},
        "peak_mb": {side: round(value, 1) for side, value in peak.items()},
        "peak_above_idle_mb": {side: round(peak[side] - idle[side], 1) for side in idle},
        "target_above_idle_mb": 400,
    }
    measure.save("large_package", document)


def start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def online(home: ServerHome) -> bool:
    with Store.open(home) as store:
        return store.site(SITE).last_seen > 0


def deliver(home: ServerHome, plant: ClientHome, package: Path) -> float:
    """Run a campaign that delivers ``package``; seconds until the node has verified it."""
    verified = plant.root / "verified"
    verified.unlink(missing_ok=True)
    campaign = start_campaign(home, [SITE], seconds=1200)
    target = home.package(campaign.tasks[0].delivery_id)
    target.parent.mkdir(exist_ok=True)
    package.replace(target)  # before the server can have the statistics that it would need
    seconds = measure.wait(verified.is_file, "the package", 1200)
    with Store.open(home) as store:
        queue = CampaignQueue(store.engine)
        measure.wait(lambda: queue.show(campaign.id).finished is not None, "the campaign", 60)
        found = queue.show(campaign.id)
    if found.state != "done" or verified.read_text() != found.tasks[0].package_sha256:
        raise SystemExit(f"campaign {found.state}, {found.tasks}")
    return seconds


def node(home: ClientHome) -> None:
    """The product's node; applying is verifying, and reading every tensor."""

    def apply(home: ClientHome, source: Path) -> object:
        key = bytes.fromhex(configuration.load(home).server.signing_key)
        manifest, candidates = weights_file.read(source, signing.public_from_bytes(key))
        for tensors in candidates.values():
            for value in tensors.values():
                float(value.ravel()[0])
        (home.root / "verified").write_text(weights_file.sha256(source))
        return manifest

    stop = threading.Event()
    with signals(stop):
        run_node(home, Handlers(answer_query=answer_synthetic, apply_package=apply), stop=stop)


def write_package(home: ServerHome, path: Path, size: int) -> Path:
    """Write a signed package of about ``size`` bytes without holding it in memory."""
    count = -(-size // TENSOR_BYTES)
    numbers = min(size, TENSOR_BYTES) // 4
    header = json.dumps(
        {
            f"base/t{index}": {
                "dtype": "F32",
                "shape": [numbers],
                "data_offsets": [4 * numbers * index, 4 * numbers * (index + 1)],
            }
            for index in range(count)
        }
    ).encode()
    raw = path.with_suffix(".tensors")
    digest = hashlib.sha256()
    rng = np.random.default_rng(0)
    with raw.open("wb") as stream:
        for index in range(-1, count):
            data = (
                struct.pack("<Q", len(header)) + header
                if index < 0
                else rng.standard_normal(numbers, dtype=np.float32).tobytes()
            )
            stream.write(data)
            digest.update(data)
    manifest = WeightsManifest(
        package_id=secrets.token_hex(16),
        request_id="0" * 32,
        site=SITE,
        architecture="bench",
        encoder=home.encoder_id(),
        generator="0" * 64,
        labels=LABELS,
        own_release="",
        memory_releases=(),
        candidates=(Candidate(name="base", source="base", nearest_zoo_distance="0"),),
        tensors_sha256=digest.hexdigest(),
        created=int(time.time()),
        expires=int(time.time()) + 86400,
    )
    text = canonical.encode(manifest)
    signature = signing.sign(signing.load(home.signing_key), signing.WEIGHTS, text)
    rows = [
        container.Section("manifest", len(text), canonical.sha256_hex(text)),
        container.Section("signature", len(signature), canonical.sha256_hex(signature)),
        container.Section("tensors", raw.stat().st_size, digest.hexdigest()),
        container.Section("checkpoint", 0, canonical.sha256_hex(b"")),
    ]
    with path.open("wb") as out, raw.open("rb") as tensors:
        out.write(container.encode_header(WEIGHTS_KIND, weights_package.VERSION, tuple(rows)))
        out.write(text + signature)
        while piece := tensors.read(1 << 20):
            out.write(piece)
    raw.unlink()
    return path


if __name__ == "__main__":
    main()
