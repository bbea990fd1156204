"""Lines for machines: JSON, about something, without secrets and without the plant's paths."""

from __future__ import annotations

import json
import logging
import threading
import warnings

import anyio
import pytest
from starlette.concurrency import run_in_threadpool

from wg_core import logs
from wg_core.logs import JsonFormatter
from wg_core.wire import protocol


def record(message: str, *words: object, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("wg_server.x", logging.WARNING, "f", 1, message, words, trace)


def line(item: logging.LogRecord, *hidden: str) -> dict[str, str]:
    text = JsonFormatter(hidden).format(item)
    assert "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_a_line_says_when_how_bad_where_from_and_what() -> None:
    found = line(record("two\nlines of %s", "text"))
    assert list(found) == ["time", "level", "logger", "message"]
    assert found["time"].endswith("Z") and found["time"][10] == "T"
    assert (found["level"], found["logger"]) == ("warning", "wg_server.x")
    assert found["message"] == "two\nlines of text"


def test_a_line_is_about_what_is_being_worked_on() -> None:
    with logs.log_context(campaign="c"):
        with logs.log_context(site="a", request="r"):
            inner = line(record("x"))
        outer = line(record("x"))
    assert [inner[name] for name in ("site", "campaign", "request")] == ["a", "c", "r"]
    assert outer["campaign"] == "c" and "site" not in outer
    assert "campaign" not in line(record("x"))


def test_what_a_request_is_about_reaches_its_threads_and_no_other_request() -> None:
    found: dict[str, dict[str, str]] = {}

    async def serve(site: str) -> None:
        with logs.log_context(site=site):
            await anyio.sleep(0)
            found[site] = await run_in_threadpool(line, record("x"))

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(serve, "a")
            group.start_soon(serve, "b")

    anyio.run(both)
    assert {site: each["site"] for site, each in found.items()} == {"a": "a", "b": "b"}


def test_an_error_keeps_its_trace_on_one_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        found = line(record("x", error=error))
    assert found["trace"].splitlines()[-1] == "ValueError: broken"


@pytest.mark.parametrize("prefix", [protocol.TOKEN_PREFIX, "wgj1."])
def test_tokens_and_paths_of_records_are_taken_out(prefix: str) -> None:
    try:
        raise ValueError("/plant/data/line 7/img.png")
    except ValueError as error:
        found = line(
            record(f"/plant/data/good/bolt-7.png: damaged; {prefix}abc_-9 in /etc/x", error=error),
            "/plant/data",
        )
    assert found["message"] == "[data]: damaged; [join token] in /etc/x"
    assert "/plant/data" not in json.dumps(found)


def test_warnings_and_threads_that_die_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, hook = list(root.handlers), threading.excepthook
    root.handlers[:] = [logging.StreamHandler()]
    own = logging.getLogger("a_library_that_prints_by_itself")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    try:
        logs.set_log_format(logs.JSON_FORMAT)
        assert logs.is_logging_json()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", UserWarning, stacklevel=1)
        own.warning("here")
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
    finally:
        logging.captureWarnings(False)
        threading.excepthook = hook
        root.handlers[:] = before
    found = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert "old" in found[0]["message"]
    assert found[1]["message"] == "here"
    assert found[2]["message"] == "thread worker ended" and "ZeroDivision" in found[2]["trace"]


def test_text_is_the_form_that_nobody_asked_to_change() -> None:
    logs.set_log_format(logs.TEXT_FORMAT)
    assert not logs.is_logging_json()
