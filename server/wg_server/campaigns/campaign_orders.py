"""Start of a campaign, and retry of a site, for the operator's commands and pages."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from wg_core import number_parsers, text_grammars
from wg_core.errors import ConfigError, WgError
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    DEFAULT_DELTA,
    MACHINE_STATISTICS,
    StatisticsKind,
)
from wg_core.wire.protocol import STATEMENT_EPSILON
from wg_server.campaigns import expected_benefit, machine_site_selection
from wg_server.campaigns.expected_benefit import ClassNameOverlap
from wg_server.generator import versions
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import DEFAULT_GRACE_SECONDS, CampaignQueue, NewCampaign, new_campaign_id
from wg_server.store.server_store import ServerStore

DEFAULT_TIME_LIMIT = datetime.timedelta(hours=24)
"""Default of a campaign's time limits."""

_PURPOSE_FORMAT = text_grammars.PrintableText(
    text_grammars.SENTENCE_CHARACTERS_LIMIT
)  # Recorded on every ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOrder:
    """Operator's order for a campaign: which sites are asked for what, at which price.

    Attributes:
        sites: Names of the sites to ask; empty: all enrolled sites.
        epsilon: Epsilon asked of each site, decimal string; ``0``: only its public statement.
        delta: Delta asked of each site, decimal string.
        purpose: Purpose of the query.
        collect_seconds: Time limit of a site's answer; None: ``DEFAULT_TIME_LIMIT``.
        deliver_seconds: Time limit for fetching a package; None: ``DEFAULT_TIME_LIMIT``.
        min_sites: Number of releases to wait for; None: 2, or 1 for a single site.
        statistics_kind: Kind of statistics asked for.
        grace_seconds: Seconds to wait for the remaining sites after ``min_sites`` releases.
        asks_sites_without_shared_classes: True: ask for class statistics even if no other site is
            known to share a class.
        id: Id of the campaign.
    """

    sites: Sequence[str] = ()
    epsilon: str = "1"
    delta: str = DEFAULT_DELTA
    purpose: str = "weights"
    collect_seconds: float | None = None
    deliver_seconds: float | None = None
    min_sites: int | None = None
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    statistics_kind: StatisticsKind = CLASS_STATISTICS
    asks_sites_without_shared_classes: bool = False
    id: str = field(default_factory=new_campaign_id)

    def __post_init__(self) -> None:
        for name, bound in (("epsilon", None), ("delta", 1)):
            amount = number_parsers.parse_exact_decimal(getattr(self, name), input_name=name)
            if name == "epsilon" and self.epsilon == STATEMENT_EPSILON:
                continue
            if amount <= 0 or (bound is not None and amount >= bound):
                raise ConfigError(f"{name}: {getattr(self, name)}, expected a number above 0")
        if self.statistics_kind == MACHINE_STATISTICS and self.epsilon == STATEMENT_EPSILON:
            raise ConfigError(
                "epsilon: 0 asks for no statistics; machine statistics are asked for at 1, say"
            )
        if not _PURPOSE_FORMAT.is_match(self.purpose):
            limit = text_grammars.SENTENCE_CHARACTERS_LIMIT
            raise ConfigError(f"purpose: expected 1 to {limit} printable characters")

    @property
    def summary(self) -> str:
        """Purpose, epsilon, delta and sites of the order in one line, for the operators' log."""
        statistics = "machine statistics of " if self.statistics_kind == MACHINE_STATISTICS else ""
        recipients = statistics + (", ".join(self.sites) or "enrolled sites, none by name")
        return f"{self.purpose}: epsilon {self.epsilon}, delta {self.delta}: {recipients}"


def enrolled_class_name_overlap(store: ServerStore, version: GeneratorVersion) -> ClassNameOverlap:
    """Return which class names the enrolled sites share, as known to a generator version."""
    enrolled_names = [site.name for site in store.sites("enrolled")]
    return expected_benefit.class_name_overlap(store, enrolled_names, version.summary.generator)


def queue_campaign(home: ServerHome, store: ServerStore, order: CampaignOrder) -> Campaign:
    """Queue a campaign, whose packages are made with the currently installed generator.

    A campaign for class statistics skips sites that cannot gain from a release, even if they are
    named, unless the order says otherwise. A campaign for machine statistics skips sites whose
    networks these statistics would not change.

    Raises:
        ConfigError: A site is not enrolled, no site is worth asking, there is no encoder yet, or no
            generator is installed.
        DecodeError: The generator's model card cannot be read.
        VerificationError: The generator is damaged.
    """
    default = DEFAULT_TIME_LIMIT.total_seconds()
    enrolled_names = [site.name for site in store.sites("enrolled")]
    if not (order.sites or enrolled_names):
        raise ConfigError(
            f"campaign: no site is enrolled yet; run 'wg-server enroll --home {home.root} SITE'"
        )
    version = versions.usable_version(home)
    left_out: dict[str, str] = {}
    if order.statistics_kind == MACHINE_STATISTICS:
        uses = machine_site_selection.statistic_use_by_machine_kind(home, version)
        left_out = machine_site_selection.skip_codes_by_site(
            store, order.sites or enrolled_names, uses, sites_are_named=bool(order.sites)
        )
    elif order.epsilon != STATEMENT_EPSILON and not order.asks_sites_without_shared_classes:
        reasons = enrolled_class_name_overlap(store, version).skip_codes_by_site()
        left_out = {name: reasons[name] for name in order.sites or reasons if name in reasons}
    sites = [name for name in order.sites or enrolled_names if name not in left_out]
    if not sites and order.statistics_kind == MACHINE_STATISTICS:
        raise ConfigError(
            "campaign: nobody is asked, since no site states a machine that the encoder reads and"
            " whose networks use a statistic; data sheets, and weights made for these, come with"
            " '--epsilon 0'"
        )
    if not sites:
        raise ConfigError(
            "campaign: nobody is asked, since no other site is known to share a class name; first"
            " run 'wg-server campaign start --epsilon 0', which asks for class names and sheets"
            " and brings weights by these, at no cost; '--unshared' asks all the same"
        )
    return CampaignQueue(store.engine).add_campaign(
        NewCampaign(
            sites=sites,
            epsilon=order.epsilon,
            delta=order.delta,
            purpose=order.purpose,
            encoder=home.encoder_sha256(),
            collect_seconds=order.collect_seconds or default,
            deliver_seconds=order.deliver_seconds or default,
            min_sites=order.min_sites,
            grace_seconds=order.grace_seconds,
            id=order.id,
            generator=version.id,
            statistics=order.statistics_kind,
            skip_codes_by_site=left_out,
        ),
    )


def retry_site(home: ServerHome, store: ServerStore, campaign_id: str, site: str) -> Campaign:
    """Retry one site of a campaign, see ``CampaignQueue.retry_task``.

    If the campaign's generator is missing or damaged, the campaign continues with the installed
    one.

    Raises:
        ConfigError: The site cannot be retried, see ``CampaignQueue.retry_task``, or no generator
            is usable.
        DecodeError: The generator's model card cannot be read.
        VerificationError: The generator is damaged.
    """
    queue = CampaignQueue(store.engine)
    campaign = queue.find_campaign(campaign_id)
    try:
        version = versions.verified_version(home, campaign.generator)
    except WgError:
        version = versions.usable_version(home)
    return queue.retry_task(campaign_id, site, generator_version_id=version.id)
