"""One plant's answer can never fail another plant's part of a campaign."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tests.server.campaigns.nodes import Nodes, make_stage, stored

from wg_core.errors import DecodeError
from wg_core.wire import canonical, flower_messages, protocol
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Refusal
from wg_server.campaigns import release_intake
from wg_server.fleet.adapter import FlowerRun, NodeReply
from wg_server.site.home import ServerHome
from wg_server.store import schema
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

HOSTILE = "plant-b"


def campaign(
    home: ServerHome, store: ServerStore, answer: Envelope, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[str, str]]:
    """Run one campaign to its end, in which the hostile site answers so: states and codes."""
    accept = release_intake.accept_release
    stage = make_stage(home, store, monkeypatch, Nodes(plant_b=lambda asked: answer))
    monkeypatch.setattr(release_intake, "accept_release", accept)
    with stage.working():
        return stage.ended(stage.start())


def test_whatever_one_answer_causes_is_its_own_sites_failure(
    home: ServerHome, any_store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    causes: list[Exception] = [
        RecursionError(),
        MemoryError(),
        KeyError("x"),
        sa.exc.DataError("insert", {}, Exception("value too long")),
    ]

    def accept(site: StoredSite, data: bytes, asked: Any, **rest: Any) -> StoredRelease:
        if site.name == HOSTILE:
            raise causes[-1]
        return stored(site.name)

    monkeypatch.setattr(release_intake, "accept_release", accept)
    for _ in tuple(causes):
        with any_store.engine.begin() as connection:
            for table in (
                schema.task_table,
                schema.campaign_table,
                schema.release_table,
                schema.site_table,
            ):
                connection.execute(table.delete())
        found = campaign(home, any_store, Envelope("statistics", b"", b"x"), monkeypatch)
        assert found[HOSTILE] == ("failed", "internal"), causes[-1]
        assert found["plant-a"] == found["plant-c"] == ("delivered", "")
        causes.pop()


@pytest.mark.parametrize(
    "values", [{"release_id": "f" * 4096}, {"epsilon": "1." + "0" * 300}, {"release_id": "\x00"}]
)
def test_what_a_table_does_not_hold_fails_its_own_site_alone(
    home: ServerHome,
    any_store: ServerStore,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, str],
) -> None:
    """Decoding refuses these now; if it did not, the others would be served all the same."""

    def accept(site: StoredSite, data: bytes, asked: Any, **rest: Any) -> StoredRelease:
        return stored(site.name, **(values if site.name == HOSTILE else {}))

    monkeypatch.setattr(release_intake, "accept_release", accept)
    found = campaign(home, any_store, Envelope("statistics", b"", b"x"), monkeypatch)
    if any_store.engine.dialect.name == "postgresql":  # SQLite takes any length
        assert found[HOSTILE] == ("failed", "internal")
    assert found["plant-a"] == found["plant-c"] == ("delivered", "")


@pytest.mark.parametrize("code", ["", "Data", "x" * 41, "a\nforged line", "a\x00", "no such word"])
def test_a_refusal_is_one_bounded_word(
    home: ServerHome, any_store: ServerStore, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    forged = canonical.encode({"code": code, "request_id": "0" * 32, "version": 1})
    with pytest.raises(DecodeError, match="refusal"):
        canonical.decode(Refusal, forged, input_name="refusal")
    if any_store.engine.dialect.name == "sqlite":
        return  # what follows is about columns that SQLite does not bound
    monkeypatch.setattr(
        release_intake, "accept_release", lambda site, *rest, **more: stored(site.name)
    )
    found = campaign(home, any_store, Envelope("refusal", forged), monkeypatch)
    assert found[HOSTILE] == ("failed", "decode")
    assert found["plant-a"] == found["plant-c"] == ("delivered", "")


@pytest.mark.parametrize("text", ["", "F" * 32, "f" * 65, "f" * 4096, "\x00", "../x"])
def test_a_release_id_is_bounded_where_it_is_decoded(text: str) -> None:
    with pytest.raises(DecodeError, match="release id"):
        protocol.check_release_id(text)


def test_every_bounded_column_that_a_plant_fills_has_its_bound_at_decoding() -> None:
    bounds = {
        "release.release_id": protocol.RELEASE_ID_DIGITS_LIMIT,
        "task.release_id": protocol.RELEASE_ID_DIGITS_LIMIT,
        "release.epsilon": protocol.NUMBER_CHARACTERS_LIMIT,
        "release.delta": protocol.NUMBER_CHARACTERS_LIMIT,
        "task.code": protocol.REFUSAL_CODE_CHARACTERS_LIMIT,
        "witness.origin": protocol.ORIGIN_CHARACTERS_LIMIT,
        "evidence.origin": protocol.ORIGIN_CHARACTERS_LIMIT,
    }
    columns = {
        f"{table.name}.{c.name}": c for table in schema.metadata.tables.values() for c in table.c
    }
    assert {name: columns[name].type.length for name in bounds} == bounds  # type: ignore[attr-defined]


def test_a_reply_that_breaks_flower_is_malformed_and_the_others_are_read() -> None:
    class Broken:
        def get_message_res(self, *, message_ids: set[str], run_id: int) -> list[Any]:
            if "b" in message_ids:
                raise RecursionError
            return []

    run = FlowerRun(Broken(), 1)  # type: ignore[arg-type]
    assert run.poll_replies({"a", "b", "c"}) == [
        NodeReply("b", None, flower_messages.MESSAGE_MALFORMED)
    ]
