"""A plant's home without a server: real keys, ledger, encoder and images; server and witness keys
are the test's own."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bearings import BEARING

from wg_client.data.record_inspection import Inspection
from wg_client.fitting.linear_head import LinearHead
from wg_client.release.home_freeze import freeze_data, inspect_home_data
from wg_common import weights_package
from wg_common.modalities.base import content_digest
from wg_common.nets.encoder.projected_trunk import Encoder, compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.ledger import witness as witnesses
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.witness import WitnessState
from wg_core.release.freeze import FreezeResult
from wg_core.site import config as configuration
from wg_core.site import identity
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire import canonical, signing
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.signing import PrivateKey

LABELS = ("bars", "dots", "rings")
WITNESS = "test-witness"


def pictures(rng: np.random.Generator, label: int, count: int) -> NDArray[np.uint8]:
    """Noisy 32x32 pictures of one of three patterns."""
    y, x = np.mgrid[0:32, 0:32] / 32.0
    found = np.empty((count, 32, 32), np.uint8)
    for row in range(count):
        a, b, c = rng.uniform(0, 1, 3)
        waves = (
            np.sin(2 * np.pi * (4 * x + a)),
            np.sin(2 * np.pi * (5 * x + a)) * np.sin(2 * np.pi * (5 * y + b)),
            np.sin(2 * np.pi * (6 * np.hypot(x - 0.3 - 0.4 * a, y - 0.3 - 0.4 * b) + c)),
        )
        picture = 128 + 60 * waves[label] + rng.normal(0, 45, (32, 32))
        found[row] = np.clip(picture, 0, 255)
    return found


def waves(rng: np.random.Generator, label: int, count: int) -> NDArray[np.float32]:
    """Noisy tones of one of three pitches on two channels."""
    turn = (2 + 5 * label) * np.linspace(0, 2 * np.pi, 64) + rng.uniform(0, 6, (count, 2, 1))
    return np.asarray(np.sin(turn) + rng.normal(0, 0.4, (count, 2, 64)), dtype=np.float32)


def write_npz(path: Path, counts: Mapping[int, int], seed: int, labels: tuple[str, ...]) -> Path:
    """A data file with so many records of each class."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([pictures(rng, label, count) for label, count in counts.items()])
    y = np.repeat(list(counts), list(counts.values()))
    np.savez(path, x=x, y=y, classes=np.array(labels), group=np.arange(len(y)) // 2)
    return path


_ENCODERS: dict[str, Encoder] = {}
_FEATURES: dict[tuple[str, bytes], NDArray[np.float32]] = {}


@dataclass(frozen=True, slots=True)
class Remembering:
    """The encoder, which encodes a record once in all tests: most have the same ones."""

    encoder: Encoder
    machine_kinds: ClassVar[tuple[str, ...]] = ("rotating_machine",)

    def machine_features(
        self, records: Sequence[NDArray[Any]], data_sheet: DataSheet
    ) -> NDArray[np.float32]:
        """A made-up reading map: numbers of a record's values and of the sheet, some too long."""
        turn = float(dict(data_sheet.stated_fields())["shaft_speed_rpm"]) / 1e4
        rows = [np.resize(np.asarray(record, np.float32) / 255 - turn, 32) for record in records]
        return np.array(rows, dtype=np.float32).reshape(-1, 32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode_local(self, records: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        keys = [(self.encoder.id, content_digest(record)) for record in records]
        for key, record in zip(keys, records, strict=True):
            if key not in _FEATURES:
                (_FEATURES[key],) = self.encoder.encode_local([record])
        return np.stack([_FEATURES[key] for key in keys])


def remembering(package: bytes) -> Any:
    """As ``load_encoder``, once for each package."""
    key = canonical.sha256_hex(package)
    if key not in _ENCODERS:
        _ENCODERS[key] = load_encoder(package)
    return Remembering(_ENCODERS[key])


@dataclass(slots=True)
class TestWitness:
    """A witness with a memory, as the server is one; counts how often it is asked."""

    __test__ = False

    origin: str
    log_key: bytes
    key: PrivateKey
    state: WitnessState | None = None
    asked: int = 0

    def __call__(self, body: bytes) -> bytes:
        self.asked += 1
        signed = witnesses.cosign_extension(
            self.state,
            body,
            log=witnesses.KnownLog(self.origin, signing.public_from_bytes(self.log_key)),
            witness=witnesses.NamedKey(WITNESS, self.key),
            current_time=int(time.time()),
        )
        self.state = signed.new_state
        return signed.cosignature_lines


@dataclass(slots=True)
class TestPlant:
    """One plant and the keys of the world around it."""

    __test__ = False

    home: ClientHome
    config: ClientConfig
    server_key: PrivateKey
    witness: TestWitness
    origin: str
    ledger_key: bytes
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        return canonical.sha256_hex(self.home.encoder.read_bytes())

    def query(self, **changes: Any) -> StatisticsQuery:
        query = StatisticsQuery(
            request_id=secrets.token_hex(16),
            site=self.config.site,
            encoder=self.encoder,
            epsilon="1",
            delta="1e-5",
            purpose="test",
            expires=int(time.time()) + 600,
        )
        return replace(query, **changes)

    def state_machine(self, machine: RotatingMachine = BEARING) -> None:
        """Write its data sheet, and freeze again."""
        self.configure(data_sheet=DataSheet(rotating_machine=machine))
        self.freeze()

    def configure(self, **sections: Any) -> None:
        """Change sections of client.yaml."""
        self.config = replace(self.config, **sections)
        configuration.save(self.home, self.config)

    def confirm(self, encoder: bytes) -> None:
        """Put another encoder in the place of the home's, confirmed by its owner."""
        self.home.encoder.write_bytes(encoder)
        self.configure(data=replace(self.config.data, encoder=self.encoder))

    def load(self, package: bytes) -> Any:
        """The encoder of an encoder package."""
        return remembering(package)

    def look(self) -> Inspection:
        """What of the data set can be frozen."""
        return inspect_home_data(self.home, load_encoder=self.load)

    def freeze(self, found: Inspection | None = None, **words: Any) -> FreezeResult:
        """Freeze the data set as it is now."""
        if found is None:
            found = inspect_home_data(
                self.home, load_encoder=self.load, on_progress=words.get("on_progress")
            )
        return freeze_data(self.home, found, load_encoder=self.load, **words)

    def package(
        self,
        weights: Mapping[str, tuple[LinearHead | Mapping[str, NDArray[np.float32]], Any]],
        *,
        key: PrivateKey | None = None,
        architecture: str = "lite0-head",
        inputs: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> bytes:
        """A weights package of heads, or of tensors, by name, each with its source.

        Args:
            architecture: Of all candidates.
            inputs: Treatment of what goes into those that are named.
        """
        tensors = weights_package.pack_tensors(
            {
                name: value.tensors() if isinstance(value, LinearHead) else value
                for name, (value, _) in weights.items()
            }
        )
        current_time = int(time.time())
        fields: dict[str, Any] = {
            "package_id": secrets.token_hex(16),
            "request_id": secrets.token_hex(16),
            "site": self.config.site,
            "encoder": self.encoder,
            "generator": "ab" * 32,
            "labels": self.config.data.labels,
            "own_release": "",
            "pool_root": "aa" * 32,
            "pool_releases": 1,
            "candidates": tuple(
                Candidate(
                    name=name,
                    source=source,
                    architecture=architecture,
                    inputs=(inputs or {}).get(name, "raw"),
                )
                for name, (_, source) in weights.items()
            ),
            "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
            "created": current_time,
            "expires": current_time + 3600,
        }
        fields.update(changes)
        return weights_package.encode_package(
            WeightsManifest(**fields), tensors, key or self.server_key
        )


def fitted_encoder(pixels: int) -> bytes:
    rng = np.random.default_rng(11)
    images = np.concatenate([pictures(rng, label, 60) for label in range(3)])
    settings = {"pixels": str(pixels)}
    raw = compute_raw_features(images, trunk_settings=settings)
    return fit_encoder(raw, np.repeat(np.arange(3), 60), trunk_settings=settings)


@pytest.fixture(scope="session")
def encoder_package() -> bytes:
    return fitted_encoder(64)  # a quarter of the usual work


@pytest.fixture(scope="session")
def window_encoder() -> bytes:
    rng = np.random.default_rng(3)
    found = np.concatenate([waves(rng, label, 40) for label in range(3)])
    labels = np.repeat(np.arange(3), 40)
    groups = np.arange(120) % 2
    return fit_encoder(
        compute_raw_features(found, modality="windows"),
        groups,
        labels,
        dimension=16,
        modality="windows",
    )


@pytest.fixture(scope="session")
def good_head(encoder_package: bytes) -> LinearHead:
    """A head fitted on many records that no plant has: what a good server would send."""
    from tests.client.discriminants import fit_lda

    from wg_client.fitting.linear_head import fit_standardisation

    rng = np.random.default_rng(12)
    images = np.concatenate([pictures(rng, label, 60) for label in range(3)])
    features = load_encoder(encoder_package).encode(images).astype(np.float64)
    scale = fit_standardisation(features)
    labels = np.repeat(np.arange(3), 60)
    return scale.to_unscaled_head(fit_lda(scale.apply(features), labels, 3, 0.5))


MakePlant = Callable[..., TestPlant]


def plant_maker(root: Path, encoder_package: bytes) -> MakePlant:
    """Makes a plant from records by class; ``privacy`` and ``data`` override configuration.

    Its data set is frozen, unless ``frozen`` says otherwise.
    """

    def make(
        counts: Mapping[int, int] | None = None,
        *,
        privacy: PrivacyConfig | None = None,
        name: str = "plant-a",
        frozen: bool = True,
        **data: Any,
    ) -> TestPlant:
        home = ClientHome(root / name)
        home.root.mkdir()
        path = write_npz(
            home.root / "data.npz", counts or {0: 8, 1: 8, 2: 8}, seed=3, labels=LABELS
        )
        home.encoder.write_bytes(encoder_package)
        encoder_id = canonical.sha256_hex(encoder_package)
        public = identity.create_identity(home, name)
        server, witness = signing.generate_key(), signing.generate_hybrid_key()
        signing.save(home.root / "test-witness.pem", witness)
        config = ClientConfig(
            site=name,
            pin=PinnedServer(
                fleet_url="https://127.0.0.1:1",
                name="test-server",
                signing_key=signing.public_bytes(server).hex(),
                witness_name=WITNESS,
                witness_key=signing.public_bytes(witness).hex(),
            ),
            data=DataConfig(
                **{"name": name, "path": str(path), "labels": LABELS, "encoder": encoder_id, **data}
            ),
            privacy=privacy or PrivacyConfig(answer_slot_seconds=0.05),
        )
        ledger_key = signing.load(home.ledger_key)
        with Ledger.create(
            home.ledger, origin=public.ledger_origin, key=ledger_key, site=name
        ) as ledger:
            ledger.enrol_witness(WITNESS, signing.public_bytes(witness))
        configuration.save(home, config)
        raw = signing.public_bytes(ledger_key)
        plant = TestPlant(
            home=home,
            config=config,
            server_key=server,
            witness=TestWitness(public.ledger_origin, raw, witness),
            origin=public.ledger_origin,
            ledger_key=raw,
        )
        if frozen:
            plant.freeze()
        return plant

    return make


@pytest.fixture
def make_plant(tmp_path: Path, encoder_package: bytes) -> MakePlant:
    """As ``plant_maker``, in the test's own folder."""
    return plant_maker(tmp_path, encoder_package)


@pytest.fixture(scope="session")
def applied(
    tmp_path_factory: pytest.TempPathFactory, encoder_package: bytes, good_head: LinearHead
) -> TestPlant:
    """A plant with a model, for tests that read its home only."""
    from wg_client.selection.delivery import apply_and_adopt_package

    plant = plant_maker(tmp_path_factory.mktemp("applied"), encoder_package)({0: 4, 1: 4})
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    return plant


@pytest.fixture
def plant(applied: TestPlant, tmp_path: Path) -> TestPlant:
    """As ``applied``, in the test's own folder."""
    shutil.copytree(applied.home.root, tmp_path / "plant")
    return replace(applied, home=ClientHome(tmp_path / "plant"))
