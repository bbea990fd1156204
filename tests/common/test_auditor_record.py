"""The server's record for auditors: strict, bounded, and the same after a round trip."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wg_common import auditor_record
from wg_common.auditor_record import LogRecord, ServerRecord, SiteRecord
from wg_core.errors import ConfigError, DecodeError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.wire import canonical, signing
from wg_core.wire.signing import PrivateKey

KEY = PrivateKey((Ed25519PrivateKey.from_private_bytes(bytes(range(32))),))
ORIGIN = "weightgate/plant-a/0011"


def record() -> ServerRecord:
    note = checkpoints.sign(Checkpoint(ORIGIN, 3, bytes(32)), [KEY])
    key = signing.public_bytes(KEY).hex()
    return ServerRecord(
        server="server.example",
        made=1_700_000_000,
        witness_name="server.example/witness",
        witness_key=key,
        sites=(
            SiteRecord(
                site="plant-a",
                state="enrolled",
                logs=(
                    LogRecord(
                        origin=ORIGIN,
                        key=key,
                        checkpoint=note.encode().decode(),
                        first_seen=1_600_000_000,
                        succession="first",
                    ),
                    LogRecord(
                        origin="weightgate/plant-a/0022",
                        key=key,
                        checkpoint="",
                        first_seen=1_700_000_000,
                        succession="budget unknown",
                    ),
                ),
            ),
            SiteRecord(site="plant-b", state="revoked", logs=()),
        ),
    )


def test_a_record_survives_a_round_trip(tmp_path: Path) -> None:
    data = auditor_record.encode_server_record(record())
    assert auditor_record.decode_server_record(data) == record()
    (tmp_path / auditor_record.SITES_FILE).write_bytes(data)
    found = auditor_record.read_auditor_record(tmp_path).find_site("plant-a")
    assert found is not None and found.find_log(ORIGIN) == found.logs[0]
    assert found.find_log("other") is None and record().find_site("other") is None


def test_a_missing_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wg-server export"):
        auditor_record.read_auditor_record(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"sites\.json"):
        auditor_record.read_auditor_record(tmp_path)


def edited(*path: str | int, value: Any) -> bytes:
    document = json.loads(auditor_record.encode_server_record(record()))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return canonical.encode(document)


LOG = ("sites", 0, "logs", 0)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"[]", "Expected `object`"),
        (b"[" * 100_000, "sites.json"),
        (edited("version", value=2), "version 2"),
        (edited("witness_key", value="00"), "witness key"),
        (edited("server", value=""), "server: ''"),
        (edited("made", value=1 << 52), None),
        (edited("more", value=1), "unknown or repeated"),
        (edited(*LOG, "key", value="AB" * 32), "lower-case hex"),
        (edited(*LOG, "origin", value="weightgate/other"), "checkpoint of log"),
        (edited(*LOG, "checkpoint", value="junk"), "checkpoint"),
        (edited(*LOG, "succession", value="fine"), "Invalid enum value"),
        (edited("sites", 0, "site", value="Plant A"), "site"),
        (edited("sites", 1, "site", value="plant-a"), "order of their names"),
        (edited(*LOG[:3], 1, "origin", value=ORIGIN), "one log twice"),
    ],
)
def test_what_is_no_record_is_refused(data: bytes, match: str | None) -> None:
    if match is None:
        assert auditor_record.decode_server_record(data) == dataclasses.replace(
            record(), made=1 << 52
        )
        return
    with pytest.raises(DecodeError, match=match):
        auditor_record.decode_server_record(data)


def test_a_record_larger_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match="at most"):
        auditor_record.decode_server_record(b" " * (auditor_record.RECORD_BYTES_LIMIT + 1))
