"""Actions of the console's forms; each is recorded in the operators' log before it runs."""

import time
from collections.abc import Callable

from starlette.responses import Response

from wg_core import number_parsers
from wg_core.errors import ConfigError
from wg_core.wire import protocol
from wg_server.campaigns import campaign_orders
from wg_server.campaigns.campaign_orders import CampaignOrder, queue_campaign
from wg_server.console.request_handling import FormFields, PageContext, PageNotFound, form_field
from wg_server.fleet.enrolment import create_join_token
from wg_server.generator import versions
from wg_server.store import quarantine
from wg_server.store.campaigns import Campaign
from wg_server.store.operators import logged_action
from wg_server.store.queue import DEFAULT_GRACE_SECONDS, CampaignQueue
from wg_server.store.releases import ReleaseStatus

HOURS_LIMIT = 24 * 365  # Longest duration in a form, in hours


def invite_site(context: PageContext, form: FormFields) -> Response:
    """Create a join token for a site, and show the token once."""
    name = protocol.check_site_name(form_field(form, "site").strip())
    seconds = _parse_hours_as_seconds(form, "hours") or 3600.0
    again = bool(form_field(form, "again"))
    home, store = context.source.home, context.source.store
    with logged_action(store, context.session.actor, "enroll", name, "again" if again else ""):
        token = create_join_token(home, store, name, seconds, may_replace=again)
    return context.render_page("invited", token=token, word=protocol.encode_join_token(token))


def revoke_site(context: PageContext, form: FormFields) -> Response:
    """Revoke a site if its name was typed as confirmation."""
    name = protocol.check_site_name(context.request.path_params["site"])
    _check_confirmation(form, name)
    store = context.source.store
    with logged_action(store, context.session.actor, "revoke", name):
        store.revoke_site(name, time.time())
    return context.redirect_with_confirmation(f"/sites/{name}", "revoke")


def accept_or_reject_release(context: PageContext, form: FormFields) -> Response:
    """Accept or reject a stored release by the operator's decision."""
    release_id = protocol.check_release_id(context.request.path_params["id"])
    word = context.request.path_params["word"]
    if word not in _RELEASE_DECISIONS:
        raise PageNotFound(word)
    standing, action = _RELEASE_DECISIONS[word]
    store = context.source.store
    with logged_action(store, context.session.actor, action, release_id):
        quarantine.set_release_status(store.engine, release_id, standing)
    return context.redirect_with_confirmation(
        f"/sites/{store.require_release(release_id).site}", word
    )


def start_campaign(context: PageContext, form: FormFields) -> Response:
    """Queue a campaign with the settings in the form, and redirect to its page."""
    minimum = form_field(form, "min_sites").strip()
    grace = form_field(form, "grace_minutes").strip()
    order = CampaignOrder(
        sites=[protocol.check_site_name(name) for name in form.get("sites", [])],
        epsilon=form_field(form, "epsilon").strip(),
        delta=form_field(form, "delta").strip(),
        purpose=form_field(form, "purpose").strip(),
        collect_seconds=_parse_hours_as_seconds(form, "collect_hours"),
        deliver_seconds=_parse_hours_as_seconds(form, "deliver_hours"),
        min_sites=number_parsers.parse_integer(minimum, input_name="min_sites")
        if minimum
        else None,
        grace_seconds=_parse_positive_amount(grace, "grace_minutes") * 60
        if grace
        else DEFAULT_GRACE_SECONDS,
        asks_sites_without_shared_classes="unshared" in form,
    )
    home, store = context.source.home, context.source.store
    with logged_action(store, context.session.actor, "campaign start", order.id, order.summary):
        queue_campaign(home, store, order)
    return context.redirect_with_confirmation(f"/campaigns/{order.id}", "start")


def change_campaign(context: PageContext, form: FormFields) -> Response:
    """Pause, resume or cancel a campaign."""
    campaign_id, word = context.request.path_params["id"], context.request.path_params["word"]
    queue = CampaignQueue(context.source.store.engine)
    changes: dict[str, Callable[[str], Campaign]] = {
        "pause": queue.pause_campaign,
        "resume": queue.resume_campaign,
        "cancel": queue.cancel_campaign,
    }
    if word not in changes:
        raise PageNotFound(word)
    stored_id = queue.find_campaign(campaign_id).id
    with logged_action(context.source.store, context.session.actor, f"campaign {word}", stored_id):
        changes[word](stored_id)
    return context.redirect_with_confirmation(f"/campaigns/{stored_id}", word)


def retry_site(context: PageContext, form: FormFields) -> Response:
    """Retry one site of a campaign."""
    home, store = context.source.home, context.source.store
    campaign_id = CampaignQueue(store.engine).find_campaign(context.request.path_params["id"]).id
    name = protocol.check_site_name(form_field(form, "site"))
    with logged_action(store, context.session.actor, "campaign retry", campaign_id, name):
        campaign_orders.retry_site(home, store, campaign_id, name)
    return context.redirect_with_confirmation(f"/campaigns/{campaign_id}", "retry")


def use_generator(context: PageContext, form: FormFields) -> Response:
    """Install a generator if its id was typed as confirmation."""
    home, store = context.source.home, context.source.store
    version = versions.find_version(home, form_field(form, "id"))
    _check_confirmation(form, version.id[: versions.SHORT_ID_LENGTH])
    with logged_action(store, context.session.actor, "generator use", version.id):
        versions.install_version(home, version)
    return context.redirect_with_confirmation("/generator", "use")


_RELEASE_DECISIONS: dict[str, tuple[ReleaseStatus, str]] = {
    "accept": ("accepted", "release accept"),
    "reject": ("rejected", "release reject"),
}


def _check_confirmation(form: FormFields, expected_text: str) -> None:
    answer = form_field(form, "confirm").strip()
    if answer != expected_text:
        raise ConfigError(f"{answer[:80]!r} was typed, expected {expected_text}")


def _parse_hours_as_seconds(form: FormFields, field_name: str) -> float | None:
    text = form_field(form, field_name).strip()
    return _parse_positive_amount(text, field_name) * 3600 if text else None


def _parse_positive_amount(text: str, field_name: str) -> float:
    amount = number_parsers.parse_decimal(text, input_name=field_name)
    if not 0 < amount <= HOURS_LIMIT:
        raise ConfigError(f"{field_name}: {text[:40]}, expected a number above 0, to {HOURS_LIMIT}")
    return amount
