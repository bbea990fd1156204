"""WG-F13: few sites agree on classes that the plant has no record of.

A plant's own labels cannot refuse what others say of a class that it has never seen, so whoever
releases most of it decides what its name means. Three sites must stand behind such a class: the
server holds each against all others (``behind`` in a package), and counts those whose evidence says
that they mean one class by the name. The count is the server's word.
"""

import numpy as np

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import Posterior
from wg_common.language import list_names, text
from wg_core.site.failures import FEW_SITES

CODE = FEW_SITES
SITES = 3  # Fewest sites that must stand behind a class


def check(comparison: Comparison) -> Finding | None:
    """Passed if enough sites stand behind each class without a record here."""
    posterior, model = comparison.package.posterior, comparison.model
    if posterior is None or model.origin != POSTERIOR:
        return None
    counts = absent_counts(posterior, set(comparison.records.labels.tolist()))
    enough = text(
        "At least {needed} sites stand behind each class without a record here.", needed=SITES
    )
    doubted_classes = {index: count for index, count in counts.items() if count < SITES}
    counts_shown = list_names(
        [
            text("{label}: {count}", label=comparison.label(index), count=count)
            for index, count in doubted_classes.items()
        ]
    )
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=not doubted_classes,
        figures={
            "classes": float(len(doubted_classes)),
            "fewest": float(min(counts.values(), default=0)),
            "needed": float(SITES),
        },
        message=text(
            "Fewer than {needed} sites stand behind classes without a record here ({classes}). Who"
            " released most of such a class decides what its name means.",
            needed=SITES,
            classes=counts_shown,
        )
        if doubted_classes
        else enough,
    )


def absent_counts(posterior: Posterior, present: set[int]) -> dict[int, int]:
    """Sites that stand behind each class which others released and the plant has no record of."""
    return {
        int(index): int(posterior.sites[index])
        for index in np.flatnonzero(posterior.has_evidence)
        if index not in present
    }
