"""Whom a campaign for class statistics does not charge, and what the model card says of one.

A release adds nothing to its own site's weights; sites gain by those of others that have a class
name in common. Names are known of sites that released, or that stated them at epsilon 0, where
nothing is charged. Where a site's names are not known, or no other site has one of them, a charge
would buy nothing that anybody knows of.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wg_common.language import list_names, template, text
from wg_core.errors import WgError
from wg_server.campaigns import intake
from wg_server.store.campaigns import NO_NAMES, NOT_WORTH
from wg_server.store.pools import PoolTable
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

NAMES_SHOWN = 12  # In one sentence
STATISTIC_PAIR = "sheet and statistic over the sheet alone"
"""Key on a card of machines: what a plant's statistic adds on standardised inputs."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Class names that some sites have in common.

    Attributes:
        names: Names of each site; None: it has stated none.
    """

    names: Mapping[str, frozenset[str] | None]

    @property
    def common_names(self) -> dict[str, int]:
        """Number of sites with each name that more than one has, most sites first."""
        counts = Counter(name for names in self.names.values() for name in names or ())
        return {name: count for name, count in counts.most_common() if count > 1}

    def left_out(self) -> dict[str, str]:
        """Reasons why sites are not charged: names are not known, or nobody shares one."""
        shared_names = self.common_names.keys()
        reasons = {}
        for site, names in self.names.items():
            if names is None:
                reasons[site] = NO_NAMES
            elif not names & shared_names:
                reasons[site] = NOT_WORTH
        return reasons

    def words(self) -> str:
        """Say how many sites share class names, and which names these are."""
        shared_names = self.common_names
        sharing = len(self.names) - len(self.left_out())
        sentence = text(
            "{sharing} of {sites} sites have a class name in common",
            sharing=sharing,
            sites=len(self.names),
        )
        if not shared_names:
            return sentence
        names_shown = comma_list([f"{name} ({count})" for name, count in shared_names.items()])
        return text("{sentence}: {names}", sentence=sentence, names=names_shown)


def overlap(store: Store, sites: Sequence[str], generator: str) -> Overlap:
    """Compare the class names of some sites.

    Class names are those of the sums of a generator (SHA-256 of its package, hex); releases that
    are in none of these are opened.
    """
    newest, pooled_names = store.newest_answers(), PoolTable(store.engine, generator).class_names()
    release_ids = {site: newest.get(site, "") for site in sites}
    names = {
        site: pooled_names.get(i) or _class_names_of(store, i) for site, i in release_ids.items()
    }
    return Overlap(names)


def _class_names_of(store: Store, release_id: str) -> frozenset[str] | None:
    """Class names of a release or statement; None: there is none, or it cannot be read."""
    try:
        return frozenset(intake.stated_by(store.release(release_id)).labels) if release_id else None
    except WgError as error:
        log.warning("release %s: its class names cannot be read: %s", release_id, error)
        return None


def of_classes(card: Mapping[str, Any], epsilon: float) -> Iterator[str]:
    """Say what a model card has of other sites' releases, at its largest epsilon up to this one."""
    card_epsilons = [value for value in (4, 1) if value <= epsilon]
    scenarios = card.get("scenarios", {})
    for value in card_epsilons[:1]:
        for case in (template("no labels"), template("classes never seen")):
            if figures := scenarios.get(f"{case}, epsilon {value}", {}).get("alone"):
                yield text(
                    "by the model card releases of up to three others at epsilon {epsilon} bring a"
                    " plant, {case}, {points}",
                    epsilon=value,
                    case=text(case),
                    points=_points(figures["gain"], figures["gain_error"]),
                )
    if not card_epsilons:
        yield text("below epsilon 1 the model card says nothing of what others' releases bring")


def of_machine(card: Mapping[str, Any]) -> Iterator[str]:
    """Say what a model card has of a plant's own machine statistics, by the kind of machine."""
    for kind, about in card.get("sheets", {}).get("kinds", {}).items():
        if not takes_statistic(card, kind):
            yield text(
                "{kind}: nothing is made from statistics, and no site is asked for them", kind=kind
            )
            continue
        raw = "" if about["ships"]["standardised"] == "conditioned" else ", raw"
        gains = [
            text(
                "{points} ({mixture})",
                points=_points(*(pairs[STATISTIC_PAIR + raw][key] for key in ("gain", "error"))),
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


def takes_statistic(card: Mapping[str, Any], kind: str) -> bool:
    """Tell whether a generator makes networks of a kind of machine from statistics."""
    about = card.get("sheets", {}).get("kinds", {}).get(kind, {})
    return "conditioned" in about.get("ships", {}).values()


def comma_list(names: Sequence[str]) -> str:
    """The first of some names with commas, and whether there are more."""
    return ", ".join([*names[:NAMES_SHOWN], *["…"][: len(names) > NAMES_SHOWN]])


def _points(gain: float, error: float) -> str:
    return text(
        "{gain:+.1f} ± {error:.1f} points of right answers", gain=100 * gain, error=100 * error
    )
