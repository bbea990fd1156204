"""Every decoder of bytes from outside, each with a few documents to begin from.

A target takes any bytes and may raise ``WgError`` and nothing else. ``test_decoders`` runs each
with hypothesis, ``run`` with atheris, which follows the coverage of our code. ``found/NAME`` holds
inputs that once broke a target; both start from them too.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.bearings import BEARING, GEARS, MOTOR
from tests.server.enrolling import empty_request

from wg_client.data import dataset_survey as surveys
from wg_client.data.sensor_log import LogColumns, read_log
from wg_common import auditor_record, weights_file, weights_package
from wg_common.modalities.images import Images
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder import package
from wg_core import number_parsers, yaml_settings
from wg_core.ledger import (
    checkpoint,
    entries,
    export,
    inclusion_proof,
    log_sources,
    log_verification,
    merkle,
    signed_note,
    witness,
)
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.schema import MACHINE_STATISTICS, machine_schema
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, canonical, container, protocol, signing, statistics_file
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.signing import PrivateKey
from wg_server.fleet import bundle_verification
from wg_server.site.home import parse_config
from wg_server.store import ledger_succession
from wg_server.zoo import archives
from wg_server.zoo import plan as plans

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "core" / "ledger" / "vectors"
KEY = PrivateKey((Ed25519PrivateKey.from_private_bytes(bytes(range(32))),))


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder and documents to begin from."""

    decode: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]


@functools.cache
def _folder() -> Path:
    """A folder for decoders that read files; gone when the process ends."""
    made = tempfile.TemporaryDirectory(prefix="wg-fuzz-")
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _vectors(kind: str) -> tuple[bytes, ...]:
    cases = json.loads((VECTORS / f"{kind}.json").read_text(encoding="utf-8"))
    return tuple(case["input"].encode() for case in cases)


def _boxed(kind: str, names: tuple[str, ...], version: int = 1) -> tuple[bytes, ...]:
    full = container.encode(kind, version, dict.fromkeys(names, b"{}"))
    return full, container.encode(kind, version, {}), full[:40]


def _signed(kind: str, context: str, manifest: bytes) -> bytes:
    """A container whose signature holds, so that what lies behind it is reached."""
    signature = signing.sign(KEY, context, manifest)
    names = ("manifest", "signature", "integers")
    parts = dict(zip(names, (manifest, signature, b""), strict=True))
    return container.encode(kind, 1, parts)


def _release(data: bytes) -> Any:
    return statistics_file.decode_release(data, KEY.public_key())


def _signed_release(data: bytes) -> Any:
    return _release(_signed("wgs", signing.STATISTICS_CONTEXT, data))


def _weights(data: bytes) -> Any:
    return weights_file.decode_weights_package(data, KEY.public_key())


def _package_checkpoint(data: bytes) -> Any:
    return weights_package.read_checkpoint(io.BytesIO(data))


def _requests(data: bytes) -> Any:
    """What a file carries for a witness, behind a proof that can be read."""
    head = checkpoint.Checkpoint("a", 3, bytes(32))
    found = inclusion_proof.Proof(
        index=0, path=(), note=checkpoint.sign(head, [KEY]), extra_data=data
    )
    return witness.requests_in_proof(found)


def _first_entry(data: bytes) -> Any:
    """The first entry of an enrolment, under a checkpoint that holds."""
    text = data.decode("utf-8", "replace")
    head = checkpoint.Checkpoint(_ORIGIN, 1, merkle.leaf_hash(text.encode()))
    request = empty_request(
        ledger_origin=_ORIGIN,
        ledger_key=signing.public_bytes(KEY).hex(),
        genesis=text,
        checkpoint=checkpoint.sign(head, [KEY]).encode().decode(),
    )
    return ledger_succession.read_first_state_and_checkpoint(request)


_ORIGIN = "weightgate/plant-a/0011"


def _enrolment(data: bytes) -> Any:
    return canonical.decode(
        protocol.EnrolmentRequest,
        data,
        input_name="enrolment",
        max_bytes=protocol.ENROLMENT_BYTES_LIMIT,
    )


def _export(data: bytes) -> None:
    source = log_sources.open_source(_file("x.wgl", data))
    try:
        log_verification.verify_log(source)
    finally:
        source.close()


def _ledger(data: bytes) -> None:
    source = log_sources.open_source(_file("ledger.sqlite", data))
    try:
        log_verification.verify_log(source)
    finally:
        source.close()


def _ledger_file() -> bytes:
    """A small ledger that holds, as one SQLite file."""
    path = _folder() / "seed" / "ledger.sqlite"
    ledger = Ledger.create(path, origin="weightgate/a/00", key=KEY, site="a", clock=lambda: 0)
    with ledger:
        ledger.enrol_witness("w.example/witness", signing.public_bytes(KEY))
        ledger.register_dataset(
            DatasetRegistration(name="x", commitment="0" * 64, cap_epsilon="3", cap_delta="1e-5")
        )
    return path.read_bytes()


def _ledger_as_export() -> bytes:
    path = _folder() / "seed" / "x.wgl"
    export.write_export(_folder() / "seed" / "ledger.sqlite", path)
    return path.read_bytes()


def _image(data: bytes) -> Any:
    return Images().read(_file("x.png", data))


def _window(suffix: str) -> Callable[[bytes], Any]:
    return lambda data: Windows().read(_file(f"x{suffix}", data))


def _table(data: bytes) -> Any:
    return surveys.survey_dataset(_file("table/records.csv", data).parent)


def _log(suffix: str) -> Callable[[bytes], Any]:
    wanted = LogColumns(
        channels=("a",), time_column=None if suffix == ".wav" else "t", allow_missing_texts=True
    )
    return lambda data: read_log(_file(f"x{suffix}", data), wanted, "auto")


def _sound() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 100, 9, "NONE", ""))
        file.writeframes(bytes(18))
    return stream.getvalue()


def _npz(data: bytes) -> Any:
    return surveys.survey_dataset(_file("x.npz", data))


def _zoo_npz(data: bytes) -> Any:
    archives.read_npz.cache_clear()
    return archives.read_npz(str(_file("zoo.npz", data)))


def _client_config(data: bytes) -> Any:
    home = ClientHome(_folder() / "home")
    home.root.mkdir(exist_ok=True)
    home.config.write_bytes(data)
    return configuration.load(home)


def _numbers(data: bytes) -> None:
    text = data.decode("latin-1")
    number_parsers.parse_fraction(
        text
    ) if "/" in text else number_parsers.parse_decimal_or_hex_float(text)


def _record(kind: type[Any], what: str) -> Callable[[bytes], Any]:
    return lambda data: canonical.decode(kind, data, input_name=what)


def _arrays(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _array(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _picture(kind: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(stream, kind)
    return stream.getvalue()


def _encoder(metadata: str) -> bytes:
    """A safetensors file whose metadata is what an encoder package says of itself."""
    found = safetensors.numpy.save({"mean": np.zeros(2, np.float32)}, {"encoder": metadata})
    return bytes(found)


_JOIN = protocol.encode_join_token(
    protocol.JoinToken(
        site="a",
        enrol_url="https://x:1",
        ca_sha256="0" * 64,
        encoder="0" * 64,
        secret="00",
        expires=0,
    )
)
_OF_MACHINE = machine_schema("0" * 64, "record")
_MACHINE_RELEASE = canonical.encode(
    statistics_file.StatisticsManifest(
        schema=_OF_MACHINE,
        site="a",
        dataset="x",
        request_id="0" * 32,
        release_id="00",
        epsilon="1",
        delta="1e-5",
        sigma=noise_scale(_OF_MACHINE, 1.0, 1e-5).hex(),
        sensitivity_squared=str(_OF_MACHINE.sensitivity_squared()),
        purpose="p",
        data_sheet=DataSheet(rotating_machine=BEARING),
        labels=("a", "b"),
        integers_sha256=canonical.sha256_hex(b""),
    )
)
_QUERY = protocol.StatisticsQuery(
    request_id="0" * 32,
    site="a",
    encoder="0" * 64,
    epsilon="1",
    delta="1e-5",
    purpose="p",
    expires=0,
)
_DECISION = entries.encode(
    entries.Decision(
        head=entries.EntryHeader(
            kind=entries.DECISION_KIND, seq=1, prev="0" * 64, origin="a", key_id="0" * 8, time=0
        ),
        request_id="0" * 32,
        dataset="x",
        epsilon="1",
        delta="1e-5",
        purpose="p",
        recipient="c",
        approved=True,
        name="A",
        statistics=MACHINE_STATISTICS,
    )
)
_REFUSAL = canonical.encode(protocol.Refusal(request_id="0" * 32, code="budget"))
_ROTATION = canonical.encode(protocol.KeyRotation(entry="{}", proof="c2sp.org/tlog-proof@v1\n"))
_COVERED = ("release", "charge_entry", "release_entry", "charge_proof", "release_proof")
_PIXELS = np.zeros((2, 8, 8), dtype=np.uint8)
_NPZ = _arrays(x=_PIXELS, y=np.array([0, 1]), classes=np.array(["a", "b"]))
_PICKLED = _arrays(x=_PIXELS, y=np.array([0, 1]), classes=np.array(["a", {}], dtype=object))
_SHEETS = tuple(
    canonical.encode(DataSheet(**{name: machine}))  # type: ignore[arg-type]
    for name, machine in (
        ("rotating_machine", BEARING),
        ("gearbox", GEARS),
        ("induction_motor", MOTOR),
    )
)
_YAML = b"version: 1\nsite: a\ndata: {path: x, name: y, labels: [a, b]}\nserver: {name: c}\n"

TARGETS: dict[str, Target] = {
    "note": Target(signed_note.decode, _vectors("note")),
    "checkpoint": Target(checkpoint.decode, _vectors("checkpoint")),
    "proof": Target(inclusion_proof.decode, _vectors("proof")),
    "witness-request": Target(witness.decode_request, _vectors("witness_request")),
    "file-for-a-witness": Target(_requests, (b"old 0\n\n", b"old 0\n\nold 2\nAA==\n\n")),
    "verifier-key": Target(
        lambda data: signed_note.decode_verifier_key(
            data.decode("latin-1"), signed_note.COSIGNER_ROLE
        ),
        (
            signed_note.encode_verifier_keys("a", signed_note.COSIGNER_ROLE, KEY.public_key())[
                0
            ].encode(),
            b"a+00000000+BA==",
            b"a+00000000+BgEC",
        ),
    ),
    "entry": Target(entries.decode, (*_vectors("entry"), _DECISION)),
    "first-entry": Target(_first_entry, _vectors("entry")),
    "rotation-entry": Target(bundle_verification.read_new_ledger_key, _vectors("entry")),
    "release": Target(_release, _boxed("wgs", ("manifest", "signature", "integers"))),
    "signed-release": Target(
        _signed_release, (b"{}", b'{"schema":{"labels":["a"]}}', _MACHINE_RELEASE)
    ),
    "query": Target(
        _record(protocol.StatisticsQuery, "query"),
        (
            canonical.encode(_QUERY),
            canonical.encode(replace(_QUERY, statistics=MACHINE_STATISTICS)),
        ),
    ),
    "covered": Target(bundle.decode_statistics, _boxed("wgs-covered", _COVERED)),
    "weights": Target(_weights, _boxed("wgw", weights_package.SECTIONS, weights_package.VERSION)),
    "package-checkpoint": Target(
        _package_checkpoint,
        _boxed("wgw", weights_package.SECTIONS, weights_package.VERSION),
    ),
    "ledger": Target(_ledger, (_ledger_file(), b"SQLite format 3\x00", b"")),
    "export": Target(
        _export, (_ledger_as_export(), *_boxed("wgl", ("manifest", "entries", "hashes", "heads")))
    ),
    "token": Target(
        lambda data: protocol.decode_join_token(data.decode("latin-1")),
        (_JOIN.encode(), b"wgj1.", b"wgj1." + base64.urlsafe_b64encode(b"{}")),
    ),
    "refusal": Target(_record(protocol.Refusal, "refusal"), (_REFUSAL,)),
    "rotation": Target(_record(protocol.KeyRotation, "rotation"), (_ROTATION,)),
    "enrolment": Target(_enrolment, (b"{}", b'{"version":1}', b'{"version":2}')),
    "sites": Target(_record(auditor_record.LogRecord, "log"), (b"{}",)),
    "encoder": Target(
        package.unpack_encoder,
        (
            _encoder('{"format":"weightgate-encoder"}'),
            _encoder("[" * 100_000),
            _encoder("1" * 5000),
        ),
    ),
    "numbers": Target(_numbers, (b"1.5e-3", b"1/3", b"0x1.8p+1", b"1e30000000")),
    "yaml": Target(
        lambda data: yaml_settings.read_yaml(data, input_name="x"), (_YAML, b"a: &a [*a]")
    ),
    "data-sheet": Target(_record(DataSheet, "data sheet"), _SHEETS),
    "data-sheet-file": Target(lambda data: yaml_settings.parse_yaml(data, DataSheet, "x"), _SHEETS),
    "client-config": Target(_client_config, (_YAML,)),
    "server-config": Target(
        lambda data: parse_config(data, input_name="x"),
        (b"name: c\nfleet_port: 1\nenrol_port: 2\n",),
    ),
    "zoo-plan": Target(
        lambda data: yaml_settings.parse_yaml(data, plans.ZooPlan, "x"),
        (b"seed: 1\nsources: []\n",),
    ),
    "image": Target(_image, tuple(map(_picture, ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")))),
    "zoo-image": Target(
        lambda data: archives.decode_picture(data, "x"),
        tuple(map(_picture, ("PNG", "JPEG", "TIFF"))),
    ),
    "csv-window": Target(_window(".csv"), (b"a,b\n1,2\n3,4\n", b"1\n\x00\n")),
    "csv-log": Target(_log(".csv"), (b"t,a\n0,1\n0.1,2\n", b"t;a\ns;V\n2026/04/01 00:00:01;1,5\n")),
    "wav-log": Target(_log(".wav"), (_sound(),)),
    "npy-window": Target(_window(".npy"), (_array(np.zeros((2, 64), np.float32)),)),
    "table": Target(
        _table, (b"file,label\na.png,x\n", b"file,label\n\x00,x\n", b"\xef\xbb\xbffile")
    ),
    "npz": Target(_npz, (_NPZ, _PICKLED)),
    "zoo-npz": Target(_zoo_npz, (_NPZ, _PICKLED)),
}


def corpus(name: str) -> list[bytes]:
    """Documents to begin from: seeds, and what once broke the target."""
    found = sorted((HERE / "found" / name).glob("*")) if (HERE / "found" / name).is_dir() else []
    return [*TARGETS[name].seeds, *(path.read_bytes() for path in found)]
