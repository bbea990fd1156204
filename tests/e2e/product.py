"""The installed commands as real processes: ``wg-server serve`` and ``wg-client run``.

Nothing of the product is replaced: the ledger, the encoder, the generator, the release and model
selection are the real ones. What is small is the data (noisy patterns), the encoder's fit (180
pictures) and the generator (its last layer is random: it writes bad weights, and the plants refuse
them).
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.client.conftest import LABELS, pictures, write_npz
from tests.e2e.fleet_support import healthy, make_home, running
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server.generator.conftest import World
from tests.server.generators import install

from wg_client.fleet.home_initialisation import DataSetChoice, initialise
from wg_client.models import store as model_store
from wg_common.nets.encoder.projected_trunk import compute_raw_features
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core import atomic
from wg_core.ledger.budget_ledger import Ledger, LineageSpending
from wg_core.site.config import PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, canonical, protocol, signing
from wg_server.fleet.enrolment import create_join_token
from wg_server.generator.prior.class_names import fit_public_priors
from wg_server.generator.weights import head_package as package
from wg_server.generator.weights.head_package import HeadPackage
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

ROOT = Path(__file__).parents[2]
SEAMS = Path(__file__).parent / "seams"
BIN = Path(sys.executable).parent
DIMENSION = 16


def encoder_package() -> bytes:
    rng = np.random.default_rng(11)
    images = np.concatenate([pictures(rng, label, 60) for label in range(3)])
    settings = {"pixels": "64"}  # a quarter of the usual work
    raw = compute_raw_features(images, trunk_settings=settings)
    return fit_encoder(
        raw, np.repeat(np.arange(3), 60), dimension=DIMENSION, trunk_settings=settings
    )


def generator_package(encoder: bytes) -> bytes:
    """A generator for an encoder, from invented tasks."""
    world = World(7)
    tasks = [world.task(family, site) for family in range(6) for site in range(2)]
    return package.pack_heads(
        HeadPackage(
            encoder_sha256=canonical.sha256_hex(encoder),
            architecture="lite0-head",
            priors=fit_public_priors(tasks).model_variances,
        )
    )


@dataclass(frozen=True)
class Site:
    """One plant's home, as ``wg-client init`` made it."""

    name: str
    home: ClientHome

    def spent(self) -> LineageSpending:
        with Ledger.open(self.home.ledger, signing.load(self.home.ledger_key)) as ledger:
            return ledger.read_spending(self.name)

    def charged(self) -> int:
        return self.spent().charge_count

    def released(self) -> set[str]:
        """Hashes of the releases in everything that is in the outbox."""
        files = self.home.outbox.glob("*.wgs") if self.home.outbox.is_dir() else ()
        return {
            hashlib.sha256(bundle.decode_statistics(path.read_bytes()).release).hexdigest()
            for path in files
        }

    def applied(self) -> list[str]:
        """Request ids of the packages that were applied."""
        return [manifest.request_id for manifest in model_store.all_manifests(self.home)]

    def half_written(self) -> list[Path]:
        """Temporary files that a crash may leave; they are hidden, and never read."""
        return [path for path in self.home.root.rglob(".*") if path.suffix != ".lock"]


@dataclass(frozen=True)
class Fleet:
    """A server's home and its enrolled plants."""

    server: ServerHome
    sites: tuple[Site, ...]
    logs: Path

    def names(self) -> list[str]:
        return [site.name for site in self.sites]


@dataclass(frozen=True)
class Packages:
    """What takes seconds to make, and is the same for every fleet."""

    encoder: bytes
    generator: bytes

    @classmethod
    def make(cls) -> Packages:
        encoder = encoder_package()
        return cls(encoder, generator_package(encoder))


def equip(server: ServerHome, packages: Packages) -> None:
    """Give a server encoder and generator."""
    atomic.write_bytes(server.encoder_file, packages.encoder)
    install(server, packages.generator)


def make_fleet(
    root: Path, packages: Packages, names: Sequence[str], *, slot_seconds: float = 0.2
) -> Fleet:
    """A server with encoder and generator, and plants that enrolled with it; nothing runs yet."""
    server = make_home(root / "server")
    equip(server, packages)
    sites = []
    with running(server):
        for number, name in enumerate(names):
            with ServerStore.open(server) as store:
                token = protocol.encode_join_token(create_join_token(server, store, name, 600.0))
            data = root / f"{name}.npz"
            write_npz(data, {0: 8, 1: 8, 2: 8}, seed=number, labels=LABELS)
            home = ClientHome(root / name)
            privacy = PrivacyConfig(answer_slot_seconds=slot_seconds)
            initialise(home, token, DataSetChoice(path=data, dataset_name=name), privacy)
            sites.append(Site(name, home))
    logs = root / "logs"
    logs.mkdir()
    return Fleet(server, tuple(sites), logs)


@dataclass
class Command:
    """One of our commands, started and started again; its log is kept."""

    words: tuple[str | Path, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.mark = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [_program(self.words[0]), *map(str, self.words[1:])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Kill it and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        """What it wrote since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self.mark)
            return log.read().decode("utf-8", "replace")


def _program(name: str | Path) -> str:
    return str(BIN / name) if str(name).startswith("wg-") else str(name)


@contextmanager
def command(
    fleet: Fleet, name: str, *words: str | Path, environment: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """A command that is running, and does not outlive the block."""
    started = Command(words, fleet.logs / f"{name}.log", environment or {})
    started.start()
    try:
        yield started
    finally:
        started.end()


@contextmanager
def serving(fleet: Fleet, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    """``wg-server serve``, up and well."""
    words: tuple[str | Path, ...] = ("wg-server", "serve", "--home", fleet.server.root)
    with command(fleet, "server", *words, environment=environment) as started:
        wait_until(lambda: healthy(fleet.server), "the server")
        yield started


@contextmanager
def node(
    fleet: Fleet, site: Site, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """``wg-client run``."""
    words: tuple[str | Path, ...] = ("wg-client", "run", "--home", site.home.root, *options)
    with command(fleet, site.name, *words, environment=environment) as started:
        yield started


def seams(**settings: object) -> dict[str, str]:
    """Environment under which a child process loads ``seams/sitecustomize.py``."""
    path = os.pathsep.join(filter(None, (str(SEAMS), os.environ.get("PYTHONPATH", ""))))
    return {"PYTHONPATH": path, **{name.upper(): str(value) for name, value in settings.items()}}
