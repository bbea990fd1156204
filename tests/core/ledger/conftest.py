"""A plant with a ledger, a witness that remembers, and a clock that can be set."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from wg_core.ledger import charging, witness
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger, RecordedCharge
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.commitment import commit_to_data
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.ledger.witness import WitnessState
from wg_core.privacy import calibration, mechanism
from wg_core.privacy.events import MU_SQUARED_UNIT, PrivacyEvent
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_core.wire import canonical, signing, statistics_file
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.signing import PrivateKey
from wg_core.wire.statistics_file import StatisticsManifest

DELTA = "1e-5"
WITNESS = "server.example/witness"
ORIGIN = "weightgate/plant-a/0011"
SECRET = bytes(range(32))


def closed_form(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Composed epsilon of Gaussians, without loading dp-accounting."""
    units = sum(int(event.mu_squared) for event in events)
    return calibration.gaussian_epsilon(math.sqrt(float(units * MU_SQUARED_UNIT)), delta)


def key(number: int) -> PrivateKey:
    """A fixed key of both algorithms, so that tests are deterministic."""
    seed = bytes([number]) * 32
    return PrivateKey(
        (Ed25519PrivateKey.from_private_bytes(seed), MLDSA44PrivateKey.from_seed_bytes(seed))
    )


def schema(encoder: str = "") -> StatisticsSchema:
    return default_schema(
        encoder=canonical.sha256_hex(encoder.encode()),
        dimension=4,
        labels=("good", "bad"),
        clip_radius=1.0,
    )


def cosign_newest(ledger: Ledger, key: PrivateKey, time: int, name: str = WITNESS) -> bytes:
    """Let any key cosign and store a log's newest checkpoint under the name of a witness."""
    note = checkpoints.decode(ledger.newest_checkpoint())[1]
    lines = checkpoints.cosign(note, name, key, time)
    return ledger.add_cosignature(note.with_signatures(lines).encode(), name)


@dataclass
class Site:
    """A plant and its witness."""

    folder: Path
    key: PrivateKey = field(default_factory=lambda: key(1))
    witness_key: PrivateKey = field(default_factory=lambda: key(2))
    signing_key: PrivateKey = field(default_factory=lambda: key(3))
    memory: WitnessState | None = None
    current_time: int = 1_700_000_000
    cap: str = "3"

    @property
    def path(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def anchors(self) -> TrustAnchors:
        """Both true keys, which an auditor got from elsewhere."""
        return TrustAnchors(
            ledger_key=signing.public_bytes(self.key),
            witnesses=(TrustedWitness(WITNESS, signing.public_bytes(self.witness_key)),),
        )

    def create(self, on_step: Callable[[str], None] | None = None) -> Ledger:
        ledger = Ledger.create(
            self.path,
            origin=ORIGIN,
            key=self.key,
            site="plant-a",
            clock=lambda: self.current_time,
            on_step=on_step,
        )
        ledger.accountant = closed_form
        ledger.enrol_witness(WITNESS, signing.public_bytes(self.witness_key))
        self.register(ledger, "parts")
        return ledger

    def open(self, on_step: Callable[[str], None] | None = None) -> Ledger:
        ledger = Ledger.open(self.path, self.key, clock=lambda: self.current_time, on_step=on_step)
        ledger.accountant = closed_form
        return ledger

    def register(self, ledger: Ledger, name: str, data: bytes = b"data", lineage: str = "") -> int:
        return ledger.register_dataset(
            DatasetRegistration(
                name=name,
                commitment=commit_to_data(SECRET, [data]),
                cap_epsilon=self.cap,
                cap_delta=DELTA,
                continued_dataset=lineage,
            )
        )

    def request(
        self, request_id: str = "r1", epsilon: str = "1", dataset: str = "parts", encoder: str = ""
    ) -> ChargeRequest:
        return charging.make_charge_request(
            schema(encoder),
            mechanism.noise_scale(schema(), float(epsilon), float(DELTA)),
            charging.ReleaseTerms(
                request_id=request_id,
                dataset=dataset,
                epsilon=epsilon,
                delta=DELTA,
                purpose="first model",
                recipient="server.example",
            ),
        )

    def payload(self, request: ChargeRequest) -> bytes:
        """A signed release that fits the request."""
        integers = np.zeros(schema().vector_length, dtype=np.int64)
        body = statistics_file.integers_to_bytes(integers)
        manifest = StatisticsManifest(
            schema=schema(),
            site="plant-a",
            dataset=request.dataset,
            request_id=request.request_id,
            release_id=os.urandom(16).hex(),
            epsilon=request.epsilon,
            delta=request.delta,
            sigma=request.mechanism.sigma,
            sensitivity_squared=request.mechanism.sensitivity_squared,
            purpose=request.use.purpose,
            integers_sha256=canonical.sha256_hex(body),
        )
        return statistics_file.encode_release(manifest, integers, self.signing_key)

    def release(self, ledger: Ledger, request_id: str = "r1", epsilon: str = "1") -> RecordedCharge:
        request = self.request(request_id, epsilon)
        charged = ledger.charge(request)
        if charged.is_open:
            ledger.record_release(charged.seq, self.payload(request))
        return charged

    def call(self, request: bytes) -> bytes:
        """The witness's endpoint."""
        found = witness.cosign_extension(
            self.memory,
            request,
            log=witness.KnownLog(ORIGIN, self.key.public_key()),
            witness=witness.NamedKey(WITNESS, self.witness_key),
            current_time=self.current_time,
        )
        self.memory = found.new_state
        return found.cosignature_lines

    def cosign(self, ledger: Ledger) -> bytes:
        return ledger.request_cosignature(WITNESS, self.call)

    def covered(self, ledger: Ledger, request_id: str = "r1") -> StatisticsBundle:
        charged = ledger.find_charge("parts", request_id=request_id)
        payload = ledger.released_bytes(request_id)
        released = ledger.find_release(request_id)
        assert charged is not None and payload is not None and released is not None
        return StatisticsBundle(
            release=payload,
            charge_entry=ledger.entry_bytes(charged.seq),
            release_entry=ledger.entry_bytes(released.seq),
            charge_proof=ledger.inclusion_proof(charged.seq, witness=WITNESS),
            release_proof=ledger.inclusion_proof(released.seq, witness=WITNESS),
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def ledger(site: Site) -> Iterator[Ledger]:
    with site.create() as opened:
        yield opened
