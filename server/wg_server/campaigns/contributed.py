"""Heads that other plants trained with DP-SGD and gave, as candidates for a plant.

Using one again is post-processing, and free. A head is taken as it came, with the rows of the
plant's classes: softmax over some classes is what the head says given that it is one of these. Rows
are chosen by name alone, in the same words or by what names mean (``prior.names``); unlike a
family's, classes of a contribution are not looked for by their means, since it has none. So a
contribution that lacks one of the plant's classes is not offered.

*Influence.* Of a site at most one candidate, beside others that are none the worse for it. Nothing
else in the package is made from it. What it is worth the plant's own labelled records decide, and
without any it is never kept (``wg_client.methods.contributed``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from wg_common.catalogue import CONTRIBUTED, HEAD_BIAS, HEAD_WEIGHT
from wg_core import numbers
from wg_core.errors import WgError
from wg_server.site.home import ServerHome
from wg_server.store import database, quarantine
from wg_server.zoo import contributions
from wg_server.zoo.contributions import StoredContribution

if TYPE_CHECKING:
    from wg_server.generator.heads.generate import GeneratedCandidate
    from wg_server.generator.heads.package import Parts

log = logging.getLogger(__name__)

OFFERED_LIMIT = 8
"""Contributed heads in one package; those with most epsilon, and so least noise, come first."""
_SURE = 1e3  # Log likelihood ratio of equal names, where a finite one is needed


def candidates(
    home: ServerHome, parts: Parts, site: str, labels: Sequence[str]
) -> list[GeneratedCandidate]:
    """Contributed heads of other sites that have all of a plant's classes.

    Args:
        home: The server's home; contributions lie in its zoo.
        parts: Of the generator: encoder, architecture, and the zoo that distances are measured to.
        site: The plant. What it gave itself is left out, and what sites gave that are not enrolled,
            or one of whose releases is in quarantine or was rejected.
        labels: Its class names, K.

    Returns:
        In order, with tensors ``[K, d]`` and ``[K]``; a file that does not hold any more is left
        out, and named in the log.
    """
    fitting = [
        record
        for record in contributions.stored(home.zoo)
        if record.site != site
        and (record.encoder, record.architecture) == (parts.encoder, parts.architecture)
    ]
    if not fitting:
        return []
    engine = database.open_home(home)
    try:
        trusted = quarantine.trusted(engine)
    finally:
        engine.dispose()
    found: list[GeneratedCandidate] = []
    for record in _one_of_each(record for record in fitting if record.site in trusted):
        rows = matched(labels, record.labels)
        if rows is not None and len(found) < OFFERED_LIMIT:
            try:
                found.append(_candidate(home, parts, record, rows))
            except WgError as error:
                log.error("contribution %s is left out: %s", record.sha256, error)
    return found


def matched(labels: Sequence[str], others: Sequence[str]) -> NDArray[np.int64] | None:
    """Row of each of a plant's classes among others, ``[K]``; None unless all are there by name."""
    from wg_server.generator.prior.names import log_ratio  # its rooms are slow to import

    if len(others) < len(labels):
        return None
    odds = np.minimum(log_ratio(labels, others), _SURE)
    own, rows = linear_sum_assignment(-odds)
    return rows.astype(np.int64) if (odds[own, rows] > 0).all() else None


def _one_of_each(records: Iterable[StoredContribution]) -> list[StoredContribution]:
    """Of each site the contribution with most epsilon; these in the same order."""
    first: dict[str, StoredContribution] = {}
    for record in sorted(records, key=lambda one: (-numbers.decimal(one.epsilon), one.sha256)):
        first.setdefault(record.site, record)
    return list(first.values())


def _candidate(
    home: ServerHome, parts: Parts, record: StoredContribution, rows: NDArray[np.integer[Any]]
) -> GeneratedCandidate:
    from wg_server.generator.heads.generate import GeneratedCandidate  # torch is slow to import
    from wg_server.generator.prior import retrieval

    tensors = contributions.read(home.zoo, record)
    weight, bias = tensors[HEAD_WEIGHT][rows], tensors[HEAD_BIAS][rows]
    return GeneratedCandidate(
        f"contribution-{record.sha256[:16]}",
        CONTRIBUTED,
        {HEAD_WEIGHT: weight, HEAD_BIAS: bias},
        retrieval.novelty(parts.zoo_index, weight.astype(np.float64)),
    )
