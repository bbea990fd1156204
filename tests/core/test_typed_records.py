"""Types are learnt by one thread at a time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import msgspec
import pytest

from wg_core import typed_records


class Point(msgspec.Struct):
    x: int


def test_a_type_is_learnt_once_and_decodes_like_msgspec() -> None:
    assert typed_records.json_decoder(Point) is typed_records.json_decoder(Point)
    assert typed_records.decode_json(b'{"x":3}', Point) == Point(3)
    assert typed_records.convert_to_record({"x": 3}, Point) == Point(3)
    with pytest.raises(msgspec.ValidationError):
        typed_records.convert_to_record({"x": "3"}, Point)


def test_many_threads_may_ask_for_new_types_at_once() -> None:
    # In a process of its own: without the lock it crashes, not raises.
    program = """
        import dataclasses, sys, threading
        from wg_core import typed_records
        sys.setswitchinterval(1e-6)
        def kind(depth):
            inner = kind(depth - 1) if depth else int
            return dataclasses.make_dataclass(f"K{depth}", [(f"f{n}", inner) for n in range(6)])
        def value(depth):
            return {f"f{n}": value(depth - 1) if depth else 1 for n in range(6)}
        document = value(2)
        for _ in range(40):
            new, start = kind(2), threading.Barrier(8)
            def ask():
                start.wait()
                typed_records.convert(document, new)
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == 0
