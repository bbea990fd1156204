"""Asking how good delivered packages are at the plants, and what the answers say.

A campaign that is *about* another one asks each of its sites one question: how often is each
candidate of the package that you have from there right on your labelled records? The answer is
K + 1 noisy counts, charged at the plant and covered by its ledger like a release; it is verified by
the same rules, and held against the package as this server has it.

Not shown by any of it: what the plant's own models do, what it kept, and whether it says the truth.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from wg_common import weights_file, weights_package
from wg_core import numbers
from wg_core.errors import ConfigError, DecodeError, VerificationError, WgError
from wg_core.language import Code
from wg_core.ledger import verify
from wg_core.wire import quality_file, signing
from wg_core.wire.quality_file import Counts, QualityManifest
from wg_server.campaigns import intake
from wg_server.campaigns.intake import Asked
from wg_server.campaigns.plausibility import FALSE_ALARMS
from wg_server.campaigns.starting import Order
from wg_server.campaigns.wording import Speaker
from wg_server.fleet.witness import Witness
from wg_server.site.home import ServerHome
from wg_server.store import quality
from wg_server.store.campaigns import Campaign, Task
from wg_server.store.quality import StoredReport, Subject
from wg_server.store.queue import CampaignQueue
from wg_server.store.site import Site
from wg_server.store.sites import Store

IMPLAUSIBLE = "implausible"
"""Why a site's part ended: its counts cannot be; they are kept, and in no figure."""

PURPOSE = "quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One site's report, opened.

    Attributes:
        site: The site.
        conditioned: Whether the package was made from a release of the site itself.
        counts: What it released.
    """

    site: str
    conditioned: bool
    counts: Counts


def start(
    home: ServerHome, store: Store, order: Order, *, about: str
) -> tuple[Campaign, dict[str, str]]:
    """Queue a campaign that asks about the packages of another one.

    Args:
        order: Sites (empty: all that can be asked), price, purpose and time.

    Returns:
        The campaign, and why sites are left out of it.

    Raises:
        ConfigError: The other campaign is unknown or delivered no packages; or a site that is named
            cannot be asked, or none can.
    """
    queue = CampaignQueue(store.engine)
    other = queue.show(about)
    if other.about:
        raise ConfigError(f"campaign {about}: it asks about packages, and delivered none")
    for name in order.sites:
        other.task(name)
    found: list[Subject] = []
    left: dict[str, str] = {}
    for task in other.tasks:
        if order.sites and task.site not in order.sites:
            continue
        try:
            if store.site(task.site).state != "enrolled":
                raise ConfigError("the site is not enrolled any more")
            found.append(_subject(home, task))
        except WgError as error:
            left[task.site] = str(error)
    if left and (order.sites or not found):
        raise ConfigError("; ".join(f"{site}: {why}" for site, why in sorted(left.items())))
    campaign = queue.add(
        [each.site for each in found],
        epsilon=order.epsilon,
        delta=order.delta,
        purpose=order.purpose,
        encoder=home.encoder_id(),
        collect_seconds=order.collect_seconds or home.config().campaign_hours * 3600.0,
        deliver_seconds=0.0,
        min_sites=1,
        grace_seconds=0.0,
        campaign_id=order.id,
        about=about,
        subjects=found,
    )
    return campaign, left


def accept(
    site: Site, data: bytes, subject: Subject, asked: Asked, *, witness: Witness, now: float
) -> tuple[StoredReport, QualityManifest, str]:
    """Verify a covered quality report of a site against what it was asked.

    Returns:
        The report, its manifest, and the word for why its counts cannot be, or nothing.

    Raises:
        DecodeError: The bytes are not a covered report.
        VerificationError: It is not signed, not covered by a witnessed ledger, or not what was
            asked for.
    """
    covered = quality_file.decode_covered(data)
    key = signing.public_from_bytes(bytes.fromhex(site.signing_key))
    manifest, counts = quality_file.decode_report(covered.release, key)
    verify.verify_covered(
        covered,
        ledger_origin=site.ledger_origin,
        ledger_key=signing.public_from_bytes(bytes.fromhex(site.ledger_key)),
        witness_name=witness.name,
        witness_key=witness.public_key,
        check=verify.check_quality,
    )
    intake.check_witnesses(site, covered, witness)
    for field, got, want in (
        ("site", manifest.site, site.name),
        ("encoder", manifest.encoder, asked.encoder),
        ("epsilon", numbers.exact(manifest.epsilon), numbers.exact(asked.epsilon)),
        ("delta", numbers.exact(manifest.delta), numbers.exact(asked.delta)),
        ("package", manifest.package_sha256, subject.package_sha256),
        ("package", manifest.package_id, subject.package_id),
        ("candidates", manifest.candidates, subject.candidates),
    ):
        if got != want:
            raise VerificationError(f"quality of {site.name}: {field} is {got}, asked was {want}")
    report = StoredReport(received=now, signing_key=site.signing_key, data=data)
    return report, manifest, "" if plausible(counts) else IMPLAUSIBLE


def plausible(counts: Counts) -> bool:
    """Whether counts can be those of records: none below zero, none above the labelled ones.

    An honest report is called implausible with a probability of at most ``FALSE_ALARMS``: noise is
    subgaussian, and so is the difference of two independent ones.
    """
    rows = 1 + len(counts.right)
    reach = math.sqrt(2 * math.log(2 * rows / FALSE_ALARMS)) * counts.std
    low = min(counts.labelled, *counts.right.values())
    return low >= -reach and max(counts.right.values()) <= counts.labelled + reach * math.sqrt(2)


def reports(store: Store, campaign: Campaign) -> list[Report]:
    """What the sites of a campaign answered, by site.

    Raises:
        DecodeError: The store is damaged.
        VerificationError: The store is damaged.
    """
    answered = {task.site for task in campaign.tasks if task.state == "answered"}
    found = []
    for site, (subject, report) in quality.parts(store.engine, campaign.id).items():
        if report is None or site not in answered:
            continue
        key = signing.public_from_bytes(bytes.fromhex(report.signing_key))
        covered = quality_file.decode_covered(report.data)
        _, counts = quality_file.decode_report(covered.release, key)
        found.append(Report(site=site, conditioned=subject.conditioned, counts=counts))
    return found


@dataclass(frozen=True, slots=True)
class Figure:
    """How often one candidate is right, and the standard error of the noise; None: unknown."""

    name: str
    rate: float | None
    error: float


def figures(counts: Counts) -> list[Figure]:
    """The candidates of a report, in order."""
    return [Figure(name, *(counts.rate(name) or (None, 0.0))) for name in counts.right]


def together(found: Collection[Report]) -> dict[str, tuple[int, Counts]]:
    """For each name of a candidate, the sum over the sites that have one, and how many they are."""
    sums: dict[str, tuple[int, Counts]] = {}
    for report in found:
        for name, right in report.counts.right.items():
            before, whole = sums.get(name, (0, Counts(labelled=0.0, right={name: 0.0}, std=0.0)))
            sums[name] = (
                before + 1,
                Counts(
                    labelled=whole.labelled + report.counts.labelled,
                    right={name: whole.right[name] + right},
                    std=math.hypot(whole.std, report.counts.std),
                ),
            )
    return sums


def said(figure: Figure, language: Code) -> str:
    """A figure in words: ``71 % ± 4``."""
    say = Speaker(language)
    if figure.rate is None:
        return say("no rate")
    points = 100 * figure.error
    error = f"{points:.1f}" if points < 1 else f"{points:.0f}"
    return say("rate", rate=f"{100 * figure.rate:.0f}", error=error)


def labelled(counts: Counts, language: Code) -> str:
    """About how many labelled records, or units, counts are of."""
    number, error = max(round(counts.labelled), 0), f"{counts.std:.0f}"
    return Speaker(language)("labelled", n=number, error=error)


def _subject(home: ServerHome, task: Task) -> Subject:
    """The package that a site has from a campaign."""
    if task.state != "delivered":
        raise ConfigError(f"has no package from there ({task.state})")
    path = home.package(task.delivery_id)
    if not path.is_file():
        raise ConfigError("its package is not kept here any more (package_days in server.yaml)")
    if weights_file.sha256(path) != task.package_sha256:
        raise ConfigError("it has another package than the one that is kept here")
    key = signing.load(home.signing_key).public_key()
    try:
        manifest, _ = weights_file.read(path, key)
        names = weights_package.counted(manifest)
    except (DecodeError, VerificationError) as error:
        raise ConfigError(str(error)) from error
    return Subject(
        site=task.site,
        delivery_id=task.delivery_id,
        package_id=manifest.package_id,
        package_sha256=task.package_sha256,
        conditioned=bool(manifest.own_release),
        candidates=names,
    )
