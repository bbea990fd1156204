"""Status of each site of a campaign in words: state, cause, and what a person can do.

The texts are for command lines and pages, and are stored in ``status_texts``. Nothing here makes a
decision.
"""

from dataclasses import dataclass

from wg_common.language import ENGLISH, LanguageCode
from wg_core.wire import flower_messages
from wg_server.campaigns import offline_codes, release_intake, schedule
from wg_server.campaigns.status_texts import TextFormatter
from wg_server.store import site_refusals
from wg_server.store.campaigns import (
    NO_EARLIER_ANSWER_CODE,
    NO_SHARED_CLASS_NAMES_CODE,
    NO_SUPPORTED_MACHINE_CODE,
    OPEN_TASK_STATES,
    STATISTIC_UNUSED_CODE,
    Campaign,
    CampaignTask,
)
from wg_server.store.site_refusals import SiteStatus

GENERATOR_UNUSABLE_CODE = "generator"
"""Code of a campaign's end: its generator cannot be used."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Cause of a site's status in words, with advice on what to do; both may be empty."""

    cause: str
    advice: str = ""


def explain_task(
    campaign: Campaign,
    task: CampaignTask,
    status: SiteStatus,
    current_time: float,
    language: LanguageCode = ENGLISH.code,
) -> Reason:
    """Return the reason for the status of a site's task.

    Args:
        current_time: Unix time.
    """
    texts = TextFormatter(language)
    if task.state in OPEN_TASK_STATES:
        if campaign.state == "paused":
            return Reason(texts("paused"), texts("do resume"))
        if campaign.state == "queued":
            return Reason(texts("not begun"), texts("do serve"))
        return _reason_of_open_task(texts, campaign, task, status, current_time)
    if task.state == "delivered":
        return _reason_of_delivery(texts, campaign, task, current_time)
    if task.code == NO_SHARED_CLASS_NAMES_CODE:
        return Reason(texts("not worth"), texts("do worth"))
    if task.code == NO_EARLIER_ANSWER_CODE:
        return Reason(texts("no names"), texts("do names"))
    if task.code == NO_SUPPORTED_MACHINE_CODE:
        return Reason(texts("no machine"), texts("do machine"))
    if task.code == STATISTIC_UNUSED_CODE:
        return Reason(texts("no statistic"), texts("do worth"))
    if task.state == "cancelled":
        return Reason(texts("cancelled" if campaign.state == "cancelled" else ""))
    return _reason_of_end(texts, task, status, current_time)


def explain_absence(
    status: SiteStatus, current_time: float, language: LanguageCode = ENGLISH.code
) -> Reason:
    """Return the reason why an enrolled site is offline; empty if it is online or not enrolled."""
    if status.state != "enrolled":
        return Reason("")
    return _reason_of_absence(
        TextFormatter(language),
        *offline_codes.offline_code_and_figure(status, current_time),
        current_time,
    ) or Reason("")


def explain_key_change(can_follow_handovers: bool, language: LanguageCode = ENGLISH.code) -> Reason:
    """Return the reason why a site still uses earlier keys of the server.

    Args:
        can_follow_handovers: True if hand-overs lead from its keys to the current ones, so that it
            needs no new join token.
    """
    texts = TextFormatter(language)
    if can_follow_handovers:
        return Reason(texts("keys of before"), texts("do start"))
    return Reason(texts("keys not followed"), texts("do enrol again"))


def describe_campaign(
    campaign: Campaign, current_time: float, language: LanguageCode = ENGLISH.code
) -> str:
    """Describe in one sentence what a campaign waits for, or how it ended."""
    texts = TextFormatter(language)
    progress = campaign.progress
    received_count, served_count, count = (
        progress.released_count,
        progress.served_count,
        progress.asked_count,
    )
    if campaign.reason:
        return campaign.reason
    if campaign.state != "running":
        return texts("served", n=served_count, of=count)
    begin = schedule.first_package_time(campaign, current_time)
    if begin is None:
        release_words = texts("in", n=received_count, of=count)
        return texts("and", what=release_words, more=_describe_missing_releases(texts, campaign))
    if begin > current_time:
        return texts(
            "in, begin",
            n=received_count,
            of=count,
            span=texts.format_duration(begin - current_time),
        )
    summary = texts("in, served", n=received_count, of=count, served=served_count)
    absent = progress.task_counts_by_state["waiting"] - schedule.count_awaited_sites(
        campaign, current_time
    )
    return texts("and", what=summary, more=texts("absent", n=absent)) if absent else summary


def _reason_of_open_task(
    texts: TextFormatter,
    campaign: Campaign,
    task: CampaignTask,
    status: SiteStatus,
    current_time: float,
) -> Reason:
    if task.state == "released":
        return _reason_of_awaited_package(texts, campaign, task, current_time)
    end = schedule.step_deadline(campaign, task) or current_time

    def with_time_left(cause: str) -> str:
        return (
            texts("left", what=cause, span=texts.format_duration(end - current_time))
            if end > current_time
            else cause
        )

    code, figure = offline_codes.offline_code_and_figure(status, current_time)
    trouble = _reason_of_absence(texts, code, figure, current_time)
    if trouble is not None:
        may_stay_away = code in (
            offline_codes.NEVER_CONNECTED,
            offline_codes.NOT_CONNECTED,
            offline_codes.SITE_USES_FILES,
        )
        is_plain = may_stay_away and schedule.is_site_absent(task, current_time)
        return Reason(with_time_left(trouble.cause), "" if is_plain else trouble.advice)
    if task.state == "packaged":
        return Reason(with_time_left(texts("better offered" if task.served else "offered")))
    if task.code:
        meaning = texts.explain_plant_code(task.code) or task.code
        answer = texts("answered", times=texts.format_count(task.tries), meaning=meaning)
        return Reason(with_time_left(answer), texts(_ADVICE_TEXT_KEYS.get(task.code, "")))
    if task.asked:
        return Reason(
            with_time_left(texts("asked", span=texts.format_duration(current_time - task.asked)))
        )
    return Reason(with_time_left(texts("to ask")))


def _describe_missing_releases(texts: TextFormatter, campaign: Campaign) -> str:
    """Describe when packages are made while too few releases are in."""
    coming = campaign.progress.task_counts_by_state["waiting"] + campaign.progress.released_count
    if coming < campaign.min_sites:
        return texts("too few", wanted=campaign.min_sites, n=coming)
    return texts("when enough", wanted=campaign.min_sites)


def _reason_of_awaited_package(
    texts: TextFormatter, campaign: Campaign, task: CampaignTask, current_time: float
) -> Reason:
    begin = schedule.first_package_time(campaign, current_time)
    if begin is None:
        return Reason(_describe_missing_releases(texts, campaign))
    if begin > current_time:
        return Reason(texts("making in", span=texts.format_duration(begin - current_time)))
    return Reason(texts("making better" if task.served else "making"))


def _reason_of_delivery(
    texts: TextFormatter, campaign: Campaign, task: CampaignTask, current_time: float
) -> Reason:
    if task.code:
        return Reason(texts("better failed", said=texts.explain_plant_code(task.code) or task.code))
    begin = (
        schedule.better_package_time(campaign, task, current_time)
        if campaign.state == "running"
        else None
    )
    if begin is None:
        return Reason("")
    if begin > current_time:
        return Reason(texts("better in", span=texts.format_duration(begin - current_time)))
    return Reason(texts("better now"))


def _reason_of_end(
    texts: TextFormatter, task: CampaignTask, status: SiteStatus, current_time: float
) -> Reason:
    """Return the reason why a task was refused, failed or expired."""
    if status.state == "revoked":
        return Reason(texts("site revoked"), texts("do revoked"))
    trouble = _reason_of_absence(texts, task.code, task.figure, task.updated)
    if trouble is not None:
        late = current_time > task.updated
        why = (
            texts(
                "left out",
                span=texts.format_duration(current_time - task.updated),
                why=trouble.cause,
            )
            if late
            else texts("left out now", why=trouble.cause)
        )
        return Reason(why, texts("do, retry", do=trouble.advice))
    if task.state == "failed":  # a code of this server, even if plants use the same one
        why = texts(_CAUSE_TEXT_KEYS.get(task.code, ""))
        do = texts(
            _ADVICE_TEXT_KEYS[task.code]
            if task.code in _CAUSE_TEXT_KEYS and task.code in _ADVICE_TEXT_KEYS
            else "do log"
        )
    else:
        why = texts.explain_plant_code(task.code) or ""
        do = texts(_ADVICE_TEXT_KEYS.get(task.code, "do log"))
    return Reason(why or texts("error", code=task.code), texts("do, retry", do=do))


def _reason_of_absence(
    texts: TextFormatter, code: str, figure: float, current_time: float
) -> Reason | None:
    """Explain a code and figure of ``offline_codes`` in words; None if the code is no absence."""
    if code not in _ABSENCE_ADVICE_KEYS:
        return None
    do = texts(_ABSENCE_ADVICE_KEYS[code])
    if code == site_refusals.CLOCK_TROUBLE:
        key = "clock ahead" if figure > 0 else "clock behind"
        return Reason(texts(key, n=f"{abs(figure):.0f}"), do)
    return Reason(texts(code, span=texts.format_duration(current_time - figure)), do)


_CAUSE_TEXT_KEYS = {
    release_intake.QUARANTINED_CODE: "why quarantined",
    GENERATOR_UNUSABLE_CODE: "why generator",
    "revoked": "why revoked",
    "tries": "why tries",
    "verification": "why verification",
    "decode": "why decode",
    "internal": "why internal",
    "config": "why config",
}
"""Catalogue key of the cause, for each code that this server sets itself; plants' codes are in
``wg_core.wire.flower_messages``."""

_ABSENCE_ADVICE_KEYS = {
    offline_codes.CERTIFICATE_EXPIRED: "do certificate-expired",
    site_refusals.CLOCK_TROUBLE: "do clock",
    site_refusals.NODE_KEY_TROUBLE: "do node-key",
    offline_codes.NEVER_CONNECTED: "do start",
    offline_codes.NOT_CONNECTED: "do start",
    offline_codes.SITE_USES_FILES: "",
    offline_codes.NO_ANSWER: "do no-answer",
    offline_codes.PACKAGE_NOT_FETCHED: "do not-fetched",
}
"""Catalogue key of the advice, for each code of a site's absence; empty: none."""

_ADVICE_TEXT_KEYS = {
    release_intake.QUARANTINED_CODE: "do quarantined",
    GENERATOR_UNUSABLE_CODE: "do generator",
    "revoked": "do revoked",
    "budget": "do budget",
    "policy": "do policy",
    "machine": "do machine",
    flower_messages.PLANT_UNAVAILABLE: "do no-answer",
    flower_messages.AWAITING_APPROVAL: "do approval",
    "peer": "do peer",
    "witness": "do witness",
    flower_messages.APP_MISMATCH: "do update",
    flower_messages.MESSAGE_MALFORMED: "do update",
    flower_messages.MESSAGE_TYPE_DENIED: "do type",
    flower_messages.MESSAGE_TOO_LARGE: "do update",
}
