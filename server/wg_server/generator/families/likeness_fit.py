"""Fit of the test that tells whether a plant's records resemble a family of the operator.

The test is a ridge regression on descriptions of sites (``wg_common.inference.family_likeness``).
It separates the family's simulated sites from all other tasks of the zoo: rendered ones, and the
operator's other families. In a cross-validation with five folds over the simulated sites, the
threshold is set so that a share ``REFUSED_SHARE`` of the held-out sites is refused. The model card
states this share, and the share of refused sites of other families, each held out as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.family_likeness import (
    FEWEST_TESTED_RECORDS,
    REFUSED_SHARE,
    UNLIKENESS_THRESHOLD,
    LikenessTest,
    description_size,
    site_description,
)

Floats = NDArray[np.float64]
Sites = Sequence[NDArray[np.floating]]
"""Released features of the records of several sites, one array ``[n, d]`` per site."""

_FOLDS = 5
_SITES_PER_FAMILY = 60  # Approximate largest number of sites of another family


@dataclass(frozen=True, slots=True, eq=False)
class FittedLikeness:
    """Likeness test, with its error rates at held-out sites.

    Attributes:
        test: The fitted test.
        own_refusal_rate: Share of the family's own held-out simulated sites that the test refuses.
        other_refusal_rate: Mean share of refused sites of the operator's other families, each held
            out in turn; NaN if there are none.
    """

    test: LikenessTest
    own_refusal_rate: float
    other_refusal_rate: float


def fit_likeness_test(
    family: str, own_sites: Mapping[str, Sites], rendered_sites: Sites
) -> FittedLikeness:
    """Fit the likeness test of one family.

    Args:
        family: Name of the family, a key of ``own_sites``.
        own_sites: Simulated sites of each of the operator's families, at least ten each.
        rendered_sites: Rendered tasks of the zoo, as sites; at least one if ``own_sites`` has only
            one family.
    """
    family_sites = _describe_sites(own_sites[family])
    small_sites = _describe_sites(
        [
            site[:: len(site) // FEWEST_TESTED_RECORDS or 1][:FEWEST_TESTED_RECORDS]
            for site in own_sites[family]
        ]
    )
    other_families = {
        name: _describe_sites(sites[:: len(sites) // _SITES_PER_FAMILY or 1])
        for name, sites in (("", rendered_sites), *own_sites.items())
        if name != family and len(sites)
    }
    scale = _part_weights(np.concatenate([family_sites, *other_families.values()]))
    scores, few_scores = np.zeros(len(family_sites)), np.zeros(len(family_sites))
    for fold in range(_FOLDS):
        out = np.arange(len(family_sites)) % _FOLDS == fold
        weight, bias = _fit_ridge(family_sites[~out], [*other_families.values()], scale)
        scores[out], few_scores[out] = (
            family_sites[out] @ weight + bias,
            small_sites[out] @ weight + bias,
        )
    weight, bias = _fit_ridge(family_sites, [*other_families.values()], scale)
    # Weibull quantile (ranks over n + 1): a new site exceeds it with probability REFUSED_SHARE.
    limit, few_limit = (
        np.quantile(values, 1 - REFUSED_SHARE, method="weibull") for values in (scores, few_scores)
    )
    return FittedLikeness(
        test=LikenessTest(
            weight=UNLIKENESS_THRESHOLD * weight / limit,
            bias=np.array([UNLIKENESS_THRESHOLD * bias / limit]),
            width=np.array([min(limit / few_limit, 1.0)]),
        ),
        own_refusal_rate=float((scores > limit).mean()),
        other_refusal_rate=_other_refusal_rate(family_sites, other_families, scale, float(limit)),
    )


def accept_all_test(dimension: int) -> LikenessTest:
    """Return a test that refuses no site, for a family whose records must not be revealed."""
    return LikenessTest(np.zeros(description_size(dimension)), np.zeros(1), np.ones(1))


def _other_refusal_rate(
    family_sites: Floats,
    other_families: Mapping[str, Floats],
    column_weights: Floats,
    threshold: float,
) -> float:
    """Return the mean share of refused sites over other families, each held out of the fit."""
    shares = []
    for name in filter(None, other_families):
        remaining = [sites for family, sites in other_families.items() if family != name]
        if remaining:
            weight, bias = _fit_ridge(family_sites, remaining, column_weights)
            shares.append(float((other_families[name] @ weight + bias > threshold).mean()))
    return float(np.mean(shares)) if shares else float("nan")


def _describe_sites(sites: Sites) -> Floats:
    """Return the numbers that describe each site's records, ``[sites, F]``."""
    return np.stack([site_description(site) for site in sites])


def _part_weights(rows: Floats) -> Floats:
    """Return factors ``[F]`` that give the three parts of a description equal total variance."""
    columns = next(d for d in range(1, rows.shape[1]) if description_size(d) == rows.shape[1])
    parts = np.split(rows, [columns, 2 * columns], axis=1)
    return np.concatenate(
        [np.full(p.shape[1], 1 / np.sqrt(p.var(axis=0).sum() + 1e-12)) for p in parts]
    )


def _fit_ridge(
    family_sites: Floats, other_families: Sequence[Floats], column_weights: Floats
) -> tuple[Floats, float]:
    """Fit a ridge regression to targets 0 at the family's sites and 2 at all other sites.

    Both targets have equal total weight, and so has each of the other families. Returns the weight,
    ``[F]``, and the bias.
    """
    rows = np.concatenate([family_sites, *other_families]) * column_weights
    target = np.repeat([0.0, 2.0], [len(family_sites), len(rows) - len(family_sites)])
    shares = [np.full(len(family_sites), 0.5 / len(family_sites))]
    shares += [np.full(len(part), 0.5 / len(part) / len(other_families)) for part in other_families]
    share = np.concatenate(shares)
    centre = share @ rows
    z = rows - centre
    gram = z @ z.T
    penalty = float(share @ np.diagonal(gram)) / len(rows)  # by the mean squared length of a row
    dual = np.linalg.solve(gram + penalty * np.diag(1 / (len(rows) * share)), target - 1.0)
    weight = (z.T @ dual) * column_weights
    return weight, float(1.0 - weight @ (centre / column_weights))
