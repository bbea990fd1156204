"""Fitting the test of whether a plant's records look like a family of the operator's.

A ridge regression between the family at its made-up sites and all other tasks of the zoo, rendered
ones and the operator's other families, on what describes a site
(``wg_common.inference.likeness``). It is fitted on four fifths of the made-up sites at a time, and
the limit lies where a share of ``RATE`` of the sites left out are refused. The same predictions say
how many sites of families that were left out altogether are refused: the model card has both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.likeness import FEWEST, LIMIT, RATE, Likeness, numbers, site_description

Floats = NDArray[np.float64]
Sites = Sequence[NDArray[np.floating]]
"""Released features of records at sites, each ``[n, d]``."""

_FOLDS = 5
_SITES = 60  # Most sites of another family, about
_PENALTY = 1.0
"""In units of the mean squared length of a site's description."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedLikeness:
    """A test, and how it does at sites that it was not fitted on.

    Attributes:
        test: The test.
        refused: Share of the family's own made-up sites that it refuses.
        caught: Share of sites of other families of the operator's, each left out in turn, that it
            refuses; NaN without any.
    """

    test: Likeness
    refused: float
    caught: float


def fit(family: str, own_sites: Mapping[str, Sites], rendered_sites: Sites) -> FittedLikeness:
    """Fit the test of one family.

    Args:
        family: One of ``own_sites``.
        own_sites: Made-up sites of each of the operator's families, at least ten each.
        rendered_sites: Sites of other tasks; at least one if there is no other family.
    """
    family_sites = _describe_sites(own_sites[family])
    small_sites = _describe_sites(
        [site[:: len(site) // FEWEST or 1][:FEWEST] for site in own_sites[family]]
    )
    other_families = {
        name: _describe_sites(sites[:: len(sites) // _SITES or 1])
        for name, sites in (("", rendered_sites), *own_sites.items())
        if name != family and len(sites)
    }
    scale = _scale(np.concatenate([family_sites, *other_families.values()]))
    scores, few_scores = np.zeros(len(family_sites)), np.zeros(len(family_sites))
    for fold in range(_FOLDS):
        out = np.arange(len(family_sites)) % _FOLDS == fold
        weight, bias = _ridge(family_sites[~out], [*other_families.values()], scale)
        scores[out], few_scores[out] = (
            family_sites[out] @ weight + bias,
            small_sites[out] @ weight + bias,
        )
    weight, bias = _ridge(family_sites, [*other_families.values()], scale)
    # Ranks over n + 1: a further site exceeds such a limit at RATE, the usual one of 60 at .047.
    limit, few_limit = (
        np.quantile(values, 1 - RATE, method="weibull") for values in (scores, few_scores)
    )
    return FittedLikeness(
        test=Likeness(
            weight=LIMIT * weight / limit,
            bias=np.array([LIMIT * bias / limit]),
            width=np.array([min(limit / few_limit, 1.0)]),
        ),
        refused=float((scores > limit).mean()),
        caught=_share_beyond(family_sites, other_families, scale, float(limit)),
    )


def untold(dimension: int) -> Likeness:
    """The test of a family of whose records none may tell: it refuses nobody."""
    return Likeness(np.zeros(numbers(dimension)), np.zeros(1), np.ones(1))


def _share_beyond(
    family_sites: Floats, other_families: Mapping[str, Floats], scale: Floats, limit: float
) -> float:
    """Share of other families' sites beyond the limit of a fit that has not seen the family."""
    shares = []
    for name in filter(None, other_families):
        remaining = [sites for family, sites in other_families.items() if family != name]
        if remaining:
            weight, bias = _ridge(family_sites, remaining, scale)
            shares.append(float((other_families[name] @ weight + bias > limit).mean()))
    return float(np.mean(shares)) if shares else float("nan")


def _describe_sites(sites: Sites) -> Floats:
    """``[sites, F]``."""
    return np.stack([site_description(site) for site in sites])


def _scale(rows: Floats) -> Floats:
    """Factors on the numbers that describe a site, so that their three parts weigh the same."""
    columns = next(d for d in range(1, rows.shape[1]) if numbers(d) == rows.shape[1])
    parts = np.split(rows, [columns, 2 * columns], axis=1)
    return np.concatenate(
        [np.full(p.shape[1], 1 / np.sqrt(p.var(axis=0).sum() + 1e-12)) for p in parts]
    )


def _ridge(
    family_sites: Floats, other_families: Sequence[Floats], scale: Floats
) -> tuple[Floats, float]:
    """Weight ``[F]`` and bias: about 0 at the family's sites, and 2 at those of others.

    Both sides weigh the same, and so does each of the others.
    """
    rows = np.concatenate([family_sites, *other_families]) * scale
    target = np.repeat([0.0, 2.0], [len(family_sites), len(rows) - len(family_sites)])
    shares = [np.full(len(family_sites), 0.5 / len(family_sites))]
    shares += [np.full(len(part), 0.5 / len(part) / len(other_families)) for part in other_families]
    share = np.concatenate(shares)
    centre = share @ rows
    z = rows - centre
    gram = z @ z.T
    penalty = _PENALTY * float(share @ np.diagonal(gram)) / len(rows)
    dual = np.linalg.solve(gram + penalty * np.diag(1 / (len(rows) * share)), target - 1.0)
    weight = (z.T @ dual) * scale
    return weight, float(1.0 - weight @ (centre / scale))
