"""Check WG-F13: few sites agree on classes that the plant has no record of.

A plant's labels cannot contradict other sites on a class that it has never seen, so the site that
releases most records of it decides what its name means. At least three sites must support such a
class: the server compares each site's statistics with the others' and counts the sites that mean
the same class by the name (``Posterior.sites``). The plant relies on the server for this count.
"""

import numpy as np

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference.posterior import Posterior
from wg_common.language import list_names, text
from wg_core.site.weights_failures import FEW_SITES_CODE

CODE = FEW_SITES_CODE
LEAST_SUPPORTING_SITES = 3  # Fewest sites that must support a class


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Pass if enough sites support each class without a local record.

    The finding is None if the model was not made from other sites' releases.
    """
    posterior, model = comparison.package.posterior, comparison.model
    if posterior is None or model.origin_candidate != POSTERIOR_SOURCE:
        return None
    counts = supporting_site_counts(posterior, set(comparison.records.labels.tolist()))
    enough = text(
        "At least {needed} sites agree on each class of which you have no record.",
        needed=LEAST_SUPPORTING_SITES,
    )
    doubted_classes = {
        index: count for index, count in counts.items() if count < LEAST_SUPPORTING_SITES
    }
    counts_shown = list_names(
        [
            text("{label}: {count}", label=comparison.quoted_label(index), count=count)
            for index, count in doubted_classes.items()
        ]
    )
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=not doubted_classes,
        figures={
            "classes": float(len(doubted_classes)),
            "fewest": float(min(counts.values(), default=0)),
            "needed": float(LEAST_SUPPORTING_SITES),
        },
        message=text(
            "Fewer than {needed} sites agree on classes of which you have no record "
            "({classes}). The site that released most records of such a class decides what "
            "its name means.",
            needed=LEAST_SUPPORTING_SITES,
            classes=counts_shown,
        )
        if doubted_classes
        else enough,
    )


def supporting_site_counts(posterior: Posterior, present_classes: set[int]) -> dict[int, int]:
    """Return the number of supporting sites of each released class without a local record."""
    return {
        int(index): int(posterior.sites[index])
        for index in np.flatnonzero(posterior.evidence_mask)
        if index not in present_classes
    }
