"""Plants for the empirical privacy audit: synthetic pictures, processed by the client's own code.

Each plant is a home in a temporary folder with keys, ledger, configuration and an encoder: one
that reads features from a picture's bytes, a home's encoder, or one fitted on synthetic pictures.
Freeze and release use the code of a real plant; a witness of the audit cosigns. Nothing of a real
plant is read except its encoder.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wg_audit.installed.audited_plant import (
    FIXED_UNIX_TIME,
    AuditedPlant,
    FrozenSnapshot,
    ImageRecord,
    Interruption,
    NoiseSampler,
    PlantFactory,
    PlantSetup,
    Question,
    SimulatedCrash,
)
from wg_audit.installed.simulated_records import read_features
from wg_client.data import acceptance_set
from wg_client.data.dataset import RECORDS_CSV_NAME
from wg_client.release.home_freeze import freeze_data, inspect_home_data
from wg_common import streams
from wg_common.streams import Stream
from wg_core import atomic, number_parsers
from wg_core.ledger import log_succession
from wg_core.ledger import witness as witnesses
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Predecessor
from wg_core.ledger.witness import WitnessRefused, WitnessState
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_DIMENSION,
    MACHINE_STATISTICS,
    statistics_field,
)
from wg_core.release import query_answers as release_query
from wg_core.release.encoding import LoadEncoder, RecordEncoder
from wg_core.site import config as configuration
from wg_core.site import identity
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire import canonical, signing
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_core.wire.protocol import StatisticsQuery
from wg_core.wire.signing import PrivateKey, PublicKey

SITE_NAME = "canary-audit"
WITNESS_NAME = "canary-audit/witness"

_LARGEST_REQUEST_EPSILON = 10
_UNIT_COLUMN = "unit"
_PLACEHOLDER_PICTURE = np.zeros((1, 1), dtype=np.uint8)
"""Picture that gives an empty array of records its shape."""
_FITTING_PICTURE_COUNT = 160
_NUMBER_PATTERN = re.compile(r"\d+")
_DATA_SHEET = DataSheet(
    rotating_machine=RotatingMachine(
        shaft_speed_rpm=number_parsers.parse_exact_decimal("1800"),
        sampling_hz=number_parsers.parse_exact_decimal("12000"),
        rolling_elements=9,
        rolling_element_diameter_mm=number_parsers.parse_exact_decimal("8"),
        pitch_diameter_mm=number_parsers.parse_exact_decimal("40"),
        contact_angle_deg=number_parsers.parse_exact_decimal("0"),
    )
)


def plants(
    encoder_package: bytes | None = None, *, load_encoder: LoadEncoder | None = None
) -> PlantFactory:
    """Return a factory of plants that run the installed code.

    Args:
        encoder_package: Encoder package; None: an encoder is fitted on synthetic pictures.
        load_encoder: Loader of the encoder; None: the installed loader.
    """

    @functools.cache
    def package() -> bytes:
        return fit_encoder_on_noise() if encoder_package is None else encoder_package

    cached_load = functools.cache(load_encoder or _load_installed_encoder)

    def fresh(setup: PlantSetup) -> AbstractContextManager[AuditedPlant]:
        if not setup.dimension:
            return _open_plant(setup, package(), cached_load)
        feature_encoder = _ByteEncoder(dimension=setup.dimension)
        return _open_plant(setup, repr(feature_encoder).encode(), lambda _: feature_encoder)

    return fresh


def _load_installed_encoder(package: bytes) -> RecordEncoder:
    from wg_common.nets.encoder.projected_trunk import load_encoder  # torch: seconds to import

    return load_encoder(package)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByteEncoder:
    """Encoder for the audit that reads features from the first bytes of a picture."""

    dimension: int
    modality: str = "images"
    clip_radius: float = 1.0
    machine_kinds: tuple[str, ...] = ("rotating_machine",)

    @property
    def local_dimension(self) -> int:
        return self.dimension

    @property
    def scaled_dimension(self) -> int:
        return self.dimension

    def encode_local(self, records: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([read_features(record, self.dimension, 0) for record in records])

    def machine_features(
        self, records: Sequence[NDArray[np.uint8]], data_sheet: DataSheet
    ) -> NDArray[np.float32]:
        rows = [read_features(record, MACHINE_DIMENSION, self.dimension) for record in records]
        return np.array(rows, dtype=np.float32).reshape(-1, MACHINE_DIMENSION)


def fit_encoder_on_noise() -> bytes:
    """Return the package of an encoder fitted on noise pictures of several grain sizes."""
    from wg_common.nets.encoder.projected_trunk import (
        compute_raw_features,  # torch: seconds to import
    )
    from wg_common.nets.encoder.projection_fit import fit_encoder  # torch: seconds to import

    rng = streams.stream_generator(Stream.AUDIT_PICTURES)
    pictures = []
    for number in range(_FITTING_PICTURE_COUNT):
        size = 32 >> number % 4
        coarse = Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8))
        pictures.append(np.array(coarse.resize((32, 32), Image.Resampling.BICUBIC)))
    settings = {"pixels": "64"}
    raw = compute_raw_features(pictures, trunk_settings=settings)
    return fit_encoder(raw, np.arange(_FITTING_PICTURE_COUNT) % 4, trunk_settings=settings)


@contextmanager
def _open_plant(
    setup: PlantSetup, encoder_package: bytes, load_encoder: LoadEncoder
) -> Iterator[CanaryPlant]:
    with tempfile.TemporaryDirectory(prefix="wg-canary-") as folder:
        home = ClientHome(Path(folder) / "home")
        data = Path(folder) / ("data.npz" if setup.file_layout == "npz" else "data")
        home.root.mkdir(mode=0o700)
        atomic.write_bytes(home.encoder, encoder_package)
        witness = signing.generate_hybrid_key()
        raw = signing.public_bytes(witness)
        config = ClientConfig(
            site=SITE_NAME,
            pin=PinnedServer(
                fleet_url="https://127.0.0.1:1",
                name="canary-audit",
                signing_key=raw.hex(),
                witness_name=WITNESS_NAME,
                witness_key=raw.hex(),
            ),
            data=DataConfig(
                name=SITE_NAME,
                path=str(data),
                labels=setup.labels,
                encoder=canonical.sha256_hex(encoder_package),
                unit_column=None if setup.unit_rule == "record" else _UNIT_COLUMN,
                acceptance=setup.acceptance_share,
            ),
            data_sheet=_DATA_SHEET if setup.declares_machine else None,
            privacy=PrivacyConfig(
                cap_epsilon=setup.cap_epsilon,
                max_request_epsilon=f"{min(_LARGEST_REQUEST_EPSILON, float(setup.cap_epsilon)):g}",
            ),
        )
        memory = _start_witnessed_ledger(home, witness)
        configuration.save(home, config)
        sha256 = canonical.sha256_hex(encoder_package)
        yield CanaryPlant(home.root, home, data, setup, memory, sha256, load_encoder)


def _start_witnessed_ledger(
    home: ClientHome, witness: PrivateKey, predecessor: Predecessor | None = None
) -> _AuditWitness:
    """Make the home's missing keys and its ledger; return the ledger's witness."""
    origin = identity.create_identity(home, SITE_NAME).ledger_origin
    key = signing.load(home.ledger_key)
    with Ledger.create(
        home.ledger,
        origin=origin,
        key=key,
        site=SITE_NAME,
        predecessor=predecessor,
        clock=lambda: FIXED_UNIX_TIME,
    ) as ledger:
        ledger.enrol_witness(WITNESS_NAME, signing.public_bytes(witness))
    return _AuditWitness(origin, key.public_key(), witness)


@dataclass(slots=True)
class CanaryPlant:
    """Plant of the empirical audit in a temporary home; implements ``AuditedPlant``."""

    home: Path
    _home: ClientHome
    _data_path: Path
    setup: PlantSetup
    _witness: _AuditWitness
    _encoder_id: str
    _load_encoder: LoadEncoder
    _time: int = FIXED_UNIX_TIME

    @property
    def witness_request_sizes(self) -> list[int]:
        """Sizes of the requests to the plant's witness, bytes."""
        return self._witness.body_sizes

    def freeze(self, records: Sequence[ImageRecord]) -> FrozenSnapshot:
        """Write the records to disk, and freeze those that can be used."""
        write = _write_npz_dataset if self.setup.file_layout == "npz" else _write_picture_files
        write(self._data_path, self.setup, records)
        inspection = inspect_home_data(self._home, load_encoder=self._load_encoder)
        frozen = freeze_data(
            self._home,
            inspection,
            load_encoder=self._load_encoder,
            set_aside=True,
            allow_empty=True,
            clock=lambda: self._time,
        ).snapshot
        judges: frozenset[int] = frozenset()
        if data := frozen.read_acceptance_set():
            names = acceptance_set.decode_acceptance_set(data, SITE_NAME).listing.names
            judges = frozenset(int(_NUMBER_PATTERN.findall(name)[-1]) for name in names)
        return FrozenSnapshot(salt=frozen.manifest.salt, acceptance_rows=judges)

    def rename_dataset(self) -> None:
        """Rename the plant's data set in the settings."""
        config = configuration.load(self._home)
        data = dataclasses.replace(config.data, name=f"{config.data.name} anew")
        configuration.save(self._home, dataclasses.replace(config, data=data))

    def advance_clock(self, seconds: int) -> None:
        """Advance the clock of the plant and its witness by some seconds."""
        self._time += seconds
        self._witness.time = self._time

    def replace_ledger(self) -> None:
        """Replace ledger and key as ``reenrolment.replace_compromised_ledger`` does."""
        predecessor = log_succession.read_predecessor(self._home.ledger, "canary audit")
        for path in (*self._home.root.glob("ledger.sqlite*"), self._home.ledger_key):
            path.unlink()
        self._witness = _start_witnessed_ledger(self._home, self._witness.key, predecessor)

    @contextmanager
    def copy_plant(self) -> Iterator[CanaryPlant]:
        """Yield a copy of the plant: its home, and its witness's memory."""
        with tempfile.TemporaryDirectory(prefix="wg-canary-") as folder:
            home = ClientHome(Path(folder) / "home")
            shutil.copytree(self.home, home.root)
            witness = dataclasses.replace(self._witness, body_sizes=[])
            yield dataclasses.replace(self, home=home.root, _home=home, _witness=witness)

    def release(
        self,
        question: Question,
        sampler: NoiseSampler | None,
        interruption: Interruption | None = None,
    ) -> bytes:
        """Return the plant's answer to a question: the bytes that its server would get.

        Args:
            question: Request to answer.
            sampler: Noise sampler to be used instead of the installed one; None: the installed one.
            interruption: Failure to cause; None: no failure.
        """
        fields: dict[str, Any] = {
            "request_id": question.request_id,
            "site": SITE_NAME,
            "encoder": self._encoder_id,
            "epsilon": question.epsilon,
            "delta": question.delta,
            "purpose": "canary audit",
            "expires": self._time + 1,
            "statistics": statistics_field(
                MACHINE_STATISTICS if question.wants_machine_statistics else CLASS_STATISTICS
            ),
        }

        def die(step: str) -> None:
            if step == interruption:
                raise SimulatedCrash

        means = release_query.ReleaseHooks(on_step=die)
        return release_query.answer_query(
            self._home,
            StatisticsQuery(**(fields | dict(question.changed_fields))),
            witness=functools.partial(self._witness, trouble=interruption),
            clock=lambda: self._time,
            hooks=means if sampler is None else dataclasses.replace(means, sampler=sampler),
        )


@dataclass(slots=True)
class _AuditWitness:
    """Ledger witness of the audit, which keeps the last checkpoint in memory."""

    _origin: str
    _log_key: PublicKey
    key: PrivateKey
    _state: WitnessState | None = field(default=None)
    time: int = FIXED_UNIX_TIME
    body_sizes: list[int] = field(default_factory=list)

    def __call__(self, body: bytes, trouble: Interruption | None = None) -> bytes:
        self.body_sizes.append(len(body))
        if trouble == "refusing":
            raise WitnessRefused(HTTPStatus.SERVICE_UNAVAILABLE, "not today")
        is_forgery = trouble == "forging"
        signed = witnesses.cosign_extension(
            self._state,
            body,
            log=witnesses.KnownLog(self._origin, self._log_key),
            witness=witnesses.NamedKey(
                WITNESS_NAME, signing.generate_hybrid_key() if is_forgery else self.key
            ),
            current_time=self.time,
        )
        if not is_forgery:
            self._state = signed.new_state
        return signed.cosignature_lines


def _write_npz_dataset(path: Path, setup: PlantSetup, records: Sequence[ImageRecord]) -> None:
    """Write pictures to one ``.npz`` file with reordered classes and an undeclared class."""
    classes = (*reversed(setup.labels), "undeclared")
    places = [len(setup.labels) - 1 - record.label for record in records]
    arrays = {
        "x": np.stack([record.pixels for record in records] or [_PLACEHOLDER_PICTURE])[
            : len(records)
        ],
        "y": np.array(
            [
                record.label if not 0 <= record.label < len(setup.labels) else place
                for record, place in zip(records, places, strict=True)
            ],
            dtype=np.int64,
        ),
        "classes": np.array(classes),
        _UNIT_COLUMN: np.array([record.unit for record in records], dtype=np.str_),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stubs are too strict


def _write_picture_files(path: Path, setup: PlantSetup, records: Sequence[ImageRecord]) -> None:
    """Write one picture per record: in class folders, or in one folder with a table."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    names = {-1: "_unlabelled" if setup.file_layout == "folders" else ""}
    names |= dict(enumerate(setup.labels))
    table = [("file", "label", _UNIT_COLUMN)]
    for number, record in enumerate(records):
        label = names.get(record.label, "undeclared")
        folder = path / (label if setup.file_layout == "folders" else "pictures")
        folder.mkdir(exist_ok=True)
        file = folder / f"{number:06}.png"
        Image.fromarray(record.pixels).save(file)
        table.append((file.relative_to(path).as_posix(), label, record.unit))
    if setup.file_layout == "table":
        with (path / RECORDS_CSV_NAME).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(table)
