from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from wg_core.errors import ConfigError, DecodeError
from wg_server.store import operators, schema
from wg_server.store.operators import Actor
from wg_server.store.server_store import ServerStore

ACTOR = Actor("root", "command")


def test_a_token_lets_its_operator_in_until_removed(any_store: ServerStore) -> None:
    first = operators.grant_access(any_store, "佐藤 愛子", 1.0)
    assert operators.operator_name_of_token(any_store, first) == "佐藤 愛子"
    assert operators.operator_name_of_token(any_store, first + "x") is None
    again = operators.grant_access(any_store, "佐藤 愛子", 2.0)
    assert operators.operator_name_of_token(any_store, first) is None
    operators.remove_access(any_store, "佐藤 愛子", 3.0)
    assert operators.operator_name_of_token(any_store, again) is None
    assert [each.removed for each in operators.list_operators(any_store)] == [3.0]
    with pytest.raises(ConfigError, match="operator 佐藤 愛子"):
        operators.remove_access(any_store, "佐藤 愛子", 4.0)
    with pytest.raises(DecodeError):
        operators.grant_access(any_store, "two\nlines", 1.0)


def test_what_is_done_is_written_before_and_what_fails_after(any_store: ServerStore) -> None:
    with pytest.raises(ConfigError), operators.logged_action(any_store, ACTOR, "revoke", "plant-a"):
        assert [each.action for each in operators.read_log(any_store, limit=9)] == ["revoke"]
        raise ConfigError("site plant-a: unknown")
    found = operators.read_log(any_store, limit=9)
    assert [(each.id, each.action) for each in found] == [(2, "failed"), (1, "revoke")]
    assert found[0].detail == "revoke: site plant-a: unknown"
    assert [each.id for each in operators.read_log(any_store, limit=9, before_entry_number=2)] == [
        1
    ]


@pytest.mark.parametrize("change", ["detail", "at", "gone", "swapped"])
def test_a_log_that_was_changed_says_where(any_store: ServerStore, change: str) -> None:
    for number in range(4):
        operators.add_log_entry(any_store, ACTOR, "revoke", f"plant-{number}")
    assert operators.first_broken_entry_number(any_store) is None
    table = schema.operator_log_table
    second = table.c.id == 2
    with any_store.engine.begin() as connection:
        if change == "gone":
            connection.execute(table.delete().where(second))
        elif change == "swapped":
            connection.execute(table.update().where(second).values(subject="plant-2"))
        else:
            connection.execute(table.update().where(second).values({change: 9}))
    assert operators.first_broken_entry_number(any_store) == 2


def test_entries_of_several_at_once_have_numbers_without_gaps(any_store: ServerStore) -> None:
    def write() -> None:
        for _ in range(5):
            operators.add_log_entry(any_store, ACTOR, "revoke", "plant-a", detail="x\0y" * 300)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.id for each in operators.read_log(any_store, limit=99)] == list(range(15, 0, -1))
    assert operators.first_broken_entry_number(any_store) is None
    with any_store.engine.connect() as connection:
        longest = connection.execute(
            sa.select(sa.func.max(sa.func.length(schema.operator_log_table.c.detail)))
        ).scalar()
    assert longest is not None and longest <= operators.DETAIL_LENGTH_LIMIT
