"""Every state of a site's part has words that a person can act on."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any, get_args

import pytest
from tests.server.campaigns.test_schedule import campaign, released, task

from wg_common import translations
from wg_core.wire import flower_messages
from wg_server.campaigns import offline_codes, status_reasons, status_texts
from wg_server.campaigns.status_texts import TextFormatter
from wg_server.store.campaigns import TaskState
from wg_server.store.site_refusals import (
    CLOCK_TROUBLE,
    NODE_KEY_TROUBLE,
    ConnectionTrouble,
    SiteStatus,
)

NOW = 1_000_000.0
DAY = 86_400.0
THERE = SiteStatus(
    state="enrolled",
    last_seen=NOW - 3,
    certificate_expiry=NOW + DAY,
    trouble=None,
    uses_files=False,
)


def status(**values: Any) -> SiteStatus:
    return dataclasses.replace(THERE, **values)


@pytest.mark.parametrize(
    ("seen", "why", "do"),
    [
        (
            status(certificate_expiry=NOW - 2 * DAY),
            "certificate expired 2 days ago",
            "enroll --replace",
        ),
        (
            status(trouble=ConnectionTrouble(CLOCK_TROUBLE, 600.2, NOW - 5)),
            "clock is 600 s ahead of",
            "NTP",
        ),
        (
            status(trouble=ConnectionTrouble(CLOCK_TROUBLE, -400.0, NOW - 5)),
            "clock is 400 s behind",
            "NTP",
        ),
        (
            status(trouble=ConnectionTrouble(NODE_KEY_TROUBLE, 0.0, NOW - 5)),
            "node key is not the one",
            "copy",
        ),
        (status(last_seen=0.0), "it never connected", "wg-client run"),
        (
            status(last_seen=0.0, certificate_expiry=NOW - DAY, uses_files=True),
            "it exchanges files",
            "",
        ),
        (status(last_seen=NOW - 7300), "not connected; last seen 2 hours ago", "wg-client run"),
    ],
)
def test_a_site_that_is_away_has_a_reason_and_something_to_do(
    seen: SiteStatus, why: str, do: str
) -> None:
    found = status_reasons.explain_task(
        campaign(task("a", opened=NOW)), task("a", opened=NOW), seen, NOW
    )
    assert why in found.cause and found.cause.endswith("; 50 seconds left")
    assert do in found.advice
    # When its time is over the same is kept, and said of then, however much later it is read.
    code, figure = offline_codes.missed_deadline_code_and_figure(task("a"), seen, NOW)
    out = task("a", state="expired", code=code, figure=figure, updated=NOW)
    later = status_reasons.explain_task(
        campaign(out), out, status(last_seen=NOW + 9 * DAY), NOW + 9 * DAY
    )
    assert why in later.cause and later.cause.startswith("left out 9 days ago: ")
    assert do in later.advice and "campaign resume" in later.advice


def test_a_site_says_for_itself_why_it_is_away() -> None:
    out = status(certificate_expiry=NOW - DAY)
    assert status_reasons.explain_absence(out, NOW).cause == "its certificate expired 1 day ago"
    assert status_reasons.explain_absence(THERE, NOW) == status_reasons.Reason("")
    assert (
        status_reasons.explain_absence(dataclasses.replace(out, state="revoked"), NOW).cause == ""
    )


def test_a_trouble_of_long_ago_is_no_reason() -> None:
    old = status(trouble=ConnectionTrouble(CLOCK_TROUBLE, 600.0, NOW - 3600))
    assert offline_codes.offline_code_and_figure(old, NOW) == ("", 0.0)


def test_a_site_that_is_there_and_does_not_answer_is_called_silent() -> None:
    assert offline_codes.missed_deadline_code_and_figure(task("a", asked=5.0), THERE, NOW) == (
        "no-answer",
        5.0,
    )
    assert offline_codes.missed_deadline_code_and_figure(
        task("a", state="packaged", asked=5.0), THERE, NOW
    ) == (
        "not-fetched",
        5.0,
    )


def test_a_site_that_waits_for_a_person_is_left_out_for_that() -> None:
    asked = task("a", asked=5.0, code=flower_messages.AWAITING_APPROVAL)
    code, figure = offline_codes.missed_deadline_code_and_figure(asked, THERE, NOW)
    assert code == flower_messages.AWAITING_APPROVAL
    out = dataclasses.replace(asked, state="expired", figure=figure, updated=NOW)
    found = status_reasons.explain_task(campaign(out), out, THERE, NOW)
    assert "a person at the plant decides" in found.cause and "requests" in found.advice


WORDS = [
    *(
        ("refused", code)
        for code in (*flower_messages.REFUSAL_MEANINGS, *flower_messages.DECLINE_MEANINGS)
    ),
    *(("failed", code) for code in ("revoked", "tries", "verification", "decode", "internal")),
    *(("failed", code) for code in ("quarantined", "config")),
    *(("expired", code) for code in ("not-fetched", "no-answer", "not-connected")),
]


@pytest.mark.parametrize(("state", "code"), WORDS)
def test_every_way_to_end_has_words_and_something_to_do(state: Any, code: str) -> None:
    out = task("a", state=state, code=code, updated=NOW, figure=NOW - 60)
    found = status_reasons.explain_task(campaign(out), out, THERE, NOW)
    assert found.cause and found.advice
    assert "error '" not in found.cause


@pytest.mark.parametrize("state", get_args(TaskState))
@pytest.mark.parametrize("whole", ["queued", "running", "paused", "cancelled", "done"])
def test_there_are_words_for_any_state(state: Any, whole: Any) -> None:
    one = task("a", state=state, opened=NOW)
    found = campaign(one, state=whole)
    status_reasons.explain_task(found, one, THERE, NOW)
    assert status_reasons.describe_campaign(found, NOW)


def test_what_is_waited_for_is_said() -> None:
    few = campaign(released("a", NOW), task("b", opened=NOW), task("c", opened=NOW))
    assert status_reasons.describe_campaign(few, NOW) == (
        "1 of 3 sites have released; packages are made from 2 releases on"
    )
    out = [task("b", state="refused"), task("c", opened=NOW)]
    fewer = campaign(released("a", NOW), *out, min_sites=3)
    assert "3 were requested and 2 are still possible" in status_reasons.describe_campaign(
        fewer, NOW
    )
    enough = campaign(
        released("a", NOW), released("b", NOW), task("c", opened=NOW), grace_seconds=600.0
    )
    assert "packages in 10 minutes" in status_reasons.describe_campaign(enough, NOW)
    served = released("a", NOW - 60, state="delivered", made=NOW - 50, served=1)
    better = campaign(served, released("b", NOW, state="packaged", made=NOW), task("c", asked=NOW))
    found = status_reasons.explain_task(better, served, THERE, NOW)
    assert (
        found.cause
        == "it has a package; in 23 hours a better one is made, if there is more information"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (61, "1 minute"), (7200, "2 hours"), (100_000, "1 day")],
)
def test_spans_are_in_their_largest_unit(seconds: float, words: str) -> None:
    assert TextFormatter("en").format_duration(seconds) == words


def test_every_word_of_a_plant_is_said_and_in_english_as_the_wire_has_it() -> None:
    wire = {**flower_messages.DECLINE_MEANINGS, **flower_messages.REFUSAL_MEANINGS}
    table = translations.load_templates(
        "en", status_texts.REASON_CATALOGUE_FOLDER, status_texts.CATALOGUE_KEY_PREFIX
    )
    stem = "plant "
    said = {key.removeprefix(stem): text for key, text in table.items() if key.startswith(stem)}
    assert said == wire
    assert {code: TextFormatter("en").explain_plant_code(code) for code in wire} == wire
    assert all(TextFormatter("ja").explain_plant_code(code) for code in wire)
    assert TextFormatter("ja").explain_plant_code("no word of the wire") is None


def test_no_sentence_is_left_that_nobody_says() -> None:
    folder = status_texts.REASON_CATALOGUE_FOLDER.parents[1]
    trees = (ast.parse(path.read_text("utf-8")) for path in folder.rglob("*.py"))
    constants = (
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)
    )
    quoted = {node.value for node in constants}
    table = translations.load_templates(
        "en", status_texts.REASON_CATALOGUE_FOLDER, status_texts.CATALOGUE_KEY_PREFIX
    )
    units = re.compile(r"(one )?(day|hour|minute|second)s?")
    idle = {key for key in table if key not in quoted and not key.startswith("plant ")}
    assert {key for key in idle if not units.fullmatch(key)} == set()


def test_reasons_are_said_in_japanese() -> None:
    out = task(
        "a", state="expired", code=offline_codes.NOT_CONNECTED, figure=NOW - DAY, updated=NOW
    )
    found = status_reasons.explain_task(campaign(out), out, THERE, NOW, "ja")
    assert found.cause == "対象外になりました：接続していません（最終接続は 1 日前）"
    assert found.advice.endswith("wg-server campaign resume ID SITE で再試行")


def test_a_site_that_is_not_there_is_one_line_and_the_summary_counts_it() -> None:
    away = task("b", opened=NOW - 600)
    found = campaign(released("a", NOW - 500), away, collect_seconds=3600.0)
    never = status(last_seen=0.0)
    line = status_reasons.explain_task(found, away, never, NOW)
    assert line == status_reasons.Reason("it never connected; 50 minutes left")
    assert "1 are not connected: the campaign does not wait" in status_reasons.describe_campaign(
        found, NOW
    )
    assert status_reasons.explain_task(
        found, away, status(certificate_expiry=NOW - DAY), NOW
    ).advice  # that can be mended
