"""Expected benefit of a campaign: which sites cannot gain, and what the model card promises.

A release adds nothing to its own site's weights: a site gains from the releases of others that
share a class name. The server knows the class names of sites that released statistics, or that
stated their names at epsilon 0, which costs nothing. For a site whose class names are unknown or
shared by no other site, a charge has no known benefit.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wg_common.language import list_names, template, text
from wg_core.errors import WgError
from wg_server.campaigns import release_intake
from wg_server.generator.card_checks import read_checks
from wg_server.store.campaigns import NO_EARLIER_ANSWER_CODE, NO_SHARED_CLASS_NAMES_CODE
from wg_server.store.pools import PoolTable
from wg_server.store.server_store import ServerStore

log = logging.getLogger(__name__)

SHOWN_NAMES_LIMIT = 12  # Largest number of names in one sentence
STATISTIC_GAIN_KEY = "sheet and statistic over the sheet alone"
"""Model card key: gain of networks that also use a plant's statistic, on standardised inputs."""


@dataclass(frozen=True, slots=True)
class ClassNameOverlap:
    """Overlap of class names between some sites.

    Attributes:
        class_names_by_site: Class names of each site; None if they are unknown.
    """

    class_names_by_site: Mapping[str, frozenset[str] | None]

    @property
    def site_counts_by_shared_name(self) -> dict[str, int]:
        """Number of sites with each name that more than one site has, most sites first."""
        counts = Counter(
            name for names in self.class_names_by_site.values() for name in names or ()
        )
        return {name: count for name, count in counts.most_common() if count > 1}

    def skip_codes_by_site(self) -> dict[str, str]:
        """Return by site a code for why to skip it: class names unknown, or shared by no other."""
        shared_names = self.site_counts_by_shared_name.keys()
        reasons = {}
        for site, names in self.class_names_by_site.items():
            if names is None:
                reasons[site] = NO_EARLIER_ANSWER_CODE
            elif not names & shared_names:
                reasons[site] = NO_SHARED_CLASS_NAMES_CODE
        return reasons

    def describe_overlap(self) -> str:
        """Describe how many sites share class names, and which names these are."""
        shared_names = self.site_counts_by_shared_name
        sharing = len(self.class_names_by_site) - len(self.skip_codes_by_site())
        sentence = text(
            "{sharing} of {sites} sites have a class name in common",
            sharing=sharing,
            sites=len(self.class_names_by_site),
        )
        if not shared_names:
            return sentence
        names_shown = abbreviate_name_list(
            [f"{name} ({count})" for name, count in shared_names.items()]
        )
        return text("{sentence}: {names}", sentence=sentence, names=names_shown)


def class_name_overlap(
    store: ServerStore, site_names: Sequence[str], generator_sha256: str
) -> ClassNameOverlap:
    """Compare the class names of some sites.

    Args:
        generator_sha256: SHA-256 of the generator's package, hex. Class names come from its pools;
            releases that are in none of them are opened.
    """
    newest, pooled_names = (
        store.newest_answer_ids_by_site(),
        PoolTable(store.engine, generator_sha256).class_names_by_release_id(),
    )
    release_ids = {site: newest.get(site, "") for site in site_names}
    names = {
        site: pooled_names.get(i) or _class_names_of_release(store, i)
        for site, i in release_ids.items()
    }
    return ClassNameOverlap(names)


def _class_names_of_release(store: ServerStore, release_id: str) -> frozenset[str] | None:
    """Return the class names of a release or statement; None if it is missing or unreadable."""
    try:
        return (
            frozenset(
                release_intake.recipient_without_statistics(
                    store.require_release(release_id)
                ).labels
            )
            if release_id
            else None
        )
    except WgError as error:
        log.warning("release %s: its class names cannot be read: %s", release_id, error)
        return None


def class_gain_lines(model_card: Mapping[str, Any], epsilon: float) -> Iterator[str]:
    """Yield sentences on the gain from other sites' releases, by the model card.

    The card has gains at epsilons 4 and 1: the larger one that is at most ``epsilon`` is used, and
    below 1 nothing is yielded.
    """
    card_epsilons = [value for value in (4, 1) if value <= epsilon]
    scenarios = model_card.get("scenarios", {})
    for value in card_epsilons[:1]:
        for case in (template("no labels"), template("classes never seen")):
            if figures := scenarios.get(f"{case}, epsilon {value}", {}).get("alone"):
                yield text(
                    "by the model card releases of up to three others at epsilon {epsilon} bring a"
                    " plant, {case}, {points}",
                    epsilon=value,
                    case=text(case),
                    points=_format_gain(figures["gain"], figures["gain_error"]),
                )
    if not card_epsilons:
        yield text("below epsilon 1 the model card says nothing of what others' releases bring")


def machine_gain_lines(model_card: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence per machine kind on the model card's gain from machine statistics."""
    for kind, errors in soft_sensor_errors(model_card).items():
        before, after = errors["sheet alone"], errors["sheet and statistic"]
        changes = [f"{name} {value:.1f} → {after[name]:.1f}" for name, value in before.items()]
        yield text(
            "{kind}: by the model card a machine release at epsilon 1 changes the error of a soft"
            " sensor, beside what its data sheet brings alone: {changes}",
            kind=kind,
            changes=list_names(changes, "; "),
        )
    for kind, about in model_card.get("sheets", {}).get("kinds", {}).items():
        if not uses_statistic(model_card, kind):
            yield text(
                "{kind}: nothing is made from statistics, and no site is asked for them", kind=kind
            )
            continue
        raw = "" if about["ships"]["standardised"] == "conditioned" else ", raw"
        gains = [
            text(
                "{points} ({mixture})",
                points=_format_gain(
                    *(pairs[STATISTIC_GAIN_KEY + raw][key] for key in ("gain", "error"))
                ),
                mixture=mixture,
            )
            for mixture, pairs in about["worth"].items()
        ]
        yield text(
            "{kind}: by the model card a machine release at epsilon 1 brings its plant, beside what"
            " its data sheet brings alone, {gains}",
            kind=kind,
            gains=list_names(gains, "; "),
        )


def uses_statistic(model_card: Mapping[str, Any], machine_kind: str) -> bool:
    """Return whether networks or soft sensors for a machine kind use a plant's statistic."""
    about = model_card.get("sheets", {}).get("kinds", {}).get(machine_kind, {})
    return (
        machine_kind in soft_sensor_errors(model_card)
        or "conditioned" in about.get("ships", {}).values()
    )


def soft_sensor_errors(model_card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the errors of soft sensors that pass their checks, by kind of process unit."""
    sensors = model_card.get("sheets", {}).get("sensors", {})
    return {
        kind: about["error"]
        for kind, about in sensors.items()
        if all(check.passed for check in read_checks(about))
    }


def abbreviate_name_list(names: Sequence[str]) -> str:
    """Join the first names with commas, and add an ellipsis if there are more."""
    return ", ".join([*names[:SHOWN_NAMES_LIMIT], *["…"][: len(names) > SHOWN_NAMES_LIMIT]])


def _format_gain(gain: float, error: float) -> str:
    return text(
        "{gain:+.1f} ± {error:.1f} points of right answers", gain=100 * gain, error=100 * error
    )
